//! The storage in memory passes the contract, and the contract catches storages that break it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use statik_disk::{Kind, Result};
use statik_sync::adapter::{MemStorage, Metadata, Storage, contract};
use statik_sync::hlc::{Clock, MAX_WALL_MS, Timestamp};
use statik_sync::oplog::{Action, Entry, Op, Peer};
use statik_sync::record::Record;

/// The result of a future that waits for nobody.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a storage in memory has nobody to wait for"),
    }
}

type Places = RefCell<BTreeMap<String, MemStorage>>;

/// Opens the storage of a name as the contract wants it.
fn open(places: &Places, name: &str, now: contract::Now) -> MemStorage {
    let (clock, now_ms) = (Clock::new(contract::NODE), move || now.get());
    let mut places = places.borrow_mut();
    let storage = match places.get(name) {
        Some(place) => place.reopen(clock, now_ms),
        None => MemStorage::new(clock, now_ms),
    };
    places.insert(name.to_owned(), storage.reopen(Clock::new(1), || 0));
    storage
}

#[test]
fn memory_passes_the_contract() {
    let places = Places::default();
    ready(contract::suite(async |name: &str, now| open(&places, name, now)));
}

/// What a storage may do wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    PutReplaces,
    RemoveErases,
    RemoveTakesTheTimeAlone,
    BatchLosesOne,
    KeysWithoutTombstones,
    ExpiryIsLost,
    CommitLogsNothing,
    CommitReplaces,
    PendingFromTheStart,
    LimitIsIgnored,
    PruneAsAsked,
    NumbersStartAnew,
    StrangersAcknowledge,
    NothingIsKept,
    CloseIsNothing,
}

const BUGS: [Bug; 15] = [
    Bug::PutReplaces,
    Bug::RemoveErases,
    Bug::RemoveTakesTheTimeAlone,
    Bug::BatchLosesOne,
    Bug::KeysWithoutTombstones,
    Bug::ExpiryIsLost,
    Bug::CommitLogsNothing,
    Bug::CommitReplaces,
    Bug::PendingFromTheStart,
    Bug::LimitIsIgnored,
    Bug::PruneAsAsked,
    Bug::NumbersStartAnew,
    Bug::StrangersAcknowledge,
    Bug::NothingIsKept,
    Bug::CloseIsNothing,
];

/// A storage with a bug, over one that has none.
struct Broken {
    sound: MemStorage,
    bug: Option<Bug>,
    /// What a call that replaces has put.
    replaced: RefCell<BTreeMap<String, Record>>,
    now: contract::Now,
}

impl Broken {
    async fn write(&self, key: &str, mut record: Record, replaces: Bug) -> Result<()> {
        if self.bug == Some(Bug::ExpiryIsLost) {
            record.expires_ms = None;
        }
        if self.bug == Some(replaces) {
            self.replaced.borrow_mut().insert(key.to_owned(), record.clone());
        }
        self.sound.put(key, record).await
    }
}

impl Storage for Broken {
    async fn stamp(&self) -> Result<Timestamp> {
        self.sound.stamp().await
    }

    async fn get(&self, key: &str) -> Result<Option<Record>> {
        let replaced = self.replaced.borrow().get(key).cloned();
        let record = self.sound.get(key).await?;
        let erased = self.bug == Some(Bug::RemoveErases) && record.as_ref().is_some_and(Record::is_deleted);
        Ok(replaced.or(record).filter(|_| !erased))
    }

    async fn put(&self, key: &str, record: Record) -> Result<()> {
        self.write(key, record, Bug::PutReplaces).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        if self.bug == Some(Bug::RemoveTakesTheTimeAlone) {
            let hlc = Timestamp::new(self.now.get(), 0, contract::NODE)?;
            return self.sound.put(key, Record { value: None, hlc, expires_ms: None }).await;
        }
        self.sound.remove(key).await
    }

    async fn batch_put(&self, mut records: BTreeMap<String, Record>) -> Result<()> {
        if self.bug == Some(Bug::BatchLosesOne) {
            records.pop_last();
        }
        self.sound.batch_put(records).await
    }

    async fn iterate_keys(&self, visit: &mut dyn FnMut(&str, Metadata)) -> Result<()> {
        let bug = self.bug;
        let mut without = |key: &str, metadata: Metadata| {
            if bug != Some(Bug::KeysWithoutTombstones) || !metadata.is_deleted {
                visit(key, metadata);
            }
        };
        self.sound.iterate_keys(&mut without).await
    }

    async fn append_op_log(&self, entry: Entry) -> Result<u64> {
        let id = self.sound.append_op_log(entry).await?;
        let held = self.sound.pending_ops(None, None).await?.len() as u64;
        Ok(if self.bug == Some(Bug::NumbersStartAnew) { held } else { id })
    }

    async fn pending_ops(&self, peer: Option<&str>, limit: Option<usize>) -> Result<Vec<Op>> {
        let known = self.sound.pending_ops(peer, limit).await?;
        match self.bug {
            Some(Bug::PendingFromTheStart) => self.sound.pending_ops(None, limit).await,
            Some(Bug::LimitIsIgnored) => self.sound.pending_ops(peer, None).await,
            _ => Ok(known),
        }
    }

    async fn prune_op_log(&self, last_synced_id: u64) -> Result<u64> {
        if self.bug == Some(Bug::PruneAsAsked) {
            let slow: Vec<Peer> = self.sound.peers().await?;
            for peer in slow {
                self.sound.acknowledge(&peer.name, last_synced_id).await?;
            }
        }
        self.sound.prune_op_log(last_synced_id).await
    }

    async fn commit(&self, puts: BTreeMap<String, Record>, entries: Vec<Entry>) -> Result<Vec<u64>> {
        if self.bug == Some(Bug::CommitReplaces) {
            for (key, record) in &puts {
                self.write(key, record.clone(), Bug::CommitReplaces).await?;
            }
        }
        let entries = if self.bug == Some(Bug::CommitLogsNothing) { Vec::new() } else { entries };
        self.sound.commit(puts, entries).await
    }

    async fn register_peer(&self, name: &str) -> Result<Peer> {
        self.sound.register_peer(name).await
    }

    async fn acknowledge(&self, name: &str, id: u64) -> Result<()> {
        match self.sound.acknowledge(name, id).await {
            Err(error) if self.bug == Some(Bug::StrangersAcknowledge) && error.kind() == Kind::NotFound => Ok(()),
            result => result,
        }
    }

    async fn forget_peer(&self, name: &str) -> Result<()> {
        self.sound.forget_peer(name).await
    }

    async fn peers(&self) -> Result<Vec<Peer>> {
        self.sound.peers().await
    }

    async fn close(&self) -> Result<()> {
        if self.bug == Some(Bug::CloseIsNothing) { Ok(()) } else { self.sound.close().await }
    }
}

/// Whether a storage with this bug passes the contract.
fn passes(bug: Option<Bug>) -> bool {
    let suite = || {
        let places = Places::default();
        let open = async |name: &str, now: contract::Now| {
            if bug == Some(Bug::NothingIsKept) {
                places.borrow_mut().clear();
            }
            let sound = open(&places, name, Rc::clone(&now));
            Broken { sound, bug, replaced: RefCell::default(), now }
        };
        ready(contract::suite(open));
    };
    std::panic::catch_unwind(suite).is_ok()
}

#[test]
fn the_contract_catches_every_bug() {
    assert!(passes(None), "without a bug it passes");
    for bug in BUGS {
        assert!(!passes(Some(bug)), "{bug:?} passes the contract");
    }
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
