//! The storage under replicated keys and values: records, the log of changes, the peers that it is kept for.
//!
//! Every implementation passes [`contract::suite`], natively or in the browser. [`MemStorage`] is the one in memory, and
//! what the contract is tried on.
//!
//! Invariants:
//! - A write merges: a record is replaced only by one that is greater as [`crate::record`] orders them.
//! - A record and its operation land together or not at all, in [`Storage::commit`].
//! - The log is pruned by the rules of [`crate::oplog`] alone.
//!
//! A storage takes whatever stamp a record has: what comes from another replica goes through
//! [`Clock::receive`](crate::hlc::Clock::receive) first, which refuses one from a clock that is wrong.

pub mod contract;
mod mem;

use std::collections::BTreeMap;

use statik_disk::Result;

use crate::hlc::Timestamp;
use crate::oplog::{Entry, Op, Peer};
use crate::record::Record;

pub use mem::MemStorage;

/// What is told about a record without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// When and where it was written.
    pub hlc: Timestamp,
    /// Whether it is a tombstone.
    pub is_deleted: bool,
}

/// Records by key, a log of changes, and the peers that are to get them. Keys are any text.
///
/// Futures are not `Send`: JavaScript's values are not. All calls but [`Storage::close`] fail with
/// [`Kind::Closed`](statik_disk::Kind::Closed) after it, and as the platform does (`Quota`, `Io`, …), then without
/// effect. Two handles to one place are for two nodes: each has its own id in its stamps.
#[expect(async_fn_in_trait, reason = "callers run on one thread, and need no bound on the futures")]
pub trait Storage {
    /// A fresh stamp of the storage's own clock, above everything that it has given and all that is stored: what the
    /// records are to carry that are written here.
    async fn stamp(&self) -> Result<Timestamp>;

    /// The record of a key, a tombstone as well; `None` if there never was one.
    async fn get(&self, key: &str) -> Result<Option<Record>>;

    /// Merges a record with what the key has.
    async fn put(&self, key: &str, record: Record) -> Result<()>;

    /// Puts a tombstone with a fresh stamp, also where there is no record: older ones may still arrive.
    async fn remove(&self, key: &str) -> Result<()>;

    /// Puts all of the records, or none.
    async fn batch_put(&self, records: BTreeMap<String, Record>) -> Result<()>;

    /// Shows every key, tombstones' as well, in no order that a caller may rely on.
    async fn iterate_keys(&self, visit: &mut dyn FnMut(&str, Metadata)) -> Result<()>;

    /// Appends a change to the log and answers its number. Numbers rise, and are never given twice.
    async fn append_op_log(&self, entry: Entry) -> Result<u64>;

    /// The oldest operations, up to `limit`, that `peer` has not acknowledged; without a peer all that the log holds.
    /// [`Kind::NotFound`](statik_disk::Kind::NotFound) if the peer is not known.
    async fn pending_ops(&self, peer: Option<&str>, limit: Option<usize>) -> Result<Vec<Op>>;

    /// Removes operations up to `last_synced_id`, but none that a known peer has not acknowledged, and none at all
    /// without known peers; answers how many. An app that syncs with nobody and wants its log gone registers a peer and
    /// acknowledges for it.
    async fn prune_op_log(&self, last_synced_id: u64) -> Result<u64>;

    /// Puts all of the records and appends all of the changes, or does nothing; answers the changes' numbers.
    async fn commit(&self, puts: BTreeMap<String, Record>, entries: Vec<Entry>) -> Result<Vec<u64>>;

    /// [`Watermarks::register`](crate::oplog::Watermarks::register), whose answer tells where the peer starts.
    async fn register_peer(&self, name: &str) -> Result<Peer>;

    /// [`Watermarks::acknowledge`](crate::oplog::Watermarks::acknowledge).
    async fn acknowledge(&self, name: &str, id: u64) -> Result<()>;

    /// [`Watermarks::forget`](crate::oplog::Watermarks::forget).
    async fn forget_peer(&self, name: &str) -> Result<()>;

    /// All known peers, by name.
    async fn peers(&self) -> Result<Vec<Peer>>;

    /// Ends the use of this handle; what was written stays. The second time it does nothing.
    async fn close(&self) -> Result<()>;
}
