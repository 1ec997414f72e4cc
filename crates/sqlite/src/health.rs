//! How a database is, and what keeps it well: checks, copies, compaction.

use std::ffi::{CStr, c_int};
use std::rc::Rc;

use statik_bridge::pages::Usage;
use statik_disk::Kind;

use crate::connection::Db;
use crate::{Connection, Error, OpenOptions, Result, Value, ffi};

/// The most that a check reports.
const MAX_FINDINGS: usize = 100;

/// How a database is. See [`Connection::health`].
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What the integrity check finds wrong: nothing, if all is well.
    pub integrity: Vec<String>,
    /// Rows that refer to rows that are not there; none if that was not looked for, or the integrity check finds
    /// something.
    pub foreign_keys: Vec<ForeignKeyViolation>,
    /// All pages of the file.
    pub pages: u64,
    /// Those of them that are free.
    pub free_pages: u64,
    /// The size of a page.
    pub page_bytes: u64,
    /// How much of the database is out of order: the share of pages that do not lie behind the page that is read
    /// before them. `None` if that was not looked for, or the integrity check finds something.
    pub fragmentation: Option<f64>,
    /// What the store tells of its log.
    pub usage: Usage,
}

/// A row that refers to one that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKeyViolation {
    /// Its table.
    pub table: String,
    /// `None` in a table without row ids.
    pub rowid: Option<i64>,
    /// The table that lacks the other row.
    pub parent: String,
}

/// What [`Connection::vacuum`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacuumed {
    /// The database's size before.
    pub before_bytes: u64,
    /// And after.
    pub after_bytes: u64,
}

/// How often a connection's page cache had what was asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheUse {
    /// Pages that were there.
    pub hits: u64,
    /// Pages that had to be read.
    pub misses: u64,
}

impl Connection {
    /// Checks the main database as one snapshot. `full` also compares indexes with their tables, looks for violated
    /// foreign keys and tells the fragmentation, which takes as long as reading everything several times. Of each kind
    /// at most 100 findings are told.
    pub fn health(&self, full: bool) -> Result<Health> {
        let own = !self.in_transaction();
        if own {
            self.exec_untimed("BEGIN")?;
        }
        let health = self.look(full);
        if own {
            self.exec_untimed("ROLLBACK")?;
        }
        health
    }

    fn look(&self, full: bool) -> Result<Health> {
        let check = if full { "integrity_check" } else { "quick_check" };
        let mut integrity = Vec::new();
        let checked = self.each(&format!("PRAGMA main.{check}({MAX_FINDINGS})"), |row| {
            if let Value::Text(finding) = row.value(0)
                && finding != b"ok"
            {
                integrity.push(String::from_utf8_lossy(finding).into_owned());
            }
        });
        match checked {
            // SQLite gives up where it cannot even go on looking.
            Err(error) if error.kind() == Kind::Corrupt => integrity.push(error.to_string()),
            checked => checked?,
        }
        // The rest reads the tables, and would only fail where they cannot be read.
        let sound = integrity.is_empty();
        let mut foreign_keys = Vec::new();
        if full && sound {
            self.each(&format!("SELECT * FROM pragma_foreign_key_check LIMIT {MAX_FINDINGS}"), |row| {
                let text = |value| if let Value::Text(text) = value { text } else { &[][..] };
                let text = |column| String::from_utf8_lossy(text(row.value(column))).into_owned();
                let rowid = if let Value::Integer(rowid) = row.value(1) { Some(rowid) } else { None };
                foreign_keys.push(ForeignKeyViolation { table: text(0), rowid, parent: text(2) });
            })?;
        }
        Ok(Health {
            integrity,
            foreign_keys,
            pages: self.number("PRAGMA main.page_count")?,
            free_pages: self.number("PRAGMA main.freelist_count")?,
            page_bytes: self.number("PRAGMA main.page_size")?,
            fragmentation: if full && sound { Some(self.fragmentation()?) } else { None },
            usage: self.vfs().pages().usage()?,
        })
    }

    /// `dbstat` gives each b-tree's pages in the order of their content.
    fn fragmentation(&self) -> Result<f64> {
        let (mut pages, mut gaps) = (0_u64, 0_u64);
        let (mut tree, mut last) = (Vec::new(), 0);
        self.each("SELECT name, pageno FROM dbstat('main')", |row| {
            let (Value::Text(name), Value::Integer(page)) = (row.value(0), row.value(1)) else { return };
            if tree == name {
                pages += 1;
                gaps += u64::from(page != last + 1);
            } else {
                tree = name.to_vec();
            }
            last = page;
        })?;
        Ok(if pages == 0 { 0.0 } else { gaps as f64 / pages as f64 })
    }

