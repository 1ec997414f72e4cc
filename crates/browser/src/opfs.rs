//! A store's files in the origin private file system: which are open, which stay open for a while, and for how long.
//!
//! Opening an access handle is what is dear (milliseconds), so one is shared by all who open its path and stays open
//! after the last of them left, until it was idle for [`OpfsOptions::idle`] or more than [`MAX_IDLE`] others were used
//! since. The platform opens, removes and renames asynchronously, so that is what the [`AsyncDisk`] half does. The [`Disk`]
//! half is for direct mode, where nobody can wait: it opens what [`Opfs::prepare`] opened before, and refuses the rest.
//!
//! Invariants:
//! - One change of names at a time: what is asynchronous holds `names` throughout.
//! - A path in `handles` has an open access handle; one whose flush failed leaves with its last user.
//!
//! Who else may use the store is not decided here: the caller holds its Web Lock.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::lock::Mutex;
use statik_bridge::AsyncDisk;
use statik_disk::{Disk, Error, File, Kind, Open, Result, validate_path};
use wasm_bindgen_futures::spawn_local;

use crate::handle::Handle;
use crate::tree::{Tree, access};
use crate::{Log, clock};

/// How many handles that nobody uses are kept, however short their idleness.
const MAX_IDLE: usize = 64;

/// How long the timer that closes idle handles rests, at least and at most: a timer does not count beyond 31 bits.
const MIN_PAUSE_MS: f64 = 10.0;
const MAX_PAUSE_MS: f64 = 1e9;

/// How a store behaves.
#[derive(Clone, Copy, Debug)]
pub struct OpfsOptions {
    /// How long a handle stays open after its last user left.
    pub idle: Duration,
    /// What to say on the console.
    pub log: Log,
}

impl Default for OpfsOptions {
    fn default() -> Self {
        OpfsOptions { idle: Duration::from_secs(30), log: Log::default() }
    }
}

/// A store: the directory `statik/<store>` of the origin private file system. Clones share their files.
#[derive(Clone)]
pub struct Opfs {
    shared: Rc<Shared>,
}

struct Shared {
    tree: Tree,
    options: OpfsOptions,
    names: Mutex<()>,
    handles: RefCell<BTreeMap<String, Entry>>,
    closed: Cell<bool>,
}

struct Entry {
    handle: Rc<Handle>,
    /// Prepared: kept however long it is idle.
    pinned: bool,
}

impl Entry {
    /// The map's own reference is not a user.
    fn in_use(&self) -> bool {
        Rc::strong_count(&self.handle) > 1
    }
}

