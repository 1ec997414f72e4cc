//! The part of IndexedDB's interface that is used, by its methods alone.

use std::future::Future;

use js_sys::{Array, Function, Map, Object};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;

use super::settled;

type JsResult<T> = std::result::Result<T, JsValue>;

#[wasm_bindgen]
extern "C" {
    /// An `IDBFactory`.
    pub type Factory;
    #[wasm_bindgen(method, catch)]
    pub fn open(this: &Factory, name: &str) -> JsResult<OpenRequest>;
    #[wasm_bindgen(method, catch, js_name = open)]
    pub fn open_version(this: &Factory, name: &str, version: u32) -> JsResult<OpenRequest>;
    #[wasm_bindgen(method, catch, js_name = deleteDatabase)]
    pub fn delete_database(this: &Factory, name: &str) -> JsResult<OpenRequest>;

    #[wasm_bindgen(method, catch)]
    pub fn cmp(this: &Factory, one: &JsValue, two: &JsValue) -> JsResult<i32>;

    /// The class `IDBKeyRange`.
    pub type KeyRanges;
    #[wasm_bindgen(method, catch)]
    pub fn only(this: &KeyRanges, key: &JsValue) -> JsResult<JsValue>;
    #[wasm_bindgen(method, catch)]
    pub fn bound(
        this: &KeyRanges,
        lower: &JsValue,
        upper: &JsValue,
        lower_open: bool,
        upper_open: bool,
    ) -> JsResult<JsValue>;
    #[wasm_bindgen(method, catch, js_name = lowerBound)]
    pub fn lower_bound(this: &KeyRanges, lower: &JsValue, is_open: bool) -> JsResult<JsValue>;
    #[wasm_bindgen(method, catch, js_name = upperBound)]
    pub fn upper_bound(this: &KeyRanges, upper: &JsValue, is_open: bool) -> JsResult<JsValue>;

    #[wasm_bindgen(extends = Request)]
    #[derive(Clone, Debug)]
    pub type OpenRequest;
    #[wasm_bindgen(method, getter)]
    pub fn transaction(this: &OpenRequest) -> Option<Transaction>;
    #[wasm_bindgen(method, setter)]
    pub fn set_onblocked(this: &OpenRequest, handler: Option<&Function>);
    #[wasm_bindgen(method, setter)]
    pub fn set_onupgradeneeded(this: &OpenRequest, handler: Option<&Function>);

    #[derive(Clone, Debug, PartialEq)]
    pub type Connection;
    #[wasm_bindgen(method, catch)]
    pub fn transaction(this: &Connection, stores: &JsValue, mode: &str, options: &Object) -> JsResult<Transaction>;
    #[wasm_bindgen(method, getter, js_name = objectStoreNames)]
    pub fn object_store_names(this: &Connection) -> Names;
    #[wasm_bindgen(method)]
    pub fn close(this: &Connection);
    #[wasm_bindgen(method, setter)]
    pub fn set_onclose(this: &Connection, handler: Option<&Function>);
    #[wasm_bindgen(method, setter)]
    pub fn set_onversionchange(this: &Connection, handler: Option<&Function>);

    #[derive(Clone, Debug, PartialEq)]
    pub type Transaction;
    #[wasm_bindgen(method, catch, js_name = objectStore)]
    pub fn object_store(this: &Transaction, name: &JsValue) -> JsResult<Source>;
    #[wasm_bindgen(method, getter, js_name = objectStoreNames)]
    pub fn object_store_names(this: &Transaction) -> Names;
    #[wasm_bindgen(method, catch)]
    pub fn abort(this: &Transaction) -> JsResult<()>;
    /// Why it was aborted; null if by a call.
    #[wasm_bindgen(method, getter)]
    pub fn error(this: &Transaction) -> JsValue;
    #[wasm_bindgen(method, js_name = addEventListener)]
    pub fn listen(this: &Transaction, event: &str, listener: &Function);
    #[wasm_bindgen(method, setter)]
    pub fn set_onerror(this: &Transaction, handler: Option<&Function>);

    /// A `DOMStringList`.
    pub type Names;
    #[wasm_bindgen(method)]
    pub fn item(this: &Names, index: u32) -> JsValue;

    /// An object store, or an index of one.
    #[derive(Clone, Debug)]
    pub type Source;
    #[wasm_bindgen(method, catch)]
    pub fn index(this: &Source, name: &JsValue) -> JsResult<Source>;
    /// A string, several, or null.
    #[wasm_bindgen(method, getter, js_name = keyPath)]
    pub fn key_path(this: &Source) -> JsValue;
    /// Of an index.
    #[wasm_bindgen(method, getter, js_name = multiEntry)]
    pub fn is_multi_entry(this: &Source) -> bool;
    /// Of an index.
    #[wasm_bindgen(method, getter, js_name = objectStore)]
    pub fn object_store(this: &Source) -> Source;
    #[wasm_bindgen(method, catch)]
    pub fn put(this: &Source, value: &JsValue) -> JsResult<Request>;
    #[wasm_bindgen(method, catch, js_name = put)]
    pub fn put_at(this: &Source, value: &JsValue, key: &JsValue) -> JsResult<Request>;
    #[wasm_bindgen(method, catch)]
    pub fn add(this: &Source, value: &JsValue) -> JsResult<Request>;
    #[wasm_bindgen(method, catch, js_name = add)]
    pub fn add_at(this: &Source, value: &JsValue, key: &JsValue) -> JsResult<Request>;
    #[wasm_bindgen(method, catch)]
    pub fn get(this: &Source, key: &JsValue) -> JsResult<Request>;
    #[wasm_bindgen(method, catch)]
    pub fn count(this: &Source, range: &JsValue) -> JsResult<Request>;
    #[wasm_bindgen(method, catch, js_name = getAll)]
    pub fn get_all(this: &Source, range: &JsValue, count: u32) -> JsResult<Request>;
    #[wasm_bindgen(method, catch, js_name = getAllKeys)]
    pub fn get_all_keys(this: &Source, range: &JsValue, count: u32) -> JsResult<Request>;
    #[wasm_bindgen(method, catch, js_name = openCursor)]
    pub fn open_cursor(this: &Source, range: &JsValue, direction: &str) -> JsResult<Request>;
    #[wasm_bindgen(method, catch, js_name = openKeyCursor)]
    pub fn open_key_cursor(this: &Source, range: &JsValue, direction: &str) -> JsResult<Request>;
    /// Missing in browsers of before 2025.
    #[wasm_bindgen(method, catch, js_name = getAllRecords)]
    pub fn get_all_records(this: &Source, options: &Object) -> JsResult<Request>;

    #[derive(Clone, Debug)]
    pub type Request;
    #[wasm_bindgen(method, getter, catch)]
    pub fn result(this: &Request) -> JsResult<JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub fn error(this: &Request) -> JsResult<JsValue>;
    #[wasm_bindgen(method, setter)]
    pub fn set_onsuccess(this: &Request, handler: Option<&Function>);
    #[wasm_bindgen(method, setter)]
    pub fn set_onerror(this: &Request, handler: Option<&Function>);

    pub type Cursor;
    #[wasm_bindgen(method, getter)]
    pub fn key(this: &Cursor) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = primaryKey)]
    pub fn primary_key(this: &Cursor) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub fn value(this: &Cursor) -> JsValue;
    #[wasm_bindgen(method, catch, js_name = continue)]
    pub fn next(this: &Cursor) -> JsResult<()>;
    #[wasm_bindgen(method, catch, js_name = continuePrimaryKey)]
    pub fn continue_primary_key(this: &Cursor, key: &JsValue, primary: &JsValue) -> JsResult<()>;
    #[wasm_bindgen(method, catch)]
    pub fn advance(this: &Cursor, count: u32) -> JsResult<()>;

    pub type Event;
    #[wasm_bindgen(method, getter)]
    pub fn target(this: &Event) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = oldVersion)]
    pub fn old_version(this: &Event) -> f64;
    #[wasm_bindgen(method, js_name = preventDefault)]
    pub fn prevent_default(this: &Event);
    #[wasm_bindgen(method, js_name = stopPropagation)]
    pub fn stop_propagation(this: &Event);

    #[wasm_bindgen(catch, js_name = structuredClone)]
    pub fn structured_clone(value: &JsValue) -> JsResult<JsValue>;
}