    /// Starts to copy the main database, as it is now, to the database `to`, while others go on reading and writing.
    ///
    /// What this connection has not committed is not copied. The copy replaces what `to` holds, in one commit at the
    /// end: until then, and after a failure, `to` is as it was, or empty if it was not there.
    pub fn backup(&self, to: &str) -> Result<Backup> {
        let copy = Connection::open(self.vfs(), to, &OpenOptions { busy_timeout_ms: 0, ..OpenOptions::default() })?;
        if self.name() == ":memory:" {
            return Backup::start(copy, self);
        }
        let options = OpenOptions { read_only: true, foreign_keys: false, ..OpenOptions::default() };
        let source = Connection::open(self.vfs(), self.name(), &options)?;
        // One view for the whole copy: SQLite would start over after each change that another connection makes.
        source.exec_untimed("BEGIN; SELECT count(*) FROM sqlite_schema")?;
        Backup::start(copy, &source)
    }

    /// Rewrites the main database so that it takes as little space as it can, in one commit.
    pub fn vacuum(&self) -> Result<Vacuumed> {
        let bytes = || -> Result<u64> { Ok(self.number("PRAGMA page_count")? * self.number("PRAGMA page_size")?) };
        let before_bytes = bytes()?;
        self.exec("VACUUM")?;
        Ok(Vacuumed { before_bytes, after_bytes: bytes()? })
    }

    /// Copies the store's log to its files, so that those are plain.
    ///
    /// # Errors
    /// `Busy` if a view that is too old for that is in use; as much as it allows was copied.
    pub fn checkpoint(&self) -> Result<()> {
        Ok(self.vfs().pages().checkpoint()?)
    }

    /// How well the page cache did since the connection was opened.
    pub fn cache_use(&self) -> Result<CacheUse> {
        let count = |what| -> Result<u64> {
            let (mut now, mut highest) = (0, 0);
            // SAFETY: the handle is open, and there is room for the answers.
            let code = unsafe { ffi::sqlite3_db_status64(self.handle()?, what, &raw mut now, &raw mut highest, 0) };
            if code == ffi::SQLITE_OK { Ok(now as u64) } else { Err(self.failure(code, "asking for the cache's use")) }
        };
        Ok(CacheUse { hits: count(ffi::SQLITE_DBSTATUS_CACHE_HIT)?, misses: count(ffi::SQLITE_DBSTATUS_CACHE_MISS)? })
    }
}

/// A copy on its way, see [`Connection::backup`]. Dropping it ends it.
pub struct Backup {
    /// Null once finished.
    raw: *mut ffi::sqlite3_backup,
    page_bytes: u64,
    total_bytes: u64,
    done_bytes: u64,
    to: Connection,
    /// Open as long as SQLite reads from it.
    _from: Rc<Db>,
}

impl Backup {
    fn start(to: Connection, from: &Connection) -> Result<Backup> {
        const MAIN: &CStr = c"main";
        // SAFETY: both handles are open, and stay so as long as the backup has both.
        let raw = unsafe { ffi::sqlite3_backup_init(to.handle()?, MAIN.as_ptr(), from.handle()?, MAIN.as_ptr()) };
        if raw.is_null() {
            // SAFETY: the handle is open.
            return Err(to.failure(unsafe { ffi::sqlite3_extended_errcode(to.handle()?) }, "backing up"));
        }
        let page_bytes = from.number("PRAGMA page_size")?;
        let total_bytes = from.number("PRAGMA page_count")? * page_bytes;
        Ok(Backup { raw, page_bytes, total_bytes, done_bytes: 0, to, _from: Rc::clone(&from.db) })
    }

    /// Copies up to so many pages more. Whether all are copied, and committed.
    ///
    /// # Errors
    /// `Closed` after the end, or after a failure.
    pub fn step(&mut self, pages: u32) -> Result<bool> {
        if self.raw.is_null() {
            return Err(Error::new(Kind::Closed, "the backup has ended"));
        }
        // SAFETY: the backup is not finished.
        let (code, all, left) = unsafe {
            let code = ffi::sqlite3_backup_step(self.raw, c_int::try_from(pages).unwrap_or(c_int::MAX));
            (code, ffi::sqlite3_backup_pagecount(self.raw), ffi::sqlite3_backup_remaining(self.raw))
        };
        self.total_bytes = all as u64 * self.page_bytes;
        self.done_bytes = self.total_bytes - left as u64 * self.page_bytes;
        if code == ffi::SQLITE_OK {
            return Ok(false);
        }
        let failure = (code != ffi::SQLITE_DONE).then(|| self.to.failure(code, "backing up"));
        self.finish();
        failure.map_or(Ok(true), Err)
    }

    /// How much there is to copy.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// How much of it was copied.
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    fn finish(&mut self) {
        // What it answers is the failure of the last step. Null is nothing to finish.
        // SAFETY: the backup is not finished, and never used again.
        unsafe { ffi::sqlite3_backup_finish(std::mem::replace(&mut self.raw, std::ptr::null_mut())) };
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.finish();
    }
}
