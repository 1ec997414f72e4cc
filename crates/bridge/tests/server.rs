//! A server with many clients: what they wait for, what goes wrong, and who is told.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use statik_bridge::board;
use statik_bridge::metrics::Op;
use statik_bridge::native::{SharedCells, Thread, clock};
use statik_bridge::pages::mem::MemPages;
use statik_bridge::pages::{Durability, PageStore, Paged, Pages};
use statik_bridge::ring::{BELL, word};
use statik_bridge::{AsyncDisk, Cells, Client, ClientOptions, DiskHost, Host, Server};
use statik_disk::{Disk, Faults, File, Kind, MemDisk, Open, Result, SimDisk};

const RING_BYTES: usize = 2 * 1024 * 1024 + 4096;
/// Far longer than any test takes: who waits this long was not woken.
const LONG: ClientOptions = ClientOptions { deadline: Duration::from_secs(120), spin: 0 };
const SHORT: ClientOptions = ClientOptions { deadline: Duration::from_millis(20), spin: 0 };

const BOARD_BYTES: usize = board::bytes(64);

/// A client of a server whose board it does not use.
fn connect(ring: SharedCells, bell: SharedCells, options: ClientOptions) -> Result<Client> {
    Client::new(ring, bell, SharedCells::new(64), 0, options, clock)
}

fn memory() -> Thread<DiskHost<MemDisk>> {
    Thread::spawn(|| DiskHost::in_memory(MemDisk::new()))
}

fn file(client: &Client, path: &str) -> Box<dyn File> {
    Disk::open(client, path, Open::Create).expect("a file opens")
}

