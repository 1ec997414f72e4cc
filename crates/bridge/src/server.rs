//! The server: one thread that carries out what the clients of many rings ask for, on a [`Host`] and its pages.
//!
//! Invariants:
//! - A client's requests are carried out in the order in which they were posted. Clients do not wait for each other's
//!   asynchronous requests.
//! - After a posted request failed, nothing else that this client posted changes a file before the client was told:
//!   what lies on the disk is always a prefix of what was posted.
//! - The event loop may call any method of the server while [`Server::serve`] awaits. A host's future may not.
//! - A ring whose bytes break the format is ended, and all that its client held is released.
//!
//! What a request does is in `session`; what is answered later, and what is due without a request, in `paging`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use statik_disk::{Disk, Error, File, Kind, Open, Result};

use crate::Cells;
use crate::board::CLIENTS;
use crate::metrics::Metrics;
use crate::pages::mem::MemPages;
use crate::pages::{PageStore, Usage};
use crate::paging::Paging;
use crate::ring::{Answerer, End};
use crate::session::Session;
use crate::session::opened::Openings;
use crate::spin::Spin;
use crate::wire::MIN_CAPACITY;

/// How many requests of one client are carried out before the next client's turn.
const BATCH: usize = 64;
/// How long the loop blocks for the next request before it returns to the event loop to wait there.
const BLOCK: Duration = Duration::from_millis(1);
/// How often it looks for the next request before that, as long as one comes in that time: what the next in a queue of
/// writers takes from the lock to its commit.
const SPIN: u32 = 2000;
/// How long the loop may go on without a turn of the event loop.
const TURN_MS: f64 = 8.0;

/// How many pages are read ahead, if nobody says otherwise.
const READ_AHEAD: usize = 16;

/// A disk that opens, removes, renames and lists asynchronously, as browsers do. What was opened is synchronous.
#[expect(async_fn_in_trait, reason = "nothing here is Send, so there is no bound to leave open")]
pub trait AsyncDisk {
    /// As [`Disk::open`].
    async fn open(&self, path: &str, open: Open) -> Result<Rc<dyn File>>;
    /// As [`Disk::remove`].
    async fn remove(&self, path: &str) -> Result<()>;
    /// As [`Disk::rename`].
    async fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// As [`Disk::list`].
    async fn list(&self) -> Result<Vec<String>>;
}

/// What a server serves: a disk, and a store of pages on it. The server sees to it that no path is open as a file while
/// it is attached.
#[expect(async_fn_in_trait, reason = "nothing here is Send, so there is no bound to leave open")]
pub trait Host: AsyncDisk {
    /// As [`PageStore::attach`], on [`Host::pages`].
    async fn attach(&self, path: &str, open: Open) -> Result<u32>;
    /// The store of pages.
    fn pages(&self) -> &dyn PageStore;
}

/// A synchronous disk, and a store of pages on it, as a host.
pub struct DiskHost<D>(pub D, pub Rc<dyn PageStore>);

impl<D: Disk + Clone + 'static> DiskHost<D> {
    /// A disk whose clones share their files, and a store of pages in memory on it.
    pub fn in_memory(disk: D) -> Self {
        DiskHost(disk.clone(), Rc::new(MemPages::on(Rc::new(disk))))
    }
}

impl<D: Disk> AsyncDisk for DiskHost<D> {
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

impl<D: Disk> Host for DiskHost<D> {
    async fn attach(&self, path: &str, open: Open) -> Result<u32> {
        self.1.attach(path, open)
    }

    fn pages(&self) -> &dyn PageStore {
        &*self.1
    }
}

/// What the server's loop waits on: the word that clients add 1 to, and the thread's event loop.
#[expect(async_fn_in_trait, reason = "nothing here is Send, so there is no bound to leave open")]
pub trait AsyncDoorbell {
    /// How often it rang, wrapping.
    fn count(&self) -> i32;

    /// Blocks while the count is `seen`, for `timeout` at most.
    fn wait(&self, seen: i32, timeout: Duration);

    /// Resolves once the count is not `seen`, or after `timeout`; the event loop runs meanwhile. It may resolve early,
    /// and it may be dropped before it resolves.
    async fn changed(&self, seen: i32, timeout: Duration);

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
    spin: Spin,
    waker: RefCell<Option<Waker>>,
}

/// What all sessions stand on.
pub(crate) struct Service<H> {
    pub(crate) host: Rc<H>,
    pub(crate) paging: RefCell<Paging>,
    pub(crate) opened: Openings,
    pub(crate) read_ahead: Cell<usize>,
    pub(crate) clock: fn() -> f64,
    pub(crate) metrics: Metrics,
}

impl<H: Host + 'static> Server<H> {
    /// A server without clients. `board` is zeroed memory, of [`board::bytes`](crate::board::bytes), that it shares
    /// with all of them. `clock` tells milliseconds and never goes back.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the board is too small, or was used before.
    pub fn new(host: H, board: impl Cells + 'static, clock: fn() -> f64) -> Result<Self> {
        let metrics = Metrics::new();
        let paging = Paging::new(Box::new(board), host.pages(), metrics.clone())?;
        Ok(Server {
            service: Service {
                host: Rc::new(host),
                paging: RefCell::new(paging),
                opened: Openings::default(),
                read_ahead: Cell::new(READ_AHEAD),
                clock,
                metrics,
            },
            sessions: RefCell::default(),
            leaving: RefCell::default(),
            stopping: Cell::new(false),
            stirred: Cell::new(false),
            spin: Spin::new(SPIN),
            waker: RefCell::default(),
        })
    }

