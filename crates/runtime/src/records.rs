//! IndexedDB databases for JavaScript.
//!
//! [`open_database`] and [`delete_database`] are single attempts; what to open, and what to do in an upgrade, the SDK says.
//! An [`IdbDatabase`] is what all reading and writing goes through.

use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use js_sys::{Array, Function, Object, Promise};
use statik_browser::idb::{self, Database, Durability, Failure, Listener, Position, Query};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::future_to_promise;

use crate::convert::{JsResult, Options, set, thrown};

/// How long a call may take, if the options do not say.
const DEADLINE_MS: f64 = 30_000.0;

fn throw(failure: Failure) -> JsValue {
    match failure {
        Failure::Error(error) => thrown(error),
        Failure::Thrown(value) => value,
    }
}

/// What a call cannot do without, of the environment.
struct Environment {
    factory: JsValue,
    listener: Listener,
    deadline_ms: f64,
}

impl Environment {
    /// `{ factory, onEvent, deadlineMs }`
    fn from_js(options: &Options<'_>) -> JsResult<Self> {
        Ok(Environment {
            factory: options.required("factory")?,
            listener: Listener(options.required("onEvent")?.into()),
            deadline_ms: options.number("deadlineMs")?.unwrap_or(DEADLINE_MS),
        })
    }
}

/// Opens a database once: `idb::open`. `upgrade(database, transaction, oldVersion)` runs where it is new or older.
#[wasm_bindgen(js_name = openDatabase)]
pub async fn open_database(
    name: String,
    version: Option<u32>,
    upgrade: Function,
    environment: JsValue,
) -> JsResult<JsValue> {
    let Environment { factory, listener, deadline_ms } = Environment::from_js(&Options(&environment))?;
    idb::open(&factory, &name, version, upgrade, &listener, deadline_ms).await.map_err(throw)
}

/// Deletes a database, if there is one.
#[wasm_bindgen(js_name = deleteDatabase)]
pub async fn delete_database(name: String, environment: JsValue) -> JsResult<()> {
    let Environment { factory, listener, deadline_ms } = Environment::from_js(&Options(&environment))?;
    idb::delete(&factory, &name, &listener, deadline_ms).await.map_err(throw)
}

/// A database that is opened, and opened again, as it is needed.
#[wasm_bindgen]
pub struct IdbDatabase(Rc<Database>);

#[wasm_bindgen]
impl IdbDatabase {
    /// `opener()` answers a promise of an open `IDBDatabase`. `environment` is `{ factory, keyRanges, onEvent, deadlineMs }`.
    #[wasm_bindgen(constructor)]
    pub fn new(name: String, opener: Function, environment: &JsValue) -> JsResult<IdbDatabase> {
        let options = Options(environment);
        let Environment { factory, listener, deadline_ms } = Environment::from_js(&options)?;
        let key_ranges = options.required("keyRanges")?;
        let options = idb::Options { name, factory, key_ranges, opener, listener, deadline_ms, throw };
        Ok(IdbDatabase(Rc::new(Database::new(options))))
    }

    pub fn connect(&self) -> Promise {
        self.begun(async |database| database.connect().await.map(|()| JsValue::UNDEFINED).map_err(throw))
    }

    pub fn get(&self, store: JsValue, key: JsValue) -> Promise {
        self.begun(async move |database| database.get(&store, &key).await.map_err(throw))
    }

    #[wasm_bindgen(js_name = getMany)]
    pub fn get_many(&self, store: JsValue, keys: Array) -> Promise {
        self.begun(async move |database| database.get_many(&store, &keys).await.map(JsValue::from).map_err(throw))
    }

    pub fn count(&self, store: JsValue, index: JsValue, range: JsValue) -> Promise {
        self.begun(async move |database| database.count(&store, &index, &range).await.map_err(throw))
    }

    /// `query` is `{ index?, range?, direction?, limit?, after?: { key, primary }, keysOnly? }`; answers
    /// `{ items, last?: { key, primary } }`.
    pub fn query(&self, store: JsValue, query: JsValue) -> Promise {
        self.begun(async move |database| {
            let query = query_in(&Options(&query))?;
            let page = database.query(&store, &query).await.map_err(throw)?;
            let answer = Object::new();
            set(&answer, "items", page.items);
            if let Some(Position { key, primary }) = page.last {
                let last = Object::new();
                set(&last, "key", key);
                set(&last, "primary", primary);
                set(&answer, "last", last);
            }
            Ok(answer.into())
        })
    }

    /// `runs` are `{ store, verb, values, keys }`, as `Database::write` takes them.
    pub fn write(&self, runs: Array, is_strict: bool, is_careful: bool) -> Promise {
        self.begun(async move |database| {
            database.write(&runs, durability(is_strict), is_careful).await.map(JsValue::from).map_err(throw)
        })
    }

    /// Undefined where there is no connection. Otherwise the write's place in what `group` comes to.
    pub fn put(&self, store: &JsValue, value: &JsValue, key: &JsValue, is_add: bool) -> JsResult<Option<u32>> {
        self.0.put(store, value, key, is_add).map_err(throw)
    }

    pub fn group(&self) -> JsValue {
        self.0.group()
    }

    pub fn transaction(&self, stores: Array, mode: String, body: Function, is_strict: bool) -> Promise {
        self.begun(async move |database| {
            database.transaction(&stores, &mode, &body, durability(is_strict)).await.map_err(throw)
        })
    }

    pub fn close(&self) {
        self.0.close();
    }

    /// Begins `work` before it answers its promise: calls take effect in the order in which they are made, and values are
    /// taken as they are now.
    fn begun(&self, work: impl AsyncFnOnce(Rc<Database>) -> JsResult<JsValue> + 'static) -> Promise {
        let mut work = Box::pin(work(Rc::clone(&self.0)));
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(answer)) => Promise::resolve(&answer),
            Poll::Ready(Err(thrown)) => Promise::reject(&thrown),
            // Whoever polls it again, has a waker.
            Poll::Pending => future_to_promise(work),
        }
    }
}

fn durability(is_strict: bool) -> Durability {
    if is_strict { Durability::Strict } else { Durability::Relaxed }
}

fn query_in(options: &Options<'_>) -> JsResult<Query> {
    let property = |name: &str| Ok::<_, JsValue>(options.get(name)?.unwrap_or(JsValue::UNDEFINED));
    let after = options.get("after")?;
    let position = |after: &JsValue| {
        let after = Options(after);
        Ok::<_, JsValue>(Position { key: after.required("key")?, primary: after.required("primary")? })
    };
    Ok(Query {
        index: property("index")?,
        range: property("range")?,
        is_backward: options.string("direction")?.as_deref() == Some("prev"),
        limit: options.u32("limit", u32::MAX)?,
        after: after.as_ref().map(position).transpose()?,
        is_keys_only: options.bool("keysOnly", false)?,
    })
}
