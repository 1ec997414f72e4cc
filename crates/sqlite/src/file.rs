//! What SQLite does with an open file: reads, writes, locks, and the commit.
//!
//! Under SQLite every database has `journal_mode=MEMORY`: its pager keeps what a rollback needs in memory, writes all
//! changed pages, and tells the file to commit (`SQLITE_FCNTL_COMMIT_PHASETWO`). Until then the pages are staged, and
//! nobody else sees them.
//!
//! Invariants:
//! - SQLite's SHARED lock is a view, RESERVED and above are the write lock; readers never keep the writer from
//!   committing. A view that is not the newest gets `SQLITE_BUSY_SNAPSHOT` for the write lock.
//! - All databases that a connection changed commit as one: the first to be told takes the others along.
//! - A write that failed, failed for good: that transaction cannot commit, whatever SQLite makes of the failure.
//! - After a failed commit everything staged is gone. SQLite's rollback then writes old content over old content,
//!   which is left out.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;
use std::time::Duration;

use statik_bridge::pages::{Durability, Paged};
use statik_disk::{Error, File, Kind, Result};

use crate::vfs::{State, state};
use crate::{ffi, pragma};

/// The unit that SQLite may take for written as a whole.
const SECTOR_BYTES: c_int = 4096;
/// The start of a database's header, with the fields of [`Database::fit`].
const HEADER_BYTES: usize = 100;

/// SQLite's file object: its methods, then ours.
#[repr(C)]
pub(crate) struct Handle {
    base: ffi::sqlite3_file,
    vfs: *mut ffi::sqlite3_vfs,
    open: *mut OpenFile,
}

/// What a file object stands for.
pub(crate) enum OpenFile {
    /// A database of the store.
    Database(Rc<Database>),
    /// Temporary, or a journal: nobody else's business.
    Memory(Box<dyn File>),
}

/// Where a database's transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No view.
    Idle,
    /// A view is held.
    Reading,
    /// And the write lock.
    Writing,
    /// The changes are committed; SQLite has not let go of its lock yet.
    Committed,
    /// The changes are discarded; SQLite has not rolled back yet.
    Discarded,
}

/// A database that a connection has open.
pub(crate) struct Database {
    path: String,
    paged: Box<dyn Paged>,
    /// Whose it is, once SQLite told.
    connection: Cell<*mut ffi::sqlite3>,
    durability: Cell<Durability>,
    phase: Cell<Phase>,
    /// A place in the queue for the write lock, or the lock itself, is held.
    queued: Cell<bool>,
    /// Something is staged.
    dirty: Cell<bool>,
    /// SQLite has written all that the commit is to have, but for a cut of the file.
    complete: Cell<bool>,
    /// The write that failed.
    failure: RefCell<Option<Error>>,
}

impl Database {
    pub fn new(path: &str, paged: Box<dyn Paged>) -> Self {
        Database {
            path: path.to_owned(),
            paged,
            connection: Cell::new(std::ptr::null_mut()),
            durability: Cell::new(Durability::Full),
            phase: Cell::new(Phase::Idle),
            queued: Cell::default(),
            dirty: Cell::default(),
            complete: Cell::default(),
            failure: RefCell::default(),
        }
    }

    /// The connection that opened it.
    pub fn connection(&self) -> *mut ffi::sqlite3 {
        self.connection.get()
    }

    pub fn set_durability(&self, durability: Durability) {
        self.durability.set(durability);
    }

