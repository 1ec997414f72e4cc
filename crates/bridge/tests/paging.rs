//! Pages between clients and a server in several threads: what costs a round trip and what does not, who waits for whom,
//! and what becomes of a client's views, locks and changes when something goes wrong.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use statik_bridge::metrics::{Metrics, Op};
use statik_bridge::native::{SharedCells, Thread, clock};
use statik_bridge::pages::mem::MemPages;
use statik_bridge::pages::{
    Change, Checkpoint, CommitId, Durability, PAGE_BYTES, PageStore, Paged, Pages, Usage, Version, View,
};
use statik_bridge::ring::BELL;
use statik_bridge::{Cells, Client, ClientOptions, DiskHost, Server, board};
use statik_disk::{Disk, Error, Kind, MemDisk, Open, Result};

const RING_BYTES: usize = 2 * 1024 * 1024 + 4096;
/// Far longer than any test takes: who waits this long was not woken.
const LONG: ClientOptions = ClientOptions { deadline: Duration::from_secs(120), spin: 0 };
const PAGE: u64 = PAGE_BYTES as u64;

type Served = Thread<DiskHost<MemDisk>>;

fn memory() -> Served {
    Thread::spawn(|| DiskHost::in_memory(MemDisk::new()))
}

fn open(client: &Client, path: &str) -> Box<dyn Paged> {
    Pages::open(client, path, Open::Create).expect("a file opens")
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

/// Waits for the lock and takes a view.
fn lock(file: &dyn Paged) {
    assert_eq!(file.wait(LONG.deadline), Ok(true), "the lock comes");
    file.begin().expect("begin");
}

fn write(client: &Client, file: &dyn Paged, offset: u64, bytes: &[u8]) -> u64 {
    lock(file);
    file.write_at(offset, bytes).expect("write");
    let seq = client.commit(&[file.id()], Durability::Full, None).expect("commit");
    file.end().expect("end");
    seq
}

fn first_byte(file: &dyn Paged) -> Result<u8> {
    let mut byte = [0];
    file.read_at(0, &mut byte).map(|_| byte[0])
}

fn counts(metrics: &Metrics) -> Vec<(&'static str, u64, u64)> {
    metrics.iter().map(|(name, totals)| (name, totals.count, totals.errors)).collect()
}

#[test]
fn a_small_commit_costs_one_round_trip_and_the_rest_none() {
    let server = memory();
    let client = server.client(LONG).unwrap();
    let file = open(&client, "a");
    for round in 0..10_u8 {
        file.begin().unwrap();
        file.lock().unwrap();
        assert_eq!(first_byte(&*file), Ok(round));
        file.write_at(0, &[round + 1; PAGE_BYTES]).unwrap();
        file.write_at(3 * PAGE, &[round; PAGE_BYTES]).unwrap();
        client.commit(&[file.id()], Durability::Full, None).unwrap();
        file.end().unwrap();
    }
    // Before the first commit the file was empty, so nothing was read.
    let expected = [("attach", 1, 0), ("stage", 20, 0), ("commit", 10, 0)];
    assert_eq!(counts(client.metrics()), expected);
    assert_eq!(server.call(|server| counts(server.metrics())), expected);
    let cache = client.cache_use();
    assert_eq!((cache.hits, cache.misses), (9, 0));
    let bells = server.doorbell().load(BELL);
    file.begin().unwrap();
    file.lock().unwrap();
    file.write_at(0, b"posted quietly").unwrap();
    file.discard().unwrap();
    file.end().unwrap();
    assert_eq!(server.doorbell().load(BELL), bells, "a transaction that is rolled back wakes nobody");
}

#[test]
fn a_scan_is_read_ahead() {
    let server = memory();
    let writer = server.client(LONG).unwrap();
    let pages = 200_u64;
    let bytes: Vec<u8> = (0..pages * PAGE).map(|place| (place / PAGE) as u8).collect();
    write(&writer, &*open(&writer, "a"), 0, &bytes);
    // A new opening finds nothing in the cache.
    for (ahead, least, most) in [(16, 5, 8), (0, 199, 200)] {
        server.call(move |server| server.set_read_ahead(ahead));
        let client = server.client(LONG).unwrap();
        let file = open(&client, "a");
        file.begin().unwrap();
        for page in 0..pages {
            let mut buf = [0; PAGE_BYTES];
            assert_eq!(file.read_at(page * PAGE, &mut buf), Ok(PAGE_BYTES));
            assert!(buf == [page as u8; PAGE_BYTES], "page {page}");
        }
        let asked = client.metrics().get(Op::ReadPages).count;
        assert!((least..=most).contains(&asked), "{asked} round trips with {ahead} pages ahead");
        assert_eq!(client.cache_use().hits + client.cache_use().misses, pages);
    }
}

#[test]
fn contending_clients_lose_nothing() {
    const CLIENTS: usize = 4;
    const TIMES: u64 = 100;
    let server = memory();
    let total = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (ring, bell, board) = (SharedCells::new(RING_BYTES), server.doorbell().clone(), server.board().clone());
            let id = server.add_client(ring.clone());
            let total = &total;
            scope.spawn(move || {
                let client = Client::new(ring, bell, board, id, LONG, clock).unwrap();
                let files = [open(&client, "one"), open(&client, "two")];
                for round in 0..TIMES {
                    // Always in this order, so that nobody waits in a circle.
                    let some = if (round + number as u64).is_multiple_of(3) { &files[..] } else { &files[..1] };
                    assert!(some.iter().all(|file| file.wait(LONG.deadline) == Ok(true)));
                    for file in some {
                        file.begin().unwrap();
                        let mut count = [0; 8];
                        file.read_at(0, &mut count).unwrap();
                        file.write_at(0, &(u64::from_le_bytes(count) + 1).to_le_bytes()).unwrap();
                        total.fetch_add(1, SeqCst);
                    }
                    let ids: Vec<_> = some.iter().map(|file| file.id()).collect();
                    client.commit(&ids, Durability::Full, None).unwrap();
                    some.iter().for_each(|file| file.end().unwrap());
                }
            });
        }
    });
    let client = server.client(LONG).unwrap();
    let sum: u64 = ["one", "two"]
        .map(|path| {
            let (file, mut count) = (open(&client, path), [0; 8]);
            file.begin().unwrap();
            file.read_at(0, &mut count).unwrap();
            u64::from_le_bytes(count)
        })
        .iter()
        .sum();
    assert_eq!(sum, total.load(SeqCst));
    assert_eq!(client.usage().unwrap().commits, CLIENTS as u64 * TIMES);
}

