//! What is stored for a key, and which of two records stays: the last writer's.
//!
//! Invariant: records are totally ordered, and [`merge`] takes the greater one. So it commutes, associates and is
//! idempotent, and replicas that have seen the same records, in whatever order, hold the same one.

use std::cmp::Ordering;

use crate::hlc::Timestamp;

/// A value, or the mark that there is none any more, with the time of the change.
///
/// The order, from what weighs most: the stamp; a tombstone is above a value, so that what was deleted does not come
/// back; the value's bytes; what expires later is above what expires sooner, and what never expires above both. All but
/// the first matter only if two changes carry one stamp, which two nodes with one id may bring about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// When and where it was written.
    pub hlc: Timestamp,
    /// After this time, in milliseconds since 1970, the record may be dropped.
    pub expires_ms: Option<u64>,
}

impl Record {
    /// Whether the record says that its key has no value.
    pub const fn is_deleted(&self) -> bool {
        self.value.is_none()
    }
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> Ordering {
        let expiry = |record: &Record| (record.expires_ms.is_none(), record.expires_ms);
        self.hlc
            .cmp(&other.hlc)
            .then_with(|| self.is_deleted().cmp(&other.is_deleted()))
            .then_with(|| self.value.cmp(&other.value))
            .then_with(|| expiry(self).cmp(&expiry(other)))
    }
}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The one of two records for the same key that stays.
pub fn merge(a: Record, b: Record) -> Record {
    a.max(b)
}
