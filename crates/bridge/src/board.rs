//! The board: memory beside the rings, in which the server shows all its clients what they would else have to ask for.
//! The newest view of each open file, who has its write lock, and a cache of pages. The bytes are described in
//! `docs/board-format.md`.
//!
//! A client begins a view, takes a free write lock and reads cached pages without a round trip. What it does not find
//! here, or finds in the middle of a change, it asks the server for.
//!
//! Invariants:
//! - The [`Owner`] alone writes, but for each client's pin, and the write lock's word, which a client changes from free
//!   to its own and back, by compare-and-exchange, while nobody queues.
//! - A page in the cache tells for which views it is right, so it is right or not found, never stale. The cache learns of
//!   a commit before the file's state does.
//! - A [`Guest`] that was given a view has pinned it before the server could know that nobody does.
//! - A guest trusts nothing that it reads: the worst that a broken board does is wrong contents, never a panic or a
//!   hang. The owner reads pins and write locks only.
//!
//! # Why no guest sees half of a change
//! Words are sequentially consistent, bytes are not ordered by anything but words: a copy of bytes, racing with a
//! change, holds any mixture. So the writer changes a word before it changes bytes, and the reader looks at the word
//! before and after the copy. Two orders must hold for that, and neither a store nor a load gives them: bytes must not
//! be written before the word is, and not read after it is read again. (ARM does both to a releasing store and an
//! acquiring load; ECMAScript's memory model allows both.) Hence both are read-modify-writes, of `+ 1` and of `+ 0`.
//! If the reader's comes first, the writer's reads what it wrote, and so synchronises with it: the copy happens before
//! the change, and cannot hold a byte of it. If it comes second, it finds another number.

mod guest;
mod owner;

use crate::Cells;
use crate::pages::PAGE_BYTES;

pub use guest::Guest;
pub use owner::Owner;

/// Clients have numbers below this.
pub const CLIENTS: usize = 64;
/// How many files can be open at once.
pub const FILES: usize = 256;
/// How many pages of a set the cache holds.
const WAYS: usize = 8;

const MAGIC: i32 = i32::from_le_bytes(*b"SBRD");
const VERSION: i32 = 1;

/// The header's words.
mod word {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 1;
    pub const PAGES: usize = 2;
    pub const HORIZON: usize = 3;
}

const HEADER_BYTES: usize = 64;
const CLIENT_BYTES: usize = 64;
const FILE_BYTES: usize = 128;
const SET_BYTES: usize = 320;
/// Four numbers: what a file's state is, and what the cache knows of a page.
const RECORD_BYTES: usize = 32;
/// Where a set's records begin, and a file's.
const RECORDS: usize = 32;
const FILES_START: usize = HEADER_BYTES + CLIENTS * CLIENT_BYTES;
const SETS_START: usize = FILES_START + FILES * FILE_BYTES;

/// [`Page::until`] of the newest version.
const NEVER: u64 = u64::MAX;

/// The size of a board with a cache of `cache_pages`, a power of two from 8 on.
pub const fn bytes(cache_pages: usize) -> usize {
    SETS_START + cache_pages / WAYS * SET_BYTES + cache_pages * PAGE_BYTES
}

/// Where things lie, by the number of sets, a power of two.
#[derive(Clone, Copy)]
struct Layout {
    sets: usize,
}

impl Layout {
    /// The largest cache that fits.
    fn of(board: &dyn Cells) -> Option<Self> {
        let one = SET_BYTES + WAYS * PAGE_BYTES;
        let fit = board.len().saturating_sub(SETS_START) / one;
        fit.checked_ilog2().map(|log| Layout { sets: 1 << log })
    }

    fn pages(&self) -> usize {
        self.sets * WAYS
    }

    /// The word that holds a client's pin.
    fn pin(client: usize) -> usize {
        (HEADER_BYTES + client * CLIENT_BYTES) / 4
    }

    /// The word that counts how often a file's state was written.
    fn turn(slot: usize) -> usize {
        (FILES_START + slot * FILE_BYTES) / 4
    }

    /// The word that tells who has a file's write lock.
    fn writer(slot: usize) -> usize {
        Self::turn(slot) + 1
    }

    /// The byte at which a file's state of this turn lies.
    fn state(slot: usize, turn: i32) -> usize {
        FILES_START + slot * FILE_BYTES + RECORDS + (turn & 1) as usize * RECORD_BYTES
    }

    /// The set in which a page is cached. Pages that follow each other lie in sets that do, so that a file fills all
    /// sets evenly.
    fn set(&self, key: u64, page: u64) -> usize {
        // The multiplier spreads the files' first pages: 2^64 divided by the golden ratio (Knuth, 6.4).
        let start = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        start.wrapping_add(page) as usize & (self.sets - 1)
    }

    /// The word that is a set's sequence lock: odd while the set changes.
    fn lock(set: usize) -> usize {
        (SETS_START + set * SET_BYTES) / 4
    }

    /// The byte at which the record of a page lies; the records of a set follow each other.
    fn record(set: usize, way: usize) -> usize {
        SETS_START + set * SET_BYTES + RECORDS + way * RECORD_BYTES
    }

    /// The byte at which a page lies.
    fn page(&self, set: usize, way: usize) -> usize {
        SETS_START + self.sets * SET_BYTES + (set * WAYS + way) * PAGE_BYTES
    }
}

/// A file, as its block of the board shows it.
#[derive(Clone, Copy, Default)]
struct State {
    /// Which opening of which file this is; no two have the same. 0: none.
    key: u64,
    /// The newest view's commit.
    seq: u64,
    /// The last commit that changed the file, or one before which nobody has a view.
    changed: u64,
    len: u64,
}

impl State {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        encode([self.key, self.seq, self.changed, self.len])
    }

    fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        let [key, seq, changed, len] = decode(bytes);
        State { key, seq, changed, len }
    }
}

/// A version of a page in the cache.
#[derive(Clone, Copy, Default)]
struct Page {
    /// [`State::key`] of its file. 0: none.
    key: u64,
    page: u64,
    /// The views that see it are those from `from` on and before `until`.
    from: u64,
    until: u64,
}

impl Page {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        encode([self.key, self.page, self.from, self.until])
    }

    fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        let [key, page, from, until] = decode(bytes);
        Page { key, page, from, until }
    }

    fn is(&self, key: u64, page: u64) -> bool {
        self.key == key && self.page == page
    }
}

fn encode(numbers: [u64; 4]) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_le_bytes();
    }
    bytes
}

fn decode(bytes: &[u8; RECORD_BYTES]) -> [u64; 4] {
    let mut numbers = [0; 4];
    for (number, place) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*place);
    }
    numbers
}

/// A client's pin as its word holds it: the commit's low 31 bits above a 1, so that 0 is left for none.
fn pin(view: Option<u64>) -> i32 {
    view.map_or(0, |seq| ((seq as u32) << 1 | 1) as i32)
}

/// The commit that a pin names, if any: the last one up to `newest` that has these bits. Views are never 2^31 commits
/// old.
fn pinned(pin: i32, newest: u64) -> Option<u64> {
    let age = (newest as u32).wrapping_sub(pin as u32 >> 1) & (u32::MAX >> 1);
    (pin & 1 != 0).then(|| newest.saturating_sub(age.into()))
}

/// The write lock's word: 0, or 1 + the client that has it; and this, if somebody waits, so that it is the server's to
/// give.
const QUEUED: i32 = 1 << 30;

fn holder(client: u32) -> i32 {
    client as i32 + 1
}