/// Runs clients that queue for the lock of "a", one after the other, while `holder` has it; `then` runs in each one's
/// thread once it has the lock. Their numbers, in the order in which they got it.
fn queue(
    server: &Served,
    clients: usize,
    let_go: impl FnOnce(),
    then: impl Fn(&Client, &dyn Paged) + Sync,
) -> Vec<usize> {
    let (granted, order) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..clients {
            let (ring, bell, board) = (SharedCells::new(RING_BYTES), server.doorbell().clone(), server.board().clone());
            let id = server.add_client(ring.clone());
            let (queued, is_queued) = mpsc::channel();
            let (granted, then) = (granted.clone(), &then);
            scope.spawn(move || {
                let client = Client::new(ring, bell, board, id, LONG, clock).unwrap();
                let file = open(&client, "a");
                assert_eq!(file.wait(Duration::ZERO), Ok(false), "the lock is taken, and a place is kept");
                queued.send(()).unwrap();
                assert_eq!(file.wait(LONG.deadline), Ok(true));
                granted.send(number).unwrap();
                then(&client, &*file);
            });
            is_queued.recv().unwrap();
        }
        let_go();
        drop(granted);
        order.iter().collect()
    })
}

#[test]
fn who_waits_is_woken_first_come_first_served() {
    let server = memory();
    let client = server.client(LONG).unwrap();
    let file = open(&client, "a");
    lock(&*file);
    let order = queue(
        &server,
        5,
        || file.end().unwrap(),
        |client, file| {
            file.begin().unwrap();
            file.lock().unwrap();
            let len = file.len().unwrap();
            file.write_at(len, b"x").unwrap();
            client.commit(&[file.id()], Durability::Normal, None).unwrap();
        },
    );
    assert_eq!(order, [0, 1, 2, 3, 4]);
    assert_eq!(file.begin().unwrap().len, 5);
}

