//! Files whose changes commit atomically: the service that SQLite and the file system stand on.
//!
//! [`Pages`] is what its users see: a [`Paged`] file is read at a view, a snapshot that nothing disturbs, and changed
//! under the file's write lock by staging what [`Pages::commit`] then makes visible at once, for several files if need
//! be. [`PageStore`] is what keeps it all, and never waits; `statik-store` implements it on a `Disk`. Between the two
//! lies either nothing but a few tables, where both live in one thread, or the ring and the board of shared memory.
//!
//! Invariants:
//! - Commits are numbered from 1, strictly rising over all files of a store. What a file holds at a view `seq` is what
//!   the commits up to `seq` made of it, and nothing else.
//! - One writer for each file; readers never wait for it, nor it for them.
//! - What was staged and not committed is seen by its writer alone, and by nobody after a crash.
//! - A crash takes a commit and its id together, or neither.

pub mod contract;
pub mod local;
pub mod mem;
pub mod writers;

use std::time::Duration;

use statik_disk::{Open, Result};

/// The unit in which changes are kept and cached. A file's length, and a staged change, may be any number of bytes.
pub const PAGE_BYTES: usize = 4096;

/// When a commit returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Once it is visible. Nobody flushes for its sake; a crash may take it, and all later commits with it.
    Off,
    /// Once it is visible; a flush follows within 50 ms.
    Normal,
    /// Once it is flushed.
    Full,
}

/// An id that a client gives to a commit, so that it can be asked for later, by whoever has it and after a crash, too.
/// Whoever chooses it sees to it that no other commit has the same: 128 random bits are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitId(pub u128);

/// So many ids are remembered, those of the newest commits that carried one.
pub const REMEMBERED_IDS: usize = 1024;

/// A snapshot of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The commit up to which changes are seen, 0 before the first.
    pub seq: u64,
    /// The file's length in bytes.
    pub len: u64,
}

/// What a store tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of commits that were not yet copied to their files, in both logs.
    pub log_bytes: u64,
    /// The newest commit.
    pub newest: u64,
    /// The newest commit that is known to be durable.
    pub durable: u64,
    /// The newest commit that lies in its files.
    pub checkpointed: u64,
    /// Commits since the store was opened.
    pub commits: u64,
    /// Flushes of the log since then: commits for each flush are what group commit saves.
    pub flushes: u64,
    /// The oldest view that somebody holds.
    pub oldest_view: Option<u64>,
}

/// Files of pages, as one client sees them.
pub trait Pages {
    /// Opens a file: an own view and an own place in the queue for the write lock. As [`statik_disk::Disk::open`].
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn Paged>>;

    /// Makes what these files (by [`Paged::id`]) have staged visible as one commit, whose number it answers. Their
    /// write locks are given up, and their views are those of the commit. Files without staged changes take part in
    /// that; if none has any, nothing is written and the answer is the newest commit, which does not get the `id`.
    ///
    /// After a failure nothing is committed, unless the failure is of the flush: then the commit is visible, and lost
    /// at a crash. What was staged is discarded and the locks are given up either way; the views stay.
    fn commit(&self, files: &[u32], durability: Durability, id: Option<CommitId>) -> Result<u64>;

    /// The commit that carried this id, if it is one of the last [`REMEMBERED_IDS`] that carried any. It is visible; its
    /// number tells whether it is durable. After a crash the answer is about what was recovered: all of the commit is
    /// there, or nothing of it.
    ///
    /// `None`: there is no such commit, unless so many others with ids came after it, or a part of the log was given up
    /// as damaged. A commit that somebody still waits for may come yet; after a crash none does.
    fn committed(&self, id: CommitId) -> Result<Option<u64>>;

    /// Waits until every commit acknowledged so far is durable; answers the newest that is.
    fn durable(&self) -> Result<u64>;

    /// Copies all commits to their files, durably, so that those are plain and the log is empty.
    ///
    /// [`Kind::Busy`](statik_disk::Kind::Busy) if an older view is still held: as much as it allows was copied.
    fn checkpoint(&self) -> Result<()>;

    /// What the store tells of itself.
    fn usage(&self) -> Result<Usage>;
}

/// One user's file of pages. Dropping it is [`Paged::end`] and closes it.
#[expect(clippy::len_without_is_empty, reason = "nobody asks for that")]
pub trait Paged {
    /// Names it to [`Pages::commit`].
    fn id(&self) -> u32;

    /// Takes the newest view, which it holds until [`Paged::end`]; with one held already that stays.
    fn begin(&self) -> Result<View>;

    /// Takes the write lock for the view that is held; held already, it is success.
    ///
    /// [`Kind::Busy`](statik_disk::Kind::Busy) if somebody else has it or is before in the queue,
    /// [`Kind::Conflict`](statik_disk::Kind::Conflict) if the view is not the newest any more.
    fn lock(&self) -> Result<()>;

    /// Queues for the write lock, without a view, for at most `timeout`; whether the lock is now this file's. If not,
    /// its place in the queue is kept until [`Paged::end`]: ask again. First come, first served.
    fn wait(&self, timeout: Duration) -> Result<bool>;

