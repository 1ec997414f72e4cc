//! Shared memory and a server's thread on a native platform: for tests, and for tools that run outside a browser.
//!
//! Invariant: nothing here polls; who waits is notified.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use statik_disk::Result;

use crate::board;
use crate::ring::BELL;
use crate::{AsyncDoorbell, Cells, Client, ClientOptions, Host, Server, Woken};

/// How many pages the board of a [`Thread`] caches.
const CACHE_PAGES: usize = 256;

/// Milliseconds since this was first called, for [`Client::new`] and [`Server::new`].
pub fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0
}

/// A region of memory that threads share. Clones are the same region.
#[derive(Clone)]
pub struct SharedCells {
    region: Arc<Region>,
}

struct Region {
    words: Box<[AtomicI32]>,
    /// Held between a waiter's comparison and its sleep, and by who notifies.
    waiting: Mutex<()>,
    notified: Condvar,
}

impl SharedCells {
    /// A region of zeros, `len` bytes rounded up to whole words.
    pub fn new(len: usize) -> Self {
        let words = (0..len.div_ceil(4)).map(|_| AtomicI32::new(0)).collect();
        SharedCells { region: Arc::new(Region { words, waiting: Mutex::default(), notified: Condvar::new() }) }
    }

    /// Calls `each` with every word that `offset..offset + len` touches: the word, the range's place in it, and that
    /// place in the range.
    fn touch(&self, offset: usize, len: usize, mut each: impl FnMut(&AtomicI32, usize, std::ops::Range<usize>)) {
        let mut done = 0;
        while done < len {
            let (word, skip) = ((offset + done) / 4, (offset + done) % 4);
            let count = (4 - skip).min(len - done);
            each(&self.region.words[word], skip, done..done + count);
            done += count;
        }
    }
}

impl Cells for SharedCells {
    fn len(&self) -> usize {
        self.region.words.len() * 4
    }

    fn load(&self, word: usize) -> i32 {
        self.region.words[word].load(SeqCst)
    }

    fn store(&self, word: usize, value: i32) {
        self.region.words[word].store(value, SeqCst);
    }

    fn fetch_add(&self, word: usize, value: i32) -> i32 {
        self.region.words[word].fetch_add(value, SeqCst)
    }

    fn compare_exchange(&self, word: usize, expected: i32, new: i32) -> Result<i32, i32> {
        self.region.words[word].compare_exchange(expected, new, SeqCst, SeqCst)
    }

    fn read(&self, offset: usize, buf: &mut [u8]) {
        self.touch(offset, buf.len(), |word, skip, range| {
            let bytes = word.load(Relaxed).to_le_bytes();
            let count = range.len();
            buf[range].copy_from_slice(&bytes[skip..skip + count]);
        });
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.touch(offset, bytes.len(), |word, skip, range| {
            let bytes = &bytes[range];
            if let Ok(whole) = bytes.try_into() {
                word.store(i32::from_le_bytes(whole), Relaxed);
                return;
            }
            // The rest of the word may be another thread's.
            let mut old = word.load(Relaxed);
            loop {
                let mut new = old.to_le_bytes();
                new[skip..skip + bytes.len()].copy_from_slice(bytes);
                match word.compare_exchange_weak(old, i32::from_le_bytes(new), Relaxed, Relaxed) {
                    Ok(_) => break,
                    Err(now) => old = now,
                }
            }
        });
    }

    fn wait(&self, word: usize, expected: i32, timeout: Duration) -> Woken {
        let guard = self.region.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.load(word) != expected {
            return Woken::Changed;
        }
        let waited = self.region.notified.wait_timeout(guard, timeout);
        let (_guard, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() { Woken::TimedOut } else { Woken::Notified }
    }

    fn notify(&self, _word: usize) {
        let _guard = self.region.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.region.notified.notify_all();
    }
}

type Call<H> = Box<dyn FnOnce(&Server<H>) + Send>;

/// A server on a thread of its own. Dropping it stops the server and joins the thread.
pub struct Thread<H: Host + 'static> {
    doorbell: SharedCells,
    board: SharedCells,
    calls: mpsc::Sender<Call<H>>,
    next_client: Cell<u32>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl<H: Host + 'static> Thread<H> {
    /// Serves what `make` makes on the new thread, with a small board.
    pub fn spawn(make: impl FnOnce() -> H + Send + 'static) -> Self {
        let (doorbell, board) = (SharedCells::new(64), SharedCells::new(board::bytes(CACHE_PAGES)));
        let (calls, inbox) = mpsc::channel::<Call<H>>();
        let (bell, shown) = (Doorbell::new(doorbell.clone()), board.clone());
        let thread = std::thread::spawn(move || {
            let server = Server::new(make(), shown, clock).expect("a new board of enough size");
            run(&bell, server.serve(&bell), || {
                while let Ok(call) = inbox.try_recv() {
                    call(&server);
                }
            })
        });
        Thread { doorbell, board, calls, next_client: Cell::new(0), thread: Some(thread) }
    }