#[test]
fn a_wait_ends_in_time_and_keeps_its_place() {
    let server = memory();
    let options = ClientOptions { deadline: Duration::from_secs(5), spin: 0 };
    let (one, two, three) =
        (server.client(LONG).unwrap(), server.client(options).unwrap(), server.client(LONG).unwrap());
    let (holder, waiter, later) = (open(&one, "a"), open(&two, "a"), open(&three, "a"));
    lock(&*holder);
    let start = Instant::now();
    assert_eq!(waiter.wait(Duration::from_millis(60)), Ok(false));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(60) && waited < options.deadline, "{waited:?}");
    assert_eq!(later.wait(Duration::ZERO), Ok(false));
    holder.end().unwrap();
    assert_eq!(waiter.wait(LONG.deadline), Ok(true));
    assert_eq!(later.wait(Duration::ZERO), Ok(false));
}

#[test]
fn a_wait_may_be_longer_than_the_deadline_of_other_calls() {
    let server = memory();
    let options = ClientOptions { deadline: Duration::from_millis(300), spin: 0 };
    let (one, two) = (server.client(LONG).unwrap(), server.client(options).unwrap());
    let (holder, waiter) = (open(&one, "a"), open(&two, "a"));
    lock(&*holder);
    assert_eq!(waiter.wait(Duration::from_millis(600)), Ok(false));
    two.usage().expect("the connection is still there");
}

#[test]
fn a_removed_client_leaves_lock_views_and_changes_behind() {
    let server = memory();
    let (ring, bell, board) = (SharedCells::new(RING_BYTES), server.doorbell().clone(), server.board().clone());
    let id = server.add_client(ring.clone());
    let dying = Client::new(ring, bell, board, id, LONG, clock).unwrap();
    let held = open(&dying, "a");
    write(&dying, &*held, 0, b"kept");
    lock(&*held);
    held.write_at(0, b"lost").unwrap();
    held.set_len(1000).unwrap();
    let order = queue(
        &server,
        2,
        || server.call(move |server| server.remove_client(id)),
        |_, file| {
            file.begin().unwrap();
            assert_eq!((file.len(), first_byte(file)), (Ok(4), Ok(b'k')));
        },
    );
    assert_eq!(order, [0, 1]);
    assert_eq!(kind(held.lock()), Some(Kind::Closed));
    assert_eq!(kind(first_byte(&*held)), Some(Kind::Closed));
    assert_eq!(kind(dying.commit(&[held.id()], Durability::Full, None)), Some(Kind::Closed));
    let other = server.client(LONG).unwrap();
    write(&other, &*open(&other, "a"), 0, b"more");
    other.checkpoint().expect("no view of the removed client is in the way");
}

#[test]
fn a_dropped_client_leaves_nothing_behind() {
    let server = memory();
    let other = server.client(LONG).unwrap();
    let file = open(&other, "a");
    for _ in 0..3 {
        let client = server.client(LONG).unwrap();
        let held = open(&client, "a");
        lock(&*held);
        held.write_at(0, b"lost").unwrap();
        drop(client);
        drop(held);
        lock(&*file);
        assert_eq!(file.len(), Ok(0));
        file.end().unwrap();
    }
}

/// A server that a test drives: time passes, and clients are served, only as it says.
struct Driven {
    server: Server<DiskHost<MemDisk>>,
    bell: SharedCells,
    board: SharedCells,
}

impl Driven {
    fn new(store: MemPages, cache_pages: usize, clock: fn() -> f64) -> Self {
        let board = SharedCells::new(board::bytes(cache_pages));
        let server = Server::new(DiskHost(MemDisk::new(), Rc::new(store)), board.clone(), clock).unwrap();
        Driven { server, bell: SharedCells::new(64), board }
    }

