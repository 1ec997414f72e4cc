//! A connection: one open database, and what holds for all its statements.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_int, c_void};
use std::rc::Rc;
use std::time::Duration;

use statik_bridge::pages::Durability;
use statik_disk::Kind;

use crate::timing::{Histogram, Slow, has_plan};
use crate::{Error, PlanRow, Result, SlowQuery, Statement, Timings, Value, Vfs, ffi};

/// The place of the temporary database among those of a connection.
const TEMP: c_int = 1;

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
    /// What `PRAGMA synchronous` is at first.
    pub synchronous: Durability,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            create: true,
            read_only: false,
            busy_timeout_ms: 5000,
            cache_kib: 65536,
            foreign_keys: true,
            synchronous: Durability::Full,
        }
    }
}

/// SQLite asks whether to stop after this many steps of its virtual machine, some hundreds of microseconds.
const POLL_STEPS: c_int = 10_000;

/// While it waits for a lock, a statement asks this often whether to stop.
const WAIT_SLICE_MS: f64 = 20.0;
/// Where waiting answers at once, because nobody could give the lock up meanwhile, it is asked again after this.
const RETRY_MS: f64 = 1.0;

type Poll = Box<dyn Fn() -> bool>;

/// An open database. Dropping it closes it.
pub struct Connection {
    pub(crate) db: Rc<Db>,
}

/// What a connection shares with its statements.
pub(crate) struct Db {
    raw: *mut ffi::sqlite3,
    closed: Cell<bool>,
    name: String,
    vfs: Rc<Vfs>,
    busy_timeout_us: Cell<u64>,
    /// When the statement stops waiting for locks.
    wait_until_ms: Cell<f64>,
    histogram: RefCell<Histogram>,
    slow: RefCell<Slow>,
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
            wait_until_ms: Cell::default(),
            histogram: RefCell::default(),
            slow: RefCell::default(),
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
        self.exec_untimed(&format!(
            "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA cache_size=-{}; PRAGMA foreign_keys={}",
            options.cache_kib, options.foreign_keys,
        ))?;
        // Writing to the schema's own tables or switching the journal off could make a database unreadable.
        // SAFETY: the handle is open; this option takes an integer and null or room for the answer.
        let code = unsafe {
            let unanswered = std::ptr::null_mut::<c_int>();
            ffi::sqlite3_db_config(self.db.raw, ffi::SQLITE_DBCONFIG_DEFENSIVE, 1 as c_int, unanswered)
        };
        if code != ffi::SQLITE_OK {
            return Err(self.failure(code, "configuring the connection"));
        }
        self.db.adopt()?;
        // OFF is 0, NORMAL 1, FULL 2.
        self.exec_untimed(&format!("PRAGMA synchronous={}", options.synchronous as u8))
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

    /// As [`Connection::exec`], for what is not the app's.
    pub(crate) fn exec_untimed(&self, sql: &str) -> Result<()> {
        self.db.exec_untimed(sql)
    }

    /// Calls `row` with each row of a query that is not the app's.
    pub(crate) fn each(&self, sql: &str, mut row: impl FnMut(&Statement)) -> Result<()> {
        let (statement, _) = Statement::prepare(&self.db, sql, 0)?;
        let mut statement = statement.ok_or_else(|| Error::new(Kind::Invalid, "the SQL has no statement"))?;
        statement.untimed();
        while statement.step()? {
            row(&statement);
        }
        Ok(())
    }

    /// The number that such a query gives.
    pub(crate) fn number(&self, sql: &str) -> Result<u64> {
        let mut number = None;
        self.each(sql, |row| {
            if let Value::Integer(value) = row.value(0) {
                number = u64::try_from(value).ok();
            }
        })?;
        number.ok_or_else(|| Error::new(Kind::Io, format!("{sql} gives no number")))
    }

    pub(crate) fn vfs(&self) -> &Rc<Vfs> {
        &self.db.vfs
    }

    pub(crate) fn handle(&self) -> Result<*mut ffi::sqlite3> {
        self.db.raw()
    }

    /// The failure that `code` stands for.
    pub(crate) fn failure(&self, code: c_int, doing: &str) -> Error {
        self.db.error(code, doing)
    }

    /// How long statements took so far. One's time is that in [`Statement::step`], until it is done or reset; the time
    /// between two steps counts unless [`Statement::pause`] is called. Of a statement that is run again in less than
    /// 50 µs, one run in eight is timed and stands for the others, unless slow ones are looked for.
    pub fn timings(&self) -> Timings {
        self.db.histogram.borrow().timings()
    }

    /// From now on keeps each statement that takes that long, with its plan; `None`, as at first, keeps none.
    pub fn set_slow_query_ms(&self, threshold_ms: Option<f64>) {
        self.db.slow.borrow_mut().threshold_ms = threshold_ms;
    }

