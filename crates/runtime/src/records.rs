//! IndexedDB databases for JavaScript.
//!
//! [`open_database`] and [`delete_database`] are single attempts; what to open, and what to do in an upgrade, the SDK says.
//! An [`IdbDatabase`] is what all reading and writing goes through.

use js_sys::{Array, Function, Object};
use statik_browser::idb::{self, Database, Durability, Failure, Listener, Position, Query};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

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
pub struct IdbDatabase(Database);

#[wasm_bindgen]
impl IdbDatabase {
    /// `opener()` answers a promise of an open `IDBDatabase`. `environment` is `{ factory, keyRanges, onEvent, deadlineMs }`.
    #[wasm_bindgen(constructor)]
    pub fn new(name: String, opener: Function, environment: &JsValue) -> JsResult<IdbDatabase> {
        let options = Options(environment);
        let Environment { factory, listener, deadline_ms } = Environment::from_js(&options)?;
        let key_ranges = options.required("keyRanges")?;
        let options = idb::Options { name, factory, key_ranges, opener, listener, deadline_ms, throw };
        Ok(IdbDatabase(Database::new(options)))
    }

    pub async fn connect(&self) -> JsResult<()> {
        self.0.connect().await.map_err(throw)
    }

    pub async fn get(&self, store: JsValue, key: JsValue) -> JsResult<JsValue> {
        self.0.get(&store, &key).await.map_err(throw)
    }

    #[wasm_bindgen(js_name = getMany)]
    pub async fn get_many(&self, store: JsValue, keys: Array) -> JsResult<Array> {
        self.0.get_many(&store, &keys).await.map_err(throw)
    }

    pub async fn count(&self, store: JsValue, index: JsValue, range: JsValue) -> JsResult<JsValue> {
        self.0.count(&store, &index, &range).await.map_err(throw)
    }

    /// `query` is `{ index?, range?, direction?, limit?, after?: { key, primary }, keysOnly? }`; answers
    /// `{ items, last?: { key, primary } }`.
    pub async fn query(&self, store: JsValue, query: JsValue) -> JsResult<Object> {
        let query = query_in(&Options(&query))?;
        let page = self.0.query(&store, &query).await.map_err(throw)?;
        let answer = Object::new();
        set(&answer, "items", page.items);
        if let Some(Position { key, primary }) = page.last {
            let last = Object::new();
            set(&last, "key", key);
            set(&last, "primary", primary);
            set(&answer, "last", last);
        }
        Ok(answer)
    }

    pub async fn write(&self, writes: Array, is_strict: bool) -> JsResult<Array> {
        self.0.write(&writes, durability(is_strict)).await.map_err(throw)
    }

    /// Undefined where there is no connection. Otherwise the write's place in what `group` comes to.
    pub fn put(&self, store: &JsValue, value: &JsValue, key: &JsValue, is_add: bool) -> JsResult<Option<u32>> {
        self.0.put(store, value, key, is_add).map_err(throw)
    }

    pub fn group(&self) -> JsValue {
        self.0.group()
    }

    pub async fn transaction(&self, stores: Array, mode: String, body: Function, is_strict: bool) -> JsResult<JsValue> {
        self.0.transaction(&stores, &mode, &body, durability(is_strict)).await.map_err(throw)
    }

    pub fn close(&self) {
        self.0.close();
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