    /// Serves clients in threads of their own until all have ended. What each of them did.
    fn run<T: Send>(&self, clients: Vec<Box<dyn FnOnce(Client) -> T + Send + '_>>) -> Vec<T> {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..)
                .zip(clients)
                .map(|(id, client)| {
                    let (ring, bell, board) = (SharedCells::new(RING_BYTES), self.bell.clone(), self.board.clone());
                    self.server.add_client(id, ring.clone()).unwrap();
                    scope.spawn(move || client(Client::new(ring, bell, board, id, LONG, clock).unwrap()))
                })
                .collect();
            while !threads.iter().all(|thread| thread.is_finished()) {
                if !self.server.work() {
                    thread::yield_now();
                }
            }
            while self.server.work() {}
            threads.into_iter().map(|thread| thread.join().expect("the client's thread")).collect()
        })
    }
}

fn frozen() -> f64 {
    0.0
}

#[test]
fn commits_that_are_queued_share_one_flush() {
    const CLIENTS: usize = 4;
    let driven = Driven::new(MemPages::new(), 64, frozen);
    let paused = Barrier::new(CLIENTS + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS as u32)
            .map(|id| {
                let (ring, bell, board) = (SharedCells::new(RING_BYTES), driven.bell.clone(), driven.board.clone());
                driven.server.add_client(id, ring.clone()).unwrap();
                let paused = &paused;
                let (ready, is_ready) = mpsc::channel();
                let thread = scope.spawn(move || {
                    let client = Client::new(ring, bell, board, id, LONG, clock).unwrap();
                    let file = open(&client, &format!("file{id}"));
                    file.begin().unwrap();
                    file.lock().unwrap();
                    file.write_at(0, b"x").unwrap();
                    ready.send(()).unwrap();
                    paused.wait();
                    client.commit(&[file.id()], Durability::Full, None).unwrap()
                });
                while is_ready.try_recv().is_err() {
                    driven.server.work();
                    thread::yield_now();
                }
                thread
            })
            .collect();
        let bells = driven.bell.load(BELL);
        paused.wait();
        // Each commit rings once, after it was posted.
        while driven.bell.load(BELL) - bells < CLIENTS as i32 {
            thread::yield_now();
        }
        while driven.server.work() {}
        let mut seqs: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [1, 2, 3, 4]);
    });
    let usage = driven.server.usage();
    assert_eq!((usage.commits, usage.flushes, usage.durable), (4, 1, 4));
}

#[test]
fn a_flush_waits_for_the_writers_that_are_about_to_commit() {
    // The clock stands still, so nothing but the last of the writers ends the wait.
    let driven = Driven::new(MemPages::new(), 64, frozen);
    let queued = Barrier::new(4);
    let clients = (0..4_u8).map(|number| {
        let queued = &queued;
        let client = move |client: Client| {
            let file = open(&client, "a");
            if number == 0 {
                lock(&*file);
                queued.wait();
                queued.wait();
            } else {
                queued.wait();
                assert_eq!(file.wait(Duration::ZERO), Ok(false));
                queued.wait();
                lock(&*file);
            }
            file.write_at(0, &[number]).unwrap();
            client.commit(&[file.id()], Durability::Full, None).unwrap()
        };
        Box::new(client) as Box<dyn FnOnce(Client) -> u64 + Send>
    });
    let mut seqs = driven.run(clients.collect());
    assert_eq!(seqs[0], 1);
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 3, 4]);
    let usage = driven.server.usage();
    assert_eq!((usage.commits, usage.flushes, usage.durable), (4, 1, 4));
}

/// A clock that each look at it moves.
fn ticking() -> f64 {
    static TICKS: AtomicU64 = AtomicU64::new(0);
    TICKS.fetch_add(1, SeqCst) as f64 / 4.0
}