fn pages(client: &Client, path: &str) -> Box<dyn Paged> {
    Pages::open(client, path, Open::Create).expect("a file of pages opens")
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_missed_deadline_says_what_was_asked_and_ends_the_connection() {
    let client = connect(SharedCells::new(RING_BYTES), SharedCells::new(64), SHORT).unwrap();
    let start = Instant::now();
    let error = Disk::open(&client, "app.db", Open::Create).err().unwrap();
    assert!(start.elapsed() >= SHORT.deadline);
    assert_eq!(error.kind(), Kind::Timeout);
    assert_eq!(error.to_string(), "open: the I/O worker gave no answer within 20 ms (app.db)");
    let error = client.remove("other.db").unwrap_err();
    assert_eq!((error.kind(), error.path()), (Kind::Closed, Some("other.db")));
    assert!(error.to_string().contains("no answer within 20 ms"), "{error} tells the cause");
    assert_eq!(client.metrics().get(Op::Open).errors, 1);
}

/// A server that works only where a test lets it, and its doorbell.
struct Paused {
    server: Server<DiskHost<MemDisk>>,
    bell: SharedCells,
    board: SharedCells,
    clients: Cell<u32>,
}

impl Paused {
    fn new() -> Self {
        let (bell, board) = (SharedCells::new(64), SharedCells::new(BOARD_BYTES));
        let server = Server::new(DiskHost::in_memory(MemDisk::new()), board.clone(), clock).unwrap();
        Paused { server, bell, board, clients: Cell::new(0) }
    }

    /// Runs `client` in another thread with a new client. The server works until `client` says `pause`, and goes on,
    /// to the end of `client`, when that says `resume`.
    fn run<T: Send>(&self, options: ClientOptions, client: impl FnOnce(Client, Switch) -> T + Send) -> T {
        let ring = SharedCells::new(RING_BYTES);
        self.clients.set(self.clients.get() + 1);
        self.server.add_client(self.clients.get(), ring.clone()).expect("a ring");
        let (switch, switched) = mpsc::channel();
        let switch = Switch { bell: self.bell.clone(), switch, pauses: Arc::new(Barrier::new(2)) };
        let pauses = Arc::clone(&switch.pauses);
        thread::scope(|scope| {
            let (board, id) = (self.board.clone(), self.clients.get());
            let client = scope.spawn(move || {
                let connected = Client::new(ring, switch.bell.clone(), board, id, options, clock);
                client(connected.expect("a client"), switch)
            });
            loop {
                let seen = self.bell.load(BELL);
                match switched.try_recv() {
                    Ok(()) => {
                        pauses.wait();
                        // Resumed, or `client` came to its end.
                        if switched.recv().is_err() {
                            break;
                        }
                    }
                    Err(mpsc::TryRecvError::Disconnected) => break,
                    Err(mpsc::TryRecvError::Empty) => {
                        while self.server.work() {}
                        self.bell.wait(BELL, seen, Duration::MAX);
                    }
                }
            }
            while self.server.work() {}
            client.join().expect("the client's thread")
        })
    }
}

/// Pauses and resumes the server from the client's thread. When it is gone, the server learns that from the client's
/// own end, which rings after it.
struct Switch {
    bell: SharedCells,
    switch: mpsc::Sender<()>,
    pauses: Arc<Barrier>,
}

impl Switch {
    fn pause(&self) {
        self.flip();
        self.pauses.wait();
    }

    fn resume(&self) {
        self.flip();
    }

    fn flip(&self) {
        self.switch.send(()).expect("the server's thread");
        self.bell.fetch_add(BELL, 1);
        self.bell.notify(BELL);
    }
}

#[test]
fn posting_into_a_full_ring_that_nobody_serves_misses_the_deadline_too() {
    let paused = Paused::new();
    let options = ClientOptions { deadline: Duration::from_secs(3), spin: 0 };
    let results: Vec<_> = paused.run(options, |client, switch| {
        let file = file(&client, "a");
        switch.pause();
        (0..20).map(|part| kind(file.write_at(part << 16, &[1; 1 << 16]))).collect()
    });
    let mut expected = vec![Some(Kind::Closed); 20];
    expected[..15].fill(None);
    expected[15] = Some(Kind::Timeout);
    assert_eq!(results, expected, "fifteen of 64 KiB and their headers fit in 1 MiB");
    let writes = paused.server.metrics().get(Op::Write);
    assert_eq!(writes.bytes, 15 << 16, "what was posted is carried out");
}

#[test]
fn a_client_that_gave_up_releases_what_it_held() {
    let paused = Paused::new();
    let options = ClientOptions { deadline: Duration::from_secs(3), spin: 0 };
    let error = paused.run(options, |client, switch| {
        let (file, pages) = (file(&client, "file"), pages(&client, "pages"));
        pages.begin().unwrap();
        pages.lock().unwrap();
        switch.pause();
        let error = kind(client.list());
        drop((file, pages));
        error
    });
    assert_eq!(error, Some(Kind::Timeout));
    paused.run(LONG, |client, _switch| {
        client.remove("file").unwrap();
        let pages = pages(&client, "pages");
        pages.begin().unwrap();
        pages.lock().unwrap();
    });
}

#[test]
fn adjacent_writes_that_are_queued_become_one() {
    let paused = Paused::new();
    paused.run(LONG, |client, switch| {
        let file = file(&client, "a");
        switch.pause();
        for part in 0..100_u64 {
            file.write_at(part * 10, &[part as u8; 10]).unwrap();
        }
        file.write_at(5000, b"apart").unwrap();
        switch.resume();
        let mut bytes = vec![0; 1000];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), 1000);
        assert!(bytes.iter().enumerate().all(|(place, byte)| *byte == (place / 10) as u8));
    });
    let writes = paused.server.metrics().get(Op::Write);
    assert_eq!((writes.count, writes.bytes), (2, 1005));
}

#[test]
fn a_dead_server_is_noticed_at_once_while_waiting() {
    let (ring, bell) = (SharedCells::new(RING_BYTES), SharedCells::new(64));
    let page = {
        let (ring, bell) = (ring.clone(), bell.clone());
        thread::spawn(move || {
            bell.wait(BELL, 0, Duration::MAX);
            ring.store(word::DEAD, 1);
            ring.fetch_add(word::WAKE, 1);
            ring.notify(word::WAKE);
        })
    };
    let client = connect(ring, bell, LONG).unwrap();
    let start = Instant::now();
    let error = client.list().unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::Closed, "list: the I/O worker died".to_owned()));
    assert!(start.elapsed() < LONG.deadline / 4);
    page.join().unwrap();
}

