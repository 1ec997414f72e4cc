//! The engine worker's side: SQLite on a store, over the bridge or directly.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Function, Object, SharedArrayBuffer};
use statik_bridge::locks::Table;
use statik_bridge::metrics::{Measured, Metrics};
use statik_bridge::{Client, ClientOptions};
use statik_browser::{Log, Opfs, OpfsOptions, SharedCells, clock, sanity};
use statik_disk::{Error, Kind, MemDisk, Open, Result};
use statik_sqlite::{OpenOptions, files};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::connection::Connection;
use crate::convert::{JsResult, Options, database_out, invalid, metrics_out, strings, thrown};
use crate::io::shared_cells;
use crate::journal::Journal;
use crate::store::Store;
use crate::transfer::{Export, Import};

/// A running statement asks JavaScript this often whether to stop.
const INTERRUPT_EVERY_MS: f64 = 20.0;

/// How a store is opened, by the I/O worker or by an engine in direct mode.
pub struct StoreOptions {
    name: String,
    idle: Duration,
    log: Log,
    sanity_check: bool,
    opfs: bool,
    fall_back: bool,
}

impl StoreOptions {
    pub fn parse(options: &Options<'_>) -> JsResult<Self> {
        let fallback = options.string("fallback")?;
        if !matches!(fallback.as_deref(), None | Some("memory")) {
            return Err(invalid("the option fallback is not \"memory\""));
        }
        Ok(StoreOptions {
            name: options.string("name")?.ok_or_else(|| invalid("the option name is missing"))?,
            idle: Duration::from_millis(options.u32("idleMs", 30_000)?.into()),
            log: Log::new(options.u32("verbosity", 0)? as u8),
            sanity_check: options.bool("sanityCheck", false)?,
            opfs: options.bool("opfs", true)?,
            fall_back: fallback.is_some(),
        })
    }

    /// Opens the store, or tells why it is in memory, if the caller asked for that.
    pub async fn open(&self) -> Result<Result<Opfs, String>> {
        match self.open_opfs().await {
            Ok(opfs) => Ok(Ok(opfs)),
            Err(error) if self.fall_back && matches!(error.kind(), Kind::Unsupported | Kind::Permission) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error),
        }
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

/// SQLite on a store.
#[wasm_bindgen]
pub struct Engine {
    store: Rc<Store>,
    metrics: Metrics,
    reason: Option<String>,
    interrupt: Rc<RefCell<Option<Function>>>,
}

impl Engine {
    fn new(store: Store, metrics: Metrics, reason: Option<String>) -> Self {
        Engine { store: Rc::new(store), metrics, reason, interrupt: Rc::default() }
    }
}

#[wasm_bindgen]
impl Engine {
    /// An engine on the store that the I/O worker at the other end of `ring` serves.
    pub fn bridge(options: &JsValue) -> JsResult<Engine> {
        let options = Options(options);
        let deadline = Duration::from_millis(options.u32("deadlineMs", 30_000)?.into());
        let client = Client::new(
            shared_cells(&options, "ring")?,
            shared_cells(&options, "doorbell")?,
            // Nothing on it is asked for.
            SharedCells::new(&SharedArrayBuffer::new(64)),
            0,
            ClientOptions { deadline, ..ClientOptions::default() },
            clock::now_ms,
        );
        let client = Rc::new(client.map_err(thrown)?);
        let metrics = client.metrics().clone();
        let store = Store::new(client.clone(), client, None).map_err(thrown)?;
        Ok(Engine::new(store, metrics, None))
    }

    /// An engine that owns the store itself. The caller holds its Web Lock.
    pub async fn direct(options: JsValue) -> JsResult<Engine> {
        let options = StoreOptions::parse(&Options(&options))?;
        let locks = Rc::new(Table::new());
        let (store, metrics, reason) = match options.open().await.map_err(thrown)? {
            Ok(opfs) => {
                let disk = Measured::new(opfs.clone(), clock::now_ms);
                let metrics = disk.metrics().clone();
                (Store::new(Rc::new(disk), locks, Some(opfs)), metrics, None)
            }
            Err(reason) => {
                let disk = Measured::new(MemDisk::new(), clock::now_ms);
                let metrics = disk.metrics().clone();
                (Store::new(Rc::new(disk), locks, None), metrics, Some(reason))
            }
        };
        Ok(Engine::new(store.map_err(thrown)?, metrics, reason))
    }

    /// `opfs` or `memory`, as far as this engine knows: over the bridge it does not.
    #[wasm_bindgen(getter)]
    pub fn storage(&self) -> String {
        if self.reason.is_none() { "opfs" } else { "memory" }.to_owned()
    }

    /// Why memory, if it is.
    #[wasm_bindgen(getter)]
    pub fn reason(&self) -> Option<String> {
        self.reason.clone()
    }

    /// Has `poll` asked while a statement runs; true stops it.
    #[wasm_bindgen(js_name = setInterrupt)]
    pub fn set_interrupt(&self, poll: Function) {
        self.interrupt.replace(Some(poll));
    }

    /// Direct mode: opens the handles that these databases need. `create` (true by default) makes those that are
    /// missing.
    pub async fn prepare(&self, names: Array, create: Option<bool>) -> JsResult<()> {
        let open = if create.unwrap_or(true) { Open::Create } else { Open::Existing };
        for name in strings(&names)? {
            files::validate_name(&name).map_err(thrown)?;
            self.store.prepare(&name, open).await.map_err(thrown)?;
        }
        Ok(())
    }

    /// Direct mode: lets the handles of this database be closed once nobody used them for a while; it then has to be
    /// prepared again before it is opened.
    pub fn release(&self, name: &str) {
        self.store.release(name);
    }