#[test]
fn at_the_hard_limit_writers_wait_and_an_old_view_is_given_up_in_the_end() {
    const PAGES: usize = 32;
    let hard_bytes = 40 * PAGE;
    // A cache that is too small for what the reader will ask for.
    let driven = Driven::new(MemPages::new().with_limits(hard_bytes, hard_bytes), 8, ticking);
    let (begun, ended) = (Barrier::new(2), Barrier::new(2));
    let writer = |client: Client| {
        let file = open(&client, "a");
        write(&client, &*file, 0, &[1; PAGES * PAGE_BYTES]);
        begun.wait();
        begun.wait();
        let mut most = 0;
        for round in 2..8 {
            write(&client, &*file, 0, &[round; PAGES * PAGE_BYTES]);
            most = most.max(client.usage().unwrap().log_bytes);
        }
        ended.wait();
        most
    };
    let reader = |client: Client| {
        begun.wait();
        let file = open(&client, "a");
        let view = file.begin().unwrap();
        assert_eq!(first_byte(&*file), Ok(1));
        begun.wait();
        ended.wait();
        let mut bytes = [0; PAGE_BYTES];
        assert_eq!(kind(file.read_at(20 * PAGE, &mut bytes)), Some(Kind::Conflict));
        assert_eq!(kind(file.lock()), Some(Kind::Conflict));
        file.end().unwrap();
        assert!(file.begin().unwrap().seq > view.seq);
        assert_eq!((file.read_at(20 * PAGE, &mut bytes), bytes[0]), (Ok(PAGE_BYTES), 7));
        0
    };
    let most = driven.run(vec![Box::new(writer), Box::new(reader)])[0];
    assert!(most <= hard_bytes + PAGES as u64 * PAGE, "the log grew to {most} bytes");
}

#[test]
fn who_waits_for_its_own_old_view_does_not_wait() {
    let driven = Driven::new(MemPages::new().with_limits(0, PAGE), 64, frozen);
    let client = |client: Client| {
        let (reader, writer, other) = (open(&client, "a"), open(&client, "a"), open(&client, "b"));
        reader.begin().unwrap();
        (0..20).map(|round| write(&client, [&*writer, &*other][round % 2], 0, &[7; PAGE_BYTES])).last().unwrap()
    };
    // The clock stands still, so it is not that patience has an end.
    assert_eq!(driven.run(vec![Box::new(client)]), [20]);
}

#[test]
fn idle_time_checkpoints_what_is_above_the_soft_limit() {
    let disk = MemDisk::new();
    let store = MemPages::on(Rc::new(disk.clone())).with_limits(3 * PAGE, u64::MAX);
    let driven = Driven::new(store, 64, ticking);
    let file_len = || disk.open("a", Open::Existing).unwrap().len().unwrap();
    for (commits, checkpointed, len) in [(3, 0, 0), (1, 4, 4 * PAGE)] {
        let client = move |client: Client| {
            let file = open(&client, "a");
            for _ in 0..commits {
                let len = file.begin().unwrap().len;
                file.end().unwrap();
                write(&client, &*file, len, &[7; PAGE_BYTES]);
            }
        };
        driven.run(vec![Box::new(client)]);
        driven.server.remove_client(0);
        // A view that was held a moment ago may have put it off.
        for _ in 0..1000 {
            driven.server.work();
        }
        assert_eq!((driven.server.usage().checkpointed, file_len()), (checkpointed, len));
    }
}

/// A store that tells what it is asked to do in the end, and fails where it should.
struct Watched {
    pages: MemPages,
    events: mpsc::Sender<&'static str>,
    failing: Arc<Failing>,
}

#[derive(Default)]
struct Failing {
    stage: AtomicBool,
    flush: AtomicBool,
    checkpoint: AtomicBool,
}

fn failure(fails: &AtomicBool) -> Result<()> {
    if fails.load(SeqCst) { Err(Error::new(Kind::Quota, "nothing is left")) } else { Ok(()) }
}

impl PageStore for Watched {
    fn attach(&self, path: &str, open: Open) -> Result<u32> {
        self.pages.attach(path, open)
    }

