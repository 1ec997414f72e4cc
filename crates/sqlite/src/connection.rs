//! A connection: one open database, and what holds for all its statements.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_int, c_void};
use std::rc::Rc;

use statik_disk::Kind;

use crate::{Error, Result, Statement, Vfs, ffi};

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Create the database if it does not exist; otherwise that is `NotFound`.
    pub create: bool,
    /// Refuse every change.
    pub read_only: bool,
    /// How long a statement waits for another connection's lock.
    pub busy_timeout_ms: u32,
    /// SQLite's page cache, in KiB.
    pub cache_kib: u32,
    /// Enforce foreign keys.
    pub foreign_keys: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { create: true, read_only: false, busy_timeout_ms: 5000, cache_kib: 16384, foreign_keys: true }
    }
}

/// SQLite asks whether to stop after this many steps of its virtual machine, some tens of microseconds.
const POLL_STEPS: c_int = 1000;

/// What a journal keeps of the space that a large transaction took.
const JOURNAL_LIMIT_BYTES: u32 = 1 << 20;

/// Between two attempts at a lock, the longest time.
const MAX_WAIT_US: u64 = 25_000;

type Poll = Box<dyn Fn() -> bool>;

/// An open database. Dropping it closes it.
pub struct Connection {
    db: Rc<Db>,
}

/// What a connection shares with its statements.
pub(crate) struct Db {
    raw: *mut ffi::sqlite3,
    closed: Cell<bool>,
    name: String,
    vfs: Rc<Vfs>,
    busy_timeout_us: Cell<u64>,
    /// Waited so far for the lock that is being asked for.
    waited_us: Cell<u64>,
    /// Boxed twice, because C keeps a thin pointer to it.
    poll: RefCell<Option<Box<Poll>>>,
}

impl Connection {
    /// Opens, or creates, the database `name` (`:memory:` is SQLite's own).
    pub fn open(vfs: &Rc<Vfs>, name: &str, options: &OpenOptions) -> Result<Connection> {
        if name.starts_with("file:") {
            return Err(Error::new(Kind::Invalid, format!("the database name {name:?} looks like a URI")));
        }
        if name != ":memory:" {
            statik_disk::validate_path(name)?;
        }
        let path = CString::new(name).map_err(|_| Error::new(Kind::Invalid, "the database name has a NUL"))?;
        let flags = match options {
            OpenOptions { read_only: true, .. } => ffi::SQLITE_OPEN_READONLY,
            OpenOptions { create: true, .. } => ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE,
            _ => ffi::SQLITE_OPEN_READWRITE,
        };
        let mut raw = std::ptr::null_mut();
        // SAFETY: the path and the VFS's name are C strings; SQLite writes the handle, even when it fails.
        let code = unsafe {
            ffi::sqlite3_open_v2(path.as_ptr(), &raw mut raw, flags | ffi::SQLITE_OPEN_EXRESCODE, vfs.name().as_ptr())
        };
        let db = Rc::new(Db {
            raw,
            closed: Cell::new(false),
            name: name.to_owned(),
            vfs: Rc::clone(vfs),
            busy_timeout_us: Cell::default(),
            waited_us: Cell::default(),
            poll: RefCell::default(),
        });
        let connection = Connection { db };
        if code != ffi::SQLITE_OK {
            return Err(connection.db.error(code, &format!("opening {name:?}")));
        }
        connection.configure(options)?;
        Ok(connection)
    }

    fn configure(&self, options: &OpenOptions) -> Result<()> {
        self.db.busy_timeout_us.set(u64::from(options.busy_timeout_ms) * 1000);
        // SAFETY: the handle is open, and closed before the `Db` that the handler gets is gone.
        unsafe { ffi::sqlite3_busy_handler(self.db.raw, Some(wait), Rc::as_ptr(&self.db).cast_mut().cast()) };
        // An opened file may be anybody's: its schema must not call functions with side effects.
        self.exec(&format!(
            "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA cache_size=-{}; PRAGMA foreign_keys={}",
            options.cache_kib, options.foreign_keys,
        ))?;
        if !options.read_only {
            // Overwriting the journal's header ends a transaction with less than cutting the file.
            self.exec(&format!("PRAGMA journal_mode=PERSIST; PRAGMA journal_size_limit={JOURNAL_LIMIT_BYTES}"))?;
        }
        Ok(())
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.db.name
    }

    /// Runs any number of statements; their rows are dropped. What ran before one that fails stays done.
    pub fn exec(&self, sql: &str) -> Result<()> {
        let mut rest = 0;
        while rest < sql.len() {
            let (statement, tail) = Statement::prepare(&self.db, sql, rest)?;
            if let Some(mut statement) = statement {
                statement.run()?;
            }
            rest = tail;
        }
        Ok(())
    }

