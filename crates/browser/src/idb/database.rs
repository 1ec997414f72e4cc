//! One database: its connection, and what is done over it.

use std::cell::{OnceCell, RefCell};
use std::future::Future;
use std::rc::Rc;

use js_sys::{Array, Function, Map, Object, Promise, Reflect};
use statik_disk::{Error, Kind};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::group::Groups;
use super::js::{Connection, Request, Source, Transaction, issue, names, request, settle, structured_clone};
use super::query::{self, Keys, Page, Query};
use super::{Failure, Listener, Result, failed, timeout, within};
use crate::errors::{from_js, name};

/// What a database is made of.
pub struct Options {
    /// As errors and events name it.
    pub name: String,
    /// An `IDBFactory`.
    pub factory: JsValue,
    /// The class `IDBKeyRange` that goes with the factory.
    pub key_ranges: JsValue,
    /// Answers a promise of an open `IDBDatabase`. Called when there is no connection, one call at a time.
    pub opener: Function,
    /// Hears of connections that come and go.
    pub listener: Listener,
    /// How long a call may take.
    pub deadline_ms: f64,
    /// Makes what JavaScript catches.
    pub throw: fn(Failure) -> JsValue,
}

/// How sure a write is when it is told as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the system may take it, of the browser not.
    #[default]
    Relaxed,
    /// Flushed.
    Strict,
}

/// A database that is opened when it is first needed, and again when its connection was lost.
pub struct Database {
    name: String,
    keys: Keys,
    opener: Function,
    listener: Listener,
    deadline_ms: f64,
    state: Rc<RefCell<State>>,
    lose: Lose,
    groups: Groups,
}

/// Lets go of a connection over which nothing works any more, and says why; of another one than the current, nothing.
pub(super) type Lose = Rc<dyn Fn(&Connection, &str)>;

/// Why connections are lost.
pub(super) const GONE: &str = "the browser has closed the connection";
pub(super) const STUCK: &str = "a call was not answered in time";

#[derive(Default)]
struct State {
    live: Option<Live>,
    /// The opening that all who come meanwhile wait for.
    opening: Option<Promise>,
    was_open: bool,
    is_closed: bool,
}

/// A connection, and its handlers, which live as long as it does.
struct Live {
    connection: Connection,
    _on_close: Closure<dyn Fn()>,
    _on_version_change: Closure<dyn Fn()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        // What is closing may still be told of something.
        self.connection.set_onclose(None);
        self.connection.set_onversionchange(None);
        self.connection.close();
    }
}

/// How an attempt has failed.
pub(super) struct Attempt {
    pub failure: Failure,
    /// Nothing was done, and nothing can be over this connection.
    pub is_lost: bool,
}

impl Attempt {
    /// By what a transaction has thrown, or was aborted with: null if by a call.
    pub fn new(reason: &JsValue, doing: &str) -> Self {
        if reason.is_null() {
            let context = format!("{doing}: the transaction was aborted");
            return Failure::from(Error::new(Kind::Aborted, context)).into();
        }
        let error = from_js(reason, doing);
        // The connection is closing; the browser has closed it, and aborted what ran over it; Safari says so in words only.
        let is_lost = matches!(name(reason).as_str(), "InvalidStateError" | "AbortError")
            || error.to_string().contains("Connection to Indexed Database server lost");
        if is_lost {
            let context = format!("{doing}: nothing was done, because the connection was closed");
            return Attempt { failure: Error::new(Kind::Closed, context).because(error).into(), is_lost };
        }
        Attempt { failure: error.into(), is_lost }
    }
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Attempt { failure, is_lost: false }
    }
}

/// A transaction that is aborted when nobody waits for it any more.
struct Running(Option<Transaction>);

impl Running {
    fn transaction(&self) -> &Transaction {
        self.0.as_ref().expect("it has not ended")
    }

    /// It has come to its end, or will by itself.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(transaction) = &self.0 {
            // What is being committed can't be aborted any more.
            let _ended = transaction.abort();
        }
    }
}

/// Writes of one kind to one store, one after another.
struct Run {
    store: JsValue,
    /// The method of the store.
    verb: String,
    /// What that is called with: values or ranges, and keys, undefined where there is none.
    values: Array,
    keys: Array,
}

impl Run {
    /// The same with values that nobody can change.
    fn copied(&self) -> std::result::Result<Self, JsValue> {
        let copy = |array: &Array| match self.verb.as_str() {
            "put" | "add" => structured_clone(array).map(JsCast::unchecked_into),
            _ => Ok(array.clone()),
        };
        let (values, keys) = (copy(&self.values)?, copy(&self.keys)?);
        Ok(Run { store: self.store.clone(), verb: self.verb.clone(), values, keys })
    }
}

