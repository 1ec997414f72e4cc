//! What a record of the pages' log says. `docs/pages-format.md` has the bytes.
//!
//! Reading is total: any bytes give entries or a reason, and nothing is allocated.

use statik_bridge::pages::{CommitId, PAGE_BYTES};
use statik_disk::validate_path;

use super::OWN;
use crate::log::{MAX_NUMBER, record_bytes};

/// The kind of record, the page's size in a start, and a number.
const HEAD_BYTES: usize = 16;
/// What each entry begins with: its tag, a file's number, and two numbers of its own.
const ENTRY_BYTES: usize = 24;
/// An id and its commit's number, in a list of such.
const ID_BYTES: usize = 24;
/// How long the record is that starts a log.
pub(super) const START_RECORD_BYTES: u64 = record_bytes(HEAD_BYTES) as u64;
/// Files are shorter than this, which JavaScript's numbers count exactly.
pub(super) const MAX_LEN: u64 = 1 << 53;
/// Commits, transactions, and the records and epochs of a store's logs have numbers below this.
pub(super) const NUMBERS: u64 = MAX_NUMBER / 2;
/// A store that has a number from here on is only read: whoever goes on from a lower one never comes to [`NUMBERS`].
pub(super) const USED_UP: u64 = NUMBERS / 2;

/// What a record is about. The wire numbers are the positions here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Starts an epoch. The number: all commits up to it lie in their files.
    Start,
    /// A commit. The number is its own.
    Commit,
    /// A part of a transaction that was too large for memory. The number is the transaction's.
    Part,
    /// What is to be known even if no commit follows. No number.
    Note,
}

