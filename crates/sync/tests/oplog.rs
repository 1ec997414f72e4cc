//! The op-log's rules, sentence by sentence, and against a model that keeps every operation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use statik_disk::Kind;
use statik_sync::oplog::{Peer, Watermarks};

const SEED: u64 = 0x4f50_4c47;

fn config() -> ProptestConfig {
    println!("seed {SEED:#x}");
    ProptestConfig { rng_seed: RngSeed::Fixed(SEED), failure_persistence: None, ..ProptestConfig::with_cases(1_000) }
}

fn peer(name: &str, acknowledged: u64) -> Peer {
    Peer { name: name.to_owned(), acknowledged, seen_ms: 1 }
}

/// A log of five operations.
fn five() -> Watermarks {
    let mut log = Watermarks::new();
    for id in 1..=5 {
        assert_eq!(log.append().unwrap(), id);
    }
    log
}

#[test]
fn without_peers_nothing_is_pruned() {
    let mut log = five();
    assert_eq!(log.prunable(), None);
    assert_eq!(log.prune(5), 0);
    log.register("a", 0).unwrap();
    log.acknowledge("a", 4, 0).unwrap();
    log.forget("a").unwrap();
    assert_eq!(log.prune(5), 0, "a peer that was forgotten acknowledges nothing");
}

#[test]
fn the_slowest_peer_holds_the_log() {
    let mut log = five();
    log.register("a", 0).unwrap();
    log.register("b", 0).unwrap();
    log.acknowledge("a", 5, 0).unwrap();
    assert_eq!((log.prunable(), log.prune(5)), (Some(0), 0));
    log.acknowledge("b", 3, 0).unwrap();
    assert_eq!((log.prunable(), log.prune(2), log.prune(5)), (Some(3), 2, 3));
    assert_eq!(log.prune(1), 3, "what is gone stays gone");
}

#[test]
fn strangers_have_no_say() {
    let mut log = five();
    assert_eq!(log.acknowledge("a", 1, 0).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(log.forget("a").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(log.peer("a").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(log.register("", 0).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(log.peers().count(), 0);
}

#[test]
fn nobody_has_what_is_not_there() {
    let mut log = five();
    log.register("a", 7).unwrap();
    let error = log.acknowledge("a", 6, 9).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("\"a\" says up to 6, the log ends at 5"), "{error}");
    assert_eq!(*log.peer("a").unwrap(), Peer { name: "a".to_owned(), acknowledged: 0, seen_ms: 7 });
}

#[test]
fn acknowledgements_and_times_never_go_back() {
    let mut log = five();
    log.register("a", 10).unwrap();
    log.acknowledge("a", 4, 20).unwrap();
    log.acknowledge("a", 2, 15).unwrap();
    assert_eq!(*log.register("a", 5).unwrap(), Peer { name: "a".to_owned(), acknowledged: 4, seen_ms: 20 });
}

#[test]
fn a_newcomer_starts_after_what_was_pruned() {
    let mut log = five();
    log.register("a", 0).unwrap();
    log.acknowledge("a", 3, 0).unwrap();
    log.prune(3);
    assert_eq!(log.register("b", 0).unwrap().acknowledged, 3);
}

#[test]
fn what_was_stored_comes_back_if_it_is_sound() {
    let log = Watermarks::restore([peer("a", 4), peer("b", 3)], 5, 3).unwrap();
    assert_eq!((log.last(), log.pruned(), log.prunable(), log.peers().count()), (5, 3, Some(3), 2));
    for (peers, last, pruned) in [
        (vec![], 1, 2),
        (vec![peer("a", 6)], 5, 3),
        (vec![peer("a", 2)], 5, 3),
        (vec![peer("a", 4), peer("a", 4)], 5, 3),
    ] {
        assert_eq!(Watermarks::restore(peers, last, pruned).unwrap_err().kind(), Kind::Corrupt);
    }
    let mut full = Watermarks::restore([], u64::MAX, 0).unwrap();
    assert_eq!(full.append().unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(full.last(), u64::MAX);
}

/// What happens to a log; peers are named by numbers.
#[derive(Clone, Debug)]
enum Event {
    Append,
    Register(u8),
    Acknowledge(u8, u64),
    Forget(u8),
    Prune(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Append),
        1 => (0..4_u8).prop_map(Event::Register),
        3 => (0..4_u8, 0..20_u64).prop_map(|(peer, id)| Event::Acknowledge(peer, id)),
        1 => (0..4_u8).prop_map(Event::Forget),
        2 => (0..20_u64).prop_map(Event::Prune),
    ]
}

proptest! {
    #![proptest_config(config())]

    /// Each known peer's model is the set of operations that it still has to get.
    #[test]
    fn no_known_peer_ever_loses_an_operation(events in prop::collection::vec(any_event(), 0..80)) {
        let mut log = Watermarks::new();
        let mut there: BTreeSet<u64> = BTreeSet::new();
        let mut wanted: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
        for event in events {
            match event {
                Event::Append => {
                    let id = log.append().unwrap();
                    there.insert(id);
                    wanted.values_mut().for_each(|wanted| wanted.extend([id]));
                }
                Event::Register(name) => {
                    log.register(&name.to_string(), 0).unwrap();
                    wanted.entry(name).or_insert_with(|| there.clone());
                }
                Event::Acknowledge(name, id) => {
                    let done = log.acknowledge(&name.to_string(), id, 0).is_ok();
                    prop_assert_eq!(done, wanted.contains_key(&name) && id <= log.last());
                    if let (true, Some(wanted)) = (done, wanted.get_mut(&name)) {
                        wanted.retain(|wanted| *wanted > id);
                    }
                }
                Event::Forget(name) => {
                    prop_assert_eq!(log.forget(&name.to_string()).is_ok(), wanted.remove(&name).is_some());
                }
                Event::Prune(up_to) => {
                    let gone = log.prune(up_to);
                    let before = there.clone();
                    there.retain(|id| *id > gone);
                    let removed: Vec<_> = before.difference(&there).collect();
                    prop_assert!(removed.iter().all(|id| **id <= up_to && !wanted.is_empty()));
                }
            }
            for (name, wanted) in &wanted {
                prop_assert!(wanted.is_subset(&there), "{} lost one of {:?}", name, wanted);
                let has = log.peer(&name.to_string()).unwrap().acknowledged;
                prop_assert!(wanted.iter().copied().eq(there.iter().copied().filter(|id| *id > has)));
            }
            let peers: Vec<_> = log.peers().cloned().collect();
            prop_assert!(Watermarks::restore(peers, log.last(), log.pruned()).is_ok());
        }
    }
}