impl Database {
    /// A database without a connection.
    pub fn new(options: Options) -> Self {
        let Options { name, factory, key_ranges, opener, listener, deadline_ms, throw } = options;
        let state: Rc<RefCell<State>> = Rc::default();
        let lost = (Rc::clone(&state), listener.clone(), name.clone());
        let lose: Lose = Rc::new(move |connection, reason| {
            let (state, listener, name) = &lost;
            let is_current = state.borrow().live.as_ref().is_some_and(|live| live.connection == *connection);
            if is_current {
                state.borrow_mut().live = None;
                listener.tell("lost", name, reason);
            }
        });
        let groups = Groups::new(&name, deadline_ms, throw, Rc::clone(&lose));
        let keys = Keys { factory: factory.unchecked_into(), ranges: key_ranges.unchecked_into() };
        Database { name, keys, opener, listener, deadline_ms, state, lose, groups }
    }

    /// Whether a call would find a connection.
    pub fn is_open(&self) -> bool {
        self.state.borrow().live.is_some()
    }

    /// Opens it now rather than at the first call.
    pub async fn connect(&self) -> Result<()> {
        self.connection().await.map(|_| ())
    }

    /// The value of a key; undefined if there is none.
    pub async fn get(&self, store: &JsValue, key: &JsValue) -> Result<JsValue> {
        self.read(store, "reading from", async |source| source.get(key)?.done().await).await
    }

    /// The values of keys, undefined where there is none.
    pub async fn get_many(&self, store: &JsValue, keys: &Array) -> Result<Array> {
        self.read(store, "reading from", async |source| {
            let (answers, pending) = (Array::new(), Map::new());
            issue(source, "get", keys, &Array::new(), &answers, &pending)?;
            // They are answered in order.
            if keys.length() > 0 {
                pending.get(&(keys.length() - 1).into()).unchecked_into::<Request>().done().await?;
            }
            settle(&answers, &pending)?;
            Ok(answers)
        })
        .await
    }

    /// How many records a range has, by the store's keys or an index's.
    pub async fn count(&self, store: &JsValue, index: &JsValue, range: &JsValue) -> Result<JsValue> {
        self.read(store, "counting in", async |source| {
            query::source(source, index)?.count(&self.keys.range(range)?)?.done().await
        })
        .await
    }

    /// Records, or their primary keys, in order.
    pub async fn query(&self, store: &JsValue, query: &Query) -> Result<Page> {
        self.read(store, "querying", async |source| query::page(&self.keys, source, query).await).await
    }

    /// Does all writes, or none. They come as runs, `{ store, verb, values, keys }`: those of one kind to one store. Answers
    /// the keys.
    ///
    /// `is_careful`, one request is answered before the next is made. Where there is no room for a record Firefox (140) takes
    /// back what was done before it, and says so, and yet keeps what was requested behind it.
    pub async fn write(&self, runs: &Array, durability: Durability, is_careful: bool) -> Result<Array> {
        let runs = self.parse(runs)?;
        let mut stores: Vec<JsValue> = Vec::new();
        for Run { store, .. } in &runs {
            if !stores.contains(store) {
                stores.push(store.clone());
            }
        }
        let count: u32 = runs.iter().map(|run| run.values.length()).sum();
        let doing = format!("writing {count} records to {}", self.place(&stores));
        // What waits for a connection may be changed meanwhile by whoever gave it.
        let copied = || runs.iter().map(Run::copied).collect::<std::result::Result<Vec<_>, _>>();
        let copies = OnceCell::new();
        let keep = || copied().map(|made| _ = copies.set(made)).map_err(|thrown| failed(&thrown, &doing));
        if !self.is_open() {
            keep()?;
        }
        self.attempt(&doing, async |connection| {
            let running = match self.begin(connection, &stores, "readwrite", durability, &doing) {
                Err(attempt) if attempt.is_lost && copies.get().is_none() => {
                    keep()?;
                    return Err(attempt);
                }
                begun => begun?,
            };
            let runs = copies.get().unwrap_or(&runs);
            let (keys, pending) = (Array::new(), Map::new());
            let transaction = running.transaction();
            let completed = transaction.completed();
            let issued = match is_careful {
                true => issued_one_by_one(transaction, runs, &keys).await,
                false => issued(transaction, runs, &keys, &pending),
            };
            issued.map_err(|thrown| failed(&thrown, &doing))?;
            finish(running, completed, &doing).await?;
            settle(&keys, &pending).map_err(|thrown| failed(&thrown, &doing))?;
            Ok(keys)
        })
        .await
    }

    /// Puts or adds one record, in a transaction that it shares with all that are put into this store in this tick.
    /// Answers its place among them, and what they come to, as [`Groups::put`]; nothing if there is no connection.
    pub fn put(&self, store: &JsValue, value: &JsValue, key: &JsValue, is_add: bool) -> Result<Option<u32>> {
        let Some(connection) = self.state.borrow().live.as_ref().map(|live| live.connection.clone()) else {
            return Ok(None);
        };
        self.groups.put(&connection, store, value, key, is_add)
    }

