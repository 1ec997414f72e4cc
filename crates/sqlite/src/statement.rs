//! A prepared statement: bind, step, read.

use std::ffi::{CStr, CString, c_char, c_int};
use std::rc::Rc;

use statik_disk::Kind;

use crate::connection::Db;
use crate::{Error, Result, ffi};

/// A value of SQLite, borrowed from the caller or from a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL
    Null,
    /// INTEGER
    Integer(i64),
    /// REAL
    Real(f64),
    /// TEXT, as stored: SQLite does not check that it is UTF-8.
    Text(&'a [u8]),
    /// BLOB
    Blob(&'a [u8]),
}

/// What a result column is, where SQLite knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name, as `AS` gave it.
    pub name: String,
    /// The declared type, for a column of a table.
    pub declared_type: Option<String>,
    /// The table that the column comes from.
    pub table: Option<String>,
    /// The database that the table is in, for instance `main`.
    pub database: Option<String>,
}

/// A prepared statement. Dropping it finalizes it.
pub struct Statement {
    db: Rc<Db>,
    raw: *mut ffi::sqlite3_stmt,
    sql: String,
    /// Not one of the app's.
    untimed: bool,
    run: Option<Run>,
    sampling: Sampling,
}

/// Reading the clock twice costs as much as a fast statement. So of a statement that is run again and again and is fast,
/// only some runs are timed.
#[derive(Default)]
struct Sampling {
    /// How many runs more take what the last one took.
    skip: u32,
    last_ms: f64,
}

/// What is fast, and how many runs of it one that is timed stands for.
const FAST_MS: f64 = 0.05;
const SAMPLE: u32 = 8;

/// A statement between its first step and its end.
#[derive(Default)]
struct Run {
    /// Its clock does not run: see [`Sampling`].
    skipped: bool,
    /// When it went on, unless it is paused.
    since_ms: Option<f64>,
    /// The time before that.
    spent_ms: f64,
    rows: u64,
}

impl Statement {
    /// Prepares the statement that starts at byte `from`; returns it, if there is one, and where the next starts.
    pub(crate) fn prepare(db: &Rc<Db>, sql: &str, from: usize) -> Result<(Option<Statement>, usize)> {
        let text = &sql[from..];
        let bytes = c_int::try_from(text.len()).map_err(|_| Error::new(Kind::Invalid, "the SQL is over 2 GiB"))?;
        let mut raw = std::ptr::null_mut();
        let mut tail: *const c_char = std::ptr::null();
        db.forget_disk_error();
        let handle = db.raw()?;
        // SAFETY: the handle is open, the text has `bytes` bytes, and SQLite sets the tail within them.
        let (code, used) = unsafe {
            let start = text.as_ptr().cast::<c_char>();
            let code = ffi::sqlite3_prepare_v3(handle, start, bytes, 0, &raw mut raw, &raw mut tail);
            (code, if tail.is_null() { text.len() } else { tail.offset_from(start) as usize })
        };
        if code != ffi::SQLITE_OK {
            let error = db.error_in(code, "", Some(text));
            return Err(error.shifted(sql[..from].encode_utf16().count()));
        }
        let statement = (!raw.is_null()).then(|| Statement {
            db: Rc::clone(db),
            raw,
            sql: text[..used].to_owned(),
            untimed: false,
            run: None,
            sampling: Sampling::default(),
        });
        // SQLite stops at a NUL without a word; what comes after it must not be dropped in silence.
        if text.as_bytes().get(used) == Some(&0) {
            return Err(Error::new(Kind::Invalid, "the SQL has a NUL character"));
        }
        Ok((statement, from + used))
    }

    fn open(&self) -> Result<*mut ffi::sqlite3_stmt> {
        self.db.raw()?;
        Ok(self.raw)
    }

    /// The statement's text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Whether it leaves the database as it is.
    pub fn read_only(&self) -> Result<bool> {
        // SAFETY: the statement is open.
        Ok(unsafe { ffi::sqlite3_stmt_readonly(self.open()?) } != 0)
    }