#[test]
fn a_stopped_server_answers_what_is_queued_and_nothing_later() {
    let server = memory();
    let client = server.client(LONG).unwrap();
    let file = file(&client, "a");
    file.write_at(0, b"queued").unwrap();
    server.call(Server::stop);
    // The stop came behind the write on the server's side, so it is answered or refused, but never left waiting.
    let error = (0..).find_map(|_| file.len().err()).unwrap();
    assert_eq!(error.kind(), Kind::Closed);
    assert!(error.to_string().contains("the I/O worker stopped"), "{error}");
}

#[test]
fn a_removed_client_loses_its_files_and_is_told() {
    let server = memory();
    let (ring, bell) = (SharedCells::new(RING_BYTES), server.doorbell().clone());
    let id = server.add_client(ring.clone());
    let dying = connect(ring, bell, LONG).unwrap();
    let held = file(&dying, "a");
    held.write_at(0, b"posted").unwrap();
    let other = server.client(LONG).unwrap();
    assert_eq!(kind(other.remove("a")), Some(Kind::Busy));
    server.call(move |server| server.remove_client(id));
    assert_eq!(file(&other, "a").len(), Ok(6), "what the client had posted was carried out");
    other.remove("a").unwrap();
    assert_eq!(kind(held.flush()), Some(Kind::Closed));
}

#[test]
fn a_dropped_client_releases_what_it_held() {
    let server = memory();
    let client = server.client(LONG).unwrap();
    let held = file(&client, "a");
    drop((client, held));
    let other = server.client(LONG).unwrap();
    // Nothing orders the one client's posts and the other's, so the end of the first may come a little later.
    let start = Instant::now();
    while kind(other.remove("a")) == Some(Kind::Busy) {
        assert!(start.elapsed() < LONG.deadline, "the file stays open");
        thread::yield_now();
    }
}

fn simulated() -> Thread<DiskHost<SimDisk>> {
    Thread::spawn(|| DiskHost::in_memory(SimDisk::new(1)))
}

fn limit(server: &Thread<DiskHost<SimDisk>>, bytes: Option<u64>) {
    server.call(move |server| server.host().0.set_faults(Faults { quota_bytes: bytes, ..Faults::default() }));
}

#[test]
fn a_posted_write_that_failed_is_told_exactly_once() {
    let server = simulated();
    let client = server.client(LONG).unwrap();
    let file = file(&client, "app.db");
    file.write_at(0, &[1; 1000]).unwrap();
    file.flush().unwrap();
    limit(&server, Some(1000));
    file.write_at(1000, &[2; 500]).expect("it is only posted");
    let error = file.flush().unwrap_err();
    assert_eq!((error.kind(), error.path()), (Kind::Quota, Some("app.db")));
    assert!(error.to_string().starts_with("a write posted earlier failed"), "{error}");
    limit(&server, None);
    file.flush().unwrap();
    file.write_at(0, &[3]).unwrap();
    file.flush().expect("it was told once");
    assert_eq!(server.call(|server| server.metrics().get(Op::Write).errors), 1);
}

#[test]
fn what_was_lost_is_forgotten_once_the_file_is_cut_before_it() {
    let server = simulated();
    let client = server.client(LONG).unwrap();
    let (journal, db) = (file(&client, "db-journal"), file(&client, "db"));
    for (len, told) in [(101, true), (100, false), (0, false)] {
        journal.set_len(0).unwrap();
        journal.write_at(0, &[1; 100]).unwrap();
        journal.flush().unwrap();
        limit(&server, Some(100));
        journal.write_at(100, b"lost").unwrap();
        journal.write_at(200, b"lost, too").unwrap();
        assert_eq!(kind(db.len()), Some(Kind::Quota), "told by a call about another file");
        limit(&server, None);
        journal.set_len(len).unwrap();
        assert_eq!(kind(journal.flush()), told.then_some(Kind::Quota), "cut to {len}");
    }
}