    /// Prepares the one statement that `sql` holds.
    ///
    /// # Errors
    /// `Invalid` if there is none, or more than one.
    pub fn prepare(&self, sql: &str) -> Result<Statement> {
        let (statement, mut rest) = Statement::prepare(&self.db, sql, 0)?;
        let mut statement = statement;
        while rest < sql.len() {
            let (another, tail) = Statement::prepare(&self.db, sql, rest)?;
            if another.is_some() && statement.is_some() {
                return Err(Error::new(Kind::Invalid, "the SQL has more than one statement; exec() runs several"));
            }
            statement = statement.or(another);
            rest = tail;
        }
        statement.ok_or_else(|| Error::new(Kind::Invalid, "the SQL has no statement"))
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_get_autocommit(self.db.raw) == 0 }
    }

    /// The rowid of the last insert.
    pub fn last_insert_rowid(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_last_insert_rowid(self.db.raw) }
    }

    /// Rows changed by the last INSERT, UPDATE or DELETE, without what its triggers changed.
    pub fn changes(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_changes64(self.db.raw) }
    }

    /// All rows changed by this connection so far, by triggers too.
    pub fn total_changes(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_total_changes64(self.db.raw) }
    }

    /// Has `poll` asked, every some tens of microseconds while a statement runs, whether to stop it; it then fails
    /// with `Aborted`. While it waits for a lock `poll` is asked too, and it fails with `Busy`.
    pub fn set_interrupt(&self, poll: impl Fn() -> bool + 'static) {
        let poll: Box<Poll> = Box::new(Box::new(poll));
        // SAFETY: the box lies in `db.poll` until another replaces it here or the connection is closed.
        unsafe {
            let poll = (&raw const *poll).cast_mut().cast::<c_void>();
            ffi::sqlite3_progress_handler(self.db.raw, POLL_STEPS, Some(ask), poll);
        }
        self.db.poll.replace(Some(poll));
    }

    /// Closes: calls after that fail with `Closed`. The file is let go when the last statement is, so finalize those.
    pub fn close(&self) {
        self.db.closed.set(true);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

unsafe extern "C" fn ask(poll: *mut c_void) -> c_int {
    // SAFETY: `set_interrupt` passed a pointer to a live `Poll`.
    unsafe { (*poll.cast::<Poll>())() }.into()
}

/// SQLite found a lock taken for the `attempt`th time, from 0: waits, a little longer each time, and answers whether to
/// try again.
unsafe extern "C" fn wait(db: *mut c_void, attempt: c_int) -> c_int {
    // SAFETY: `configure` passed a pointer to the `Db`, which closes the handle before it is gone.
    let db = unsafe { &*db.cast::<Db>() };
    let waited_us = if attempt == 0 { 0 } else { db.waited_us.get() };
    let pause_us =
        (1000 << attempt.clamp(0, 10)).min(MAX_WAIT_US).min(db.busy_timeout_us.get().saturating_sub(waited_us));
    if pause_us == 0 || db.poll.borrow().as_ref().is_some_and(|poll| poll()) {
        return 0;
    }
    db.vfs.sleep(pause_us as c_int);
    db.waited_us.set(waited_us + pause_us);
    1
}

impl Db {
    /// The handle, or `Closed`.
    pub fn raw(&self) -> Result<*mut ffi::sqlite3> {
        if self.closed.get() {
            return Err(Error::new(Kind::Closed, format!("the database {:?} is closed", self.name)));
        }
        Ok(self.raw)
    }

    /// Forgets an earlier failure of the disk, so that it is not taken for the cause of the next one.
    pub fn forget_disk_error(&self) {
        self.vfs.take_error();
    }

    /// The failure that `code` stands for, with SQLite's message and the disk's, if it failed.
    pub fn error(&self, code: c_int, doing: &str) -> Error {
        self.error_in(code, doing, None)
    }

    /// As [`Db::error`], where SQLite may know the byte of `sql` at which it stopped.
    pub fn error_in(&self, code: c_int, doing: &str, sql: Option<&str>) -> Error {
        // SAFETY: the handle is open, or null if there was no memory for it, which SQLite answers with a message too; the message is a C string that lives until the next call on it.
        let (message, byte) = unsafe {
            let message = CStr::from_ptr(ffi::sqlite3_errmsg(self.raw)).to_string_lossy().into_owned();
            (message, ffi::sqlite3_error_offset(self.raw))
        };
        let offset = sql.and_then(|sql| Some(sql.get(..usize::try_from(byte).ok()?)?.encode_utf16().count()));
        let message = if doing.is_empty() { message } else { format!("{doing}: {message}") };
        Error::sqlite(code, message, offset, self.vfs.take_error())
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Statements hold an `Rc<Db>`, so none is left, and SQLite has no reason to refuse.
        // SAFETY: the handle is open or null, and never used again.
        let code = unsafe { ffi::sqlite3_close(self.raw) };
        debug_assert_eq!(code, ffi::SQLITE_OK, "closing {:?}", self.name);
    }
}