    /// How many parameters it has, by the largest index.
    pub fn parameter_count(&self) -> Result<usize> {
        // SAFETY: the statement is open.
        Ok(unsafe { ffi::sqlite3_bind_parameter_count(self.open()?) } as usize)
    }

    /// The name of parameter `index` (from 1), with its `:`, `@` or `$`; `None` if it has none.
    pub fn parameter_name(&self, index: usize) -> Result<Option<String>> {
        // SAFETY: the statement is open.
        Ok(unsafe { text(ffi::sqlite3_bind_parameter_name(self.open()?, index as c_int)) })
    }

    /// The index (from 1) of the parameter with this name.
    pub fn parameter_index(&self, name: &str) -> Result<Option<usize>> {
        let raw = self.open()?;
        let Ok(name) = CString::new(name) else { return Ok(None) };
        // SAFETY: the statement is open and the name is a C string.
        let index = unsafe { ffi::sqlite3_bind_parameter_index(raw, name.as_ptr()) };
        Ok((index > 0).then_some(index as usize))
    }

    /// Binds parameter `index`, from 1. SQLite copies text and blobs.
    pub fn bind(&mut self, index: usize, value: Value<'_>) -> Result<()> {
        let raw = self.open()?;
        let index = index as c_int;
        // A slice without bytes may point anywhere, but not to null, which would bind NULL.
        // SAFETY: the statement is open; pointers and lengths are of live slices, and SQLite copies them.
        let code = unsafe {
            match value {
                Value::Null => ffi::sqlite3_bind_null(raw, index),
                Value::Integer(value) => ffi::sqlite3_bind_int64(raw, index, value),
                Value::Real(value) => ffi::sqlite3_bind_double(raw, index, value),
                Value::Text(bytes) => ffi::sqlite3_bind_text64(
                    raw,
                    index,
                    bytes.as_ptr().cast(),
                    bytes.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                    ffi::SQLITE_UTF8 as u8,
                ),
                Value::Blob(bytes) => ffi::sqlite3_bind_blob64(
                    raw,
                    index,
                    bytes.as_ptr().cast(),
                    bytes.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                ),
            }
        };
        match code {
            ffi::SQLITE_OK => Ok(()),
            code => Err(self.db.error(code, &format!("binding parameter {index}"))),
        }
    }

    /// Starts over, keeping what is bound.
    pub fn reset(&mut self) {
        if let Ok(raw) = self.open() {
            // What it answers is the failure of the last step, which `step` reported.
            // SAFETY: the statement is open.
            unsafe { ffi::sqlite3_reset(raw) };
        }
        self.ended();
    }

    /// Its time is nobody's business.
    pub(crate) fn untimed(&mut self) {
        self.untimed = true;
    }

    /// Stops the clock until the next step: the caller does something else with the rows so far.
    pub fn pause(&mut self) {
        let db = &self.db;
        if let Some(run) = &mut self.run
            && let Some(since_ms) = run.since_ms.take()
        {
            run.spent_ms += db.now_ms() - since_ms;
        }
    }

    /// Counts the time of a run that is over.
    fn ended(&mut self) {
        self.pause();
        let Some(run) = self.run.take() else { return };
        let Sampling { skip, last_ms } = &mut self.sampling;
        if run.skipped {
            *skip -= 1;
        } else {
            *skip = if run.spent_ms < FAST_MS { SAMPLE - 1 } else { 0 };
            *last_ms = run.spent_ms;
        }
        self.db.count(&self.sql, *last_ms, run.rows);
    }