// The loops over records are JavaScript's: a call across the boundary costs 0.1 µs, and a record would take a dozen. Of
// requests whose answer is known nothing is kept, so that they are young when they die: ten thousand that are kept cost
// Firefox a sixth of the time.
#[wasm_bindgen(inline_js = "
export function issue(source, verb, values, keys, answers, pending) {
    const isWritten = verb === 'put' || verb === 'add';
    const path = isWritten && typeof source.keyPath === 'string' && !source.keyPath.includes('.') ? source.keyPath : '';
    for (let i = 0; i < values.length; i++) {
        const request = keys[i] === undefined ? source[verb](values[i]) : source[verb](values[i], keys[i]);
        const key = path === '' ? keys[i] : values[i][path];
        const isKnown = typeof key === 'string' || typeof key === 'number' || verb === 'delete' || verb === 'clear';
        if (!isKnown) pending.set(answers.length, request);
        answers.push(isKnown && isWritten ? key : undefined);
    }
}
export function request(source, verb, value, key) {
    return key === undefined ? source[verb](value) : source[verb](value, key);
}
export function settle(answers, pending) {
    for (const [at, request] of pending) answers[at] = request.result;
}
")]
extern "C" {
    /// Calls a method with each of the values, and its key if it has one. Adds the answers as far as they are known to
    /// `answers`, and the requests of the others, by their places there, to `pending`.
    #[wasm_bindgen(catch)]
    pub fn issue(
        source: &Source,
        verb: &str,
        values: &Array,
        keys: &Array,
        answers: &Array,
        pending: &Map,
    ) -> JsResult<()>;
    /// One such call.
    #[wasm_bindgen(catch)]
    pub fn request(source: &Source, verb: &str, value: &JsValue, key: &JsValue) -> JsResult<Request>;
    /// Adds what the pending requests have come to.
    #[wasm_bindgen(catch)]
    pub fn settle(answers: &Array, pending: &Map) -> JsResult<()>;
}

impl Request {
    /// Its result. Nothing else may be awaited in between, or the transaction ends.
    pub async fn done(&self) -> JsResult<JsValue> {
        let settled = settled(|resolve, reject| {
            self.set_onsuccess(Some(resolve));
            self.set_onerror(Some(reject));
        });
        match JsFuture::from(settled).await {
            Ok(_) => self.result(),
            Err(_) => Err(self.error()?),
        }
    }
}

impl Transaction {
    /// That it has completed, or why it was aborted. To be asked for before either can happen.
    pub fn completed(&self) -> impl Future<Output = JsResult<()>> + use<> {
        // Its `oncomplete` and `onabort` are for whoever is given the transaction.
        let settled = settled(|resolve, reject| {
            self.listen("complete", resolve);
            self.listen("abort", reject);
        });
        let (settled, transaction) = (JsFuture::from(settled), self.clone());
        async move { settled.await.map(|_| ()).map_err(|_| transaction.error()) }
    }
}

/// The names of stores as a transaction takes them.
pub fn names<'a>(names: impl IntoIterator<Item = &'a JsValue>) -> JsValue {
    names.into_iter().collect::<Array>().into()
}
