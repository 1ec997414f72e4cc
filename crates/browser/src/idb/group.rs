//! Single writes that are issued together, in one transaction for each store.
//!
//! A group begins with its first write. Each is issued at once, so that the browser copies the value as it is then. The
//! group is closed when nothing was added to it for a turn of the microtasks: callers who pass through an `await` or two
//! of their own still meet. What else is written to its store meanwhile comes after it, and what is put after that belongs
//! to another group. A record that is refused, is so alone; what ends the transaction fails all of them.
//!
//! Nothing is borrowed while a value is copied: its getters may call back.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Map, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise, spawn_local};

use super::database::{Attempt, Durability, GONE, Lose, STUCK, after, begin};
use super::js::{Connection, Event, Request, Source, Transaction};
use super::{Failure, Result, failed, timeout, within};

/// The groups of a database that are open, at most one for each store.
pub(super) struct Groups {
    database: String,
    deadline_ms: f64,
    throw: fn(Failure) -> JsValue,
    lose: Lose,
    open: Open,
    last: RefCell<JsValue>,
}

/// Those that are added to.
type Open = Rc<RefCell<Vec<Rc<Group>>>>;

struct Group {
    connection: Connection,
    store: JsValue,
    source: Source,
    transaction: Transaction,
    /// One for each write.
    requests: Array,
    promise: Promise,
}

impl Groups {
    pub fn new(database: &str, deadline_ms: f64, throw: fn(Failure) -> JsValue, lose: Lose) -> Self {
        Groups {
            database: database.to_owned(),
            deadline_ms,
            throw,
            lose,
            open: Rc::default(),
            last: RefCell::new(JsValue::UNDEFINED),
        }
    }

    /// Issues a write, and answers its place in its group; nothing if the connection is closing.
    pub fn put(
        &self,
        connection: &Connection,
        store: &JsValue,
        value: &JsValue,
        key: &JsValue,
        is_add: bool,
    ) -> Result<Option<u32>> {
        let doing = || format!("writing to store {} of \"{}\"", store.as_string().unwrap_or_default(), self.database);
        let known =
            self.open.borrow().iter().find(|group| group.store == *store && group.connection == *connection).cloned();
        let group = match known.map_or_else(|| self.begin(connection, store, doing()), Ok) {
            Ok(group) => group,
            Err(attempt) if attempt.is_lost => {
                (self.lose)(connection, GONE);
                return Ok(None);
            }
            Err(attempt) => return Err(attempt.failure),
        };
        let source = &group.source;
        let request = match (is_add, key.is_undefined()) {
            (false, true) => source.put(value),
            (false, false) => source.put_at(value, key),
            (true, true) => source.add(value),
            (true, false) => source.add_at(value, key),
        };
        let request = request.map_err(|thrown| failed(&thrown, &doing()))?;
        let place = group.requests.push(&request) - 1;
        if *self.last.borrow() != **group.promise {
            self.last.replace(group.promise.clone().into());
        }
        Ok(Some(place))
    }

    /// What the group comes to that the last write went to: `{ requests, failures }`, the second a map by place.
    pub fn last(&self) -> JsValue {
        self.last.borrow().clone()
    }

    /// Something else is about to write to these stores: what is put from now on comes after it.
    pub fn end(&self, stores: &[JsValue]) {
        self.open.borrow_mut().retain(|group| !stores.contains(&group.store));
    }

    fn begin(
        &self,
        connection: &Connection,
        store: &JsValue,
        doing: String,
    ) -> std::result::Result<Rc<Group>, Attempt> {
        let attempt = |thrown: JsValue| Attempt::new(&thrown, &doing);
        let transaction = begin(connection, store, "readwrite", Durability::Relaxed).map_err(attempt)?;
        let source = transaction.object_store(store).map_err(attempt)?;
        let requests = Array::new();
        let settled = Settling {
            transaction: transaction.clone(),
            requests: requests.clone(),
            throw: self.throw,
            doing,
            deadline_ms: self.deadline_ms,
            connection: connection.clone(),
            lose: Rc::clone(&self.lose),
        };
        spawn_local(end_when_quiet(Rc::clone(&self.open), transaction.clone(), requests.clone()));
        let group = Rc::new(Group {
            connection: connection.clone(),
            store: store.clone(),
            source,
            transaction,
            requests,
            promise: future_to_promise(settled.outcome()),
        });
        self.open.borrow_mut().push(Rc::clone(&group));
        Ok(group)
    }
}

async fn end_when_quiet(open: Open, transaction: Transaction, requests: Array) {
    let mut seen = None;
    while seen != Some(requests.length()) {
        seen = Some(requests.length());
        // Its promise is resolved.
        let _turn = JsFuture::from(Promise::resolve(&JsValue::UNDEFINED)).await;
    }
    open.borrow_mut().retain(|group| group.transaction != transaction);
}

/// A group on its way to its end.
struct Settling {
    transaction: Transaction,
    requests: Array,
    throw: fn(Failure) -> JsValue,
    doing: String,
    deadline_ms: f64,
    connection: Connection,
    lose: Lose,
}

impl Settling {
    async fn outcome(self) -> std::result::Result<JsValue, JsValue> {
        let Settling { transaction, requests, throw, doing, deadline_ms, connection, lose } = self;
        let failures = Map::new();
        let refused = (requests.clone(), failures.clone(), doing.clone());
        let on_error = Closure::<dyn Fn(Event)>::new(move |event: Event| {
            let (requests, failures, doing) = &refused;
            let request = event.target();
            let place = requests.index_of(&request, 0);
            let reason = request.unchecked_into::<Request>().error().unwrap_or_else(|thrown| thrown);
            // What is aborted with the transaction is told by that.
            if crate::errors::name(&reason) != "AbortError" {
                event.prevent_default();
                event.stop_propagation();
                failures.set(&place.into(), &throw(failed(&reason, doing)));
            }
        });
        transaction.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        let ended = within(deadline_ms, transaction.completed()).await;
        transaction.set_onerror(None);
        match ended {
            Some(Ok(())) => {
                let outcome = Object::new();
                Reflect::set(&outcome, &"requests".into(), &requests)?;
                Reflect::set(&outcome, &"failures".into(), &failures)?;
                Ok(outcome.into())
            }
            Some(Err(reason)) => {
                let Attempt { failure, is_lost } = Attempt::new(&reason, &doing);
                if is_lost {
                    lose(&connection, GONE);
                }
                after(&failure, &connection);
                Err(throw(failure))
            }
            None => {
                // What is being committed can't be aborted any more.
                let _ended = transaction.abort();
                lose(&connection, STUCK);
                Err(throw(timeout(&doing, deadline_ms).into()))
            }
        }
    }
}
