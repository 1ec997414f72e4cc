//! A log: numbered records, one behind the other in one file, each written by one call. `docs/log-format.md` has the
//! bytes.
//!
//! The record at offset 0 starts an epoch. A file that is recycled gets a new one there, and keeps its old bytes behind
//! it: they belong to no record of the new epoch. [`Writer`] appends, [`scan`] reads, and tells how the log ends:
//!
//! - [`Tail::Clean`]: nothing of this epoch lies behind the last record.
//! - [`Tail::Torn`]: something does, but nothing that was ever flushed. A crash does that; it is dropped.
//! - [`Tail::Damaged`]: a record is missing below a mark that a later record carries: up to this number everything was
//!   flushed when I was written. No crash does that.
//!
//! The one damage that looks like a crash is that of the last record: nothing behind it says that it was flushed.
//!
//! Invariants:
//! - Records chain: each names the number of its predecessor, so that a left-over of the same epoch continues nothing.
//! - Every header has a checksum of its own, so its marks and its length count even where the payload is torn.
//! - A scan reads each byte of the file a bounded number of times, and holds no more of it than the longest record.
//!
//! What a payload means is not known here.

mod scan;
mod writer;

use statik_disk::{Disk, Error, File, Kind, Open, Result};

pub use scan::{Cursor, Record, Scanned, Tail, scan};
pub use writer::{Appended, Writer};

pub(crate) use scan::{none_shorter_behind, peek, scan_trusting};

/// What a record has before its payload.
pub const HEADER_BYTES: usize = 56;
/// Records begin at multiples of this.
const ALIGN: usize = 8;
const MAGIC: [u8; 4] = *b"SLOG";
const FORMAT_VERSION: u32 = 1;
/// Numbers and epochs end before this; a header that has a larger one is none.
pub(crate) const MAX_NUMBER: u64 = 1 << 62;
/// How much is read, or copied, at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The number after `sequence`. None has 32 low bits of 0, so that these can stand for it where 0 means none.
pub fn successor(sequence: u64) -> u64 {
    let next = sequence + 1;
    if next as u32 == 0 { next + 1 } else { next }
}

/// Where a record of `payload` bytes ends, if it begins at 0.
pub(crate) const fn record_bytes(payload: usize) -> usize {
    (HEADER_BYTES + payload).next_multiple_of(ALIGN)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    epoch: u64,
    sequence: u64,
    /// The number of the record before it; the start's own.
    previous: u64,
    /// Every record up to this number was flushed when this one was written.
    flushed: u64,
    payload_bytes: u32,
    payload_crc: u32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.flushed.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..52]);
        bytes[52..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The version of the header that these bytes are, if they are one.
    fn version(bytes: &[u8; HEADER_BYTES]) -> Option<u32> {
        let whole = bytes[..4] == MAGIC && u32_at(bytes, 52) == crc32fast::hash(&bytes[..52]);
        whole.then(|| u32_at(bytes, 4))
    }

    /// The header that these bytes are, of whatever version, if its numbers make sense in this one.
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<(Header, u32)> {
        let version = Header::version(bytes)?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let header = Header {
            epoch: u64_at(8),
            sequence: u64_at(16),
            previous: u64_at(24),
            flushed: u64_at(32),
            payload_bytes: u32_at(bytes, 40),
            payload_crc: u32_at(bytes, 44),
        };
        let sane = header.epoch < MAX_NUMBER
            && header.sequence < MAX_NUMBER
            && (header.is_start() || header.sequence as u32 != 0)
            && header.previous <= header.sequence
            && header.flushed <= header.previous;
        sane.then_some((header, version))
    }

    fn is_start(&self) -> bool {
        self.previous == self.sequence
    }
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Copies what `file` holds from `offset` on to a file called `name`, durably, before it is dropped or given up. A copy
/// that is there already is replaced.
pub fn set_aside(disk: &dyn Disk, file: &dyn File, offset: u64, name: &str) -> Result<()> {
    let failed = |error: Error| {
        let context = format!("keeping the damaged part of a log, from byte {offset} on");
        Error::new(error.kind(), context).at(name).because(error)
    };
    let copy = || {
        let aside = disk.open(name, Open::Create)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut copied = 0;
        loop {
            let count = file.read_at(offset + copied, &mut chunk)?;
            if count == 0 {
                break;
            }
            aside.write_at(copied, &chunk[..count])?;
            copied += count as u64;
        }
        aside.set_len(copied)?;
        aside.flush()
    };
    copy().map_err(failed)
}

fn corrupt(path: &str, context: String) -> Error {
    Error::new(Kind::Corrupt, context).at(path)
}
