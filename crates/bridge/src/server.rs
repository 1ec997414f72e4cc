//! The server: one thread that carries out what the clients of many rings ask for, on a [`Host`] and a lock table.
//!
//! Invariants:
//! - A client's requests are carried out in the order in which they were posted. Clients do not wait for each other's
//!   asynchronous requests.
//! - After a posted request failed, nothing else that this client posted changes a file before the client was told:
//!   what lies on the disk is always a prefix of what was posted.
//! - The event loop may call any method of the server while [`Server::serve`] awaits. A host's future may not.
//! - A ring whose bytes break the format is ended, and all that its client held is released.
//!
//! What a request does is in `session`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use statik_disk::{Disk, Error, File, Kind, Open, Result};

use crate::Cells;
use crate::locks::Table;
use crate::metrics::Metrics;
use crate::ring::{Answerer, End};
use crate::session::Session;
use crate::wire::MIN_CAPACITY;

/// How many requests of one client are carried out before the next client's turn.
const BATCH: usize = 64;
/// How long the loop blocks for the next request before it returns to the event loop to wait there.
const BLOCK: Duration = Duration::from_millis(1);
/// How long the loop may go on without a turn of the event loop.
const TURN_MS: f64 = 8.0;

/// A disk that opens, removes, renames and lists asynchronously, as browsers do. What it opened is synchronous.
#[expect(async_fn_in_trait, reason = "nothing here is Send, so there is no bound to leave open")]
pub trait Host {
    /// As [`Disk::open`].
    async fn open(&self, path: &str, open: Open) -> Result<Rc<dyn File>>;
    /// As [`Disk::remove`].
    async fn remove(&self, path: &str) -> Result<()>;
    /// As [`Disk::rename`].
    async fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// As [`Disk::list`].
    async fn list(&self) -> Result<Vec<String>>;
}

/// A synchronous disk as a host.
pub struct DiskHost<D>(pub D);

impl<D: Disk> Host for DiskHost<D> {
    async fn open(&self, path: &str, open: Open) -> Result<Rc<dyn File>> {
        self.0.open(path, open).map(Rc::from)
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.0.remove(path)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.0.rename(from, to)
    }

    async fn list(&self) -> Result<Vec<String>> {
        self.0.list()
    }
}

/// What the server's loop waits on: the word that clients add 1 to, and the thread's event loop.
#[expect(async_fn_in_trait, reason = "nothing here is Send, so there is no bound to leave open")]
pub trait AsyncDoorbell {
    /// How often it rang, wrapping.
    fn count(&self) -> i32;

    /// Blocks while the count is `seen`, for `timeout` at most.
    fn wait(&self, seen: i32, timeout: Duration);

    /// Resolves once the count is not `seen`; the event loop runs meanwhile. It may resolve early, and it may be
    /// dropped before it resolves.
    async fn changed(&self, seen: i32);

    /// Lets the event loop run once: calls that add or remove clients come in between.
    async fn turn(&self);
}

