//! Files of pages that commit atomically: [`PageStore`] on a disk. `docs/pages-format.md` has the bytes.
//!
//! A commit is one record in one of two logs. It is visible at once, and durable after [`PageStore::flush`]. Its pages
//! are copied to their files by checkpoints: that closes one log, which is durable from then on, to new commits, which
//! go to the other; copies the newest version of each page; flushes the files; and only then recycles the log.
//!
//! What is large does not pay twice: runs of new pages beyond a file's end are written to the file itself, and flushed
//! before the commit that makes them count. What is staged and too large for memory goes to the log before its commit.
//!
//! Invariants:
//! - A file on the disk changes below the end that the log knows for it only by a checkpoint, and the log holds, durably,
//!   all that the checkpoint copies until the files are flushed.
//! - The ids of commits that a log holds are, durably, in the other one before it is recycled.
//! - One log at a time is being copied; the other one's records follow on those of that one, which are all durable.
//! - Once a flush failed nothing is changed any more. Reads go on.
//!
//! Whoever calls knows which views are held, and who may write: see the trait.

mod checkpoint;
mod commit;
mod file;
mod ids;
mod index;
mod payload;
mod recovery;
mod stage;

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use statik_bridge::pages::{Change, Checkpoint, CommitId, PAGE_BYTES, PageStore, Usage, Version, View};
use statik_disk::{Disk, Error, File, Kind, Open, Result, validate_path};

use crate::log::Writer;
use crate::{Damage, Options};
use checkpoint::Job;
use file::{PAGE, PagedFile, Staged};
use ids::Ids;
use index::Index;

/// Below this the store keeps its own files.
const OWN: &str = ".statik/";
/// The two logs.
pub(crate) const LOGS: [&str; 2] = [".statik/log-a", ".statik/log-b"];
/// How much of a log is kept in memory, so that it need not be read back.
const KEEP_BYTES: usize = 8 << 20;

/// Files of pages on a disk.
///
/// ```
/// use std::rc::Rc;
/// use statik_bridge::pages::PageStore;
/// use statik_disk::{MemDisk, Open};
/// use statik_store::{Options, Store};
///
/// let disk = Rc::new(MemDisk::new());
/// let store = Store::open(disk.clone(), Options::default())?;
/// let file = store.attach("app.db", Open::Create)?;
/// store.stage(file, 0, b"milk")?;
/// store.commit(&[file], None, &mut |_| {})?;
/// store.flush()?;
/// drop(store);
/// let store = Store::open(disk, Options::default())?;
/// let file = store.attach("app.db", Open::Existing)?;
/// assert_eq!(store.newest(file)?.len, 4);
/// # Ok::<(), statik_disk::Error>(())
/// ```
pub struct Store {
    inner: RefCell<Inner>,
}

struct Inner {
    disk: Rc<dyn Disk>,
    options: Options,
    logs: [Log; 2],
    /// The log that commits go to.
    current: usize,
    /// What is being copied from the other.
    job: Option<Job>,
    files: FxHashMap<u32, PagedFile>,
    /// In order, so that the same commits take the same way each time: hashes of what a log says would need a secret.
    numbers: BTreeMap<String, u32>,
    next_file: u32,
    next_transaction: u64,
    ids: Ids,
    usage: Usage,
    /// Why nothing may be changed any more.
    failed: Option<Error>,
    damage: Option<Damage>,
    /// What a commit left allocated, for the next one.
    spare: Option<Box<Staged>>,
    /// A flush was answered for, and not carried out.
    #[cfg(feature = "planted")]
    early: bool,
}

struct Log {
    writer: Writer,
    index: Index,
    /// The files that it names.
    names: FxHashMap<u32, Named>,
    /// How long the record is that tells the ids of commits from before it, 0 without one.
    ids_bytes: u64,
}

/// A file that a log names.
#[derive(Clone, Copy, Default)]
struct Named {
    /// The record that does: once it is durable, a recovery knows how much of the file counts.
    sequence: u64,
    /// The newest commit in the log that changed the file.
    commit: u64,
}

impl Log {
    /// How long its records are, but for the start and the ids, of which nothing is to be copied.
    fn bytes(&self) -> u64 {
        self.writer.end().saturating_sub(payload::START_RECORD_BYTES + self.ids_bytes)
    }
}

/// Where a page's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Zeros,
    /// In the file, at this offset.
    File(u64),
    /// In a log, at this offset.
    Log(usize, u64),
}