    /// Waits in the queue for the write lock; whether it came.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        self.queued.set(true);
        self.paged.wait(timeout)
    }

    /// Leaves the queue, while no view is held.
    pub fn leave(&self) -> Result<()> {
        if self.phase.get() == Phase::Idle { self.end() } else { Ok(()) }
    }

    fn error(&self, kind: Kind, context: &str) -> Error {
        Error::new(kind, context).at(&self.path)
    }

    /// Enters a phase in which nothing is staged.
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.dirty.set(false);
        self.complete.set(false);
        self.failure.take();
    }

    fn begin(&self) -> Result<()> {
        if self.phase.get() == Phase::Idle {
            self.paged.begin()?;
            self.phase.set(Phase::Reading);
        }
        Ok(())
    }

    fn lock(&self) -> Result<()> {
        if self.phase.get() != Phase::Writing {
            self.paged.lock()?;
            self.phase.set(Phase::Writing);
        }
        Ok(())
    }

    /// Gives the write lock up, and what is not committed.
    fn unlock(&self) -> Result<()> {
        match self.phase.get() {
            Phase::Idle => Ok(()),
            Phase::Writing => {
                self.enter(Phase::Reading);
                self.queued.set(false);
                self.paged.discard()
            }
            Phase::Reading | Phase::Committed | Phase::Discarded => {
                self.enter(Phase::Reading);
                Ok(())
            }
        }
    }

    fn end(&self) -> Result<()> {
        let idle = self.phase.get() == Phase::Idle;
        self.enter(Phase::Idle);
        if self.queued.replace(false) || !idle { self.paged.end() } else { Ok(()) }
    }

    /// Runs `read` with a view: SQLite looks at a file's header and length before it locks it.
    fn with_view<T>(&self, read: impl FnOnce(&dyn Paged) -> Result<T>) -> Result<T> {
        if self.phase.get() != Phase::Idle {
            return read(&*self.paged);
        }
        self.paged.begin()?;
        let answer = read(&*self.paged);
        self.paged.end()?;
        answer
    }

    /// Stages a change, if this transaction still can have any.
    fn change(&self, change: impl FnOnce(&dyn Paged) -> Result<()>) -> Result<()> {
        match self.phase.get() {
            Phase::Writing => {
                self.dirty.set(true);
                self.complete.set(false);
                change(&*self.paged).inspect_err(|error| {
                    self.failure.borrow_mut().get_or_insert(error.clone());
                })
            }
            Phase::Discarded => Ok(()),
            Phase::Idle | Phase::Reading | Phase::Committed => {
                Err(self.error(Kind::Invalid, "SQLite writes without the write lock"))
            }
        }
    }

    fn truncate(&self, len: u64) -> Result<()> {
        // The commit has cut the file already, see `fit`.
        if self.phase.get() == Phase::Committed && self.paged.len()? == len {
            return Ok(());
        }
        self.change(|paged| paged.set_len(len))
    }

    /// Cuts the file to what its header says. SQLite does so itself, but for each database after the one before it has
    /// committed, which is too late for a commit that takes all along.
    fn fit(&self) -> Result<()> {
        let mut header = [0; HEADER_BYTES];
        if self.paged.read_at(0, &mut header)? < HEADER_BYTES {
            return Ok(());
        }
        let word = |at: usize| u64::from(u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes")));
        // 1 stands for 65536, which has no room in the field.
        let page_bytes = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
            1 => 65536,
            bytes => bytes,
        };
        let len = word(28) * page_bytes;
        if word(24) == word(92) && len > 0 && len < self.paged.len()? {
            self.paged.set_len(len)?;
        }
        Ok(())
    }

    /// Commits what this and the connection's other databases have staged.
    fn commit(&self, state: &State) -> Result<()> {
        match self.phase.get() {
            Phase::Writing => {}
            Phase::Discarded => return Err(self.error(Kind::Invalid, "SQLite commits what was discarded")),
            Phase::Idle | Phase::Reading | Phase::Committed => return Ok(()),
        }
        let open = state.databases();
        let takes_part = |other: &&Rc<Database>| {
            let own = std::ptr::eq(&***other, self);
            other.dirty.get() && (own || other.complete.get() && other.connection.get() == self.connection.get())
        };
        let files: Vec<&Rc<Database>> = open.iter().filter(takes_part).collect();
        if files.is_empty() {
            return Ok(());
        }
        let committed = self.commit_all(state, &files);
        for file in files {
            file.enter(if committed.is_ok() { Phase::Committed } else { Phase::Discarded });
            file.queued.set(false);
        }
        committed
    }

    fn commit_all(&self, state: &State, files: &[&Rc<Database>]) -> Result<()> {
        let ready = files.iter().try_for_each(|file| match file.failure.take() {
            Some(failure) => Err(failure),
            None if std::ptr::eq(&***file, self) => Ok(()),
            None => file.fit(),
        });
        if let Err(error) = ready {
            // The first failure is the one to tell.
            let discarded = files.iter().try_for_each(|file| file.paged.discard());
            return Err(match discarded {
                Ok(()) => error,
                Err(also) => Error::new(error.kind(), format!("{error}; and it could not be discarded")).because(also),
            });
        }
        let ids: Vec<u32> = files.iter().map(|file| file.paged.id()).collect();
        let durability = files.iter().map(|file| file.durability.get()).max().unwrap_or(Durability::Full);
        state.pages().commit(&ids, durability, None).map(|_| ())
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Makes SQLite's file object one for `open`.
///
/// # Safety
/// `file` has room for a [`Handle`], and `vfs` is one that `Vfs::register` made.
pub(crate) unsafe fn put(file: *mut ffi::sqlite3_file, vfs: *mut ffi::sqlite3_vfs, open: OpenFile) {
    let handle = file.cast::<Handle>();
    // SAFETY: by the caller's promise.
    unsafe {
        (*handle).vfs = vfs;
        (*handle).open = Box::into_raw(Box::new(open));
        (*file).pMethods = &raw const METHODS;
    }
}

/// # Safety
/// `file` was made by [`put`] and is not closed.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> (&'a State, &'a OpenFile) {
    let handle = file.cast::<Handle>();
    // SAFETY: by the caller's promise both pointers are as `put` set them.
    unsafe { (state((*handle).vfs), &*(*handle).open) }
}

/// The answer for what cannot fail but by the store.
fn answer(state: &State, result: Result<()>, io: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => state.fail(error, io),
    }
}