    /// The doorbell that the server waits on.
    pub fn doorbell(&self) -> &SharedCells {
        &self.doorbell
    }

    /// The board that the server writes.
    pub fn board(&self) -> &SharedCells {
        &self.board
    }

    /// A client for the calling thread, with a ring of the usual size.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn client(&self, options: ClientOptions) -> Result<Client> {
        let ring = SharedCells::new(2 * 1024 * 1024 + 4096);
        let id = self.add_client(ring.clone());
        Client::new(ring, self.doorbell.clone(), self.board.clone(), id, options, clock)
    }

    /// Lets the server serve a ring and returns the number that it knows it by.
    pub fn add_client(&self, ring: SharedCells) -> u32 {
        let id = self.next_client.get();
        self.next_client.set(id + 1);
        self.call(move |server| server.add_client(id, ring).expect("a new number and a ring of enough size"));
        id
    }

    /// Calls `run` on the server's thread, between requests, and returns what it returned.
    ///
    /// # Panics
    /// If the server stopped.
    pub fn call<T: Send + 'static>(&self, run: impl FnOnce(&Server<H>) -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        let call: Call<H> = Box::new(move |server| {
            // Who does not wait for the result any more has panicked.
            let _ = sender.send(run(server));
        });
        self.calls.send(call).expect("the server's thread runs until it is dropped");
        self.doorbell.ring();
        receiver.recv().expect("the server's thread answers calls until it is stopped")
    }
}

impl<H: Host + 'static> Thread<H> {
    /// Stops the server and joins the thread, as dropping it does, and tells how its service ended.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn stop(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        // If the thread has ended already, by a panic, the join tells.
        let _ = self.calls.send(Box::new(Server::stop));
        self.doorbell.ring();
        match thread.join() {
            Ok(result) => result,
            Err(_) if std::thread::panicking() => Ok(()),
            Err(_) => panic!("the server's thread panicked"),
        }
    }
}

impl<H: Host + 'static> Drop for Thread<H> {
    fn drop(&mut self) {
        // Who wants to know calls `stop`.
        let _ = self.join();
    }
}

impl SharedCells {
    fn ring(&self) {
        self.fetch_add(BELL, 1);
        self.notify(BELL);
    }
}

/// The server's end of a doorbell, and when its thread has to wake though nobody rings.
struct Doorbell {
    cells: SharedCells,
    wake_at: Cell<Option<Instant>>,
}

impl Doorbell {
    fn new(cells: SharedCells) -> Self {
        Doorbell { cells, wake_at: Cell::new(None) }
    }
}

impl AsyncDoorbell for Doorbell {
    fn count(&self) -> i32 {
        self.cells.load(BELL)
    }

    fn wait(&self, seen: i32, timeout: Duration) {
        self.cells.wait(BELL, seen, timeout);
    }

    async fn changed(&self, seen: i32, timeout: Duration) {
        // What no clock reaches is never.
        let end = Instant::now().checked_add(timeout);
        poll_fn(|_| {
            if self.count() != seen || end.is_some_and(|end| Instant::now() >= end) {
                return Poll::Ready(());
            }
            self.wake_at.set(end);
            Poll::Pending
        })
        .await;
    }

    async fn turn(&self) {
        let mut turned = false;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut turned, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A waker is the doorbell: the executor below sleeps on nothing else.
struct Bell(SharedCells);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }
}

/// Runs a future to its end, `between` being what else the thread's event loop has to do.
fn run<T>(doorbell: &Doorbell, future: impl Future<Output = T>, mut between: impl FnMut()) -> T {
    let waker = Arc::new(Bell(doorbell.cells.clone())).into();
    let mut future = pin!(future);
    loop {
        let seen = doorbell.count();
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        between();
        let wake_in = doorbell.wake_at.take().map(|at| at.saturating_duration_since(Instant::now()));
        doorbell.wait(seen, wake_in.unwrap_or(Duration::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_words_are_the_same_memory() {
        let cells = SharedCells::new(18);
        assert_eq!(cells.len(), 20);
        cells.write(3, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(cells.load(0), 0x0100_0000);
        assert_eq!(cells.load(1), 0x0504_0302);
        assert_eq!(cells.load(2), 6);
        cells.store(1, -1);
        let mut back = [0; 6];
        cells.read(3, &mut back);
        assert_eq!(back, [1, 255, 255, 255, 255, 6]);
        assert_eq!(cells.fetch_add(1, 2), -1);
        assert_eq!(cells.load(1), 1);
    }

    #[test]
    fn a_wait_ends_by_value_by_time_and_by_notification() {
        let cells = SharedCells::new(8);
        assert_eq!(Cells::wait(&cells, 0, 1, Duration::MAX), Woken::Changed);
        assert_eq!(Cells::wait(&cells, 0, 0, Duration::from_millis(1)), Woken::TimedOut);
        let other = cells.clone();
        let thread = std::thread::spawn(move || {
            while other.load(1) == 0 {
                Cells::wait(&other, 1, 0, Duration::MAX);
            }
        });
        cells.store(1, 1);
        cells.notify(1);
        thread.join().unwrap();
    }
}