impl Source {
    /// The source of the page so many pages on, if it lies right behind.
    fn after(self, count: usize) -> Source {
        let bytes = (count * PAGE_BYTES) as u64;
        match self {
            Source::Zeros => Source::Zeros,
            Source::File(offset) => Source::File(offset + bytes),
            Source::Log(log, offset) => Source::Log(log, offset + bytes),
        }
    }
}

impl Store {
    /// The two logs.
    pub const LOGS: [&str; 2] = LOGS;

    /// Opens the store that the disk holds, or an empty one. It can be used at once: what the log holds is copied to the
    /// files later.
    ///
    /// A disk that can only open what was opened before must have opened [`Store::LOGS`] before [`Store::needs`], and what
    /// that answers before this.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], naming file, offset and number, if a log is damaged and the options say
    /// [`Recover::Refuse`](crate::Recover::Refuse); [`Kind::Unsupported`] if another version wrote it; those of the disk.
    pub fn open(disk: Rc<dyn Disk>, options: Options) -> Result<Store> {
        Ok(Store { inner: RefCell::new(recovery::open(disk, options)?) })
    }

    /// The files that [`Store::open`] will open, creating them if need be, besides the two logs: those with commits in
    /// the log, and those for what is damaged. There is no harm in one more.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn needs(disk: &dyn Disk) -> Result<Vec<String>> {
        recovery::needs(disk)
    }

    /// What was found damaged when the store was opened. The store may then refuse changes: see
    /// [`Recover`](crate::Recover).
    pub fn damage(&self) -> Option<Damage> {
        self.inner.borrow().damage.clone()
    }

    fn inner(&self) -> RefMut<'_, Inner> {
        self.inner.borrow_mut()
    }
}

impl Inner {
    #[cfg(feature = "planted")]
    fn has(&self, bug: crate::Planted) -> bool {
        self.options.planted == Some(bug)
    }