impl Opfs {
    /// Opens the store of this name (`[A-Za-z0-9._-]{1,64}`), made if it is missing.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if the browser has no origin private file system or refuses it; [`Kind::Invalid`] for
    /// another name.
    pub async fn open(store: &str, options: OpfsOptions) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if store.len() > 64 || !store.chars().all(allowed) || validate_path(store).is_err() {
            let context = format!("the store's name {store:?} is not 1 to 64 of A-Z a-z 0-9 . _ -");
            return Err(Error::new(Kind::Invalid, context));
        }
        let tree = Tree::open(&["statik", store]).await?;
        options.log.lifecycle(|| format!("store {store:?} opened"));
        let shared = Rc::new(Shared {
            tree,
            options,
            names: Mutex::new(()),
            handles: RefCell::default(),
            closed: Cell::new(false),
        });
        spawn_local(tend(Rc::downgrade(&shared)));
        Ok(Opfs { shared })
    }

    /// Opens files now so that [`Disk::open`] finds them later. Their handles stay open, idle or not, until
    /// [`Opfs::release`].
    pub async fn prepare(&self, files: &[(&str, Open)]) -> Result<()> {
        // Held until all are open, so that none is closed as idle meanwhile, and none is kept if one fails.
        let mut opened = Vec::with_capacity(files.len());
        for (path, open) in files {
            opened.push(self.shared.open(path, *open).await?);
        }
        self.pin(files.iter().map(|(path, _)| *path), true);
        Ok(())
    }

    /// Lets the handles of prepared files be closed when idle again.
    pub fn release(&self, paths: &[&str]) {
        self.pin(paths.iter().copied(), false);
    }

    fn pin<'a>(&self, paths: impl Iterator<Item = &'a str>, pinned: bool) {
        let mut handles = self.shared.handles.borrow_mut();
        for path in paths {
            if let Some(entry) = handles.get_mut(path) {
                entry.pinned = pinned;
            }
        }
    }

    /// Closes the handles that were idle for long enough at `now_ms` (of [`clock::now_ms`]), and those beyond the
    /// number that is kept. Answers when the next one will have been, if any idle handle is left.
    ///
    /// The store does this by itself, by a timer.
    pub fn close_idle(&self, now_ms: f64) -> Option<f64> {
        self.shared.close_idle(now_ms)
    }

    /// The paths that [`Disk::open`] finds now, in order.
    pub fn prepared(&self) -> Vec<String> {
        self.shared.handles.borrow().keys().cloned().collect()
    }

    /// How many access handles are open.
    pub fn handle_count(&self) -> usize {
        self.shared.handles.borrow().len()
    }

    /// Flushes and closes every handle. Files still open fail with [`Kind::Closed`] from now on, as does the store.
    ///
    /// # Errors
    /// The first flush that failed; everything is closed nevertheless.
    pub fn close(&self) -> Result<()> {
        self.shared.closed.set(true);
        let handles = std::mem::take(&mut *self.shared.handles.borrow_mut());
        let mut result = Ok(());
        for entry in handles.into_values() {
            if !entry.handle.has_failed() {
                result = result.and(entry.handle.flush());
            }
            entry.handle.close();
        }
        self.shared.options.log.lifecycle(|| "store closed".to_owned());
        result
    }
}

/// Closes what is idle, until the store is closed or nobody has it any more.
async fn tend(store: Weak<Shared>) {
    loop {
        let Some(shared) = store.upgrade().filter(|shared| !shared.closed.get()) else { return };
        let now_ms = clock::now_ms();
        // Whatever becomes idle meanwhile stays so for as long.
        let pause_ms = match shared.close_idle(now_ms) {
            Some(close_at_ms) => close_at_ms - now_ms,
            None => shared.options.idle.as_secs_f64() * 1000.0,
        };
        drop(shared);
        clock::sleep(pause_ms.clamp(MIN_PAUSE_MS, MAX_PAUSE_MS)).await;
    }
}

impl AsyncDisk for Opfs {
    async fn open(&self, path: &str, open: Open) -> Result<Rc<dyn File>> {
        Ok(Rc::new(self.shared.open(path, open).await?))
    }

    async fn remove(&self, path: &str) -> Result<()> {
        let _names = self.shared.names.lock().await;
        self.shared.close_unused(path, "removing")?;
        self.shared.tree.remove(path).await?;
        self.shared.options.log.request(|| format!("removed {path:?}"));
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let _names = self.shared.names.lock().await;
        self.shared.close_unused(from, "renaming")?;
        self.shared.close_unused(to, "replacing")?;
        self.shared.tree.rename(from, to).await?;
        self.shared.options.log.request(|| format!("renamed {from:?} to {to:?}"));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<String>> {
        self.shared.check_open()?;
        let _names = self.shared.names.lock().await;
        self.shared.tree.list().await
    }
}

impl Disk for Opfs {
    /// Opens a file that [`Opfs::prepare`] opened, else fails with [`Kind::Unsupported`].
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn File>> {
        validate_path(path)?;
        self.shared.check_open()?;
        match self.shared.open_cached(path, open)? {
            Some(file) => Ok(Box::new(file)),
            None => Err(unsupported("opening: the file was not opened beforehand").at(path)),
        }
    }

    /// Always [`Kind::Unsupported`]: the platform removes asynchronously.
    fn remove(&self, path: &str) -> Result<()> {
        Err(unsupported("removing").at(path))
    }

    /// Always [`Kind::Unsupported`]: the platform renames asynchronously.
    fn rename(&self, from: &str, _to: &str) -> Result<()> {
        Err(unsupported("renaming").at(from))
    }