#[test]
fn nothing_is_written_behind_a_failure_until_it_was_told() {
    let server = simulated();
    let client = server.client(LONG).unwrap();
    let (journal, db) = (file(&client, "db-journal"), file(&client, "db"));
    db.write_at(0, b"old").unwrap();
    db.flush().unwrap();
    limit(&server, Some(3));
    journal.write_at(0, b"old").unwrap();
    db.write_at(0, b"new").unwrap();
    let mut bytes = [0; 3];
    let error = db.read_at(0, &mut bytes).unwrap_err();
    assert_eq!((error.kind(), error.path()), (Kind::Quota, Some("db-journal")));
    assert!(error.to_string().contains("and 1 after it were not carried out"), "{error}");
    db.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"old");
    db.flush().expect("a call about this file was told already");
    assert_eq!(kind(journal.flush()), Some(Kind::Quota), "who believes in the journal is told, too");
    journal.flush().expect("but once");
}

#[test]
fn a_commit_is_not_concerned_by_the_failure_of_a_file() {
    let server = simulated();
    let client = server.client(LONG).unwrap();
    let (file, pages) = (file(&client, "file"), pages(&client, "pages"));
    limit(&server, Some(0));
    file.write_at(0, b"lost").unwrap();
    pages.begin().unwrap();
    pages.lock().unwrap();
    pages.write_at(0, b"kept").unwrap();
    assert_eq!(client.commit(&[pages.id()], Durability::Full, None), Ok(1));
    pages.end().unwrap();
    assert_eq!(kind(client.list()), Some(Kind::Quota), "the next call about files, whatever it is");
}

#[test]
fn both_ends_count() {
    let server = memory();
    let client = server.client(LONG).unwrap();
    let file = file(&client, "a");
    file.write_at(0, &[1; 100]).unwrap();
    file.flush().unwrap();
    file.read_at(50, &mut [0; 100]).unwrap();
    assert_eq!(kind(client.remove("none")), Some(Kind::NotFound));
    drop(file);
    client.list().unwrap();
    let counts = |metrics: &statik_bridge::metrics::Metrics| -> Vec<_> {
        metrics.iter().map(|(name, totals)| (name, totals.count, totals.errors, totals.bytes)).collect()
    };
    let expected = [
        ("open", 1, 0, 0),
        ("read", 1, 0, 50),
        ("write", 1, 0, 100),
        ("flush", 1, 0, 0),
        ("close", 1, 0, 0),
        ("remove", 1, 1, 0),
        ("list", 1, 0, 0),
    ];
    assert_eq!(counts(client.metrics()), expected);
    assert_eq!(server.call(move |server| counts(server.metrics())), expected);
    let open = client.metrics().get(Op::Open);
    assert!(open.max_ms > 0.0 && open.total_ms >= open.max_ms, "{open:?}");
}

#[test]
fn a_list_longer_than_an_answer_comes_in_parts() {
    let server = memory();
    let ring = SharedCells::new(33 * 1024);
    server.add_client(ring.clone());
    let client = connect(ring, server.doorbell().clone(), LONG).unwrap();
    let mut names: Vec<_> = (0..500).map(|number| format!("{}/{number:03}", "x".repeat(100))).collect();
    for name in &names {
        drop(file(&client, name));
    }
    let mut listed = client.list().unwrap();
    listed.sort();
    names.sort();
    assert_eq!(listed, names);
    assert!(client.metrics().get(Op::List).count >= 4, "500 names of 104 bytes do not fit in 48 KiB");
}

#[test]
fn who_opens_too_much_is_busy() {
    let server = memory();
    let client = server.client(LONG).unwrap();
    let mut open: Vec<_> = (0..4096).map(|_| pages(&client, "a")).collect();
    assert_eq!(kind(Pages::open(&client, "a", Open::Create)), Some(Kind::Busy));
    assert_eq!(kind(Disk::open(&client, "b", Open::Create)), Some(Kind::Busy));
    open.pop();
    file(&client, "b");
}

