//! The engine worker's side: SQLite on a store, over the bridge or directly.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Function, Object};
use statik_bridge::metrics::Metrics;
use statik_bridge::pages::local::Local;
use statik_bridge::{CacheUse, Client, ClientOptions};
use statik_browser::{SharedCells, clock};
use statik_disk::{Kind, Open};
use statik_sqlite::{OpenOptions, files};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::connection::Connection;
use crate::convert::{JsResult, Options, thrown};
use crate::io::shared_buffer;
use crate::journal::Journal;
use crate::owner::{Owner, OwnerOptions};
use crate::store::Store;
use crate::transfer::{Export, Import};
use crate::values::{damage_out, database_out, durability_in, metrics_out, strings, usage_out};

/// A running statement asks JavaScript this often whether to stop.
const INTERRUPT_EVERY_MS: f64 = 20.0;

/// SQLite on a store.
#[wasm_bindgen]
pub struct Engine {
    store: Rc<Store>,
    metrics: Metrics,
    /// Bridge mode: the connection to the I/O worker.
    client: Option<Rc<Client>>,
    /// Direct mode: what has to be tended.
    local: Option<Local>,
    interrupt: Rc<RefCell<Option<Function>>>,
}

#[wasm_bindgen]
impl Engine {
    /// An engine on the store that the I/O worker at the other end of `ring` serves.
    pub fn bridge(options: &JsValue) -> JsResult<Engine> {
        let options = Options(options);
        let cells = |name| shared_buffer(&options, name).map(|buffer| SharedCells::new(&buffer));
        let deadline = Duration::from_millis(options.u32("deadlineMs", 30_000)?.into());
        let client = Client::new(
            cells("ring")?,
            cells("doorbell")?,
            cells("board")?,
            options.u32("client", 0)?,
            ClientOptions { deadline, ..ClientOptions::default() },
            clock::now_ms,
        );
        let client = Rc::new(client.map_err(thrown)?);
        let metrics = client.metrics().clone();
        let store = Rc::new(Store::new(client.clone(), client.clone(), None).map_err(thrown)?);
        Ok(Engine { store, metrics, client: Some(client), local: None, interrupt: Rc::default() })
    }

    /// An engine that owns the store itself. The caller holds its Web Lock.
    pub async fn direct(options: JsValue) -> JsResult<Engine> {
        let owner = Owner::open(&OwnerOptions::parse(&Options(&options))?).await.map_err(thrown)?;
        let local = Local::new(owner.store().clone(), clock::now_ms);
        let metrics = owner.metrics().clone();
        let store = Store::new(owner.disk(), Rc::new(local.clone()), Some(owner)).map_err(thrown)?;
        Ok(Engine { store: Rc::new(store), metrics, client: None, local: Some(local), interrupt: Rc::default() })
    }

    /// `opfs` or `memory`, as far as this engine knows: over the bridge it does not.
    #[wasm_bindgen(getter)]
    pub fn storage(&self) -> String {
        self.store.owner().map_or("opfs", Owner::storage).to_owned()
    }

    /// Why memory, if it is.
    #[wasm_bindgen(getter)]
    pub fn reason(&self) -> Option<String> {
        self.store.owner().and_then(Owner::reason)
    }

    /// Direct mode: what recovery found damaged, as `Damage`.
    #[wasm_bindgen(getter)]
    pub fn damage(&self) -> Option<Object> {
        self.store.owner().and_then(Owner::damage).map(|damage| damage_out(&damage))
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
        let slow_query_ms = options.number("slowQueryMs")?;
        let options = OpenOptions {
            create: !options.bool("mustExist", !defaults.create)?,
            read_only: options.bool("readOnly", defaults.read_only)?,
            busy_timeout_ms: options.u32("busyTimeoutMs", defaults.busy_timeout_ms)?,
            cache_kib: options.u32("cacheKib", defaults.cache_kib)?,
            foreign_keys: options.bool("foreignKeys", defaults.foreign_keys)?,
            synchronous: durability_in(&options)?.unwrap_or(defaults.synchronous),
        };
        if name != ":memory:" {
            files::validate_name(name).map_err(thrown)?;
        }
        let db = statik_sqlite::Connection::open(self.store.vfs(), name, &options).map_err(thrown)?;
        db.set_slow_query_ms(slow_query_ms);
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

    /// Counts and timings, as `Operations`: of the storage in direct mode, of this client's waits over the bridge.
    pub fn metrics(&self) -> Object {
        metrics_out(&self.metrics)
    }

    /// What the store tells of itself, as `Usage`.
    pub fn usage(&self) -> JsResult<Object> {
        let usage = self.store.pages().usage().map_err(thrown)?;
        let cache = self.client.as_ref().map_or(CacheUse::default(), |client| client.cache_use());
        Ok(usage_out(&usage, cache))
    }

    /// Waits until every commit acknowledged so far is durable.
    pub fn durable(&self) -> JsResult<()> {
        self.store.pages().durable().map(|_| ()).map_err(thrown)
    }

    /// Direct mode: does what is due, and tells in how many milliseconds to call again.
    pub fn tend(&self) -> JsResult<Option<f64>> {
        self.local.as_ref().map_or(Ok(None), |local| local.tend().map_err(thrown))
    }

    /// Direct mode: copies the log to its files, as far as views allow, flushes, and closes every handle.
    pub fn close(&self) -> JsResult<()> {
        let Some(owner) = self.store.owner() else { return Ok(()) };
        let checkpointed = match self.store.pages().checkpoint() {
            Err(error) if error.kind() != Kind::Busy && error.kind() != Kind::ReadOnly => Err(error),
            _ => Ok(()),
        };
        checkpointed.and(owner.close()).map_err(thrown)
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
