//! IndexedDB below the bindings: opening, blocking, deadlines, and what exceptions become.

use js_sys::{Array, Function, Reflect, eval};
use statik_browser::errors::from_js;
use statik_browser::idb::{self, Database, Durability, Failure, Listener, Options, Query};
use statik_disk::Kind;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

/// Enough for whatever answers at all.
const DEADLINE_MS: f64 = 20_000.0;
/// For what is not answered.
const SHORT_MS: f64 = 300.0;

const CREATE: &str = "database.createObjectStore('store')";

fn factory() -> JsValue {
    eval("indexedDB").expect("a browser has it")
}

fn function(arguments: &str, body: &str) -> Function {
    Function::new_with_args(arguments, body)
}

fn upgrade(body: &str) -> Function {
    function("database, transaction, oldVersion", body)
}

/// A listener, and the types of what it hears.
fn listener() -> (Listener, Array) {
    let heard = Array::new();
    let hear = function("heard", "return (event) => { heard.push(event.type); }").call1(&JsValue::NULL, &heard);
    (Listener(hear.expect("a function").unchecked_into()), heard)
}

async fn open(name: &str, version: Option<u32>, body: &str) -> idb::Result<JsValue> {
    idb::open(&factory(), name, version, upgrade(body), &listener().0, DEADLINE_MS).await
}

/// Calls a method of what was opened.
fn call(opened: &JsValue, body: &str) -> JsValue {
    function("database", body).call1(&JsValue::NULL, opened).expect("it does not throw")
}

fn version_of(opened: &JsValue) -> f64 {
    let version = Reflect::get(opened, &"version".into()).expect("a database has a version");
    call(opened, "database.close()");
    version.as_f64().expect("a number")
}

fn kind(failed: idb::Result<impl Sized>) -> Kind {
    match failed.err().expect("it fails") {
        Failure::Error(error) => error.kind(),
        Failure::Thrown(thrown) => panic!("thrown: {thrown:?}"),
    }
}

/// A database over a fresh store, and what its listener hears.
fn database(name: &str, deadline_ms: f64) -> (Database, Array) {
    let (listener, heard) = listener();
    let opener = format!(
        "return new Promise((resolve, reject) => {{ const opening = indexedDB.open('{name}', 1); \
         opening.onupgradeneeded = () => opening.result.createObjectStore('store'); \
         opening.onsuccess = () => resolve(globalThis['{name}'] = opening.result); opening.onerror = () => reject(opening.error); }})"
    );
    let options = Options {
        name: name.to_owned(),
        factory: factory(),
        key_ranges: eval("IDBKeyRange").expect("a browser has it"),
        opener: Function::new_no_args(&opener),
        listener,
        deadline_ms,
        throw: |failure| format!("{failure:?}").into(),
    };
    (Database::new(options), heard)
}

fn store() -> JsValue {
    "store".into()
}

/// One thing to do to the store, by the method of that name, with these sources of a value and a key.
fn write(verb: &str, value: &str, key: &str) -> Array {
    let run = format!("[{{ store: 'store', verb: '{verb}', values: [{value}], keys: [{key}] }}]");
    eval(&run).expect("an array").unchecked_into()
}

#[wasm_bindgen_test]
async fn versions_rise_and_never_fall() {
    assert_eq!(version_of(&open("versions", None, CREATE).await.expect("a new one")), 1.0);
    assert_eq!(version_of(&open("versions", None, "throw 'it is there'").await.expect("as it is")), 1.0);
    let raised = open("versions", Some(4), "if (oldVersion !== 1) throw oldVersion").await;
    assert_eq!(version_of(&raised.expect("a higher one")), 4.0);
    assert_eq!(kind(open("versions", Some(3), "").await), Kind::Conflict);
    assert_eq!(kind(open("versions", Some(0), "").await), Kind::Invalid);
    let (listener, _) = listener();
    idb::delete(&factory(), "versions", &listener, DEADLINE_MS).await.expect("it is deleted");
    idb::delete(&factory(), "versions", &listener, DEADLINE_MS).await.expect("nothing to delete is no failure");
    assert_eq!(version_of(&open("versions", None, "if (oldVersion !== 0) throw oldVersion").await.expect("anew")), 1.0);
}

#[wasm_bindgen_test]
async fn an_upgrade_that_fails_leaves_nothing_and_its_reason_comes_back() {
    for body in [
        "database.createObjectStore('half'); throw 'mine'",
        "database.createObjectStore('half'); return Promise.reject('mine')",
    ] {
        let Err(Failure::Thrown(thrown)) = open("fails", None, body).await else { panic!("it is thrown") };
        assert_eq!(thrown.as_string().as_deref(), Some("mine"));
    }
    let opened = open("fails", None, CREATE).await.expect("nothing is in the way");
    assert_eq!(call(&opened, "return [...database.objectStoreNames].join()").as_string().as_deref(), Some("store"));
    assert_eq!(version_of(&opened), 1.0);
}