    /// The promise of the group that the last [`Database::put`] went to.
    pub fn group(&self) -> JsValue {
        self.groups.last()
    }

    /// Calls `body(transaction)`, which may await nothing but requests of the transaction, and answers what that does.
    /// What it throws aborts the transaction.
    pub async fn transaction(
        &self,
        stores: &Array,
        mode: &str,
        body: &Function,
        durability: Durability,
    ) -> Result<JsValue> {
        let stores = stores.to_vec();
        let doing = format!("a transaction over {}", self.place(&stores));
        self.attempt(&doing, async |connection| {
            let running = self.begin(connection, &stores, mode, durability, &doing)?;
            let completed = running.transaction().completed();
            let answer = match body.call1(&JsValue::UNDEFINED, running.transaction()) {
                Ok(answer) => JsFuture::from(Promise::resolve(&answer)).await,
                Err(thrown) => Err(thrown),
            };
            match answer {
                Ok(answer) => finish(running, completed, &doing).await.map(|()| answer),
                Err(thrown) => {
                    // What the body was told by a request that failed, the transaction knows better.
                    let reason = running.transaction().error();
                    Err(if reason.is_null() { Failure::Thrown(thrown).into() } else { Attempt::new(&reason, &doing) })
                }
            }
        })
        .await
    }

    /// Lets go of the connection, once what runs has ended. Later calls fail with `Closed`.
    pub fn close(&self) {
        let mut state = self.state.borrow_mut();
        state.is_closed = true;
        state.live = None;
    }

    fn place(&self, stores: &[JsValue]) -> String {
        let stores: Vec<String> = stores.iter().filter_map(JsValue::as_string).collect();
        format!("store {} of \"{}\"", stores.join(", "), self.name)
    }

    async fn read<T>(
        &self,
        store: &JsValue,
        verb: &str,
        job: impl AsyncFn(&Source) -> std::result::Result<T, JsValue>,
    ) -> Result<T> {
        let stores = [store.clone()];
        let doing = format!("{verb} {}", self.place(&stores));
        self.attempt(&doing, async |connection| {
            let running = self.begin(connection, &stores, "readonly", Durability::Relaxed, &doing)?;
            let source = running.transaction().object_store(store).map_err(|thrown| failed(&thrown, &doing))?;
            let answer = job(&source).await.map_err(|thrown| Attempt::new(&thrown, &doing))?;
            running.ended();
            Ok(answer)
        })
        .await
    }

    /// Runs `job` over the connection, and over another one if this was lost before anything was done.
    async fn attempt<T>(
        &self,
        doing: &str,
        job: impl AsyncFn(&Connection) -> std::result::Result<T, Attempt>,
    ) -> Result<T> {
        let is_retry = [false, true];
        let mut lost = None;
        for _ in is_retry {
            let connection = self.connection().await?;
            let Some(done) = within(self.deadline_ms, job(&connection)).await else {
                // What runs over it is stuck; another connection need not be.
                (self.lose)(&connection, STUCK);
                return Err(timeout(doing, self.deadline_ms).into());
            };
            match done {
                Err(Attempt { failure, is_lost: true }) => {
                    (self.lose)(&connection, GONE);
                    lost = Some(failure);
                }
                done => {
                    return done.map_err(|attempt| attempt.failure).inspect_err(|failure| after(failure, &connection));
                }
            }
        }
        Err(lost.expect("only a lost connection is tried again"))
    }

    async fn connection(&self) -> Result<Connection> {
        if self.state.borrow().is_closed {
            return Err(self.closed());
        }
        if let Some(live) = &self.state.borrow().live {
            return Ok(live.connection.clone());
        }
        let opening = self.state.borrow().opening.clone();
        let opening = opening.map_or_else(|| self.begin_opening(), Ok)?;
        let opened = JsFuture::from(opening.clone()).await;
        {
            // One of those who waited may be opening it again.
            let mut state = self.state.borrow_mut();
            state.opening.take_if(|current| **current == *opening);
        }
        let connection: Connection = opened.map_err(Failure::Thrown)?.unchecked_into();
        if self.state.borrow().is_closed {
            connection.close();
            return Err(self.closed());
        }
        // Of those who waited, the first one gets here.
        if !self.is_open() {
            self.take(connection.clone());
        }
        Ok(connection)
    }

    fn begin_opening(&self) -> Result<Promise> {
        let answer = self.opener.call0(&JsValue::UNDEFINED).map_err(Failure::Thrown)?;
        let opening = Promise::resolve(&answer);
        self.state.borrow_mut().opening = Some(opening.clone());
        Ok(opening)
    }

