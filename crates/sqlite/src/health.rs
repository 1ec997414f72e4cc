//! How a database is, and what keeps it well: checks, copies, compaction.

use std::ffi::{CStr, c_int};

use statik_bridge::pages::Usage;
use statik_disk::Kind;

use crate::{Connection, Error, OpenOptions, Result, Value, ffi};

/// The most that a check reports.
const MAX_FINDINGS: usize = 100;
/// A backup copies that many pages between two calls of its progress function.
const BACKUP_PAGES: c_int = 256;

/// How a database is. See [`Connection::health`].
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What the integrity check finds wrong: nothing, if all is well.
    pub integrity: Vec<String>,
    /// Rows that refer to rows that are not there.
    pub foreign_key_violations: u64,
    /// All pages of the file.
    pub pages: u64,
    /// Those of them that are free.
    pub free_pages: u64,
    /// The size of a page.
    pub page_bytes: u64,
    /// How much of the database is out of order: the share of pages that do not lie behind the page that is read
    /// before them. `None` if the integrity check finds something.
    pub fragmentation: Option<f64>,
    /// What the store tells of its log.
    pub usage: Usage,
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
    /// Checks the main database as one snapshot: `full` compares indexes with their tables too, which takes as long as
    /// reading everything in random order.
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
        self.each(&format!("PRAGMA main.{check}({MAX_FINDINGS})"), |row| {
            if let Value::Text(finding) = row.value(0)
                && finding != b"ok"
            {
                integrity.push(String::from_utf8_lossy(finding).into_owned());
            }
        })?;
        let sound = integrity.is_empty();
        Ok(Health {
            integrity,
            foreign_key_violations: self.number("SELECT count(*) FROM pragma_foreign_key_check")?,
            pages: self.number("PRAGMA main.page_count")?,
            free_pages: self.number("PRAGMA main.freelist_count")?,
            page_bytes: self.number("PRAGMA main.page_size")?,
            fragmentation: if sound { Some(self.fragmentation()?) } else { None },
            usage: self.store()?.usage()?,
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

    /// Copies the main database, as it is now, to the new database `to`, while others go on reading and writing.
    /// `progress` is told how many pages are left, and of how many; it answers whether to go on.
    ///
    /// What this connection has not committed is not copied. The copy appears as one commit: until then, and after a
    /// failure, `to` is an empty file.
    ///
    /// # Errors
    /// `Exists` if there is something in `to`; `Aborted` if `progress` said so.
    pub fn backup(&self, to: &str, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<()> {
        let copy = Connection::open(self.vfs(), to, &OpenOptions { busy_timeout_ms: 0, ..OpenOptions::default() })?;
        if copy.number("PRAGMA page_count")? != 0 {
            return Err(Error::new(Kind::Exists, format!("backing up: {to:?} is not empty")));
        }
        if self.name() == ":memory:" {
            return copy.take_from(self, progress);
        }
        let options = OpenOptions { read_only: true, foreign_keys: false, ..OpenOptions::default() };
        let source = Connection::open(self.vfs(), self.name(), &options)?;
        // One view for the whole copy: SQLite would start over after each change that another connection makes.
        source.exec_untimed("BEGIN; SELECT count(*) FROM sqlite_schema")?;
        copy.take_from(&source, progress)
    }

    fn take_from(&self, source: &Connection, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<()> {
        const MAIN: &CStr = c"main";
        let (to, from) = (self.handle()?, source.handle()?);
        // SAFETY: both handles are open and stay so until the backup is finished below.
        let backup = unsafe { ffi::sqlite3_backup_init(to, MAIN.as_ptr(), from, MAIN.as_ptr()) };
        if backup.is_null() {
            // SAFETY: the handle is open.
            return Err(self.failure(unsafe { ffi::sqlite3_extended_errcode(to) }, "backing up"));
        }
        let stopped = loop {
            // SAFETY: the backup is not finished.
            let (code, left, all) = unsafe {
                let code = ffi::sqlite3_backup_step(backup, BACKUP_PAGES);
                (code, ffi::sqlite3_backup_remaining(backup), ffi::sqlite3_backup_pagecount(backup))
            };
            match code {
                ffi::SQLITE_OK if progress(left as u64, all as u64) => {}
                ffi::SQLITE_OK => break Some(Error::new(Kind::Aborted, "the backup was stopped")),
                ffi::SQLITE_DONE => {
                    progress(0, all as u64);
                    break None;
                }
                code => break Some(self.failure(code, "backing up")),
            }
        };
        // What it answers is the failure of the last step.
        // SAFETY: the backup is not finished, and never used again.
        unsafe { ffi::sqlite3_backup_finish(backup) };
        stopped.map_or(Ok(()), Err)
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
        Ok(self.store()?.checkpoint()?)
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
