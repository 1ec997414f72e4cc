//! The storage in memory: the reference implementation.
//!
//! Invariant: between calls the maps are whole. A call that changes them does what can fail before its first change.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use statik_disk::{Error, Kind, Result};

use super::{Metadata, Storage};
use crate::hlc::{Clock, Timestamp};
use crate::oplog::{Entry, Op, Peer, Watermarks};
use crate::record::{Record, merge};

#[derive(Default)]
struct Content {
    records: BTreeMap<String, Record>,
    ops: BTreeMap<u64, Entry>,
    watermarks: Watermarks,
    /// The greatest stamp that was ever stored.
    newest: Option<Timestamp>,
}

impl Content {
    fn put(&mut self, key: String, record: Record) {
        self.newest = self.newest.max(Some(record.hlc));
        let record = match self.records.remove(&key) {
            Some(stored) => merge(stored, record),
            None => record,
        };
        self.records.insert(key, record);
    }

    /// Appends all of the entries, or fails and appends none.
    fn append(&mut self, entries: Vec<Entry>) -> Result<Vec<u64>> {
        let mut watermarks = self.watermarks.clone();
        let ids: Vec<u64> = entries.iter().map(|_| watermarks.append()).collect::<Result<_>>()?;
        self.watermarks = watermarks;
        for (id, entry) in ids.iter().zip(entries) {
            self.newest = self.newest.max(Some(entry.hlc));
            self.ops.insert(*id, entry);
        }
        Ok(ids)
    }
}

/// A storage in memory. Nothing survives the last handle to it.
pub struct MemStorage {
    content: Rc<RefCell<Content>>,
    clock: RefCell<Clock>,
    now_ms: Box<dyn Fn() -> u64>,
    is_closed: Cell<bool>,
}

impl MemStorage {
    /// An empty storage, whose stamps are of `clock`, at the times that `now_ms` tells.
    pub fn new(clock: Clock, now_ms: impl Fn() -> u64 + 'static) -> Self {
        Self::over(Rc::default(), clock, now_ms)
    }

    /// Another handle to what this one holds, as another node, or the same one after a restart, opens it.
    #[must_use]
    pub fn reopen(&self, clock: Clock, now_ms: impl Fn() -> u64 + 'static) -> Self {
        Self::over(Rc::clone(&self.content), clock, now_ms)
    }

    fn over(content: Rc<RefCell<Content>>, clock: Clock, now_ms: impl Fn() -> u64 + 'static) -> Self {
        MemStorage { content, clock: RefCell::new(clock), now_ms: Box::new(now_ms), is_closed: Cell::new(false) }
    }

    fn open(&self, doing: &str) -> Result<&RefCell<Content>> {
        match self.is_closed.get() {
            true => Err(Error::new(Kind::Closed, format!("{doing}: the storage was closed"))),
            false => Ok(&self.content),
        }
    }

    /// Another handle may have stored what this one's clock has not seen.
    fn fresh(&self, content: &Content) -> Result<Timestamp> {
        let mut clock = self.clock.borrow_mut();
        content.newest.into_iter().for_each(|stored| clock.restore(stored));
        clock.tick((self.now_ms)())
    }
}

impl Storage for MemStorage {
    async fn stamp(&self) -> Result<Timestamp> {
        self.fresh(&self.open("stamping a change")?.borrow())
    }

    async fn get(&self, key: &str) -> Result<Option<Record>> {
        Ok(self.open("reading a record")?.borrow().records.get(key).cloned())
    }

    async fn put(&self, key: &str, record: Record) -> Result<()> {
        self.open("writing a record")?.borrow_mut().put(key.to_owned(), record);
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let mut content = self.open("removing a record")?.borrow_mut();
        let hlc = self.fresh(&content)?;
        content.put(key.to_owned(), Record { value: None, hlc, expires_ms: None });
        Ok(())
    }

    async fn batch_put(&self, records: BTreeMap<String, Record>) -> Result<()> {
        let mut content = self.open("writing records")?.borrow_mut();
        records.into_iter().for_each(|(key, record)| content.put(key, record));
        Ok(())
    }

    async fn iterate_keys(&self, visit: &mut dyn FnMut(&str, Metadata)) -> Result<()> {
        let metadata = |record: &Record| Metadata { hlc: record.hlc, is_deleted: record.is_deleted() };
        let content = self.open("listing keys")?.borrow();
        let keys: Vec<_> = content.records.iter().map(|(key, record)| (key.clone(), metadata(record))).collect();
        // So that `visit` may write.
        drop(content);
        keys.iter().for_each(|(key, metadata)| visit(key, *metadata));
        Ok(())
    }

    async fn append_op_log(&self, entry: Entry) -> Result<u64> {
        let ids = self.open("appending to the op-log")?.borrow_mut().append(vec![entry])?;
        Ok(ids[0])
    }

    async fn pending_ops(&self, peer: Option<&str>, limit: Option<usize>) -> Result<Vec<Op>> {
        let content = self.open("reading the op-log")?.borrow();
        let has = peer.map_or(Ok(0), |peer| content.watermarks.peer(peer).map(|peer| peer.acknowledged))?;
        let pending = content.ops.iter().filter(|(id, _)| **id > has).take(limit.unwrap_or(usize::MAX));
        Ok(pending.map(|(id, entry)| Op { id: *id, entry: entry.clone() }).collect())
    }

    async fn prune_op_log(&self, last_synced_id: u64) -> Result<u64> {
        let mut content = self.open("pruning the op-log")?.borrow_mut();
        let before = content.ops.len();
        let gone = content.watermarks.prune(last_synced_id);
        content.ops.retain(|id, _| *id > gone);
        Ok((before - content.ops.len()) as u64)
    }

    async fn commit(&self, puts: BTreeMap<String, Record>, entries: Vec<Entry>) -> Result<Vec<u64>> {
        let mut content = self.open("committing")?.borrow_mut();
        let ids = content.append(entries)?;
        puts.into_iter().for_each(|(key, record)| content.put(key, record));
        Ok(ids)
    }

    async fn register_peer(&self, name: &str) -> Result<Peer> {
        self.open("registering a peer")?.borrow_mut().watermarks.register(name, (self.now_ms)()).cloned()
    }

    async fn acknowledge(&self, name: &str, id: u64) -> Result<()> {
        self.open("acknowledging operations")?.borrow_mut().watermarks.acknowledge(name, id, (self.now_ms)())
    }

    async fn forget_peer(&self, name: &str) -> Result<()> {
        self.open("forgetting a peer")?.borrow_mut().watermarks.forget(name)
    }

    async fn peers(&self) -> Result<Vec<Peer>> {
        Ok(self.open("listing peers")?.borrow().watermarks.peers().cloned().collect())
    }

    async fn close(&self) -> Result<()> {
        self.is_closed.set(true);
        Ok(())
    }
}