    /// Always [`Kind::Unsupported`]: the platform lists asynchronously.
    fn list(&self) -> Result<Vec<String>> {
        Err(unsupported("listing"))
    }
}

fn unsupported(doing: &str) -> Error {
    Error::new(Kind::Unsupported, format!("{doing}; without a bridge the browser does this only asynchronously"))
}

impl Shared {
    async fn open(self: &Rc<Self>, path: &str, open: Open) -> Result<OpenFile> {
        validate_path(path)?;
        let _names = self.names.lock().await;
        self.check_open()?;
        if let Some(file) = self.open_cached(path, open)? {
            return Ok(file);
        }
        let file = match open {
            Open::Existing => self.tree.file(path, false).await?,
            Open::Create => self.tree.file(path, true).await?,
            Open::CreateNew => match self.tree.file(path, false).await {
                Ok(_) => return Err(exists(path)),
                Err(error) if error.kind() == Kind::NotFound => self.tree.file(path, true).await?,
                Err(error) => return Err(error),
            },
        };
        let handle = Rc::new(Handle::new(path, access(&file, path).await?));
        // The store may have been closed meanwhile; the handle closes itself then.
        self.check_open()?;
        let entry = Entry { handle: Rc::clone(&handle), pinned: false };
        self.handles.borrow_mut().insert(path.to_owned(), entry);
        self.close_idle(clock::now_ms());
        self.options.log.request(|| format!("opened {path:?}"));
        Ok(OpenFile { handle, shared: Rc::clone(self) })
    }

    fn open_cached(self: &Rc<Self>, path: &str, open: Open) -> Result<Option<OpenFile>> {
        let handles = self.handles.borrow();
        match handles.get(path) {
            None => Ok(None),
            Some(_) if open == Open::CreateNew => Err(exists(path)),
            Some(entry) => Ok(Some(OpenFile { handle: Rc::clone(&entry.handle), shared: Rc::clone(self) })),
        }
    }

    /// Closes the handle of a path that is about to lose its file, unless someone uses it.
    fn close_unused(&self, path: &str, doing: &str) -> Result<()> {
        validate_path(path)?;
        self.check_open()?;
        let mut handles = self.handles.borrow_mut();
        if handles.get(path).is_some_and(Entry::in_use) {
            return Err(Error::new(Kind::Busy, format!("{doing}: the file is open")).at(path));
        }
        handles.remove(path);
        Ok(())
    }

    fn close_idle(&self, now_ms: f64) -> Option<f64> {
        let mut handles = self.handles.borrow_mut();
        let mut idle: Vec<Rc<Handle>> = handles
            .values()
            .filter(|entry| !entry.pinned && !entry.in_use())
            .map(|entry| Rc::clone(&entry.handle))
            .collect();
        idle.sort_by(|a, b| a.idle_since_ms().total_cmp(&b.idle_since_ms()));
        let idle_ms = self.options.idle.as_secs_f64() * 1000.0;
        let excess = idle.len().saturating_sub(MAX_IDLE);
        for (index, handle) in idle.iter().enumerate() {
            let close_at_ms = handle.idle_since_ms() + idle_ms;
            if index >= excess && close_at_ms > now_ms {
                return Some(close_at_ms);
            }
            handles.remove(handle.path());
            self.options.log.request(|| format!("closed {:?}, idle", handle.path()));
        }
        None
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.get() { Err(Error::new(Kind::Closed, "the store was closed")) } else { Ok(()) }
    }
}

fn exists(path: &str) -> Error {
    Error::new(Kind::Exists, "creating: there is such a file already").at(path)
}

/// One user of a handle.
struct OpenFile {
    handle: Rc<Handle>,
    shared: Rc<Shared>,
}

impl File for OpenFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.handle.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.handle.write_at(offset, bytes)
    }

    fn len(&self) -> Result<u64> {
        self.handle.len()
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.handle.set_len(len)
    }

    fn flush(&self) -> Result<()> {
        self.handle.flush()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // The map's reference and this one.
        if Rc::strong_count(&self.handle) > 2 {
            return;
        }
        self.handle.set_idle_since_ms(clock::now_ms());
        if self.handle.has_failed() {
            self.shared.handles.borrow_mut().remove(self.handle.path());
        }
    }
}