/// The answer for a part of a write transaction.
fn answer_write(state: &State, result: Result<()>, io: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => state.fail_write(error, io),
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite closes a file once; the box was made in `put`.
    unsafe {
        let open = Box::from_raw((*handle).open);
        (*handle).open = std::ptr::null_mut();
        (*file).pMethods = std::ptr::null();
        state((*handle).vfs).close(*open);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, buf: *mut c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite passes an open file and room for `count` bytes.
    let (state, open, buf) = unsafe {
        let (state, open) = opened(file);
        (state, open, std::slice::from_raw_parts_mut(buf.cast::<u8>(), count as usize))
    };
    let read = match open {
        OpenFile::Database(database) => database.with_view(|paged| paged.read_at(offset as u64, buf)),
        OpenFile::Memory(file) => file.read_at(offset as u64, buf),
    };
    match read {
        Ok(read) if read == buf.len() => ffi::SQLITE_OK,
        Ok(read) => {
            buf[read..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(error) => state.fail(error, ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite passes an open file and `count` bytes.
    let (state, open, bytes) = unsafe {
        let (state, open) = opened(file);
        (state, open, std::slice::from_raw_parts(bytes.cast::<u8>(), count as usize))
    };
    let written = match open {
        OpenFile::Database(database) => database.change(|paged| paged.write_at(offset as u64, bytes)),
        OpenFile::Memory(file) => file.write_at(offset as u64, bytes),
    };
    answer_write(state, written, ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    // SAFETY: SQLite passes an open file.
    let (state, open) = unsafe { opened(file) };
    let cut = match open {
        OpenFile::Database(database) => database.truncate(len as u64),
        OpenFile::Memory(file) => file.set_len(len as u64),
    };
    answer_write(state, cut, ffi::SQLITE_IOERR_TRUNCATE)
}

/// What makes a transaction durable is the commit.
unsafe extern "C" fn sync(_file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: SQLite passes an open file and room for the answer.
    let (state, open) = unsafe { opened(file) };
    let len = match open {
        OpenFile::Database(database) => database.with_view(|paged| paged.len()),
        OpenFile::Memory(file) => file.len(),
    };
    match len {
        Ok(len) => {
            // SAFETY: as above.
            unsafe { *out = len as i64 };
            ffi::SQLITE_OK
        }
        Err(error) => state.fail(error, ffi::SQLITE_IOERR_FSTAT),
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, to: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let (state, open) = unsafe { opened(file) };
    let OpenFile::Database(database) = open else { return ffi::SQLITE_OK };
    if to == ffi::SQLITE_LOCK_SHARED {
        return answer(state, database.begin(), ffi::SQLITE_IOERR_LOCK);
    }
    match database.lock() {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => state.fail_lock(database, error),
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, to: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let (state, open) = unsafe { opened(file) };
    let OpenFile::Database(database) = open else { return ffi::SQLITE_OK };
    let unlocked = if to == ffi::SQLITE_LOCK_NONE { database.end() } else { database.unlock() };
    answer(state, unlocked, ffi::SQLITE_IOERR_UNLOCK)
}

/// SQLite asks when it has found a journal, which it never does.
unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite passes an open file and room for the answer.
    unsafe {
        let (_, open) = opened(file);
        *out = matches!(open, OpenFile::Database(database) if database.phase.get() == Phase::Writing).into();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    // SAFETY: SQLite passes an open file.
    let (state, open) = unsafe { opened(file) };
    let OpenFile::Database(database) = open else { return ffi::SQLITE_NOTFOUND };
    match op {
        ffi::SQLITE_FCNTL_PDB => {
            // SAFETY: the argument is a pointer to the connection's pointer.
            database.connection.set(unsafe { *arg.cast::<*mut ffi::sqlite3>() });
            ffi::SQLITE_OK
        }
        // Comes when all is written, whatever `synchronous` says.
        ffi::SQLITE_FCNTL_SYNC => {
            database.complete.set(database.phase.get() == Phase::Writing);
            ffi::SQLITE_OK
        }
        ffi::SQLITE_FCNTL_COMMIT_PHASETWO => answer_write(state, database.commit(state), ffi::SQLITE_IOERR_FSYNC),
        ffi::SQLITE_FCNTL_PRAGMA => {
            // SAFETY: SQLite passes three strings: room for the answer, the name, and the value or null.
            unsafe {
                let strings = arg.cast::<*mut c_char>();
                let name = CStr::from_ptr(*strings.add(1)).to_bytes();
                let value = *strings.add(2);
                let value = if value.is_null() {
                    None
                } else {
                    Some(std::slice::from_raw_parts_mut(value.cast::<u8>(), CStr::from_ptr(value).to_bytes().len()))
                };
                match pragma::control(state, database, name, value) {
                    Ok(pragma::Control::Pass) => ffi::SQLITE_NOTFOUND,
                    Ok(pragma::Control::Answer(text)) => {
                        *strings = pragma::allocated(text);
                        ffi::SQLITE_OK
                    }
                    Err(error) => state.fail(error, ffi::SQLITE_IOERR),
                }
            }
        }
        _ => ffi::SQLITE_NOTFOUND,
    }
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_BYTES
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    // A commit is atomic: bytes beside a write are not harmed, and no order of writes is needed.
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE | ffi::SQLITE_IOCAP_SAFE_APPEND | ffi::SQLITE_IOCAP_SEQUENTIAL
}
