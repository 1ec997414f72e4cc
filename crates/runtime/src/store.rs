//! A store as an engine sees it: its disk, its locks and the VFS on them, wherever they are.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use statik_bridge::AsyncDisk;
use statik_bridge::locks::Locks;
use statik_browser::Opfs;
use statik_disk::{Disk, Error, File, Kind, Open, Result};
use statik_sqlite::{Vfs, files};

/// What an engine stands on. Names are changed here and not through the VFS, because in direct mode the platform does
/// that asynchronously.
pub struct Store {
    disk: Rc<dyn Disk>,
    vfs: Rc<Vfs>,
    /// Direct mode: what this engine, which has the store alone, holds.
    held: Rc<RefCell<BTreeSet<String>>>,
    /// Direct mode on OPFS: the disk again, by its asynchronous side.
    direct: Option<Opfs>,
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
    pub fn new(disk: Rc<dyn Disk>, locks: Rc<dyn Locks>, direct: Option<Opfs>) -> statik_sqlite::Result<Store> {
        let vfs = Vfs::on_disk(Rc::clone(&disk), locks)?;
        Ok(Store { disk, vfs, held: Rc::default(), direct })
    }

    pub fn vfs(&self) -> &Rc<Vfs> {
        &self.vfs
    }

    pub fn disk(&self) -> &Rc<dyn Disk> {
        &self.disk
    }

    /// Has `path`, which nothing else is kept at, for the caller alone among all that share the store.
    ///
    /// # Errors
    /// [`Kind::Busy`] if somebody else has it.
    pub fn hold(&self, path: &str) -> Result<Hold> {
        let busy = || Error::new(Kind::Busy, "somebody else has it").at(path);
        if self.direct.is_some() {
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

    /// The asynchronous side, where there is one.
    pub fn direct(&self) -> Option<&Opfs> {
        self.direct.as_ref()
    }

    /// Whether names can be changed while the caller waits.
    pub fn require_synchronous(&self, doing: &str) -> Result<()> {
        match self.direct {
            None => Ok(()),
            Some(_) => {
                let message = format!("{doing} synchronously needs a page that is cross-origin isolated");
                Err(Error::new(Kind::Unsupported, message))
            }
        }
    }

    /// Opens what a synchronous call on the database `name` will need.
    pub async fn prepare(&self, name: &str, open: Open) -> Result<()> {
        if let Some(opfs) = &self.direct {
            opfs.prepare(&[(name, open), (&files::journal_of(name), Open::Create)]).await?;
        }
        Ok(())
    }

    /// Lets the handles that [`Store::prepare`] opened be closed once nobody used them for a while.
    pub fn release(&self, name: &str) {
        if let Some(opfs) = &self.direct {
            opfs.release(&[name, &files::journal_of(name)]);
        }
    }

    async fn list(&self) -> Result<Vec<String>> {
        match &self.direct {
            Some(opfs) => AsyncDisk::list(opfs).await,
            None => self.disk.list(),
        }
    }

    pub async fn remove_file(&self, path: &str) -> Result<()> {
        match &self.direct {
            Some(opfs) => AsyncDisk::remove(opfs, path).await,
            None => self.disk.remove(path),
        }
    }

    pub async fn rename_file(&self, from: &str, to: &str) -> Result<()> {
        match &self.direct {
            Some(opfs) => AsyncDisk::rename(opfs, from, to).await,
            None => self.disk.rename(from, to),
        }
    }

    /// The names of all databases, in order.
    pub async fn databases(&self) -> Result<Vec<String>> {
        Ok(databases_of(self.list().await?))
    }

    /// The names of all databases that can be opened without waiting, in order.
    pub fn databases_now(&self) -> Result<Vec<String>> {
        let paths = match &self.direct {
            Some(opfs) => opfs.prepared(),
            None => self.disk.list()?,
        };
        Ok(databases_of(paths))
    }

    /// The size of one of [`Store::databases_now`].
    pub fn size_bytes_now(&self, name: &str) -> Result<u64> {
        self.disk.open(name, Open::Existing)?.len()
    }

    pub async fn size_bytes(&self, name: &str) -> Result<u64> {
        if let Some(opfs) = &self.direct {
            opfs.prepare(&[(name, Open::Existing)]).await?;
        }
        let size = self.size_bytes_now(name);
        self.release(name);
        size
    }

    pub async fn exists(&self, name: &str) -> Result<bool> {
        Ok(self.list().await?.iter().any(|path| path == name))
    }

    /// Removes a database and what lies beside it. The journal goes last: SQLite ignores one without a database.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.remove_file(name).await?;
        self.remove_journal(name).await
    }

    /// Gives a database another name, after a crash's journal was rolled back.
    pub async fn rename(&self, from: &str, to: &str) -> statik_sqlite::Result<()> {
        if self.exists(to).await? {
            return Err(Error::new(Kind::Exists, "renaming: there is such a database already").at(to).into());
        }
        self.prepare(from, Open::Existing).await?;
        files::settle(&self.vfs, from)?;
        self.rename_file(from, to).await?;
        Ok(self.remove_journal(from).await?)
    }

    pub async fn remove_journal(&self, name: &str) -> Result<()> {
        match self.remove_file(&files::journal_of(name)).await {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn databases_of(mut paths: Vec<String>) -> Vec<String> {
    paths.retain(|path| files::is_database(path));
    paths.sort();
    paths
}
