//! Opening and deleting a database: one attempt, over within its deadline.
//!
//! A request that nobody waits for any more is still alive in the browser. Should it come through later, what it opened is
//! closed at once, and what it would upgrade stays as it was.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use js_sys::{Function, Promise};
use statik_disk::{Error, Kind};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::js::{Connection, Event, Factory, OpenRequest, Transaction};
use super::{Failure, Listener, Result, failed, timeout, within};

/// What has become of a request.
#[derive(Default)]
struct Fate {
    /// Nobody waits for it any more.
    is_given_up: Cell<bool>,
    is_blocked: Cell<bool>,
    is_upgrading: Cell<bool>,
    /// What the upgrade has thrown: the cause of the abort that follows.
    thrown: RefCell<Option<JsValue>>,
}

/// Opens a database, a new one with version 1 if there is none.
///
/// With a `version` above its own, or if it is new, `upgrade(database, transaction, oldVersion)` is called within the
/// version-change transaction. It may answer a promise and await what it likes, once the database has a store: the
/// transaction is kept alive. What it throws aborts everything, and is the [`Failure::Thrown`].
///
/// # Errors
/// `Busy` if others who have it open do not let go of it within the deadline (the listener hears `blocked` before),
/// `Timeout` if the browser does not answer, `Conflict` if the version is below the database's own. An upgrade that has
/// begun takes as long as it takes.
pub async fn open(
    factory: &JsValue,
    name: &str,
    version: Option<u32>,
    upgrade: Function,
    listener: &Listener,
    deadline_ms: f64,
) -> Result<JsValue> {
    let doing = format!("opening the IndexedDB database \"{name}\"");
    let factory: &Factory = factory.unchecked_ref();
    let request = match version {
        Some(version) => factory.open_version(name, version),
        None => factory.open(name),
    };
    let request = request.map_err(|thrown| failed(&thrown, &doing))?;
    let fate = Rc::new(Fate::default());
    let upgrading = (Rc::clone(&fate), request.clone());
    let on_upgrade = Closure::once_into_js(move |event: Event| {
        let (fate, request) = upgrading;
        run_upgrade(fate, &request, &upgrade, event.old_version());
    });
    request.set_onupgradeneeded(Some(on_upgrade.unchecked_ref()));
    settle(&request, &fate, name, listener, &doing, deadline_ms).await
}

/// Deletes a database, if there is one.
///
/// # Errors
/// `Busy` if others who have it open do not let go of it within the deadline; it is deleted when they have.
pub async fn delete(factory: &JsValue, name: &str, listener: &Listener, deadline_ms: f64) -> Result<()> {
    let doing = format!("deleting the IndexedDB database \"{name}\"");
    let request = factory.unchecked_ref::<Factory>().delete_database(name).map_err(|thrown| failed(&thrown, &doing))?;
    settle(&request, &Rc::default(), name, listener, &doing, deadline_ms).await.map(|_| ())
}

async fn settle(
    request: &OpenRequest,
    fate: &Rc<Fate>,
    name: &str,
    listener: &Listener,
    doing: &str,
    deadline_ms: f64,
) -> Result<JsValue> {
    let blocked = (Rc::clone(fate), listener.clone(), name.to_owned());
    let on_blocked = Closure::once_into_js(move |_: Event| {
        let (fate, listener, name) = blocked;
        fate.is_blocked.set(true);
        listener.tell("blocked", &name, "another tab or worker has it open");
    });
    request.set_onblocked(Some(on_blocked.unchecked_ref()));
    let mut opened = pin!(request.done());
    let mut done = within(deadline_ms, &mut opened).await;
    if done.is_none() && fate.is_upgrading.get() {
        done = Some(opened.await);
    }
    if let Some(done) = done {
        return done.map_err(|thrown| fate.thrown.take().map_or_else(|| failed(&thrown, doing), Failure::Thrown));
    }
    fate.is_given_up.set(true);
    let late = request.clone();
    let close = Closure::once_into_js(move |_: Event| {
        // A request to delete has no result.
        if let Some(opened) = late.result().ok().filter(JsValue::is_object) {
            opened.unchecked_into::<Connection>().close();
        }
    });
    request.set_onsuccess(Some(close.unchecked_ref()));
    if fate.is_blocked.get() {
        let context = format!("{doing}: another tab or worker has had it open for {deadline_ms} ms");
        return Err(Error::new(Kind::Busy, context).into());
    }
    Err(timeout(doing, deadline_ms).into())
}

fn run_upgrade(fate: Rc<Fate>, request: &OpenRequest, upgrade: &Function, old_version: f64) {
    let transaction = request.transaction().expect("a request that upgrades has a transaction");
    if fate.is_given_up.get() {
        return abort(&transaction);
    }
    fate.is_upgrading.set(true);
    let database = request.result().expect("a request that upgrades has its database");
    match upgrade.call3(&JsValue::UNDEFINED, &database, &transaction, &old_version.into()) {
        Err(thrown) => {
            fate.thrown.replace(Some(thrown));
            abort(&transaction);
        }
        Ok(answer) => {
            if let Ok(promise) = answer.dyn_into::<Promise>() {
                spawn_local(finish_upgrade(fate, transaction, promise));
            }
        }
    }
}

/// Lets an upgrade that answered a promise come to its end, within its transaction.
async fn finish_upgrade(fate: Rc<Fate>, transaction: Transaction, promise: Promise) {
    let is_over = Rc::new(Cell::new(false));
    spawn_local(keep_alive(transaction.clone(), Rc::clone(&is_over)));
    let ended = JsFuture::from(promise).await;
    is_over.set(true);
    if let Err(thrown) = ended {
        fate.thrown.replace(Some(thrown));
        abort(&transaction);
    }
}

/// A transaction without requests would end while something else is awaited, and keep what was done until then.
async fn keep_alive(transaction: Transaction, is_over: Rc<Cell<bool>>) {
    while !is_over.get() {
        // The one of before may have been deleted. Where nothing exists, nothing can be requested.
        let name = transaction.object_store_names().item(0);
        let Ok(store) = transaction.object_store(&name) else { return };
        let Ok(request) = store.get(&JsValue::from(0)) else { return };
        if request.done().await.is_err() {
            return;
        }
    }
}

fn abort(transaction: &Transaction) {
    // One that has ended already needs no abort.
    let _ended = transaction.abort();
}
