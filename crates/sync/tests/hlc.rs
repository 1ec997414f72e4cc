//! The clock's stamps rise whatever happens to the time, its text has one form, and no stranger moves it far.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use statik_disk::Kind;
use statik_sync::hlc::{Clock, MAX_DRIFT_MS, MAX_WALL_MS, Timestamp};

const SAMPLE: &str = include_str!("hlc-v1.txt");
const SEED: u64 = 0x5747_4154;

fn config() -> ProptestConfig {
    println!("seed {SEED:#x}");
    ProptestConfig { rng_seed: RngSeed::Fixed(SEED), failure_persistence: None, ..ProptestConfig::with_cases(2_000) }
}

fn stamp(wall_ms: u64, counter: u16, node: u64) -> Timestamp {
    Timestamp::new(wall_ms, counter, node).unwrap()
}

/// Many that share parts, and all the extremes.
fn any_stamp() -> impl Strategy<Value = Timestamp> {
    let wall = prop_oneof![0..4_u64, 0..=MAX_WALL_MS, Just(MAX_WALL_MS)];
    let counter = prop_oneof![0..3_u16, any::<u16>(), Just(u16::MAX)];
    let node = prop_oneof![0..3_u64, any::<u64>()];
    (wall, counter, node).prop_map(|(wall, counter, node)| stamp(wall, counter, node))
}

#[test]
fn the_sample_is_read_and_written() {
    let mut last = None;
    for line in SAMPLE.lines() {
        let (text, parts) = line.split_once(' ').expect("a text and its parts");
        let parts: Vec<u64> = parts.split(' ').map(|part| part.parse().unwrap()).collect();
        let stamp = stamp(parts[0], u16::try_from(parts[1]).unwrap(), parts[2]);
        assert_eq!(text.parse(), Ok(stamp));
        assert_eq!(stamp.to_string(), text);
        assert!(last < Some(stamp), "the sample ascends");
        last = Some(stamp);
    }
    assert_eq!(SAMPLE.lines().count(), 8);
}

#[test]
fn only_the_one_form_is_read() {
    let right = "018bcfe568cd-0007-00000000000000ff";
    assert!(right.parse::<Timestamp>().is_ok());
    let mut wrong: Vec<String> =
        ["", "-", "018bcfe568cd", "☃", "018BCFE568CD-0007-00000000000000FF"].map(String::from).into();
    wrong.extend((0..right.len()).map(|end| right[..end].to_owned()));
    wrong.push(format!("{right}0"));
    wrong.push(format!(" {right}"));
    wrong.push("x".repeat(1 << 20));
    for at in 0..right.len() {
        for other in ["g", "A", "+", " ", "_", "-", "0", "/", ":", "`", "\0", "é"] {
            let changed = format!("{}{other}{}", &right[..at], &right[at + 1..]);
            let is_digit = other == "0" && ![12, 17].contains(&at);
            let is_dash = other == "-" && [12, 17].contains(&at);
            if !is_digit && !is_dash {
                wrong.push(changed);
            }
        }
    }
    for text in wrong {
        let error = text.parse::<Timestamp>().expect_err(&text);
        assert_eq!(error.kind(), Kind::Invalid);
        let said = error.to_string();
        assert!(said.contains("wwwwwwwwwwww-cccc-nnnnnnnnnnnnnnnn") && said.len() < 500, "{said}");
    }
}

