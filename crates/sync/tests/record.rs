//! Merging commutes, associates and is idempotent, and the last writer wins.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use statik_sync::hlc::Timestamp;
use statik_sync::record::{Record, merge};

const SEED: u64 = 0x4d45_5247;

fn config() -> ProptestConfig {
    println!("seed {SEED:#x}");
    ProptestConfig { rng_seed: RngSeed::Fixed(SEED), failure_persistence: None, ..ProptestConfig::with_cases(5_000) }
}

/// So few that many have much in common.
fn any_record() -> impl Strategy<Value = Record> {
    let value = prop::option::of(prop::collection::vec(0..2_u8, 0..3));
    (value, 0..2_u64, 0..2_u16, 0..2_u64, prop::option::of(0..3_u64)).prop_map(
        |(value, wall, counter, node, expires_ms)| Record {
            value,
            hlc: Timestamp::new(wall, counter, node).unwrap(),
            expires_ms,
        },
    )
}

/// The rule in other words than the code's, one question after the other.
fn stays<'a>(a: &'a Record, b: &'a Record) -> &'a Record {
    if a.hlc != b.hlc {
        return if a.hlc > b.hlc { a } else { b };
    }
    match (&a.value, &b.value) {
        (None, Some(_)) => a,
        (Some(_), None) => b,
        (Some(x), Some(y)) if x > y => a,
        (Some(x), Some(y)) if x < y => b,
        _ => match (a.expires_ms, b.expires_ms) {
            (None, _) => a,
            (_, None) => b,
            (Some(x), Some(y)) => {
                if x >= y {
                    a
                } else {
                    b
                }
            }
        },
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn merging_commutes_associates_and_is_idempotent(a in any_record(), b in any_record(), c in any_record()) {
        let merged = |a: &Record, b: &Record| merge(a.clone(), b.clone());
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(&merged(&a, &a), &a);
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
    }

    #[test]
    fn the_last_writer_wins(a in any_record(), b in any_record()) {
        prop_assert_eq!(&merge(a.clone(), b.clone()), stays(&a, &b));
        prop_assert_eq!(a.cmp(&b).is_eq(), a == b);
    }

    #[test]
    fn replicas_agree_whatever_comes_in_whatever_order(
        (records, order) in prop::collection::vec(any_record(), 1..8)
            .prop_flat_map(|records| (Just(records.clone()), Just([records.clone(), records].concat()).prop_shuffle())),
    ) {
        let here = records.into_iter().reduce(merge);
        let there = order.into_iter().reduce(merge);
        prop_assert_eq!(here, there);
    }
}
