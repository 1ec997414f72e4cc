//! What every [`Storage`] must do, as checks that panic with what was expected and what came. Implementations call
//! [`suite`] from their tests, natively and in the browser; it needs no runtime but whoever polls it.
//!
//! It cannot make a platform fail: that a batch which fails halfway leaves nothing behind is for each implementation's
//! own tests.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use statik_disk::{Kind, Result};

use super::{Metadata, Storage};
use crate::hlc::Timestamp;
use crate::oplog::{Action, Entry, Op, Peer};
use crate::record::Record;

/// The node that the checks' storages are to stamp for.
pub const NODE: u64 = 7;

/// A time in milliseconds that the checks set and the storage reads.
pub type Now = Rc<Cell<u64>>;

/// Runs every check. `open` opens the storage of a name: an empty one the first time, what was stored there the next
/// time, by then closed. Its clock's node is [`NODE`].
pub async fn suite<S: Storage>(open: impl AsyncFn(&str, Now) -> S) {
    let fresh = async |name: &str| open(name, at(1_000)).await;
    reading_and_writing(&fresh("reading and writing").await).await;
    odd_keys(&fresh("odd keys").await).await;
    merging(&fresh("merging").await).await;
    removing(&fresh("removing").await).await;
    batches(&fresh("batches").await).await;
    the_log(&fresh("the log").await).await;
    commits(&fresh("commits").await).await;
    pruning(&fresh("pruning").await).await;
    peers(&open).await;
    stamps(&open).await;
    reopening(&open).await;
    closing(&fresh("closing").await).await;
}