#[test]
fn times_of_more_than_48_bits_are_refused() {
    assert_eq!(Timestamp::new(MAX_WALL_MS + 1, 0, 0).unwrap_err().kind(), Kind::Invalid);
    let mut clock = Clock::new(1);
    let before = clock.last();
    assert_eq!(clock.tick(MAX_WALL_MS + 1).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(clock.receive(u64::MAX, stamp(1, 1, 2)).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(clock.last(), before);
    clock.restore(stamp(MAX_WALL_MS, u16::MAX, 2));
    let before = clock.last();
    assert_eq!(clock.tick(0).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(clock.receive(0, stamp(1, 1, 2)).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(clock.last(), before);
}

#[test]
fn the_counter_overflows_into_the_time() {
    let mut clock = Clock::new(5);
    clock.restore(stamp(70, u16::MAX - 1, 9));
    assert_eq!(clock.tick(70).unwrap(), stamp(70, u16::MAX, 5));
    assert_eq!(clock.tick(70).unwrap(), stamp(71, 0, 5));
    assert_eq!(clock.tick(60).unwrap(), stamp(71, 1, 5));
    assert_eq!(clock.receive(60, stamp(80, u16::MAX, 9)).unwrap(), stamp(81, 0, 5));
    assert_eq!(clock.tick(82).unwrap(), stamp(82, 0, 5));
}

#[test]
fn drift_is_refused_and_changes_nothing() {
    let mut clock = Clock::new(5);
    clock.tick(1_000).unwrap();
    let before = clock.last();
    let ahead = stamp(1_000 + MAX_DRIFT_MS + 1, 0, 6);
    let error = clock.receive(1_000, ahead).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let said = error.to_string();
    assert!(said.contains("60000 ms") && said.contains("60001 ms") && said.contains(&ahead.to_string()), "{said}");
    assert_eq!(clock.last(), before);
    let edge = stamp(1_000 + MAX_DRIFT_MS, 0, 6);
    assert_eq!(clock.receive(1_000, edge).unwrap(), stamp(61_000, 1, 5));

    let mut strict = Clock::new(5).with_max_drift_ms(0);
    assert_eq!(strict.receive(10, stamp(11, 0, 6)).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(strict.receive(10, stamp(10, 3, 6)).unwrap(), stamp(10, 4, 5));
}

#[test]
fn no_stranger_makes_the_clock_creep_away() {
    let mut clock = Clock::new(5);
    clock.tick(1_000).unwrap();
    for _ in 0..10_000 {
        // The next step from where the clock got to, with a counter that makes the time move on.
        let next = clock.last();
        let _ = clock.receive(1_000, stamp(next.wall_ms() + MAX_DRIFT_MS, u16::MAX, 6));
        let _ = clock.receive(1_000, stamp(next.wall_ms() + 1, u16::MAX, 6));
        let _ = clock.receive(1_000, stamp(next.wall_ms(), u16::MAX, 6));
    }
    assert!(clock.last() <= stamp(1_000 + MAX_DRIFT_MS + 1, u16::MAX, u64::MAX), "{}", clock.last());
}

#[test]
fn echoes_of_what_is_stored_are_taken_after_the_clock_went_back() {
    let mut clock = Clock::new(5);
    let stored = stamp(10_000_000, 7, 5);
    clock.restore(stored);
    assert!(clock.receive(0, stored).unwrap() > stored);
    assert!(clock.receive(0, stamp(9_999_999, 0, 6)).unwrap() > stored);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_order_of_texts_is_the_order_of_stamps(a in any_stamp(), b in any_stamp()) {
        prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        prop_assert_eq!((a.wall_ms(), a.counter(), a.node()).cmp(&(b.wall_ms(), b.counter(), b.node())), a.cmp(&b));
        prop_assert_eq!(a.to_string().parse(), Ok(a));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), near in "[0-9a-f]{11,13}-[0-9a-fé]{3,4}-[0-9a-fA-F]{16}") {
        for text in [text, near] {
            if let Ok(stamp) = text.parse::<Timestamp>() {
                prop_assert_eq!(stamp.to_string(), text);
            }
        }
    }

    #[test]
    fn stamps_rise_whatever_comes(
        node in 0..3_u64,
        events in prop::collection::vec((0..200_000_u64, prop::option::of((0..300_000_u64, any::<u16>(), 0..3_u64)), any::<bool>()), 1..60),
    ) {
        let mut clock = Clock::new(node);
        let mut given: Option<Timestamp> = None;
        for (now_ms, remote, restarts) in events {
            if restarts {
                clock = Clock::new(node);
                given.into_iter().for_each(|stored| clock.restore(stored));
            }
            let before = clock.last();
            let remote = remote.map(|(wall, counter, node)| stamp(wall, counter, node));
            let next = match remote {
                None => clock.tick(now_ms),
                Some(remote) => clock.receive(now_ms, remote),
            };
            match (next, remote) {
                (Ok(next), remote) => {
                    prop_assert!(Some(next) > given && Some(next) > remote && next.wall_ms() >= now_ms);
                    prop_assert_eq!(next.node(), node);
                    given = Some(next);
                }
                (Err(error), Some(remote)) => {
                    prop_assert!(remote.wall_ms() > now_ms + MAX_DRIFT_MS, "{}", error);
                    prop_assert_eq!(clock.last(), before);
                }
                (Err(error), None) => prop_assert!(false, "{}", error),
            }
        }
    }
}