    fn changeable(&self) -> Result<()> {
        match self.failed.as_ref().or(self.logs[self.current].writer.failed()) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Refuses all changes from now on, because of this failure, which it gives back.
    fn fail(&mut self, cause: Error) -> Error {
        let context = "the store changes nothing any more, since a flush failed";
        self.failed.get_or_insert_with(|| Error::new(cause.kind(), context).because(cause.clone()));
        cause
    }

    fn file(&self, number: u32) -> Result<&PagedFile> {
        self.files.get(&number).ok_or_else(|| unknown(number))
    }

    fn file_mut(&mut self, number: u32) -> Result<&mut PagedFile> {
        self.files.get_mut(&number).ok_or_else(|| unknown(number))
    }

    fn attach(&mut self, path: &str, open: Open) -> Result<u32> {
        validate_path(path)?;
        if path.starts_with(OWN) {
            return Err(Error::new(Kind::Invalid, format!("names below {OWN} are the store's own")).at(path));
        }
        if let Some(number) = self.numbers.get(path) {
            let number = *number;
            if open == Open::CreateNew {
                return Err(Error::new(Kind::Exists, "creating: there is such a file already").at(path));
            }
            self.file_mut(number)?.users += 1;
            return Ok(number);
        }
        let disk = match (self.changeable(), open) {
            (Ok(()), _) => self.disk.open(path, open)?,
            (Err(_), Open::Existing) => self.disk.open(path, open)?,
            (Err(error), _) => self.disk.open(path, Open::Existing).map_err(|none| match none.kind() {
                Kind::NotFound => Error::new(Kind::ReadOnly, "creating a file").at(path).because(error),
                _ => none,
            })?,
        };
        let len = disk.len()?;
        Ok(self.add(PagedFile { users: 1, ..PagedFile::new(path, Some(disk.into()), len) }))
    }

    fn add(&mut self, file: PagedFile) -> u32 {
        // The numbers of a log that nobody made may end here: then they begin anew, between those that are taken.
        let is_taken = |number: u32| {
            number == u32::MAX
                || self.files.contains_key(&number)
                || self.logs.iter().any(|log| log.names.contains_key(&number))
        };
        let mut number = self.next_file;
        while is_taken(number) {
            number = number.wrapping_add(1);
        }
        self.next_file = number.wrapping_add(1);
        self.numbers.insert(file.path.clone(), number);
        self.files.insert(number, file);
        number
    }

    fn detach(&mut self, number: u32) {
        let Some(file) = self.files.get_mut(&number) else { return };
        file.users = file.users.saturating_sub(1);
        if file.users == 0 {
            self.discard(number);
            self.forget_unused(number);
        }
    }

    /// Closes a file that nobody has open and no log knows.
    fn forget_unused(&mut self, number: u32) {
        let known = self.logs.iter().any(|log| log.names.contains_key(&number));
        if !known && self.files.get(&number).is_some_and(|file| file.users == 0) {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u32) {
        if let Some(file) = self.files.remove(&number) {
            self.numbers.remove(&file.path);
        }
    }

    /// Where the view `seq` of a file finds a page.
    fn resolve(&self, number: u32, file: &PagedFile, seq: u64, page: u64) -> (Source, Version) {
        let mut until = None;
        let mut found = None;
        'logs: for log in [self.current, 1 - self.current] {
            for version in self.logs[log].index.versions(number, page) {
                if version.commit <= seq {
                    found = Some((version.commit, Source::Log(log, version.offset)));
                    break 'logs;
                }
                until = Some(version.commit);
            }
        }
        let start = page * PAGE;
        let base = if start < file.base { Source::File(start) } else { Source::Zeros };
        let (mut from, mut source) = found.unwrap_or((0, base));
        let mut replaced = |commit: u64| until = Some(until.map_or(commit, |until| until.min(commit)));
        for direct in file.directs.iter().filter(|direct| (direct.page..direct.end()).contains(&page)) {
            if direct.commit > seq {
                replaced(direct.commit);
            } else if direct.commit > from {
                (from, source) = (direct.commit, Source::File(start));
            }
        }
        for cut in file.cuts.iter().filter(|cut| cut.page <= page) {
            if cut.commit > seq {
                replaced(cut.commit);
            } else if cut.commit > from {
                (from, source) = (cut.commit, Source::Zeros);
            }
        }
        (source, Version { from, until })
    }

    fn read(
        &self,
        number: u32,
        seq: u64,
        page: u64,
        buf: &mut [u8],
        version: &mut dyn FnMut(usize, Version),
    ) -> Result<()> {
        if !buf.len().is_multiple_of(PAGE_BYTES) || page > payload::MAX_LEN / PAGE {
            let context = format!("reading {} bytes from page {page}: those are no pages", buf.len());
            return Err(Error::new(Kind::Invalid, context));
        }
        let file = self.file(number)?;
        if file.base_commit > seq {
            let context = format!("reading at commit {seq}: the file was changed up to {}", file.base_commit);
            return Err(Error::new(Kind::Conflict, context).at(&file.path));
        }
        // Runs of pages that lie behind each other are read by one call.
        let mut rest = buf;
        let mut run = (Source::Zeros, 0);
        for index in 0..rest.len() / PAGE_BYTES {
            let (source, told) = self.resolve(number, file, seq, page + index as u64);
            version(index, told);
            if run.1 > 0 && run.0.after(run.1) == source {
                run.1 += 1;
                continue;
            }
            rest = self.read_run(file, run, rest)?;
            run = (source, 1);
        }
        self.read_run(file, run, rest).map(drop)
    }

    /// Reads a run of so many pages from one source; what of the buffer is left.
    fn read_run<'a>(&self, file: &PagedFile, run: (Source, usize), buf: &'a mut [u8]) -> Result<&'a mut [u8]> {
        let (source, count) = run;
        let (buf, rest) = buf.split_at_mut(count * PAGE_BYTES);
        match source {
            _ if count == 0 => {}
            Source::Zeros => buf.fill(0),
            Source::Log(log, offset) => self.logs[log].writer.read_at(offset, buf)?,
            Source::File(offset) => {
                let wanted = file.content.saturating_sub(offset).min(buf.len() as u64) as usize;
                let read = file.disk.as_ref().map_or(Ok(0), |disk| disk.read_at(offset, &mut buf[..wanted]))?;
                if read < wanted {
                    let context = format!("reading {wanted} bytes at {offset}: the file ended after {read}");
                    return Err(Error::new(Kind::Corrupt, context).at(&file.path));
                }
                buf[wanted..].fill(0);
            }
        }
        Ok(rest)
    }

    fn flush(&mut self) -> Result<u64> {
        if self.usage.durable == self.usage.newest {
            return Ok(self.usage.newest);
        }
        self.changeable()?;
        #[cfg(feature = "planted")]
        if self.has(crate::Planted::SkipFlush) || self.has(crate::Planted::AcknowledgeEarly) {
            self.early = self.has(crate::Planted::AcknowledgeEarly);
            self.usage.durable = self.usage.newest;
            return Ok(self.usage.newest);
        }
        self.flush_log()?;
        Ok(self.usage.newest)
    }

    /// Makes all records durable. Those of the log that commits do not go to are.
    fn flush_log(&mut self) -> Result<()> {
        let writer = &mut self.logs[self.current].writer;
        if writer.flushed() < writer.last() {
            self.usage.flushes += 1;
            writer.flush().map_err(|error| self.fail(error))?;
        }
        self.usage.durable = self.usage.newest;
        Ok(())
    }

    /// Bytes of the log that are of transactions which are not over: no checkpoint can copy them.
    fn part_bytes(&self) -> u64 {
        self.files.values().filter_map(|file| file.staged.as_ref()).map(|staged| staged.part_pages * PAGE).sum()
    }

    fn usage(&self) -> Usage {
        let sealed = if self.job.is_some() { self.logs[1 - self.current].bytes() } else { 0 };
        Usage { log_bytes: self.logs[self.current].bytes() + sealed, ..self.usage }
    }

    /// Whether closing the current log pays: parts of open transactions have to be copied to the other.
    fn outgrows(&self, bytes: u64, limit: u64) -> bool {
        let parts = self.part_bytes();
        self.changeable().is_ok() && bytes.saturating_sub(parts) > limit.max(parts)
    }
}