#[test]
fn rings_are_checked() {
    let server = Server::new(DiskHost::in_memory(MemDisk::new()), SharedCells::new(BOARD_BYTES), clock).unwrap();
    let small = SharedCells::new(1024);
    assert_eq!(kind(server.add_client(1, small.clone())), Some(Kind::Invalid));
    assert_eq!(kind(connect(small, SharedCells::new(64), LONG)), Some(Kind::Invalid));
    let ring = SharedCells::new(RING_BYTES);
    server.add_client(1, ring.clone()).unwrap();
    assert_eq!(kind(server.add_client(1, SharedCells::new(RING_BYTES))), Some(Kind::Exists));
    connect(ring.clone(), SharedCells::new(64), LONG).unwrap();
    assert_eq!(kind(connect(ring, SharedCells::new(64), LONG)), Some(Kind::Invalid));
    server.stop();
    assert_eq!(kind(server.add_client(2, SharedCells::new(RING_BYTES))), Some(Kind::Closed));
}

/// A host whose "slow" files open only once the test says so.
#[derive(Default)]
struct Slow {
    disk: MemDisk,
    pages: MemPages,
    begun: Cell<usize>,
    released: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

impl Slow {
    fn release(&self) {
        self.released.set(true);
        self.wakers.take().into_iter().for_each(Waker::wake);
    }
}

impl AsyncDisk for Slow {
    async fn open(&self, path: &str, open: Open) -> Result<Rc<dyn File>> {
        if path == "slow" {
            self.begun.set(self.begun.get() + 1);
            poll_fn(|context| {
                self.wakers.borrow_mut().push(context.waker().clone());
                if self.released.get() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        self.disk.open(path, open).map(Rc::from)
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.disk.remove(path)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.disk.rename(from, to)
    }

    async fn list(&self) -> Result<Vec<String>> {
        self.disk.list()
    }
}

impl Host for Slow {
    async fn attach(&self, path: &str, open: Open) -> Result<u32> {
        self.pages.attach(path, open)
    }

    fn pages(&self) -> &dyn PageStore {
        &self.pages
    }
}

/// A thread that opens "slow" and writes to it, begun on the server, and the number of its client.
fn open_slowly(server: &Thread<Slow>) -> (u32, thread::JoinHandle<Option<Kind>>) {
    let ring = SharedCells::new(RING_BYTES);
    let id = server.add_client(ring.clone());
    let bell = server.doorbell().clone();
    let opener = thread::spawn(move || {
        let client = connect(ring, bell, LONG).unwrap();
        let opened = Disk::open(&client, "slow", Open::Create);
        kind(opened.and_then(|file| file.write_at(0, b"written").and_then(|()| file.flush())))
    });
    while server.call(|server| server.host().begun.get()) == 0 {
        thread::yield_now();
    }
    (id, opener)
}

#[test]
fn nobody_waits_for_anothers_asynchronous_request() {
    let server = Thread::spawn(Slow::default);
    let (_, opener) = open_slowly(&server);
    let other = server.client(LONG).unwrap();
    let quick = file(&other, "quick");
    quick.write_at(0, b"served").unwrap();
    assert_eq!(quick.len(), Ok(6));
    assert_eq!(other.list(), Ok(vec!["quick".to_owned()]));
    server.call(|server| server.host().release());
    assert_eq!(opener.join().unwrap(), None);
    assert_eq!(file(&other, "slow").len(), Ok(7));
}

#[test]
fn what_a_removed_client_had_begun_to_open_is_closed_once_it_is_open() {
    let server = Thread::spawn(Slow::default);
    let (id, opener) = open_slowly(&server);
    let other = server.client(LONG).unwrap();
    server.call(move |server| server.remove_client(id));
    assert_eq!(opener.join().unwrap(), Some(Kind::Closed), "it does not wait for what will not come");
    server.call(|server| server.host().release());
    let start = Instant::now();
    while let Some(kind) = kind(other.remove("slow")) {
        assert!([Kind::NotFound, Kind::Busy].contains(&kind), "{kind}");
        assert!(start.elapsed() < LONG.deadline, "the file stays open");
        thread::yield_now();
    }
}

#[test]
fn stopping_waits_for_what_was_begun() {
    let server = Thread::spawn(Slow::default);
    let (_, opener) = open_slowly(&server);
    server.call(Server::stop);
    server.call(|server| server.host().release());
    drop(server);
    assert!([None, Some(Kind::Closed)].contains(&opener.join().unwrap()), "an answer, or the end; not the deadline");
}
