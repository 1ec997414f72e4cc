//! A store as its one owner has it: its files, and the pages and log on them.

use std::rc::Rc;
use std::time::Duration;

use statik_bridge::metrics::{Measured, Metrics};
use statik_bridge::pages::PageStore;
use statik_bridge::{AsyncDisk, Host};
use statik_browser::{Log, Opfs, OpfsOptions, clock, sanity};
use statik_disk::{Disk, Error, File, Kind, MemDisk, Open, Result};
use statik_store::{Damage, Recover, Store};

use crate::convert::{JsResult, Options, invalid};

/// How a store is opened, by the I/O worker or by an engine in direct mode.
pub struct OwnerOptions {
    name: String,
    idle: Duration,
    log: Log,
    sanity_check: bool,
    opfs: bool,
    fall_back: bool,
    store: statik_store::Options,
}

impl OwnerOptions {
    pub fn parse(options: &Options<'_>) -> JsResult<Self> {
        let fallback = options.string("fallback")?;
        if !matches!(fallback.as_deref(), None | Some("memory")) {
            return Err(invalid("the option fallback is not \"memory\""));
        }
        let recover = match options.string("recover")?.as_deref() {
            None => Recover::ReadOnly,
            Some("truncate") => Recover::Truncate,
            Some("refuse") => Recover::Refuse,
            Some(other) => {
                return Err(invalid(format!("the option recover is {other:?}, not \"truncate\" or \"refuse\"")));
            }
        };
        Ok(OwnerOptions {
            name: options.string("name")?.ok_or_else(|| invalid("the option name is missing"))?,
            idle: Duration::from_millis(options.u32("idleMs", 30_000)?.into()),
            log: Log::new(options.u32("verbosity", 0)? as u8),
            sanity_check: options.bool("sanityCheck", false)?,
            opfs: options.bool("opfs", true)?,
            fall_back: fallback.is_some(),
            store: statik_store::Options { recover, ..statik_store::Options::default() },
        })
    }

    async fn open_opfs(&self) -> Result<Opfs> {
        if !self.opfs {
            return Err(Error::new(Kind::Unsupported, "the option opfs switches the browser's file system off"));
        }
        let opfs = Opfs::open(&self.name, OpfsOptions { idle: self.idle, log: self.log }).await?;
        if self.sanity_check {
            sanity::check(&opfs).await?;
        }
        Ok(opfs)
    }
}

/// The owner of a store. Clones share it.
#[derive(Clone)]
pub struct Owner {
    files: Files,
    store: Rc<Store>,
    metrics: Metrics,
    /// Why it is in memory, if it is.
    reason: Option<String>,
}

#[derive(Clone)]
enum Files {
    Opfs(Opfs),
    Memory(MemDisk),
}

impl Owner {
    /// Opens the store, in memory if it cannot be elsewhere and the caller asked for that. The caller holds its Web Lock.
    pub async fn open(options: &OwnerOptions) -> Result<Owner> {
        let (files, reason) = match options.open_opfs().await {
            Ok(opfs) => (Files::Opfs(opfs), None),
            Err(error) if options.fall_back && matches!(error.kind(), Kind::Unsupported | Kind::Permission) => {
                (Files::Memory(MemDisk::new()), Some(error.to_string()))
            }
            Err(error) => return Err(error),
        };
        let (disk, metrics) = files.measured();
        let store = match &files {
            Files::Opfs(opfs) => recover(opfs, disk, options.store).await?,
            Files::Memory(_) => Store::open(disk, options.store)?,
        };
        Ok(Owner { files, store: Rc::new(store), metrics, reason })
    }

    /// The pages.
    pub fn store(&self) -> &Rc<Store> {
        &self.store
    }

    /// The files, as [`Owner::opfs`] prepared them.
    pub fn disk(&self) -> Rc<dyn Disk> {
        match &self.files {
            Files::Opfs(opfs) => Rc::new(opfs.clone()),
            Files::Memory(disk) => Rc::new(disk.clone()),
        }
    }

    /// Where the files are opened, removed and renamed asynchronously.
    pub fn opfs(&self) -> Option<&Opfs> {
        match &self.files {
            Files::Opfs(opfs) => Some(opfs),
            Files::Memory(_) => None,
        }
    }

    /// What the store's own reads and writes cost.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// `opfs` or `memory`.
    pub fn storage(&self) -> &'static str {
        if self.reason.is_none() { "opfs" } else { "memory" }
    }

    pub fn reason(&self) -> Option<String> {
        self.reason.clone()
    }

    pub fn damage(&self) -> Option<Damage> {
        self.store.damage()
    }

    /// Flushes, and closes every handle.
    pub fn close(&self) -> Result<()> {
        let flushed = self.store.flush();
        let closed = self.opfs().map_or(Ok(()), Opfs::close);
        flushed.and(closed)
    }
}

impl Files {
    fn measured(&self) -> (Rc<dyn Disk>, Metrics) {
        fn wrap(disk: impl Disk + 'static) -> (Rc<dyn Disk>, Metrics) {
            let disk = Measured::new(disk, clock::now_ms);
            let metrics = disk.metrics().clone();
            (Rc::new(disk), metrics)
        }
        match self {
            Files::Opfs(opfs) => wrap(opfs.clone()),
            Files::Memory(disk) => wrap(disk.clone()),
        }
    }
}

/// Opens what recovery will, which it cannot wait for, and lets it run.
async fn recover(opfs: &Opfs, disk: Rc<dyn Disk>, options: statik_store::Options) -> Result<Store> {
    let logs = Store::LOGS.map(|path| (path, Open::Create));
    opfs.prepare(&logs).await?;
    let needs = Store::needs(opfs)?;
    let files: Vec<_> = needs.iter().map(|path| (path.as_str(), Open::Create)).collect();
    opfs.prepare(&files).await?;
    let store = Store::open(disk, options);
    let paths: Vec<_> = logs.iter().chain(&files).map(|(path, _)| *path).collect();
    opfs.release(&paths);
    store
}

impl AsyncDisk for Owner {
    async fn open(&self, path: &str, open: Open) -> Result<Rc<dyn File>> {
        match &self.files {
            Files::Opfs(opfs) => AsyncDisk::open(opfs, path, open).await,
            Files::Memory(disk) => disk.open(path, open).map(Rc::from),
        }
    }

    async fn remove(&self, path: &str) -> Result<()> {
        match &self.files {
            Files::Opfs(opfs) => AsyncDisk::remove(opfs, path).await,
            Files::Memory(disk) => disk.remove(path),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        match &self.files {
            Files::Opfs(opfs) => AsyncDisk::rename(opfs, from, to).await,
            Files::Memory(disk) => disk.rename(from, to),
        }
    }

    async fn list(&self) -> Result<Vec<String>> {
        match &self.files {
            Files::Opfs(opfs) => AsyncDisk::list(opfs).await,
            Files::Memory(disk) => disk.list(),
        }
    }
}

impl Host for Owner {
    async fn attach(&self, path: &str, open: Open) -> Result<u32> {
        let Files::Opfs(opfs) = &self.files else { return self.store.attach(path, open) };
        opfs.prepare(&[(path, open)]).await?;
        // By now it exists.
        let file = self.store.attach(path, Open::Create);
        opfs.release(&[path]);
        file
    }

    fn pages(&self) -> &dyn PageStore {
        &*self.store
    }
}
