//! A store as an engine sees it: its files, its pages and the VFS on them, wherever they are.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use statik_bridge::AsyncDisk;
use statik_bridge::pages::{PageStore, Pages};
use statik_browser::{Opfs, clock};
use statik_disk::{Disk, Error, File, Kind, Open, Result};
use statik_sqlite::{Vfs, files};

use crate::owner::Owner;

/// What an engine stands on. Names are changed here and not through the VFS, because in direct mode the platform does
/// that asynchronously.
pub struct Store {
    disk: Rc<dyn Disk>,
    pages: Rc<dyn Pages>,
    vfs: Rc<Vfs>,
    /// Direct mode: what this engine, which has the store alone, holds.
    held: Rc<RefCell<BTreeSet<String>>>,
    /// Direct mode: the store's owner, which is this thread.
    owner: Option<Owner>,
}

/// What [`Store::hold`] gives, until it is dropped.
pub enum Hold {
    File(Box<dyn File>),
    Name(Rc<RefCell<BTreeSet<String>>>, String),
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Hold::Name(held, path) = self {
            held.borrow_mut().remove(path);
        }
    }
}

impl Store {
    pub fn new(disk: Rc<dyn Disk>, pages: Rc<dyn Pages>, owner: Option<Owner>) -> statik_sqlite::Result<Store> {
        let vfs = Vfs::register(Rc::clone(&pages), clock::now_ms)?;
        Ok(Store { disk, pages, vfs, held: Rc::default(), owner })
    }

    pub fn vfs(&self) -> &Rc<Vfs> {
        &self.vfs
    }

    pub fn disk(&self) -> &Rc<dyn Disk> {
        &self.disk
    }

    pub fn pages(&self) -> &Rc<dyn Pages> {
        &self.pages
    }

    /// Has `path`, which nothing else is kept at, for the caller alone among all that share the store.
    ///
    /// # Errors
    /// [`Kind::Busy`] if somebody else has it.
    pub fn hold(&self, path: &str) -> Result<Hold> {
        let busy = || Error::new(Kind::Busy, "somebody else has it").at(path);
        if self.direct().is_some() {
            let path = path.to_owned();
            return match self.held.borrow_mut().insert(path.clone()) {
                true => Ok(Hold::Name(Rc::clone(&self.held), path)),
                false => Err(busy()),
            };
        }
        // A file that somebody has open cannot be removed; one whose owner died has been closed. Of two that find it so
        // at the same time, one creates it.
        match self.disk.remove(path) {
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            _ => {}
        }
        match self.disk.open(path, Open::CreateNew) {
            Err(error) if error.kind() == Kind::Exists => Err(busy().because(error)),
            file => Ok(Hold::File(file?)),
        }
    }

    /// The owner, in direct mode.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// The files that have to be opened before they are used: those of direct mode on OPFS.
    pub fn direct(&self) -> Option<&Opfs> {
        self.owner.as_ref()?.opfs()
    }

    /// Whether names can be changed while the caller waits.
    pub fn require_synchronous(&self, doing: &str) -> Result<()> {
        match self.direct() {
            None => Ok(()),
            Some(_) => {
                let message = format!("{doing} synchronously needs a page that is cross-origin isolated");
                Err(Error::new(Kind::Unsupported, message))
            }
        }
    }

    /// Opens what a synchronous call on the file at `path` will need.
    pub async fn prepare(&self, path: &str, open: Open) -> Result<()> {
        match self.direct() {
            Some(opfs) => opfs.prepare(&[(path, open)]).await,
            None => Ok(()),
        }
    }

    /// Lets the handle that [`Store::prepare`] opened be closed once nobody used it for a while.
    pub fn release(&self, path: &str) {
        if let Some(opfs) = self.direct() {
            opfs.release(&[path]);
        }
    }

    async fn list(&self) -> Result<Vec<String>> {
        match &self.owner {
            Some(owner) => AsyncDisk::list(owner).await,
            None => self.disk.list(),
        }
    }

    /// Removes a file that nobody has open.
    pub async fn remove(&self, path: &str) -> Result<()> {
        match &self.owner {
            Some(owner) => {
                owner.store().settle(path)?;
                AsyncDisk::remove(owner, path).await
            }
            None => self.disk.remove(path),
        }
    }

    /// Gives a file that nobody has open another name, replacing what has it.
    pub async fn replace(&self, from: &str, to: &str) -> Result<()> {
        match &self.owner {
            Some(owner) => {
                owner.store().settle(from)?;
                owner.store().settle(to)?;
                AsyncDisk::rename(owner, from, to).await
            }
            None => self.disk.rename(from, to),
        }
    }

    /// Gives a database a name that is free.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        if self.exists(to).await? {
            return Err(Error::new(Kind::Exists, "renaming: there is such a database already").at(to));
        }
        self.replace(from, to).await
    }

    /// The names of all databases, in order.
    pub async fn databases(&self) -> Result<Vec<String>> {
        Ok(databases_of(self.list().await?))
    }

    /// The names of all databases that can be opened without waiting, in order.
    pub fn databases_now(&self) -> Result<Vec<String>> {
        let paths = match self.direct() {
            Some(opfs) => opfs.prepared(),
            None => self.disk.list()?,
        };
        Ok(databases_of(paths))
    }

    /// The size of one of [`Store::databases_now`], as of the newest commit.
    pub fn size_bytes_now(&self, name: &str) -> Result<u64> {
        Ok(self.pages.open(name, Open::Existing)?.begin()?.len)
    }

    pub async fn size_bytes(&self, name: &str) -> Result<u64> {
        self.prepare(name, Open::Existing).await?;
        let size = self.size_bytes_now(name);
        self.release(name);
        size
    }

    pub async fn exists(&self, name: &str) -> Result<bool> {
        Ok(self.list().await?.iter().any(|path| path == name))
    }
}

fn databases_of(mut paths: Vec<String>) -> Vec<String> {
    paths.retain(|path| files::is_database(path));
    paths.sort();
    paths
}