    fn closed(&self) -> Failure {
        Error::new(Kind::Closed, format!("the IndexedDB database \"{}\" is closed", self.name)).into()
    }

    fn take(&self, connection: Connection) {
        let gone = |kind: &'static str, reason: &'static str| {
            let (state, listener, name, own) =
                (Rc::downgrade(&self.state), self.listener.clone(), self.name.clone(), connection.clone());
            Closure::<dyn Fn()>::new(move || {
                // A connection that is closing lets go when its transactions have ended.
                own.close();
                let live = state.upgrade().and_then(|state| state.borrow_mut().live.take());
                listener.tell(kind, &name, reason);
                // The closure that runs is part of it.
                wasm_bindgen_futures::spawn_local(async move { drop(live) });
            })
        };
        let on_close = gone("lost", GONE);
        let on_version_change = gone("versionchange", "another tab or worker wants to upgrade or delete it");
        connection.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        connection.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        let live = Live { connection, _on_close: on_close, _on_version_change: on_version_change };
        let was_open = {
            let mut state = self.state.borrow_mut();
            state.live = Some(live);
            std::mem::replace(&mut state.was_open, true)
        };
        if was_open {
            self.listener.tell("reopened", &self.name, "the connection was made again");
        }
    }

    fn begin(
        &self,
        connection: &Connection,
        stores: &[JsValue],
        mode: &str,
        durability: Durability,
        doing: &str,
    ) -> std::result::Result<Running, Attempt> {
        if mode != "readonly" {
            self.groups.end(stores);
        }
        let begun = begin(connection, &names(stores), mode, durability);
        begun.map(|transaction| Running(Some(transaction))).map_err(|thrown| Attempt::new(&thrown, doing))
    }

    fn parse(&self, runs: &Array) -> Result<Vec<Run>> {
        let parse = |run: JsValue| {
            let property = |name: &str| Reflect::get(&run, &name.into());
            let (store, verb) = (property("store")?, property("verb")?.as_string().unwrap_or_default());
            let (values, keys) = (property("values")?.unchecked_into::<Array>(), property("keys")?.unchecked_into());
            let values = match verb.as_str() {
                "delete" => {
                    values.iter().map(|range| self.keys.range(&range)).collect::<std::result::Result<_, _>>()?
                }
                _ => values,
            };
            Ok(Run { store, verb, values, keys })
        };
        runs.iter()
            .map(parse)
            .collect::<std::result::Result<_, _>>()
            .map_err(|thrown| failed(&thrown, &format!("writing to \"{}\"", self.name)))
    }
}

/// Waits until it has committed, as it does by itself.
async fn finish(
    running: Running,
    completed: impl Future<Output = std::result::Result<(), JsValue>>,
    doing: &str,
) -> std::result::Result<(), Attempt> {
    let ended = completed.await;
    running.ended();
    ended.map_err(|reason| Attempt::new(&reason, doing))
}

/// What a failure leaves to be done. After there was no room, Firefox takes the next transaction of the connection for one
/// that only makes room, and refuses to put anything. So there is one, which does nothing.
pub(super) fn after(failure: &Failure, connection: &Connection) {
    if !matches!(failure, Failure::Error(error) if error.kind() == Kind::Quota) {
        return;
    }
    let first = connection.object_store_names().item(0);
    if let Ok(transaction) = connection.transaction(&first, "readwrite", &Object::new()) {
        // It has no requests, so nothing can have ended it.
        let _ended = transaction.abort();
    }
}

/// A transaction, with the durability that is asked for.
pub(super) fn begin(
    connection: &Connection,
    stores: &JsValue,
    mode: &str,
    durability: Durability,
) -> std::result::Result<Transaction, JsValue> {
    let options = Object::new();
    let durability = match durability {
        Durability::Relaxed => "relaxed",
        Durability::Strict => "strict",
    };
    Reflect::set(&options, &"durability".into(), &durability.into())?;
    connection.transaction(stores, mode, &options)
}

/// Makes a request for each write. `keys` and `pending` are as in [`issue`].
fn issued(transaction: &Transaction, runs: &[Run], keys: &Array, pending: &Map) -> std::result::Result<(), JsValue> {
    for run in runs {
        issue(&transaction.object_store(&run.store)?, &run.verb, &run.values, &run.keys, keys, pending)?;
    }
    Ok(())
}

/// The same, each request answered before the next. One that fails ends the transaction, which tells why.
async fn issued_one_by_one(transaction: &Transaction, runs: &[Run], keys: &Array) -> std::result::Result<(), JsValue> {
    for run in runs {
        let source = transaction.object_store(&run.store)?;
        for (at, value) in run.values.iter().enumerate() {
            match request(&source, &run.verb, &value, &run.keys.get(at as u32))?.done().await {
                Ok(key) => keys.push(&key),
                Err(_) => return Ok(()),
            };
        }
    }
    Ok(())
}