/// Serves any number of clients. See the crate's example.
pub struct Server<H> {
    service: Service<H>,
    sessions: RefCell<BTreeMap<u32, Rc<RefCell<Session>>>>,
    /// Sessions whose client was removed, until what it asked for has come to its end.
    leaving: RefCell<Vec<Rc<RefCell<Session>>>>,
    stopping: Cell<bool>,
    /// Something changed that the doorbell does not tell of.
    stirred: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// What all sessions stand on.
pub(crate) struct Service<H> {
    pub(crate) host: Rc<H>,
    pub(crate) locks: Table,
    pub(crate) clock: fn() -> f64,
    pub(crate) metrics: Metrics,
}

impl<H: Host + 'static> Server<H> {
    /// A server without clients. `clock` tells milliseconds and never goes back.
    pub fn new(host: H, clock: fn() -> f64) -> Self {
        Server {
            service: Service { host: Rc::new(host), locks: Table::new(), clock, metrics: Metrics::new() },
            sessions: RefCell::default(),
            leaving: RefCell::default(),
            stopping: Cell::new(false),
            stirred: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// What is served.
    pub fn host(&self) -> &H {
        &self.service.host
    }

    /// What was carried out and how long it took.
    pub fn metrics(&self) -> &Metrics {
        &self.service.metrics
    }

    /// Serves one more client, which may have posted already.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the ring is too small, [`Kind::Exists`] if there is a client `id`, [`Kind::Closed`] if the
    /// server was stopped.
    pub fn add_client(&self, id: u32, ring: impl Cells + 'static) -> Result<()> {
        let adding = |kind, why: String| Error::new(kind, format!("adding client {id}: {why}"));
        let mut ring = Answerer::new(Box::new(ring)).map_err(|why| adding(Kind::Invalid, why))?;
        if ring.capacity() < MIN_CAPACITY {
            return Err(adding(Kind::Invalid, format!("the ring holds {} bytes each way", ring.capacity())));
        }
        if self.stopping.get() {
            ring.end(End::Stopped);
            return Err(adding(Kind::Closed, "the server stopped".to_owned()));
        }
        let mut sessions = self.sessions.borrow_mut();
        if sessions.contains_key(&id) {
            return Err(adding(Kind::Exists, "there is one".to_owned()));
        }
        sessions.insert(id, Rc::new(RefCell::new(Session::new(ring))));
        self.stir();
        Ok(())
    }

    /// The client is gone: carries out what it had posted and releases its files and locks. An asynchronous request
    /// that is on its way comes to its end first. An unknown `id` is gone already.
    pub fn remove_client(&self, id: u32) {
        let Some(session) = self.sessions.borrow_mut().remove(&id) else { return };
        session.borrow_mut().leave(&self.service);
        if !session.borrow().ended() {
            self.leaving.borrow_mut().push(session);
        }
        self.stir();
    }

    /// Ends [`Server::serve`], once everything that is queued has been answered. What clients ask for later fails
    /// with [`Kind::Closed`].
    pub fn stop(&self) {
        self.stopping.set(true);
        self.stir();
    }

    /// Carries out requests, a batch of each client's, as far as that needs no waiting. Whether there were any.
    pub fn work(&self) -> bool {
        let mut worked = self.poll_waiting(&mut Context::from_waker(Waker::noop()));
        for session in self.everyone() {
            let mut session = session.borrow_mut();
            for _ in 0..BATCH {
                if !session.step(&self.service) {
                    break;
                }
                worked = true;
            }
        }
        self.sessions.borrow_mut().retain(|_, session| !session.borrow().ended());
        self.leaving.borrow_mut().retain(|session| !session.borrow().ended());
        worked
    }

    /// Carries out requests until [`Server::stop`]. Between them it blocks its thread briefly, for what comes soon
    /// then comes fast, and after that waits in the event loop.
    pub async fn serve(&self, doorbell: &impl AsyncDoorbell) {
        let mut turned_ms = (self.service.clock)();
        loop {
            let seen = doorbell.count();
            let worked = self.work();
            if (self.service.clock)() - turned_ms >= TURN_MS {
                doorbell.turn().await;
                turned_ms = (self.service.clock)();
            } else if !worked && self.stopping.get() && !self.waiting() {
                break;
            } else if !worked {
                if !self.waiting() {
                    doorbell.wait(seen, BLOCK);
                }
                if doorbell.count() == seen {
                    self.idle(doorbell, seen).await;
                    turned_ms = (self.service.clock)();
                }
            }
        }
        let sessions = std::mem::take(&mut *self.sessions.borrow_mut());
        for session in sessions.into_values() {
            session.borrow_mut().leave(&self.service);
        }
    }

    /// Waits for the doorbell, for an asynchronous request or for a call of this server's methods.
    async fn idle(&self, doorbell: &impl AsyncDoorbell, seen: i32) {
        let mut changed = pin!(doorbell.changed(seen));
        poll_fn(|context| {
            self.waker.replace(Some(context.waker().clone()));
            let progress = self.poll_waiting(context);
            if self.stirred.take() || progress { Poll::Ready(()) } else { changed.as_mut().poll(context) }
        })
        .await;
    }

    fn everyone(&self) -> Vec<Rc<RefCell<Session>>> {
        let leaving = self.leaving.borrow();
        self.sessions.borrow().values().chain(leaving.iter()).cloned().collect()
    }

    /// Whether an asynchronous request is on its way.
    fn waiting(&self) -> bool {
        self.everyone().iter().any(|session| session.borrow().waiting())
    }

    /// Whether an asynchronous request came to its end.
    fn poll_waiting(&self, context: &mut Context) -> bool {
        let everyone = self.everyone();
        everyone.iter().filter(|session| session.borrow_mut().poll_waiting(&self.service, context)).count() > 0
    }

    fn stir(&self) {
        self.stirred.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}