    /// Reads at the view, own staged changes included: up to `buf.len()` bytes, less only at the file's end.
    ///
    /// [`Kind::Conflict`](statik_disk::Kind::Conflict) if the view was so old that the store had to give it up.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Stages a change, under the write lock; a gap before `offset` reads as zeros. A failure may be told by the
    /// commit, which then fails.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Stages a new length, under the write lock.
    fn set_len(&self, len: u64) -> Result<()>;

    /// The length at the view, own staged changes included.
    fn len(&self) -> Result<u64>;

    /// Forgets what is staged and gives up the write lock. The view stays.
    fn discard(&self) -> Result<()>;

    /// Gives up view, staged changes, write lock and place in the queue.
    fn end(&self) -> Result<()>;
}

/// Which version of a page was read: commit `from` wrote it (0: it was there before all that the store remembers), and
/// commit `until`, if any, replaced it. It is what every view from `from` on and before `until` sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The commit that wrote it.
    pub from: u64,
    /// The commit that replaced it.
    pub until: Option<u64>,
}

/// A part of a commit, for who keeps copies of pages.
pub enum Change<'a> {
    /// A page of `file` got a new version, all of it: [`PAGE_BYTES`] bytes.
    #[expect(missing_docs, reason = "said above")]
    Page { file: u32, page: u64, bytes: &'a [u8] },
    /// `file` was cut to `len` bytes: pages that begin at or beyond it are gone, or zeros.
    #[expect(missing_docs, reason = "said above")]
    Cut { file: u32, len: u64 },
    /// Pages of `file` from `page` on, `count` of them, got new versions that are not worth keeping a copy of.
    #[expect(missing_docs, reason = "said above")]
    Pages { file: u32, page: u64, count: u64 },
}

/// How far a checkpoint came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// There is nothing to copy.
    Idle,
    /// There is more to copy: call again, when nothing else is to be done.
    More,
    /// Views older than this commit must end first.
    Blocked(u64),
}

/// What keeps pages. One thread, no waiting, no views: its caller says which commit to read at, sees to it that only the
/// writer of a file stages, and tells the oldest view before files are changed under it.
pub trait PageStore {
    /// Opens a file for one more user. All users of a path get one number, which is not used for another path while
    /// anybody has it.
    ///
    /// [`Kind::ReadOnly`](statik_disk::Kind::ReadOnly) if it does not exist and the store may not change.
    fn attach(&self, path: &str, open: Open) -> Result<u32>;

    /// One user less.
    fn detach(&self, file: u32);

    /// The file at the newest commit.
    fn newest(&self, file: u32) -> Result<View>;

    /// Reads whole pages, from `page` on, as the view `seq` sees them, zeros beyond the file's end; tells each one's
    /// version by its index in `buf`, whose length is a multiple of [`PAGE_BYTES`].
    fn read(
        &self,
        file: u32,
        seq: u64,
        page: u64,
        buf: &mut [u8],
        version: &mut dyn FnMut(usize, Version),
    ) -> Result<()>;

    /// Reads as the file's writer sees it: staged changes before what is committed.
    fn read_staged(&self, file: u32, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Stages a change of any place and size.
    fn stage(&self, file: u32, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Stages a new length.
    fn stage_len(&self, file: u32, len: u64) -> Result<()>;

    /// The length that the writer sees.
    fn staged_len(&self, file: u32) -> Result<u64>;

    /// Forgets what is staged.
    fn discard(&self, file: u32);

    /// Writes one commit of what these files have staged, and makes it visible; its number, not durable yet. `changed`
    /// is told of its parts, in the order in which they take effect, once it cannot fail any more.
    /// Nothing staged: the newest number, and the `id` is not kept. After a failure nothing is committed. Staged changes
    /// are gone either way.
    fn commit(&self, files: &[u32], id: Option<CommitId>, changed: &mut dyn FnMut(Change)) -> Result<u64>;

    /// As [`Pages::committed`].
    fn committed(&self, id: CommitId) -> Option<u64>;

    /// Makes all commits durable; the newest one's number. After a failure the store changes nothing any more.
    fn flush(&self) -> Result<u64>;

    /// The newest commit that is known to be durable.
    fn flushed(&self) -> u64;

    /// Whether the log has outgrown its soft limit: time to [`PageStore::checkpoint`] when there is nothing else to do.
    fn wants_checkpoint(&self) -> bool;

    /// Whether it has outgrown its hard limit: writers wait for a checkpoint now.
    fn needs_checkpoint(&self) -> bool;

    /// The commit up to which the next [`PageStore::checkpoint`] would copy; views must not be older then, and new ones
    /// will not be, since it is committed. None if there is nothing to copy. The log that is being copied is closed to
    /// new commits by this call.
    fn checkpoint_target(&self) -> Result<Option<u64>>;

    /// Copies a slice (about a millisecond of work) of the commits up to [`PageStore::checkpoint_target`] to their
    /// files, unless `oldest`, the oldest view held, is older than that.
    fn checkpoint(&self, oldest: Option<u64>) -> Result<Checkpoint>;

    /// Makes the log forget a file that nobody has open, so that it can be removed, renamed or replaced on the disk: its
    /// commits are copied to it, durably.
    ///
    /// [`Kind::Busy`](statik_disk::Kind::Busy) while it is attached.
    fn settle(&self, path: &str) -> Result<()>;

    /// What it tells of itself, the oldest view excepted.
    fn usage(&self) -> Usage;
}