    /// The slow statements since the last call, the newest 32 of them, the oldest first.
    pub fn take_slow_queries(&self) -> Vec<SlowQuery> {
        self.db.slow.borrow_mut().take()
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

    /// Has `poll` asked, every some hundreds of microseconds while a statement runs, whether to stop it; it then fails
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

/// SQLite found a lock taken for the `attempt`th time, from 0: waits for it, and answers whether to try again.
unsafe extern "C" fn wait(db: *mut c_void, attempt: c_int) -> c_int {
    // SAFETY: `configure` passed a pointer to the `Db`, which closes the handle before it is gone.
    let db = unsafe { &*db.cast::<Db>() };
    let again = db.wait_for_lock(attempt == 0).unwrap_or_else(|error| {
        db.vfs.keep_error(error);
        false
    });
    again.into()
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
        self.vfs.take_busy();
    }

    pub fn now_ms(&self) -> f64 {
        self.vfs.now_ms()
    }

    /// Queues for the write lock that SQLite did not get, until it comes or the timeout is over; whether SQLite shall
    /// try again. `first`: it is the first time for this statement. It is asked for once in any case: perhaps only the
    /// view was too old.
    fn wait_for_lock(&self, first: bool) -> statik_disk::Result<bool> {
        let Some(database) = self.vfs.take_busy() else { return Ok(false) };
        let mut now_ms = self.vfs.now_ms();
        if first {
            self.wait_until_ms.set(now_ms + self.busy_timeout_us.get() as f64 / 1000.0);
        }
        loop {
            let slice_ms = (self.wait_until_ms.get() - now_ms).clamp(0.0, WAIT_SLICE_MS);
            match database.wait(Duration::from_secs_f64(slice_ms / 1000.0)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => return database.leave().and(Err(error)),
            }
            let then_ms = now_ms;
            now_ms = self.vfs.now_ms();
            let stopped = || self.poll.borrow().as_ref().is_some_and(|poll| poll());
            if now_ms >= self.wait_until_ms.get() || stopped() {
                database.leave()?;
                return Ok(false);
            }
            if now_ms - then_ms < RETRY_MS.min(slice_ms) {
                self.vfs.sleep((RETRY_MS * 1000.0) as c_int);
                now_ms = self.vfs.now_ms();
            }
        }
    }

    /// Databases that were just opened or ATTACHed get the journal mode that lets the store commit: SQLite opens them
    /// in another.
    pub fn adopt(self: &Rc<Db>) -> Result<()> {
        if !self.vfs.take_opened() {
            return Ok(());
        }
        for index in (0..).filter(|index| *index != TEMP) {
            // SAFETY: the handle is open; the name is null beyond the last database, else a C string.
            let name = unsafe { ffi::sqlite3_db_name(self.raw()?, index) };
            if name.is_null() {
                break;
            }
            // SAFETY: as above; it lives as long as the database is attached.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().replace('"', "\"\"");
            self.exec_untimed(&format!("PRAGMA \"{name}\".journal_mode=MEMORY"))?;
        }
        Ok(())
    }

    pub fn exec_untimed(self: &Rc<Db>, sql: &str) -> Result<()> {
        let mut rest = 0;
        while rest < sql.len() {
            let (statement, tail) = Statement::prepare(self, sql, rest)?;
            if let Some(mut statement) = statement {
                statement.untimed();
                statement.run()?;
            }
            rest = tail;
        }
        Ok(())
    }

    /// Whether each run of a statement is to be timed.
    pub fn times_all(&self) -> bool {
        self.slow.borrow().threshold_ms.is_some()
    }

    /// Counts a statement that took `ms`, and keeps it if that is long.
    pub fn count(self: &Rc<Db>, sql: &str, ms: f64, rows: u64) {
        self.histogram.borrow_mut().add(ms);
        if !self.slow.borrow().is_slow(ms) {
            return;
        }
        // What cannot be explained, for instance because it dropped its own table, is kept without a plan.
        let plan = if has_plan(sql) { self.plan(sql).unwrap_or_default() } else { Vec::new() };
        self.slow.borrow_mut().keep(sql, ms, rows, plan);
    }

    fn plan(self: &Rc<Db>, sql: &str) -> Result<Vec<PlanRow>> {
        let (statement, _) = Statement::prepare(self, &format!("EXPLAIN QUERY PLAN {sql}"), 0)?;
        let Some(mut statement) = statement else { return Ok(Vec::new()) };
        statement.untimed();
        let mut plan = Vec::new();
        while statement.step()? {
            if let (Value::Integer(id), Value::Integer(parent), Value::Text(detail)) =
                (statement.value(0), statement.value(1), statement.value(3))
            {
                plan.push(PlanRow { id, parent, detail: String::from_utf8_lossy(detail).into_owned() });
            }
        }
        Ok(plan)
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