    fn detach(&self, file: u32) {
        self.pages.detach(file);
    }

    fn newest(&self, file: u32) -> Result<View> {
        self.pages.newest(file)
    }

    fn read(
        &self,
        file: u32,
        seq: u64,
        page: u64,
        buf: &mut [u8],
        version: &mut dyn FnMut(usize, Version),
    ) -> Result<()> {
        self.pages.read(file, seq, page, buf, version)
    }

    fn read_staged(&self, file: u32, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.pages.read_staged(file, offset, buf)
    }

    fn stage(&self, file: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        failure(&self.failing.stage)?;
        self.pages.stage(file, offset, bytes)
    }

    fn stage_len(&self, file: u32, len: u64) -> Result<()> {
        self.pages.stage_len(file, len)
    }

    fn staged_len(&self, file: u32) -> Result<u64> {
        self.pages.staged_len(file)
    }

    fn discard(&self, file: u32) {
        self.pages.discard(file);
    }

    fn commit(&self, files: &[u32], id: Option<CommitId>, changed: &mut dyn FnMut(Change)) -> Result<u64> {
        self.pages.commit(files, id, changed)
    }

    fn committed(&self, id: CommitId) -> Option<u64> {
        self.pages.committed(id)
    }

    fn flush(&self) -> Result<u64> {
        // The test may have ended.
        let _ = self.events.send("flush");
        failure(&self.failing.flush)?;
        self.pages.flush()
    }

    fn flushed(&self) -> u64 {
        self.pages.flushed()
    }

    fn wants_checkpoint(&self) -> bool {
        self.pages.wants_checkpoint()
    }

    fn needs_checkpoint(&self) -> bool {
        self.pages.needs_checkpoint()
    }

    fn checkpoint_target(&self) -> Result<Option<u64>> {
        self.pages.checkpoint_target()
    }

    fn checkpoint(&self, oldest: Option<u64>) -> Result<Checkpoint> {
        failure(&self.failing.checkpoint)?;
        let _ = self.events.send("checkpoint");
        self.pages.checkpoint(oldest)
    }

    fn settle(&self, path: &str) -> Result<()> {
        self.pages.settle(path)
    }

    fn usage(&self) -> Usage {
        self.pages.usage()
    }
}

fn watched(hard_bytes: u64) -> (Served, mpsc::Receiver<&'static str>, Arc<Failing>) {
    let (events, seen) = mpsc::channel();
    let failing = Arc::new(Failing::default());
    let fails = Arc::clone(&failing);
    let server = Thread::spawn(move || {
        let pages = MemPages::new().with_limits(u64::MAX, hard_bytes);
        DiskHost(MemDisk::new(), Rc::new(Watched { pages, events, failing: fails }))
    });
    (server, seen, failing)
}

#[test]
fn a_normal_commit_is_flushed_though_nobody_asks() {
    let (server, events, _) = watched(u64::MAX);
    let client = server.client(LONG).unwrap();
    let file = open(&client, "a");
    lock(&*file);
    file.write_at(0, b"x").unwrap();
    let start = Instant::now();
    client.commit(&[file.id()], Durability::Normal, None).unwrap();
    assert_eq!(events.recv_timeout(LONG.deadline), Ok("flush"));
    assert!(start.elapsed() >= Duration::from_millis(45), "it is put off, so that more commits share it");
    assert_eq!(client.durable(), Ok(1));
    assert!(events.try_recv().is_err(), "what is durable is not flushed again");
}

#[test]
fn a_server_that_stops_flushes_and_checkpoints() {
    let (server, events, _) = watched(u64::MAX);
    let client = server.client(LONG).unwrap();
    let file = open(&client, "a");
    lock(&*file);
    file.write_at(0, b"x").unwrap();
    client.commit(&[file.id()], Durability::Off, None).unwrap();
    assert!(events.try_recv().is_err(), "nobody flushes for its sake");
    server.stop().unwrap();
    assert_eq!(events.iter().collect::<Vec<_>>(), ["flush", "checkpoint"]);
    assert_eq!(kind(first_byte(&*file)), Some(Kind::Closed));
}

