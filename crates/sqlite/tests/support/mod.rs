//! Pages that are watched: what is called is counted, and one call can be made to fail.

#![allow(dead_code, reason = "each test uses its part")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use statik_bridge::pages::local::Local;
use statik_bridge::pages::mem::MemPages;
use statik_bridge::pages::{CommitId, Durability, PageStore, Paged, Pages, Usage, View};
use statik_disk::{Disk, Error, Kind, MemDisk, Open, Result};
use statik_sqlite::{Connection, OpenOptions, Value, Vfs};
use statik_store::{Options, Store};

/// What was called, and what is to fail.
#[derive(Default)]
pub struct Watch {
    pub calls: RefCell<Vec<&'static str>>,
    pub commits: RefCell<Vec<(usize, Durability)>>,
    pub waits: Cell<u32>,
    pub fail: Cell<Option<Fault>>,
    /// Happens between the next view and the lock for it.
    pub before_lock: RefCell<Option<Box<dyn FnOnce()>>>,
    /// The next commit fails, and has an effect all the same or not.
    pub fail_commit: Cell<Option<bool>>,
    /// The call that failed.
    pub failed: Cell<Option<&'static str>>,
}

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its number, from 0.
    pub at: usize,
    pub kind: Kind,
    /// It has done what it should all the same.
    pub done: bool,
}

impl Watch {
    fn call<T>(&self, name: &'static str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = self.calls.borrow().len();
        self.calls.borrow_mut().push(name);
        match self.fail.get() {
            Some(Fault { at, kind, done }) if at == number => {
                self.failed.set(Some(name));
                if done {
                    run()?;
                }
                Err(Error::new(kind, format!("the test fails call {at}, {name}")))
            }
            _ => run(),
        }
    }

    /// The calls since the last time.
    pub fn take(&self) -> Vec<&'static str> {
        self.calls.take()
    }
}

pub struct Watched {
    pages: Rc<dyn Pages>,
    watch: Rc<Watch>,
}

struct WatchedFile {
    file: Box<dyn Paged>,
    watch: Rc<Watch>,
}

impl Pages for Watched {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn Paged>> {
        let file = self.watch.call("open", || self.pages.open(path, open))?;
        Ok(Box::new(WatchedFile { file, watch: Rc::clone(&self.watch) }))
    }

    fn commit(&self, files: &[u32], durability: Durability, id: Option<CommitId>) -> Result<u64> {
        self.watch.commits.borrow_mut().push((files.len(), durability));
        if let Some(done) = self.watch.fail_commit.take() {
            let at = self.watch.calls.borrow().len();
            self.watch.fail.set(Some(Fault { at, kind: Kind::Io, done }));
        }
        self.watch.call("commit", || self.pages.commit(files, durability, id))
    }

    fn committed(&self, id: CommitId) -> Result<Option<u64>> {
        self.watch.call("committed", || self.pages.committed(id))
    }

    fn durable(&self) -> Result<u64> {
        self.watch.call("durable", || self.pages.durable())
    }

    fn checkpoint(&self) -> Result<()> {
        self.watch.call("checkpoint", || self.pages.checkpoint())
    }

    fn usage(&self) -> Result<Usage> {
        self.watch.call("usage", || self.pages.usage())
    }
}

impl Paged for WatchedFile {
    fn id(&self) -> u32 {
        self.file.id()
    }

    fn begin(&self) -> Result<View> {
        self.watch.call("begin", || self.file.begin())
    }

    fn lock(&self) -> Result<()> {
        let meanwhile = self.watch.before_lock.take();
        meanwhile.into_iter().for_each(|meanwhile| meanwhile());
        self.watch.call("lock", || self.file.lock())
    }

    fn wait(&self, timeout: Duration) -> Result<bool> {
        self.watch.waits.set(self.watch.waits.get() + 1);
        self.file.wait(timeout)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let name = if buf.len() == 16 { "read 16" } else { "read" };
        self.watch.call(name, || self.file.read_at(offset, buf))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.watch.call("write", || self.file.write_at(offset, bytes))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.watch.call("set_len", || self.file.set_len(len))
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    /// A failing one has happened all the same: nobody could do anything about it.
    fn discard(&self) -> Result<()> {
        let discarded = self.file.discard();
        self.watch.call("discard", || discarded)
    }

    fn end(&self) -> Result<()> {
        let ended = self.file.end();
        self.watch.call("end", || ended)
    }
}

/// Milliseconds since the first call.
pub fn clock() -> f64 {
    thread_local!(static START: Instant = Instant::now());
    START.with(Instant::elapsed).as_secs_f64() * 1000.0
}

/// A store whose files lie on a disk once they are checkpointed: the reference in memory, or, in the test crate
/// `on_store`, the real one.
pub struct Bench {
    pub disk: MemDisk,
    pub local: Local,
    pub watch: Rc<Watch>,
    pub vfs: Rc<Vfs>,
}

impl Bench {
    pub fn new() -> Bench {
        let disk = MemDisk::new();
        let shared: Rc<dyn Disk> = Rc::new(disk.clone());
        let store: Rc<dyn PageStore> = if env!("CARGO_CRATE_NAME") == "on_store" {
            Rc::new(Store::open(shared, Options::default()).expect("a store"))
        } else {
            Rc::new(MemPages::on(shared))
        };
        let local = Local::new(store, clock);
        let watch = Rc::new(Watch::default());
        let pages = Watched { pages: Rc::new(local.clone()), watch: Rc::clone(&watch) };
        let vfs = Vfs::register(Rc::new(pages), clock).expect("a VFS");
        Bench { disk, local, watch, vfs }
    }

    /// A connection that waits for nobody.
    pub fn open(&self, name: &str) -> Connection {
        self.open_with(name, &OpenOptions { busy_timeout_ms: 0, ..OpenOptions::default() })
    }

    pub fn open_with(&self, name: &str, options: &OpenOptions) -> Connection {
        Connection::open(&self.vfs, name, options).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// All rows that a query gives, as text.
pub fn rows(db: &Connection, sql: &str) -> Result<Vec<String>, statik_sqlite::Error> {
    let mut statement = db.prepare(sql)?;
    let mut rows = Vec::new();
    while statement.step()? {
        let row: Vec<String> = (0..statement.column_count()).map(|column| show(statement.value(column))).collect();
        rows.push(row.join("|"));
    }
    Ok(rows)
}

/// The one value that a query gives, as text.
pub fn one(db: &Connection, sql: &str) -> String {
    let rows = rows(db, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(rows.len(), 1, "{sql}");
    rows.into_iter().next().unwrap_or_default()
}

fn show(value: Value<'_>) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}