fn at(now_ms: u64) -> Now {
    Rc::new(Cell::new(now_ms))
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

fn stamp(wall_ms: u64, counter: u16) -> Timestamp {
    Timestamp::new(wall_ms, counter, 3).expect("a small time")
}

fn value(text: &str, hlc: Timestamp) -> Record {
    Record { value: Some(text.as_bytes().to_vec()), hlc, expires_ms: None }
}

fn entry(key: &str, hlc: Timestamp) -> Entry {
    Entry { key: key.to_owned(), action: Action::Put(key.as_bytes().to_vec()), hlc }
}

async fn stored<S: Storage>(storage: &S, key: &str) -> Record {
    storage.get(key).await.expect("get").unwrap_or_else(|| panic!("{key:?} has no record"))
}

async fn ids<S: Storage>(storage: &S, peer: Option<&str>, limit: Option<usize>) -> Vec<u64> {
    storage.pending_ops(peer, limit).await.expect("pending_ops").iter().map(|op| op.id).collect()
}

async fn keys<S: Storage>(storage: &S) -> BTreeMap<String, Metadata> {
    let mut keys = BTreeMap::new();
    let mut visit = |key: &str, metadata| assert_eq!(keys.insert(key.to_owned(), metadata), None, "{key:?} comes once");
    storage.iterate_keys(&mut visit).await.expect("iterate_keys");
    keys
}

async fn reading_and_writing<S: Storage>(storage: &S) {
    assert_eq!(storage.get("a").await.expect("get"), None);
    assert!(keys(storage).await.is_empty());
    for bytes in [vec![], vec![0], (0..=255).collect(), vec![0xff; 100_000]] {
        let record = Record { value: Some(bytes), hlc: stamp(5, 0), expires_ms: Some(9) };
        let key = format!("of {} bytes", record.value.as_ref().map_or(0, Vec::len));
        storage.put(&key, record.clone()).await.expect("put");
        assert_eq!(stored(storage, &key).await, record);
    }
    // Expired is not gone: somebody has to drop it.
    assert_eq!(keys(storage).await.len(), 4);
    let greatest = Timestamp::new(crate::hlc::MAX_WALL_MS, u16::MAX, u64::MAX).expect("the greatest");
    let record = Record { expires_ms: Some((1 << 53) - 1), ..value("z", greatest) };
    storage.put("greatest numbers", record.clone()).await.expect("put");
    assert_eq!(stored(storage, "greatest numbers").await, record);
}

async fn odd_keys<S: Storage>(storage: &S) {
    let odd =
        ["", " ", "a", "A", "a ", "ä", "a\u{308}", "☃ 𝕏", "\0", "a\0b", "%", "_", "'", "\u{ffff}", "__proto__", "1"];
    for (number, key) in odd.iter().enumerate() {
        storage.put(key, value(key, stamp(number as u64, 0))).await.expect("put");
    }
    for (number, key) in odd.iter().enumerate() {
        assert_eq!(stored(storage, key).await, value(key, stamp(number as u64, 0)), "{key:?}");
    }
    let found = keys(storage).await;
    assert_eq!(found.len(), odd.len(), "all keys are told apart: {found:?}");
}

async fn merging<S: Storage>(storage: &S) {
    let tombstone = |hlc| Record { value: None, hlc, expires_ms: None };
    let expiring = |at| Record { expires_ms: Some(at), ..value("b", stamp(10, 1)) };
    // From the least to the greatest.
    let ladder = [
        value("z", stamp(9, 9)),
        tombstone(stamp(10, 0)),
        value("a", stamp(10, 1)),
        expiring(5),
        expiring(1 << 40),
        value("b", stamp(10, 1)),
        tombstone(stamp(10, 1)),
        value("a", stamp(255, 0)),
        value("a", stamp(256, 0)),
    ];
    for (low, least) in ladder.iter().enumerate() {
        for (high, greatest) in ladder.iter().enumerate().skip(low) {
            let (up, down) = (format!("up {low} {high}"), format!("down {low} {high}"));
            storage.put(&up, least.clone()).await.expect("put");
            storage.put(&up, greatest.clone()).await.expect("put the greater one");
            storage.put(&down, greatest.clone()).await.expect("put");
            storage.put(&down, least.clone()).await.expect("put the lesser one");
            assert_eq!(stored(storage, &up).await, *greatest);
            assert_eq!(stored(storage, &down).await, *greatest);
        }
    }
    let met = keys(storage).await;
    assert_eq!(met["up 0 6"], Metadata { hlc: stamp(10, 1), is_deleted: true });
    assert_eq!(met["down 0 8"], Metadata { hlc: stamp(256, 0), is_deleted: false });
}

async fn removing<S: Storage>(storage: &S) {
    storage.put("near", value("a", stamp(900, 0))).await.expect("put");
    storage.put("ahead", value("a", stamp(5_000, 3))).await.expect("put");
    for (key, above) in [("near", stamp(900, 0)), ("ahead", stamp(5_000, 3)), ("absent", stamp(0, 0))] {
        storage.remove(key).await.expect("remove");
        let gone = stored(storage, key).await;
        assert!(gone.is_deleted(), "{key} is a tombstone");
        assert!(gone.hlc > above, "{key}: the tombstone's {} wins over {above}", gone.hlc);
        assert_eq!(gone.hlc.node(), NODE, "the stamp is of the storage's clock");
        assert!(keys(storage).await[key].is_deleted);
        storage.put(key, value("late", above)).await.expect("put");
        assert_eq!(stored(storage, key).await, gone, "what is older than the removal stays away");
        let again = storage.stamp().await.expect("stamp");
        storage.put(key, value("again", again)).await.expect("put");
        assert_eq!(stored(storage, key).await, value("again", again));
    }
}

async fn batches<S: Storage>(storage: &S) {
    storage.put("b", value("newer", stamp(7, 0))).await.expect("put");
    storage.put("c", value("older", stamp(1, 0))).await.expect("put");
    let batch = ["a", "b", "c"].map(|key| (key.to_owned(), value("batch", stamp(3, 0))));
    storage.batch_put(BTreeMap::from(batch)).await.expect("batch_put");
    for (key, expected) in [("a", "batch"), ("b", "newer"), ("c", "batch")] {
        assert_eq!(stored(storage, key).await.value.as_deref(), Some(expected.as_bytes()), "{key}");
    }
    storage.batch_put(BTreeMap::new()).await.expect("an empty batch");
    let large = (0..1_000).map(|number| (format!("n{number}"), value("x", stamp(number, 0)))).collect();
    storage.batch_put(large).await.expect("a large batch");
    assert_eq!(keys(storage).await.len(), 1_003);
    assert!(ids(storage, None, None).await.is_empty(), "records alone log nothing");
}

async fn the_log<S: Storage>(storage: &S) {
    assert!(ids(storage, None, None).await.is_empty());
    let put = entry("a", stamp(1, 0));
    let empty = Entry { key: String::new(), action: Action::Put(Vec::new()), hlc: stamp(1, 1) };
    let remove = Entry { key: "a".to_owned(), action: Action::Remove, hlc: stamp(2, 0) };
    for (id, entry) in (1..).zip([&put, &empty, &remove]) {
        assert_eq!(storage.append_op_log(entry.clone()).await.expect("append"), id, "numbers rise by one from 1");
    }
    let ops: Vec<Op> = (1..).zip([put, empty, remove]).map(|(id, entry)| Op { id, entry }).collect();
    assert_eq!(storage.pending_ops(None, None).await.expect("pending_ops"), ops);
    assert_eq!(ids(storage, None, Some(2)).await, [1, 2]);
    assert_eq!(ids(storage, None, Some(0)).await, []);
    assert_eq!(kind(storage.pending_ops(Some("nobody"), None).await), Some(Kind::NotFound));
    storage.register_peer("p").await.expect("register");
    storage.acknowledge("p", 1).await.expect("acknowledge");
    assert_eq!(ids(storage, Some("p"), None).await, [2, 3]);
    assert_eq!(ids(storage, Some("p"), Some(1)).await, [2]);
    assert_eq!(ids(storage, None, None).await, [1, 2, 3], "what was acknowledged is not yet gone");
    assert!(keys(storage).await.is_empty(), "the log alone writes no records");
}

async fn commits<S: Storage>(storage: &S) {
    storage.put("b", value("newer", stamp(9, 0))).await.expect("put");
    let puts = ["a", "b"].map(|key| (key.to_owned(), value("committed", stamp(5, 0))));
    let entries = vec![entry("a", stamp(5, 0)), entry("b", stamp(5, 0))];
    let numbers = storage.commit(BTreeMap::from(puts), entries.clone()).await.expect("commit");
    assert_eq!(numbers, [1, 2]);
    assert_eq!(stored(storage, "a").await, value("committed", stamp(5, 0)));
    assert_eq!(stored(storage, "b").await, value("newer", stamp(9, 0)), "a commit merges");
    let ops = storage.pending_ops(None, None).await.expect("pending_ops");
    assert_eq!(ops.into_iter().map(|op| op.entry).collect::<Vec<_>>(), entries);
    let none: [u64; 0] = [];
    assert_eq!(storage.commit(BTreeMap::new(), Vec::new()).await.expect("an empty commit"), none);
}

async fn pruning<S: Storage>(storage: &S) {
    for number in 1..=6 {
        storage.append_op_log(entry("k", stamp(number, 0))).await.expect("append");
    }
    assert_eq!(storage.prune_op_log(6).await.expect("prune"), 0, "nobody said that they have anything");
    storage.register_peer("fast").await.expect("register");
    storage.register_peer("slow").await.expect("register");
    storage.acknowledge("fast", 5).await.expect("acknowledge");
    assert_eq!(storage.prune_op_log(6).await.expect("prune"), 0, "slow has nothing yet");
    storage.acknowledge("slow", 3).await.expect("acknowledge");
    assert_eq!(storage.prune_op_log(2).await.expect("prune"), 2, "no further than asked for");
    assert_eq!(storage.prune_op_log(6).await.expect("prune"), 1, "no further than slow has got");
    assert_eq!(storage.prune_op_log(6).await.expect("prune"), 0);
    assert_eq!(ids(storage, None, None).await, [4, 5, 6]);
    assert_eq!(ids(storage, Some("slow"), None).await, [4, 5, 6]);

    let late = storage.register_peer("late").await.expect("register");
    assert_eq!(late.acknowledged, 3, "a new peer is told that it cannot have what was pruned");
    storage.forget_peer("late").await.expect("forget");
    storage.forget_peer("slow").await.expect("forget");
    assert_eq!(kind(storage.acknowledge("slow", 6).await), Some(Kind::NotFound), "a forgotten peer has no say");
    assert_eq!(storage.prune_op_log(6).await.expect("prune"), 2);
    storage.acknowledge("fast", 6).await.expect("acknowledge");
    assert_eq!(storage.prune_op_log(6).await.expect("prune"), 1);
    assert_eq!(storage.append_op_log(entry("k", stamp(7, 0))).await.expect("append"), 7, "no number comes twice");
    assert_eq!(ids(storage, Some("fast"), None).await, [7]);
}

async fn peers<S: Storage>(open: &impl AsyncFn(&str, Now) -> S) {
    let now = at(100);
    let storage = open("peers", Rc::clone(&now)).await;
    let told = |name: &str, acknowledged, seen_ms| Peer { name: name.to_owned(), acknowledged, seen_ms };
    assert!(storage.peers().await.expect("peers").is_empty());
    assert_eq!(kind(storage.register_peer("").await), Some(Kind::Invalid));
    assert_eq!(storage.register_peer("b").await.expect("register"), told("b", 0, 100));
    storage.register_peer("a").await.expect("register");
    for number in 1..=3 {
        storage.append_op_log(entry("k", stamp(number, 0))).await.expect("append");
    }
    now.set(200);
    storage.acknowledge("b", 2).await.expect("acknowledge");
    now.set(150);
    storage.acknowledge("b", 1).await.expect("an older message that comes late");
    assert_eq!(storage.peers().await.expect("peers"), [told("a", 0, 100), told("b", 2, 200)]);
    assert_eq!(kind(storage.acknowledge("b", 4).await), Some(Kind::Invalid), "what is not there cannot be had");
    assert_eq!(kind(storage.acknowledge("c", 1).await), Some(Kind::NotFound));
    assert_eq!(kind(storage.forget_peer("c").await), Some(Kind::NotFound));
    now.set(300);
    assert_eq!(storage.register_peer("b").await.expect("register again"), told("b", 2, 300));
    storage.forget_peer("a").await.expect("forget");
    assert_eq!(storage.peers().await.expect("peers"), [told("b", 2, 300)]);
}

async fn stamps<S: Storage>(open: &impl AsyncFn(&str, Now) -> S) {
    let now = at(1_000);
    let storage = open("stamps", Rc::clone(&now)).await;
    let mut last = storage.stamp().await.expect("stamp");
    assert_eq!((last.wall_ms(), last.node()), (1_000, NODE));
    for time in [1_000, 1_001, 500, 0, 2_000] {
        now.set(time);
        let next = storage.stamp().await.expect("stamp");
        assert!(next > last, "{next} is above {last}, whatever the time {time}");
        last = next;
    }
    storage.put("k", value("a", stamp(90_000_000, 0xffff))).await.expect("put");
    let next = storage.stamp().await.expect("stamp");
    assert!(next > stamp(90_000_000, 0xffff), "{next} is above what is stored");
    storage.append_op_log(entry("k", stamp(90_000_005, 0))).await.expect("append");
    let next = storage.stamp().await.expect("stamp");
    assert!(next > stamp(90_000_005, 0), "{next} is above what is in the log");
    storage.close().await.expect("close");

    now.set(10);
    let storage = open("stamps", now).await;
    let next = storage.stamp().await.expect("stamp");
    assert!(next > stamp(90_000_005, 0), "{next} is above what was stored before the clock went back");
    storage.remove("k").await.expect("remove");
    assert!(stored(&storage, "k").await.is_deleted());
}

async fn reopening<S: Storage>(open: &impl AsyncFn(&str, Now) -> S) {
    let storage = open("reopening", at(1_000)).await;
    storage.register_peer("p").await.expect("register");
    let put = BTreeMap::from([("a".to_owned(), Record { expires_ms: Some(44), ..value("kept", stamp(5, 0)) })]);
    let entries = (1..=3).map(|number| entry("a", stamp(number, 0))).collect();
    storage.commit(put, entries).await.expect("commit");
    storage.remove("b").await.expect("remove");
    storage.acknowledge("p", 3).await.expect("acknowledge");
    storage.prune_op_log(3).await.expect("prune");
    let (met, known) = (keys(&storage).await, storage.peers().await.expect("peers"));
    storage.close().await.expect("close");

    let storage = open("reopening", at(1_000)).await;
    assert_eq!(stored(&storage, "a").await, Record { expires_ms: Some(44), ..value("kept", stamp(5, 0)) });
    assert_eq!(keys(&storage).await, met);
    assert_eq!(storage.peers().await.expect("peers"), known);
    let late = storage.register_peer("late").await.expect("register");
    assert_eq!(late.acknowledged, 3, "that operations were pruned is remembered");
    let next = storage.append_op_log(entry("a", stamp(4, 0))).await.expect("append");
    assert_eq!(next, 4, "numbers go on, though the log was empty");
    let other = open("another", at(1_000)).await;
    assert!(keys(&other).await.is_empty(), "names are different storages");
}

async fn closing<S: Storage>(storage: &S) {
    storage.put("a", value("a", stamp(1, 0))).await.expect("put");
    storage.close().await.expect("close");
    storage.close().await.expect("close again");
    let kinds = [
        kind(storage.stamp().await),
        kind(storage.get("a").await),
        kind(storage.put("a", value("b", stamp(2, 0))).await),
        kind(storage.remove("a").await),
        kind(storage.batch_put(BTreeMap::new()).await),
        kind(storage.iterate_keys(&mut |key, _| panic!("{key:?} comes out of a closed storage")).await),
        kind(storage.append_op_log(entry("a", stamp(2, 0))).await),
        kind(storage.pending_ops(None, None).await),
        kind(storage.prune_op_log(1).await),
        kind(storage.commit(BTreeMap::new(), Vec::new()).await),
        kind(storage.register_peer("p").await),
        kind(storage.acknowledge("p", 1).await),
        kind(storage.forget_peer("p").await),
        kind(storage.peers().await),
    ];
    assert_eq!(kinds, [Some(Kind::Closed); 14]);
}
