//! The storage in memory passes the contract, and the contract catches storages that break it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use statik_disk::Kind;
use statik_sync::adapter::{MemStorage, Storage, contract};
use statik_sync::hlc::{Clock, MAX_WALL_MS, Timestamp};
use statik_sync::oplog::{Action, Entry};
use statik_sync::record::Record;

/// The result of a future that waits for nobody.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a storage in memory has nobody to wait for"),
    }
}

#[test]
fn memory_passes_the_contract() {
    let places: RefCell<BTreeMap<String, MemStorage>> = RefCell::default();
    let open = async |name: &str, now: contract::Now| {
        let (clock, now_ms) = (Clock::new(contract::NODE), move || now.get());
        let mut places = places.borrow_mut();
        let storage = match places.get(name) {
            Some(place) => place.reopen(clock, now_ms),
            None => MemStorage::new(clock, now_ms),
        };
        places.insert(name.to_owned(), storage.reopen(Clock::new(1), || 0));
        storage
    };
    ready(contract::suite(open));
}

#[test]
fn two_nodes_remove_above_each_other() {
    let here = MemStorage::new(Clock::new(1), || 1_000);
    let there = here.reopen(Clock::new(2), || 10);
    for _ in 0..3 {
        for (storage, node) in [(&here, 1), (&there, 2)] {
            let hlc = ready(storage.stamp()).unwrap();
            let record = Record { value: Some(vec![1]), hlc, expires_ms: None };
            ready(storage.put("k", record.clone())).unwrap();
            assert_eq!(ready(here.get("k")).unwrap(), Some(record));
            ready(storage.remove("k")).unwrap();
            let gone = ready(there.get("k")).unwrap().unwrap();
            assert!(gone.is_deleted() && gone.hlc.node() == node, "{gone:?}");
        }
    }
}

#[test]
fn a_visitor_may_write() {
    let storage = Rc::new(MemStorage::new(Clock::new(1), || 0));
    for key in ["a", "b"] {
        ready(storage.remove(key)).unwrap();
    }
    let mut met = Vec::new();
    let mut visit = |key: &str, _| {
        met.push(key.to_owned());
        ready(storage.remove(&format!("{key}{key}"))).unwrap();
    };
    ready(storage.iterate_keys(&mut visit)).unwrap();
    assert_eq!(met, ["a", "b"]);
    assert!(ready(storage.get("bb")).unwrap().is_some());
}

#[test]
fn a_removal_above_the_last_stamp_fails_and_changes_nothing() {
    let storage = MemStorage::new(Clock::new(1), || 0);
    let last = Timestamp::new(MAX_WALL_MS, u16::MAX, 0).unwrap();
    let record = Record { value: Some(vec![1]), hlc: last, expires_ms: None };
    let entry = Entry { key: "k".to_owned(), action: Action::Remove, hlc: last };
    ready(storage.commit(BTreeMap::from([("k".to_owned(), record.clone())]), vec![entry])).unwrap();
    assert_eq!(ready(storage.remove("k")).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(ready(storage.get("k")).unwrap(), Some(record));
}