fn unknown(number: u32) -> Error {
    Error::new(Kind::Invalid, format!("there is no file {number}"))
}

impl PageStore for Store {
    fn attach(&self, path: &str, open: Open) -> Result<u32> {
        self.inner().attach(path, open)
    }

    fn detach(&self, file: u32) {
        self.inner().detach(file);
    }

    fn newest(&self, file: u32) -> Result<View> {
        let inner = self.inner.borrow();
        Ok(View { seq: inner.usage.newest, len: inner.file(file)?.len() })
    }

    fn read(
        &self,
        file: u32,
        seq: u64,
        page: u64,
        buf: &mut [u8],
        version: &mut dyn FnMut(usize, Version),
    ) -> Result<()> {
        self.inner.borrow().read(file, seq, page, buf, version)
    }

    fn read_staged(&self, file: u32, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.inner.borrow().read_staged(file, offset, buf)
    }

    fn stage(&self, file: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner().stage(file, offset, bytes)
    }

    fn stage_len(&self, file: u32, len: u64) -> Result<()> {
        self.inner().stage_len(file, len)
    }

    fn staged_len(&self, file: u32) -> Result<u64> {
        Ok(self.inner.borrow().file(file)?.staged_len())
    }

    fn discard(&self, file: u32) {
        self.inner().discard(file);
    }

    fn commit(&self, files: &[u32], id: Option<CommitId>, changed: &mut dyn FnMut(Change)) -> Result<u64> {
        self.inner().commit(files, id, changed)
    }

    fn committed(&self, id: CommitId) -> Option<u64> {
        self.inner.borrow().ids.find(id)
    }

    fn flush(&self) -> Result<u64> {
        self.inner().flush()
    }

    fn flushed(&self) -> u64 {
        self.inner.borrow().usage.durable
    }

    fn wants_checkpoint(&self) -> bool {
        let inner = self.inner.borrow();
        inner.changeable().is_ok()
            && (inner.job.is_some() || inner.outgrows(inner.logs[inner.current].bytes(), inner.options.soft_bytes))
    }

    fn needs_checkpoint(&self) -> bool {
        let inner = self.inner.borrow();
        inner.outgrows(inner.usage().log_bytes, inner.options.hard_bytes)
    }

    fn checkpoint_target(&self) -> Result<Option<u64>> {
        self.inner().checkpoint_target()
    }

    fn checkpoint(&self, oldest: Option<u64>) -> Result<Checkpoint> {
        self.inner().checkpoint(oldest)
    }

    fn settle(&self, path: &str) -> Result<()> {
        self.inner().settle(path)
    }

    fn usage(&self) -> Usage {
        self.inner.borrow().usage()
    }
}

/// A file's handle, which only a store that may not change can lack.
fn handle(file: &PagedFile) -> Result<Rc<dyn File>> {
    let none = || Error::new(Kind::ReadOnly, "the file does not exist, and the store may not change").at(&file.path);
    file.disk.clone().ok_or_else(none)
}