    /// Goes to the next row: true if there is one. At the end, and after a failure, the statement is reset.
    pub fn step(&mut self) -> Result<bool> {
        let raw = self.open()?;
        if !self.untimed {
            let skipped = self.sampling.skip > 0 && !self.db.times_all();
            let run = self.run.get_or_insert_with(|| Run { skipped, ..Run::default() });
            if !run.skipped {
                run.since_ms.get_or_insert_with(|| self.db.now_ms());
            }
        }
        self.db.forget_disk_error();
        // SAFETY: the statement is open.
        let code = unsafe { ffi::sqlite3_step(raw) };
        match code {
            ffi::SQLITE_ROW => {
                if let Some(run) = &mut self.run {
                    run.rows += 1;
                }
                Ok(true)
            }
            ffi::SQLITE_DONE => {
                self.reset();
                self.db.adopt()?;
                Ok(false)
            }
            code => {
                let error = self.db.error_in(code, "", Some(&self.sql));
                self.reset();
                Err(error)
            }
        }
    }

    /// Steps to the end, dropping rows.
    pub fn run(&mut self) -> Result<()> {
        while self.step()? {}
        Ok(())
    }

    /// How many columns a row has; 0 for a statement that returns none.
    pub fn column_count(&self) -> usize {
        // SAFETY: the statement is open.
        self.open().map_or(0, |raw| unsafe { ffi::sqlite3_column_count(raw) } as usize)
    }

    /// How often SQLite has compiled the statement again, as it does in a step after the schema was changed.
    pub fn recompiled(&self) -> Result<u32> {
        // SAFETY: the statement is open.
        Ok(unsafe { ffi::sqlite3_stmt_status(self.open()?, ffi::SQLITE_STMTSTATUS_REPREPARE, 0) } as u32)
    }

    /// The columns' names, as `AS` gave them.
    pub fn column_names(&self) -> Result<Vec<String>> {
        let raw = self.open()?;
        // SAFETY: the statement is open and the index is within its columns.
        let name = |index| unsafe { text(ffi::sqlite3_column_name(raw, index)).unwrap_or_default() };
        Ok((0..self.column_count() as c_int).map(name).collect())
    }

    /// What the columns are.
    pub fn columns(&self) -> Result<Vec<Column>> {
        let raw = self.open()?;
        let column = |index| {
            // SAFETY: the statement is open and the index is within its columns.
            unsafe {
                Column {
                    name: text(ffi::sqlite3_column_name(raw, index)).unwrap_or_default(),
                    declared_type: text(ffi::sqlite3_column_decltype(raw, index)),
                    table: text(ffi::sqlite3_column_table_name(raw, index)),
                    database: text(ffi::sqlite3_column_database_name(raw, index)),
                }
            }
        };
        Ok((0..self.column_count() as c_int).map(column).collect())
    }

    /// The value of a column (from 0) of the row that [`Statement::step`] reached; NULL where there is no row.
    pub fn value(&self, index: usize) -> Value<'_> {
        let Ok(raw) = self.open() else { return Value::Null };
        let index = index as c_int;
        // SAFETY: the statement is open; the value lives until it steps, is reset or finalized, which take `&mut self`.
        unsafe {
            let bytes = |start: *const u8| {
                let len = ffi::sqlite3_column_bytes(raw, index) as usize;
                if start.is_null() { &[][..] } else { std::slice::from_raw_parts(start, len) }
            };
            match ffi::sqlite3_column_type(raw, index) {
                ffi::SQLITE_INTEGER => Value::Integer(ffi::sqlite3_column_int64(raw, index)),
                ffi::SQLITE_FLOAT => Value::Real(ffi::sqlite3_column_double(raw, index)),
                ffi::SQLITE_TEXT => Value::Text(bytes(ffi::sqlite3_column_text(raw, index))),
                ffi::SQLITE_BLOB => Value::Blob(bytes(ffi::sqlite3_column_blob(raw, index).cast())),
                _ => Value::Null,
            }
        }
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        self.ended();
        // What it answers is the failure of the last step, which `step` reported.
        // SAFETY: the statement is open, and never used again; the connection outlives it.
        unsafe { ffi::sqlite3_finalize(self.raw) };
    }
}

/// # Safety
/// `text` is null or a C string.
unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: by the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