/// One thing that a record says. The wire numbers are the positions here, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// From here on this epoch calls `path` by the number `file`. Of the file on the disk, once older epochs were copied
    /// to it, `base` bytes count; pages that commits wrote directly count, too.
    Name { file: u32, path: &'a str, base: u64 },
    /// The file was cut to `len` bytes: pages that begin at or beyond it are gone for every later view.
    Cut { file: u32, len: u64 },
    /// The file's parts of this transaction are of this commit.
    Parts { file: u32, transaction: u64 },
    /// Pages of earlier parts that begin at or beyond `len` are not of the commit.
    Drop { file: u32, len: u64 },
    /// New versions of pages, one behind the other; `at` is where the first begins in the payload.
    Pages { file: u32, page: u64, count: u64, at: usize },
    /// Pages that lie in the file already.
    Direct { file: u32, page: u64, count: u64 },
    /// The file's length.
    Len { file: u32, len: u64 },
    /// Nothing before this is about `path` any more.
    Forget { path: &'a str },
    /// The commit's id.
    Id { id: CommitId },
    /// All the ids that are remembered of commits before this.
    Ids { ids: IdList<'a> },
}

/// Ids and their commits, oldest first, as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdList<'a>(&'a [u8]);

impl IdList<'_> {
    pub fn iter(&self) -> impl Iterator<Item = (CommitId, u64)> {
        let (ids, _) = self.0.as_chunks::<ID_BYTES>();
        ids.iter().map(|bytes| (id_at(bytes, 0), u64_at(bytes, 16)))
    }
}

/// Makes a payload.
pub(super) struct Builder<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Builder<'a> {
    pub fn new(bytes: &'a mut Vec<u8>, kind: Kind, number: u64) -> Self {
        let start = bytes.len();
        let page_bytes = if kind == Kind::Start { PAGE_BYTES as u32 } else { 0 };
        bytes.extend_from_slice(&(kind as u32).to_le_bytes());
        bytes.extend_from_slice(&page_bytes.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        Builder { bytes, start }
    }

    fn entry(&mut self, tag: u32, file: u32, one: u64, two: u64) {
        self.bytes.extend_from_slice(&tag.to_le_bytes());
        self.bytes.extend_from_slice(&file.to_le_bytes());
        self.bytes.extend_from_slice(&one.to_le_bytes());
        self.bytes.extend_from_slice(&two.to_le_bytes());
    }

    fn text(&mut self, tag: u32, file: u32, text: &str, two: u64) {
        self.entry(tag, file, text.len() as u64, two);
        self.bytes.extend_from_slice(text.as_bytes());
        let end = self.start + (self.bytes.len() - self.start).next_multiple_of(8);
        self.bytes.resize(end, 0);
    }

    pub fn name(&mut self, file: u32, path: &str, base: u64) {
        self.text(1, file, path, base);
    }

    pub fn cut(&mut self, file: u32, len: u64) {
        self.entry(2, file, len, 0);
    }

    pub fn parts(&mut self, file: u32, transaction: u64) {
        self.entry(3, file, transaction, 0);
    }

    pub fn drop_pages(&mut self, file: u32, len: u64) {
        self.entry(4, file, len, 0);
    }

    /// Begins a run of pages, each of which [`Builder::page`] must then add.
    pub fn pages(&mut self, file: u32, page: u64, count: u64) {
        self.entry(5, file, page, count);
    }

    /// Adds a page's bytes; where they begin in the payload.
    pub fn page(&mut self, bytes: &[u8]) -> u64 {
        let at = self.bytes.len() - self.start;
        self.bytes.extend_from_slice(bytes);
        at as u64
    }

    pub fn direct(&mut self, file: u32, page: u64, count: u64) {
        self.entry(6, file, page, count);
    }

    pub fn len(&mut self, file: u32, len: u64) {
        self.entry(7, file, len, 0);
    }

    pub fn forget(&mut self, path: &str) {
        self.text(8, 0, path, 0);
    }

    pub fn id(&mut self, id: CommitId) {
        self.entry(9, 0, id.0 as u64, (id.0 >> 64) as u64);
    }

    pub fn ids(&mut self, ids: impl ExactSizeIterator<Item = (CommitId, u64)>) {
        self.entry(10, 0, ids.len() as u64, 0);
        for (id, commit) in ids {
            self.bytes.extend_from_slice(&id.0.to_le_bytes());
            self.bytes.extend_from_slice(&commit.to_le_bytes());
        }
    }
}

/// The payload of a start.
pub(super) fn start(checkpointed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Builder::new(&mut bytes, Kind::Start, checkpointed);
    bytes
}

/// A payload: its kind, its number, and its entries, of which the first one that makes no sense is the last.
pub(super) fn read(payload: &[u8]) -> Result<(Kind, u64, Entries<'_>), &'static str> {
    if payload.len() < HEAD_BYTES {
        return Err("a payload is too short");
    }
    let kind = match u32_at(payload, 0) {
        0 if u32_at(payload, 4) != PAGE_BYTES as u32 => return Err("pages have another size"),
        0 => Kind::Start,
        1 => Kind::Commit,
        2 => Kind::Part,
        3 => Kind::Note,
        _ => return Err("a record has an unknown kind"),
    };
    let number = u64_at(payload, 8);
    if number >= NUMBERS {
        return Err("a commit or transaction has a number that none reaches");
    }
    Ok((kind, number, Entries { payload, at: HEAD_BYTES }))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn id_at(bytes: &[u8], at: usize) -> CommitId {
    CommitId(u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes")))
}

/// The entries of a payload.
pub(super) struct Entries<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    /// The next `count` bytes.
    fn take(&mut self, count: u64) -> Result<&'a [u8], &'static str> {
        let left = &self.payload[self.at..];
        let count = usize::try_from(count).ok().filter(|count| *count <= left.len());
        let count = count.ok_or("an entry is longer than its record")?;
        self.at += count;
        Ok(&left[..count])
    }

    fn path(&mut self, length: u64) -> Result<&'a str, &'static str> {
        let padded = self.take(length.checked_next_multiple_of(8).unwrap_or(u64::MAX))?;
        let path = std::str::from_utf8(&padded[..length as usize]).map_err(|_| "a path is not UTF-8")?;
        validate_path(path).map_err(|_| "a path is none")?;
        // To copy commits there would be to write over what is copied.
        if path.starts_with(OWN) { Err("a path is the store's own") } else { Ok(path) }
    }

    fn parse(&mut self) -> Result<Entry<'a>, &'static str> {
        let head = self.take(ENTRY_BYTES as u64)?;
        let (tag, file, one, two) = (u32_at(head, 0), u32_at(head, 4), u64_at(head, 8), u64_at(head, 16));
        let pages = || {
            let last = one.checked_add(two).filter(|_| two > 0);
            last.filter(|last| *last <= MAX_LEN / PAGE_BYTES as u64).ok_or("a run of pages is none")
        };
        let length = |len: u64| if len <= MAX_LEN { Ok(len) } else { Err("a file is too long") };
        match tag {
            1 => Ok(Entry::Name { file, path: self.path(one)?, base: length(two)? }),
            2 => Ok(Entry::Cut { file, len: length(one)? }),
            3 => Ok(Entry::Parts { file, transaction: one }),
            4 => Ok(Entry::Drop { file, len: length(one)? }),
            5 => {
                pages()?;
                let at = self.at;
                self.take(two * PAGE_BYTES as u64)?;
                Ok(Entry::Pages { file, page: one, count: two, at })
            }
            6 => pages().map(|_| Entry::Direct { file, page: one, count: two }),
            7 => Ok(Entry::Len { file, len: length(one)? }),
            8 => Ok(Entry::Forget { path: self.path(one)? }),
            9 => Ok(Entry::Id { id: id_at(head, 8) }),
            10 => Ok(Entry::Ids { ids: IdList(self.take(one.saturating_mul(ID_BYTES as u64))?) }),
            _ => Err("an entry has an unknown tag"),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.payload.len() {
            return None;
        }
        let entry = self.parse();
        if entry.is_err() {
            self.at = self.payload.len();
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the sample's pages begin.
    const AT: usize = 16 + (24 + 16) + 4 * 24;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![9; 3];
        let mut builder = Builder::new(&mut bytes, Kind::Commit, 42);
        builder.name(7, "dir/ü.db", 9000);
        builder.cut(7, 5000);
        builder.parts(7, 6);
        builder.drop_pages(7, 6000);
        builder.pages(7, 3, 2);
        assert_eq!(builder.page(&[1; PAGE_BYTES]), AT as u64);
        builder.page(&[2; PAGE_BYTES]);
        builder.direct(7, 100, 16);
        builder.len(7, 1 << 20);
        builder.forget("old");
        builder.id(CommitId(5 << 64 | 4));
        builder.ids([(CommitId(1), 2), (CommitId(3 << 100), 4)].into_iter());
        bytes.split_off(3)
    }

    #[test]
    fn what_is_built_is_read() {
        let bytes = sample();
        let (kind, number, entries) = read(&bytes).expect("it is sound");
        assert_eq!((kind, number), (Kind::Commit, 42));
        let mut entries: Vec<_> = entries.map(|entry| entry.expect("it is sound")).collect();
        let Some(Entry::Ids { ids }) = entries.pop() else { panic!("the ids are last") };
        assert_eq!(ids.iter().collect::<Vec<_>>(), [(CommitId(1), 2), (CommitId(3 << 100), 4)]);
        assert_eq!(
            entries,
            [
                Entry::Name { file: 7, path: "dir/ü.db", base: 9000 },
                Entry::Cut { file: 7, len: 5000 },
                Entry::Parts { file: 7, transaction: 6 },
                Entry::Drop { file: 7, len: 6000 },
                Entry::Pages { file: 7, page: 3, count: 2, at: AT },
                Entry::Direct { file: 7, page: 100, count: 16 },
                Entry::Len { file: 7, len: 1 << 20 },
                Entry::Forget { path: "old" },
                Entry::Id { id: CommitId(5 << 64 | 4) },
            ]
        );
        assert_eq!((bytes[AT], bytes[AT + PAGE_BYTES]), (1, 2));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let sample = sample();
        for (number, sound) in [(NUMBERS - 1, true), (NUMBERS, false), (u64::MAX, false)] {
            let mut bytes = Vec::new();
            Builder::new(&mut bytes, Kind::Start, number);
            assert_eq!(read(&bytes).is_ok(), sound, "{number}");
        }
        for len in 0..sample.len() {
            let whole = read(&sample[..len]).map(|(.., entries)| entries.filter(Result::is_ok).count());
            assert!(whole.is_err() || whole.is_ok_and(|entries| entries < 10), "{len}");
        }
        for at in (0..sample.len()).filter(|at| *at < 200 || at % 97 == 0) {
            for byte in [0, 1, 0x80, 0xff] {
                let mut bytes = sample.clone();
                bytes[at] = byte;
                if let Ok((.., entries)) = read(&bytes) {
                    assert!(entries.count() <= bytes.len() / 24);
                }
            }
        }
    }
}
