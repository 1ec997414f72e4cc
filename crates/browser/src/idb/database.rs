//! One database: its connection, and what is done over it.

use std::cell::{OnceCell, RefCell};
use std::future::Future;
use std::rc::Rc;

use js_sys::{Array, Function, Object, Promise, Reflect};
use statik_disk::{Error, Kind};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::group::Groups;
use super::js::{Connection, Request, Source, Transaction, names, structured_clone};
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

/// A write, and to which of the transaction's stores.
type Issue = (usize, Write);

/// Something that a transaction does to a store.
enum Write {
    Put { value: JsValue, key: JsValue },
    Add { value: JsValue, key: JsValue },
    Delete(JsValue),
    Clear,
}

impl Write {
    /// The same of a value that nobody can change.
    fn copied(&self) -> std::result::Result<Self, JsValue> {
        Ok(match self {
            Write::Put { value, key } => Write::Put { value: structured_clone(value)?, key: structured_clone(key)? },
            Write::Add { value, key } => Write::Add { value: structured_clone(value)?, key: structured_clone(key)? },
            Write::Delete(key) => Write::Delete(key.clone()),
            Write::Clear => Write::Clear,
        })
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
            let requests = keys.iter().map(|key| source.get(&key)).collect::<std::result::Result<Vec<_>, _>>()?;
            // They are answered in order.
            if let Some(last) = requests.last() {
                last.done().await?;
            }
            requests.iter().map(Request::result).collect()
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

    /// Does all writes, each `{ store, put | add | delete | clear, key? }`, or none. Answers the keys.
    ///
    /// `is_careful`, one request is answered before the next is made. Where there is no room for a record Firefox (140) takes
    /// back what was done before it, and says so, and yet keeps what was requested behind it.
    pub async fn write(&self, writes: &Array, durability: Durability, is_careful: bool) -> Result<Array> {
        let (stores, writes) = self.parse(writes)?;
        let doing = format!("writing {} records to {}", writes.len(), self.place(&stores));
        // What waits for a connection may be changed meanwhile by whoever gave it.
        let copied = || {
            let copies = writes.iter().map(|(at, write)| Ok((*at, write.copied()?)));
            copies.collect::<std::result::Result<Vec<_>, _>>()
        };
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
            let writes = copies.get().unwrap_or(&writes);
            let completed = running.transaction().completed();
            let requests = issue(running.transaction(), &stores, writes, is_careful).await;
            let requests = requests.map_err(|thrown| failed(&thrown, &doing))?;
            finish(running, completed, &doing).await?;
            let keys = requests.iter().map(Request::result).collect::<std::result::Result<Array, _>>();
            keys.map_err(|thrown| failed(&thrown, &doing).into())
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

    /// The stores, each once, and what is done to which of them.
    fn parse(&self, writes: &Array) -> Result<(Vec<JsValue>, Vec<Issue>)> {
        let mut stores: Vec<JsValue> = Vec::new();
        let mut parsed = Vec::with_capacity(writes.length() as usize);
        let [store_name, put, add, delete, clear, key_name] =
            ["store", "put", "add", "delete", "clear", "key"].map(JsValue::from_str);
        for write in writes.iter() {
            let property = |name: &JsValue| Reflect::get(&write, name).unwrap_or(JsValue::UNDEFINED);
            let has = |name: &JsValue| Reflect::has(&write, name).unwrap_or(false);
            let store = property(&store_name);
            let at = stores.iter().position(|known| *known == store).unwrap_or_else(|| {
                stores.push(store);
                stores.len() - 1
            });
            let write = if has(&put) {
                Write::Put { value: property(&put), key: property(&key_name) }
            } else if has(&add) {
                Write::Add { value: property(&add), key: property(&key_name) }
            } else if has(&delete) {
                let range = self.keys.range(&property(&delete));
                Write::Delete(range.map_err(|thrown| failed(&thrown, &format!("deleting from \"{}\"", self.name)))?)
            } else if has(&clear) {
                Write::Clear
            } else {
                let context =
                    format!("writing to \"{}\": write {} has none of put, add, delete, clear", self.name, parsed.len());
                return Err(Error::new(Kind::Invalid, context).into());
            };
            parsed.push((at, write));
        }
        Ok((stores, parsed))
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

/// Makes the requests. One that fails ends the transaction, which tells why.
async fn issue(
    transaction: &Transaction,
    stores: &[JsValue],
    writes: &[Issue],
    is_careful: bool,
) -> std::result::Result<Vec<Request>, JsValue> {
    let sources =
        stores.iter().map(|name| transaction.object_store(name)).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut requests = Vec::with_capacity(writes.len());
    for (at, write) in writes {
        let request = match write {
            Write::Put { value, key } if key.is_undefined() => sources[*at].put(value),
            Write::Put { value, key } => sources[*at].put_at(value, key),
            Write::Add { value, key } if key.is_undefined() => sources[*at].add(value),
            Write::Add { value, key } => sources[*at].add_at(value, key),
            Write::Delete(key) => sources[*at].delete(key),
            Write::Clear => sources[*at].clear(),
        }?;
        let is_refused = is_careful && request.done().await.is_err();
        requests.push(request);
        if is_refused {
            break;
        }
    }
    Ok(requests)
}