    /// Opens a database.
    pub fn open(&self, name: &str, options: &JsValue) -> JsResult<Connection> {
        let options = Options(options);
        let defaults = OpenOptions::default();
        let options = OpenOptions {
            create: !options.bool("mustExist", !defaults.create)?,
            read_only: options.bool("readOnly", defaults.read_only)?,
            busy_timeout_ms: options.u32("busyTimeoutMs", defaults.busy_timeout_ms)?,
            cache_kib: options.u32("cacheKib", defaults.cache_kib)?,
            foreign_keys: options.bool("foreignKeys", defaults.foreign_keys)?,
            ..defaults
        };
        if name != ":memory:" {
            files::validate_name(name).map_err(thrown)?;
        }
        let db = statik_sqlite::Connection::open(self.store.vfs(), name, &options).map_err(thrown)?;
        let interrupt = Rc::clone(&self.interrupt);
        let last_ms = Cell::new(clock::now_ms());
        db.set_interrupt(move || {
            let now_ms = clock::now_ms();
            if now_ms - last_ms.get() < INTERRUPT_EVERY_MS {
                return false;
            }
            last_ms.set(now_ms);
            let interrupt = interrupt.borrow();
            // A poll that throws cannot tell whether to go on; stopping is what loses nothing.
            interrupt.as_ref().is_some_and(|poll| poll.call0(&JsValue::NULL).map_or(true, |stop| stop.is_truthy()))
        });
        Ok(Connection::new(db))
    }

    /// All databases, as `DatabaseInfo[]`.
    pub async fn list(&self) -> JsResult<Array> {
        let list = Array::new();
        for name in self.store.databases().await.map_err(thrown)? {
            list.push(&database_out(&name, self.store.size_bytes(&name).await.map_err(thrown)?));
        }
        Ok(list)
    }

    /// Whether there is such a database.
    pub async fn exists(&self, name: &str) -> JsResult<bool> {
        files::validate_name(name).map_err(thrown)?;
        self.store.exists(name).await.map_err(thrown)
    }

    /// Removes a database.
    pub async fn remove(&self, name: &str) -> JsResult<()> {
        files::validate_name(name).map_err(thrown)?;
        self.store.remove(name).await.map_err(thrown)
    }

    /// Gives a database another name.
    pub async fn rename(&self, from: &str, to: &str) -> JsResult<()> {
        files::validate_name(from).map_err(thrown)?;
        files::validate_name(to).map_err(thrown)?;
        self.store.rename(from, to).await.map_err(thrown)
    }

    /// As `list`, while the caller waits; in direct mode those that are prepared.
    #[wasm_bindgen(js_name = listSync)]
    pub fn list_sync(&self) -> JsResult<Array> {
        let list = Array::new();
        for name in self.store.databases_now().map_err(thrown)? {
            list.push(&database_out(&name, self.store.size_bytes_now(&name).map_err(thrown)?));
        }
        Ok(list)
    }

    /// As `exists`; in direct mode among those that are prepared.
    #[wasm_bindgen(js_name = existsSync)]
    pub fn exists_sync(&self, name: &str) -> JsResult<bool> {
        files::validate_name(name).map_err(thrown)?;
        Ok(self.store.databases_now().map_err(thrown)?.iter().any(|database| database == name))
    }

    /// As `remove`; bridge mode only.
    #[wasm_bindgen(js_name = removeSync)]
    pub fn remove_sync(&self, name: &str) -> JsResult<()> {
        self.now("removing a database", self.remove(name))
    }

    /// As `rename`; bridge mode only.
    #[wasm_bindgen(js_name = renameSync)]
    pub fn rename_sync(&self, from: &str, to: &str) -> JsResult<()> {
        self.now("renaming a database", self.rename(from, to))
    }

    /// Direct mode: opens the handles that a journal needs, which stay open.
    #[wasm_bindgen(js_name = prepareJournal)]
    pub async fn prepare_journal(&self, name: &str, options: &JsValue) -> JsResult<()> {
        Journal::prepare(&self.store, name, &Options(options)).await
    }

    /// Opens a journal; in direct mode one that is prepared.
    #[wasm_bindgen(js_name = openJournal)]
    pub fn open_journal(&self, name: &str, options: &JsValue) -> JsResult<Journal> {
        Journal::open(&self.store, name, &Options(options))
    }

    /// Direct mode: lets the handles of this journal be closed once nobody used them for a while.
    #[wasm_bindgen(js_name = releaseJournal)]
    pub fn release_journal(&self, name: &str) -> JsResult<()> {
        Journal::release(&self.store, name)
    }

    /// Starts an import.
    #[wasm_bindgen(js_name = importBegin)]
    pub async fn import_begin(&self, name: &str) -> JsResult<Import> {
        Import::begin(Rc::clone(&self.store), name).await.map_err(thrown)
    }

    /// Starts an export.
    #[wasm_bindgen(js_name = exportBegin)]
    pub async fn export_begin(&self, name: &str) -> JsResult<Export> {
        Export::begin(&self.store, name).await.map_err(thrown)
    }

    /// Counts and timings, as `Metrics`: of the storage in direct mode, of this client's waits over the bridge.
    pub fn metrics(&self) -> Object {
        metrics_out(&self.metrics)
    }

    /// Direct mode: flushes and closes every handle.
    pub fn close(&self) -> JsResult<()> {
        self.store.direct().map_or(Ok(()), |opfs| opfs.close().map_err(thrown))
    }
}

impl Engine {
    /// Runs what never waits: over the bridge, and in memory, no future is ever pending.
    fn now<T>(&self, doing: &str, call: impl Future<Output = JsResult<T>>) -> JsResult<T> {
        self.store.require_synchronous(doing).map_err(thrown)?;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(call).poll(&mut context) {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => unreachable!("a synchronous store made a call wait"),
        }
    }
}