#[test]
fn a_change_that_cannot_be_staged_fails_the_commit() {
    let (server, _events, failing) = watched(u64::MAX);
    let (client, other) = (server.client(LONG).unwrap(), server.client(LONG).unwrap());
    let (file, theirs) = (open(&client, "a"), open(&other, "a"));
    write(&client, &*file, 0, b"kept");
    lock(&*file);
    failing.stage.store(true, SeqCst);
    file.write_at(0, b"lost").unwrap();
    file.write_at(2 * PAGE, b"lost").unwrap();
    assert_eq!(kind(first_byte(&*file)), Some(Kind::Quota));
    failing.stage.store(false, SeqCst);
    file.write_at(PAGE, b"too late").unwrap();
    assert_eq!(kind(client.commit(&[file.id()], Durability::Full, None)), Some(Kind::Quota));
    assert_eq!((file.len(), first_byte(&*file)), (Ok(4), Ok(b'k')), "the view stays, what was staged is gone");
    assert_eq!(write(&other, &*theirs, 0, b"K"), 2, "the lock was given up");
    file.end().unwrap();
    assert_eq!(write(&client, &*file, 0, b"k"), 3, "the next commit does not suffer");
    // A transaction that is given up takes its failure along.
    lock(&*file);
    failing.stage.store(true, SeqCst);
    file.write_at(0, b"lost").unwrap();
    file.discard().unwrap();
    client.usage().unwrap();
    failing.stage.store(false, SeqCst);
    file.end().unwrap();
    assert_eq!(write(&client, &*file, 0, b"k"), 4);
}

#[test]
fn a_flush_that_fails_is_told_to_who_waits_for_it() {
    let (server, events, failing) = watched(u64::MAX);
    let client = server.client(LONG).unwrap();
    let file = open(&client, "a");
    failing.flush.store(true, SeqCst);
    lock(&*file);
    file.write_at(0, b"seen").unwrap();
    assert_eq!(kind(client.commit(&[file.id()], Durability::Full, Some(CommitId(1)))), Some(Kind::Quota));
    assert_eq!(client.committed(CommitId(1)), Ok(Some(1)));
    assert_eq!(kind(client.durable()), Some(Kind::Quota));
    file.end().unwrap();
    assert_eq!(file.begin().unwrap().len, 4, "the commit is visible nevertheless");
    file.lock().unwrap();
    file.write_at(4, b"!").unwrap();
    client.commit(&[file.id()], Durability::Normal, None).unwrap();
    assert_eq!(events.iter().take(3).collect::<Vec<_>>(), ["flush"; 3]);
    let failed = || server.call(|server| server.metrics().get(Op::Durable).errors);
    let start = Instant::now();
    while failed() < 2 {
        assert!(start.elapsed() < LONG.deadline, "the flush that nobody waits for is counted");
    }
    drop((client, file));
    assert_eq!(kind(server.stop()), Some(Kind::Quota));
}

#[test]
fn a_checkpoint_that_fails_is_told_to_who_waits_for_room() {
    let (server, _events, failing) = watched(0);
    let client = server.client(LONG).unwrap();
    let file = open(&client, "a");
    write(&client, &*file, 0, b"x");
    failing.checkpoint.store(true, SeqCst);
    assert_eq!(kind(client.checkpoint()), Some(Kind::Quota));
    lock(&*file);
    file.write_at(0, b"y").unwrap();
    let [failed, waited] = [1, 2].map(CommitId);
    assert_eq!(kind(client.commit(&[file.id()], Durability::Full, Some(failed))), Some(Kind::Quota));
    file.end().unwrap();
    failing.checkpoint.store(false, SeqCst);
    lock(&*file);
    file.write_at(1, b"z").unwrap();
    assert_eq!(client.commit(&[file.id()], Durability::Full, Some(waited)), Ok(2));
    assert_eq!([failed, waited].map(|id| client.committed(id)), [Ok(None), Ok(Some(2))]);
    assert_eq!((file.len(), first_byte(&*file)), (Ok(2), Ok(b'x')));
}