#[wasm_bindgen_test]
async fn an_upgrade_that_awaits_something_else_is_done_as_a_whole_or_not_at_all() {
    let wait = "database.createObjectStore('a first'); database.createObjectStore('store').put('early', 'key'); \
        database.deleteObjectStore('a first'); \
        const turns = async () => { for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve)); };";
    let late = format!("{wait} return turns().then(() => transaction.objectStore('store').put('late', 'key'));");
    let Err(Failure::Thrown(thrown)) = open("patient", None, &late).await else { panic!("it is refused") };
    assert_eq!(from_js(&thrown, "").kind(), Kind::Invalid, "{thrown:?}");
    version_of(
        &open("patient", None, &format!("if (oldVersion !== 0) throw 'half'; {wait} return turns();"))
            .await
            .expect("whole"),
    );
    let (database, _) = database("patient", DEADLINE_MS);
    assert_eq!(database.get(&store(), &"key".into()).await.expect("read").as_string().as_deref(), Some("early"));
    database.close();
}

#[wasm_bindgen_test]
async fn who_holds_a_database_makes_it_busy_and_the_request_given_up_changes_nothing() {
    let held = open("held", None, CREATE).await.expect("a new one");
    let (listener, heard) = listener();
    let (factory, shrink) = (factory(), upgrade("database.deleteObjectStore('store')"));
    let tried = idb::open(&factory, "held", Some(2), shrink, &listener, SHORT_MS);
    assert_eq!(kind(tried.await), Kind::Busy);
    assert_eq!(heard.join(","), "blocked");
    call(&held, "database.close()");
    let opened = open("held", None, "throw 'it is there'").await.expect("what was given up is aborted");
    assert_eq!(call(&opened, "return database.objectStoreNames.length").as_f64(), Some(1.0));
    assert_eq!(kind(idb::delete(&factory, "held", &listener, SHORT_MS).await), Kind::Busy);
    assert_eq!(version_of(&opened), 1.0);
}

#[wasm_bindgen_test]
async fn exceptions_get_their_kinds_and_name_the_place() {
    let (database, heard) = database("kinds", DEADLINE_MS);
    let relaxed = Durability::Relaxed;
    database.write(&write("put", "1", "'k'"), relaxed, false).await.expect("a write");
    for (verb, value, key, expected) in [
        ("add", "1", "'k'", Kind::Conflict),
        ("put", "1", "undefined", Kind::Invalid),
        ("put", "() => {}", "1", Kind::Invalid),
        ("put", "1", "{}", Kind::Invalid),
        ("delete", "{}", "undefined", Kind::Invalid),
        ("delete", "{ lower: 2, upper: 1 }", "undefined", Kind::Invalid),
        ("other", "1", "undefined", Kind::Invalid),
    ] {
        for is_careful in [false, true] {
            let written = database.write(&write(verb, value, key), relaxed, is_careful).await;
            assert_eq!(kind(written), expected, "{verb} {value} {key}, careful: {is_careful}");
        }
    }
    let Err(Failure::Error(error)) = database.get(&"none".into(), &1.into()).await else { panic!("there is none") };
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().starts_with("reading from store none of \"kinds\": "), "{error}");
    let body = function("transaction", "transaction.abort()");
    assert_eq!(kind(database.transaction(&Array::of1(&store()), "readwrite", &body, relaxed).await), Kind::Aborted);
    assert_eq!(database.get(&store(), &"k".into()).await.expect("read").as_f64(), Some(1.0));
    assert_eq!(heard.length(), 0);
    database.close();
    assert_eq!(kind(database.get(&store(), &"k".into()).await), Kind::Closed);
}

#[wasm_bindgen_test]
async fn a_page_of_one_has_an_end() {
    let (database, _) = database("pages", DEADLINE_MS);
    for key in 0..3 {
        let key = key.to_string();
        database.write(&write("put", &key, &key), Durability::Relaxed, false).await.expect("a write");
    }
    for is_backward in [false, true] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let (index, range) = (JsValue::UNDEFINED, JsValue::UNDEFINED);
            let query = Query { index, range, is_backward, limit: 1, after, is_keys_only: false };
            let page = database.query(&store(), &query).await.expect("a page");
            found.extend(page.items.iter().filter_map(|item| item.as_f64()));
            after = page.last;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, if is_backward { [2.0, 1.0, 0.0] } else { [0.0, 1.0, 2.0] });
    }
    database.close();
}

#[wasm_bindgen_test]
async fn what_is_not_answered_is_over_by_the_deadline_and_not_done_later() {
    let (database, heard) = database("late", SHORT_MS);
    database.write(&write("put", "'before'", "'k'"), Durability::Relaxed, false).await.expect("a write");
    let other = open("late", None, "").await.expect("another connection");
    call(
        &other,
        "const held = database.transaction('store', 'readwrite').objectStore('store'); globalThis.isHeld = true; \
         globalThis.ended = new Promise((resolve) => { held.transaction.oncomplete = resolve; }); \
         const hold = () => { if (isHeld) held.get('k').onsuccess = hold; }; hold();",
    );
    assert_eq!(kind(database.write(&write("put", "'late'", "'k'"), Durability::Relaxed, false).await), Kind::Timeout);
    let put = database.put(&store(), &"late".into(), &"k".into(), false).expect("nothing is wrong with it");
    assert_eq!(put, None, "there is no connection any more: it goes over another");
    call(&other, "globalThis.isHeld = false");
    let ended = eval("ended").expect("a promise");
    wasm_bindgen_futures::JsFuture::from(js_sys::Promise::resolve(&ended)).await.expect("it ends");
    assert_eq!(database.get(&store(), &"k".into()).await.expect("read").as_string().as_deref(), Some("before"));
    assert_eq!(heard.join(","), "lost,reopened");
    call(&other, "database.close()");
    database.close();
}