    /// How many pages of a file to read ahead for a client that reads it from one end to the other: 16, unless this
    /// says otherwise, and up to four times as many as it goes on.
    pub fn set_read_ahead(&self, pages: usize) {
        self.service.read_ahead.set(pages);
    }

    /// What is served.
    pub fn host(&self) -> &H {
        &self.service.host
    }

    /// What was carried out and how long it took.
    pub fn metrics(&self) -> &Metrics {
        &self.service.metrics
    }

    /// What the store tells of itself, and the oldest view that a client holds.
    pub fn usage(&self) -> Usage {
        self.service.paging.borrow().usage(self.service.host.pages())
    }

    /// Serves one more client, which may have posted already.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the ring is too small, or `id` not below [`CLIENTS`]; [`Kind::Exists`] if there is a client
    /// `id`, or one that was removed waits for the end of what it asked for; [`Kind::Closed`] if the server was stopped.
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
        if id as usize >= CLIENTS {
            return Err(adding(Kind::Invalid, format!("their numbers are below {CLIENTS}")));
        }
        if self.everyone().iter().any(|session| session.borrow().id() == id) {
            return Err(adding(Kind::Exists, "there is one".to_owned()));
        }
        self.service.paging.borrow_mut().add_client(id);
        self.sessions.borrow_mut().insert(id, Rc::new(RefCell::new(Session::new(id, ring))));
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

    /// Carries out requests, a batch of each client's, as far as that needs no waiting, and what is due without one.
    /// Whether there was anything.
    pub fn work(&self) -> bool {
        let mut worked = self.poll_waiting(&mut Context::from_waker(Waker::noop()));
        for session in self.everyone() {
            for _ in 0..BATCH {
                if !session.borrow_mut().step(&self.service) {
                    break;
                }
                worked = true;
            }
            self.deliver();
        }
        let store = self.service.host.pages();
        let tended = self.service.paging.borrow_mut().tend(store, !worked, (self.service.clock)());
        self.deliver();
        self.sessions.borrow_mut().retain(|_, session| !session.borrow().ended());
        self.leaving.borrow_mut().retain(|session| !session.borrow().ended());
        worked || tended
    }

    /// Carries out requests until [`Server::stop`]. Between them it blocks its thread briefly, for what comes soon
    /// then comes fast, and after that waits in the event loop.
    ///
    /// # Errors
    /// Those of the last flush and checkpoint, with which it ends.
    pub async fn serve(&self, doorbell: &impl AsyncDoorbell) -> Result<()> {
        let mut turned_ms = (self.service.clock)();
        loop {
            let seen = doorbell.count();
            let worked = self.work();
            if (self.service.clock)() - turned_ms >= TURN_MS {
                doorbell.turn().await;
                turned_ms = (self.service.clock)();
            } else if !worked && self.stopping.get() && !self.waiting() && self.service.paging.borrow().is_settled() {
                break;
            } else if !worked {
                let due = self.due();
                let rang = || (doorbell.count() != seen).then_some(());
                if !self.waiting() && self.spin.look(rang).is_none() {
                    doorbell.wait(seen, BLOCK.min(due));
                }
                if doorbell.count() == seen && due > BLOCK {
                    self.idle(doorbell, seen, due).await;
                    turned_ms = (self.service.clock)();
                }
            }
        }
        let sessions = std::mem::take(&mut *self.sessions.borrow_mut());
        for session in sessions.into_values() {
            session.borrow_mut().leave(&self.service);
        }
        self.service.paging.borrow_mut().finish(self.service.host.pages())
    }

    /// Waits for the doorbell, for an asynchronous request or for a call of this server's methods, until something is
    /// due.
    async fn idle(&self, doorbell: &impl AsyncDoorbell, seen: i32, due: Duration) {
        let mut changed = pin!(doorbell.changed(seen, due));
        poll_fn(|context| {
            self.waker.replace(Some(context.waker().clone()));
            let progress = self.poll_waiting(context);
            if self.stirred.take() || progress { Poll::Ready(()) } else { changed.as_mut().poll(context) }
        })
        .await;
    }

    /// After how long something is due that nobody asks for.
    fn due(&self) -> Duration {
        self.service.paging.borrow().due(self.service.host.pages(), (self.service.clock)())
    }

    /// Gives clients the answers that others' requests, or time, brought them.
    fn deliver(&self) {
        let answers = self.service.paging.borrow_mut().take_answers();
        for (ask, reply) in answers {
            if let Some(session) = self.sessions.borrow().get(&ask.client) {
                session.borrow_mut().deliver(&self.service, ask.sequence, reply);
            }
        }
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