#[test]
fn no_path_is_a_file_and_pages_at_once() {
    let server = memory();
    let (one, two) = (server.client(LONG).unwrap(), server.client(LONG).unwrap());
    let pages = open(&one, "a");
    write(&one, &*pages, 0, b"of pages");
    assert_eq!(kind(Disk::open(&two, "a", Open::Existing)), Some(Kind::Busy));
    assert_eq!(kind(two.remove("a")), Some(Kind::Busy));
    assert_eq!((kind(two.rename("a", "b")), kind(two.rename("c", "a"))), (Some(Kind::Busy), Some(Kind::Busy)));
    drop(pages);
    one.usage().expect("what was posted before is done");
    let file = Disk::open(&two, "a", Open::Existing).unwrap();
    let mut bytes = [0; 8];
    assert_eq!((file.read_at(0, &mut bytes), &bytes), (Ok(8), b"of pages"));
    assert_eq!(kind(Pages::open(&one, "a", Open::Create)), Some(Kind::Busy));
    file.write_at(3, b"a file").unwrap();
    drop(file);
    two.rename("a", "b").unwrap();
    let pages = Pages::open(&one, "b", Open::Existing).unwrap();
    assert_eq!(pages.begin().unwrap().len, 9);
    assert_eq!(kind(Pages::open(&one, "a", Open::Existing)), Some(Kind::NotFound));
}

#[test]
fn both_ends_count_what_pages_need() {
    let server = memory();
    let (client, other) = (server.client(LONG).unwrap(), server.client(LONG).unwrap());
    let (file, theirs) = (open(&client, "a"), open(&other, "a"));
    lock(&*file);
    assert_eq!(theirs.wait(Duration::ZERO), Ok(false));
    file.write_at(0, &[7; PAGE_BYTES]).unwrap();
    file.set_len(PAGE + 10).unwrap();
    assert_eq!(first_byte(&*file), Ok(7));
    client.commit(&[file.id()], Durability::Normal, None).unwrap();
    file.read_at(PAGE, &mut [0; 10]).unwrap();
    file.end().unwrap();
    lock(&*theirs);
    theirs.end().unwrap();
    client.durable().unwrap();
    client.checkpoint().unwrap();
    client.usage().unwrap();
    drop((file, theirs));
    other.usage().unwrap();
    let counted = |metrics: &Metrics| -> Vec<_> {
        metrics.iter().map(|(name, totals)| (name, totals.count, totals.errors, totals.bytes)).collect()
    };
    let mine = [
        ("attach", 1, 0, 0),
        ("detach", 1, 0, 0),
        ("readPages", 1, 0, 10),
        ("readStaged", 1, 0, 1),
        ("stage", 1, 0, PAGE),
        ("stageLen", 1, 0, 0),
        ("commit", 1, 0, 0),
        ("durable", 1, 0, 0),
        ("checkpoint", 1, 0, 0),
        ("usage", 1, 0, 0),
    ];
    assert_eq!(counted(client.metrics()), mine);
    let theirs =
        [("attach", 1, 0, 0), ("detach", 1, 0, 0), ("release", 1, 0, 0), ("waitLock", 2, 0, 0), ("usage", 1, 0, 0)];
    assert_eq!(counted(other.metrics()), theirs);
    client.usage().unwrap();
    let served = [
        ("attach", 2, 0, 0),
        ("detach", 2, 0, 0),
        ("readPages", 1, 0, PAGE),
        ("readStaged", 1, 0, 1),
        ("stage", 1, 0, PAGE),
        ("stageLen", 1, 0, 0),
        ("release", 1, 0, 0),
        ("waitLock", 2, 0, 0),
        ("commit", 1, 0, 0),
        ("durable", 1, 0, 0),
        ("checkpoint", 1, 0, 0),
        ("usage", 3, 0, 0),
    ];
    assert_eq!(server.call(move |server| counted(server.metrics())), served);
}
