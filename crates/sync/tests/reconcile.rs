//! Reconciliation finds every difference and nothing else, in few exchanges and few bytes; its messages are those of
//! `docs/reconcile-format.md`; no stranger's bytes do harm.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sha2::{Digest, Sha256};
use statik_disk::Kind;
use statik_sync::hlc::Timestamp;
use statik_sync::reconcile::{Id, MAX_EXCHANGES, MESSAGE_BYTES, Reconciler, id};

const SAMPLE: &str = include_str!("reconcile-v1.hex");
const SEED: u64 = 0x5245_434f;
const SMALL_BYTES: usize = 8 * 1024;
const HEADER_BYTES: usize = 13;

type Item = (String, Timestamp);

fn config(cases: u32) -> ProptestConfig {
    println!("seed {SEED:#x}");
    ProptestConfig { rng_seed: RngSeed::Fixed(SEED), failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn item(number: u64, wall_ms: u64, node: u64) -> Item {
    (format!("key/{number}"), Timestamp::new(wall_ms, 0, node).unwrap())
}

/// What a conversation came to.
#[derive(Default)]
struct Outcome {
    have: Vec<String>,
    need: Vec<Id>,
    exchanges: u32,
    bytes: usize,
    longest: usize,
}

fn converse(here: &BTreeSet<Item>, there: &BTreeSet<Item>, message_bytes: usize) -> Outcome {
    let side = |items: &BTreeSet<Item>| Reconciler::with_message_bytes(items.iter().cloned(), message_bytes).unwrap();
    let (mut here, mut there) = (side(here), side(there));
    let mut outcome = Outcome::default();
    let mut next = Some(here.initiate().unwrap());
    while let Some(question) = next {
        let answer = there.respond(&question).unwrap();
        let found = here.finish(&answer).unwrap();
        outcome.exchanges += 1;
        outcome.bytes += question.len() + answer.len();
        outcome.longest = outcome.longest.max(question.len()).max(answer.len());
        outcome.have.extend(found.have);
        outcome.need.extend(found.need);
        next = found.next;
    }
    assert!(outcome.longest <= message_bytes, "{} bytes in one message", outcome.longest);
    outcome
}

/// Panics unless the conversation finds the differences, each once.
fn find(here: &BTreeSet<Item>, there: &BTreeSet<Item>, message_bytes: usize) -> Outcome {
    let mut outcome = converse(here, there, message_bytes);
    outcome.have.sort();
    outcome.need.sort();
    let mut have: Vec<String> = here.difference(there).map(|(key, _)| key.clone()).collect();
    let mut need: Vec<Id> = there.difference(here).map(|(key, hlc)| id(key, *hlc)).collect();
    have.sort();
    need.sort();
    assert!(outcome.have == have, "{} of {} that are to be sent", outcome.have.len(), have.len());
    assert!(outcome.need == need, "{} of {} that are to be asked for", outcome.need.len(), need.len());
    outcome
}

#[test]
fn ten_differences_in_ten_thousand_cost_little() {
    // One key a second; five that differ on either side, spread evenly, at the end, or at random places.
    let common: BTreeSet<Item> = (0..9_990).map(|number| item(number, 1_700_000_000_000 + 1_000 * number, 1)).collect();
    let all_keys: usize = common.iter().map(|(key, _)| key.len() + 34).sum();
    for shape in ["spread", "recent", "scattered"] {
        let wall_ms = |number: u64| match shape {
            "spread" => 1_700_000_000_500 + 1_000_000 * number,
            "recent" => 1_700_010_000_000 + number,
            _ => 1_700_000_000_500 + (number * 7_919_777) % 9_990_000,
        };
        let side = |own: std::ops::Range<u64>| {
            common.iter().cloned().chain(own.map(|number| item(10_000 + number, wall_ms(number), 2))).collect()
        };
        let outcome = find(&side(0..5), &side(5..10), MESSAGE_BYTES);
        let Outcome { exchanges, bytes, .. } = outcome;
        println!("{shape}: {exchanges} exchanges, {bytes} bytes, where all keys with stamps take {all_keys}");
        assert!(exchanges <= 3 && bytes * 10 < all_keys);
    }
}

#[test]
fn the_extremes_come_to_an_end() {
    let none = BTreeSet::new();
    let many: BTreeSet<Item> = (0..20_000).map(|number| item(number, number / 3, 1)).collect();
    let others: BTreeSet<Item> = (0..20_000).map(|number| item(number, number / 3, 2)).collect();
    for (name, here, there) in [
        ("nothing and nothing", &none, &none),
        ("nothing and all", &none, &many),
        ("all and nothing", &many, &none),
        ("the same", &many, &many),
        ("nothing in common", &many, &others),
    ] {
        for limit in [SMALL_BYTES, MESSAGE_BYTES] {
            let outcome = find(here, there, limit);
            println!("{name}, {limit} bytes a message: {} exchanges, {} bytes", outcome.exchanges, outcome.bytes);
            // Eight thousand ids fit into a message of 256 KiB, some 240 into one of 8 KiB.
            assert!(outcome.exchanges <= 8 + 40_000 * 40 / u32::try_from(limit).unwrap());
        }
    }
}

#[test]
fn a_key_that_changed_on_one_side_is_found_on_both() {
    let (old, new) = (item(1, 10, 1), item(1, 20, 2));
    let outcome = find(&BTreeSet::from([old]), &BTreeSet::from([new.clone()]), SMALL_BYTES);
    assert_eq!(outcome.have, ["key/1"]);
    let there = Reconciler::new([new]).unwrap();
    assert_eq!(there.key(&outcome.need[0]), Some("key/1"));
    assert_eq!(there.key(&[0; 32]), None);
}

#[test]
fn roles_are_not_mixed_up() {
    let mut here = Reconciler::new([item(1, 1, 1)]).unwrap();
    let mut there = Reconciler::new([item(2, 2, 2)]).unwrap();
    let question = here.initiate().unwrap();
    assert_eq!(here.initiate().unwrap_err().kind(), Kind::Invalid);
    assert_eq!(here.respond(&question).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(there.finish(&question).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(Reconciler::with_message_bytes([], 8191).unwrap_err().kind(), Kind::Invalid);
}

proptest! {
    #![proptest_config(config(300))]

    /// Sets with much, little or nothing in common, many stamps of one millisecond, and few bytes a message.
    #[test]
    fn any_two_sets_are_reconciled(
        items in prop::collection::vec((0..400_u64, 0..30_u64, 0..10_u8), 0..1_500),
        only in 0..5_u8,
    ) {
        let side = |other: u8| {
            let held = |place: u8| place >= only || place % 2 != other;
            let held = items.iter().filter(|(_, _, place)| held(*place));
            held.map(|(number, wall_ms, _)| item(*number, *wall_ms, 1)).collect::<BTreeSet<_>>()
        };
        let (here, there) = (side(0), side(1));
        let outcome = find(&here, &there, SMALL_BYTES);
        prop_assert!(outcome.exchanges <= 20, "{} exchanges", outcome.exchanges);
    }

    #[test]
    fn any_number_of_differences_anywhere_is_found(
        count in 0..3_000_u64,
        here in prop::collection::btree_set(0..3_000_u64, 0..40),
        there in prop::collection::btree_set(0..3_000_u64, 0..400),
        per_ms in 1..2_000_u64,
    ) {
        let side = |lacks: &BTreeSet<u64>| {
            let held = (0..count).filter(|number| !lacks.contains(number));
            held.map(|number| item(number, number / per_ms, 1)).collect::<BTreeSet<_>>()
        };
        find(&side(&here), &side(&there), SMALL_BYTES);
    }
}

fn sample_sides() -> [BTreeSet<Item>; 2] {
    let common = || (0..600).map(|number| item(number, 1_700_000_000_000 + number, 1));
    let own = |number: u64| item(1_000 + number, 1_700_000_000_000 + number, 2);
    [common().chain([own(100)]).collect(), common().chain([own(110), own(120)]).collect()]
}

fn unhex(line: &str) -> Vec<u8> {
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

fn hex(message: &[u8]) -> String {
    message.iter().fold(String::new(), |mut line, byte| {
        write!(line, "{byte:02x}").expect("a string takes all");
        line
    })
}

/// All messages of the conversation in the sample, in order.
fn sample_conversation() -> Vec<Vec<u8>> {
    let [here, there] = sample_sides();
    let (mut here, mut there) = (Reconciler::new(here).unwrap(), Reconciler::new(there).unwrap());
    let mut messages = vec![here.initiate().unwrap()];
    loop {
        messages.push(there.respond(messages.last().unwrap()).unwrap());
        match here.finish(messages.last().unwrap()).unwrap().next {
            Some(next) => messages.push(next),
            None => return messages,
        }
    }
}

#[test]
fn the_sample_is_what_is_written() {
    let written: String = sample_conversation().iter().map(|message| hex(message) + "\n").collect();
    assert_eq!(written, SAMPLE);
}

#[test]
fn the_sample_is_read() {
    let [here, there] = sample_sides();
    let (mut here, mut there) = (Reconciler::new(here).unwrap(), Reconciler::new(there).unwrap());
    here.initiate().unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let messages: Vec<Vec<u8>> = SAMPLE.lines().map(unhex).collect();
    for exchange in messages.chunks(2) {
        there.respond(&exchange[0]).unwrap();
        let found = here.finish(&exchange[1]).unwrap();
        have.extend(found.have);
        need.extend(found.need.iter().map(|id| there.key(id).unwrap().to_owned()));
    }
    need.sort();
    assert_eq!((have, need), (vec!["key/1100".to_owned()], vec!["key/1110".to_owned(), "key/1120".to_owned()]));
    assert_eq!(messages.len(), 4);
}

#[test]
fn an_id_is_the_hash_that_the_document_says() {
    let hlc = Timestamp::new(0x0102_0304_0506, 0x0708, 0x090a_0b0c_0d0e_0f10).unwrap();
    let bytes = b"\0\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\xc3\xbc";
    let expected: Id = Sha256::digest(bytes).into();
    assert_eq!(id("ü", hlc), expected);
}

/// A frame with a right checksum.
fn framed(body: &[u8]) -> Vec<u8> {
    [b"SREC\x01", &Sha256::digest(body)[..8], body].concat()
}

/// A side that has asked, and one that answers.
fn small_sides() -> [Reconciler; 2] {
    let side = |numbers: std::ops::Range<u64>| Reconciler::new(numbers.map(|number| item(number, number, 1))).unwrap();
    let (mut here, there) = (side(0..40), side(1..41));
    here.initiate().unwrap();
    [here, there]
}

/// What both make of a message.
fn tried([here, there]: &mut [Reconciler; 2], message: &[u8]) -> [Result<(), Kind>; 2] {
    let asked = there.respond(message).map(|answer| assert!(answer.len() <= MESSAGE_BYTES));
    let answered = here.finish(message).map(|found| {
        assert!(found.next.is_none_or(|next| next.len() <= MESSAGE_BYTES));
        assert!(found.need.len() <= message.len() / 32 && found.have.len() <= 40, "no more than it has or was told");
    });
    [asked, answered].map(|result| result.map_err(|error| error.kind()))
}

#[test]
fn every_cut_and_every_changed_bit_is_noticed() {
    let mut sides = small_sides();
    for message in sample_conversation() {
        for end in 0..message.len() {
            assert_eq!(tried(&mut sides, &message[..end]), [Err(Kind::Corrupt); 2], "cut to {end}");
        }
        for bit in 0..message.len() * 8 {
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit / 8 == 4 { Kind::Unsupported } else { Kind::Corrupt };
            assert_eq!(tried(&mut sides, &changed), [Err(expected); 2], "bit {bit}");
        }
        assert_eq!(tried(&mut sides, &[&message[..], &[0]].concat()), [Err(Kind::Corrupt); 2]);
    }
}

#[test]
fn what_has_a_right_checksum_but_makes_no_sense_is_refused() {
    let mut sides = small_sides();
    let far = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let bodies: [(&str, Vec<u8>); 14] = [
        ("empty", vec![]),
        ("another protocol", vec![0x62]),
        ("a time alone", vec![0x61, 0]),
        ("no mode", vec![0x61, 0, 0]),
        ("an unknown mode", vec![0x61, 0, 0, 3]),
        ("a fingerprint cut off", [&[0x61, 0, 0, 1][..], &[7; 15]].concat()),
        ("ids that are not there", vec![0x61, 0, 0, 2, 0xc0, 0x80, 0x80, 0x80, 0x00]),
        ("ids of more bytes than there are numbers", [&[0x61, 0, 0, 2][..], &far].concat()),
        ("one id too few", [&[0x61, 0, 0, 2, 2][..], &[7; 32]].concat()),
        ("a number that goes on", vec![0x61, 0x81]),
        ("a number of 70 bits", [&[0x61, 0x81][..], &[0x80; 9], &[0, 0, 0]].concat()),
        ("a number that begins with zero", vec![0x61, 0x80, 1, 0, 0]),
        ("an id of 33 bytes", [&[0x61, 1, 33][..], &[7; 33], &[0]].concat()),
        ("a range that goes back", vec![0x61, 5, 1, 9, 0, 1, 1, 8, 0]),
    ];
    for (name, body) in bodies {
        assert_eq!(tried(&mut sides, &framed(&body)), [Err(Kind::Corrupt); 2], "{name}");
    }
    // A time after the end of all is one past the greatest number.
    assert_eq!(tried(&mut sides, &framed(&[0x61, 5, 0, 0, 0, 0, 0, 7, 0, 0])), [Err(Kind::Corrupt); 2]);
    assert_eq!(tried(&mut sides, &framed(&[0x61])), [Ok(()); 2], "nothing differs");
    let long = framed(&[0x61; MESSAGE_BYTES]);
    assert_eq!(tried(&mut sides, &long), [Err(Kind::Corrupt); 2]);
}

#[test]
fn a_record_that_is_listed_where_it_does_not_belong_is_refused() {
    let (mut here, own) = (Reconciler::new([item(1, 1_000, 1)]).unwrap(), item(1, 1_000, 1));
    here.initiate().unwrap();
    // Up to the time 5, where nothing is.
    let body = [&[0x61, 6, 0, 2, 1][..], &id(&own.0, own.1)].concat();
    assert_eq!(here.finish(&framed(&body)).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn who_never_comes_to_an_end_is_left() {
    let many = (0..100).map(|number| item(number, number, 1));
    let mut here = Reconciler::new(many).unwrap();
    here.initiate().unwrap();
    let never = framed(&[&[0x61, 0, 0, 1][..], &[7; 16]].concat());
    for _ in 1..MAX_EXCHANGES {
        assert!(here.finish(&never).unwrap().next.is_some());
    }
    assert_eq!(here.finish(&never).unwrap_err().kind(), Kind::Aborted);
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn no_bytes_do_harm(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((any::<usize>(), prop_oneof![any::<u8>(), 0..4_u8, Just(0x80), Just(0xff)]), 0..6),
        which in 0..4_usize,
        cut in any::<usize>(),
    ) {
        // As it is, in a frame, behind a right protocol byte, and as changes to a real message with a right checksum.
        let mut sides = small_sides();
        let _ = tried(&mut sides, &noise);
        let _ = tried(&mut sides, &framed(&noise));
        let _ = tried(&mut sides, &framed(&[&[0x61][..], &noise].concat()));
        let mut body = unhex(SAMPLE.lines().nth(which).unwrap()).split_off(HEADER_BYTES);
        for (at, byte) in changes {
            let length = body.len();
            body[at % length] = byte;
        }
        body.truncate(1 + cut % body.len());
        let _ = tried(&mut sides, &framed(&body));
    }
}
