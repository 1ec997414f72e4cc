//! Connections in several threads, over the bridge to one store: nothing is lost, nobody sees a half, who waits is
//! woken.

use std::rc::Rc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use statik_bridge::native::{SharedCells, Thread, clock};
use statik_bridge::{Client, ClientOptions, DiskHost};
use statik_disk::{Kind, MemDisk};
use statik_sqlite::{Connection, OpenOptions, Value, Vfs};
use statik_store::{Options, Store};

type Served = Thread<DiskHost<MemDisk>>;

fn serve() -> Served {
    Thread::spawn(|| {
        let disk = MemDisk::new();
        let store = Store::open(Rc::new(disk.clone()), Options::default()).expect("a store");
        DiskHost(disk, Rc::new(store))
    })
}

/// What a thread needs to become a client, made on the main thread.
struct Seat {
    ring: SharedCells,
    doorbell: SharedCells,
    board: SharedCells,
    id: u32,
}

impl Seat {
    fn new(server: &Served) -> Seat {
        let ring = SharedCells::new(2 * 1024 * 1024 + 4096);
        let id = server.add_client(ring.clone());
        Seat { ring, doorbell: server.doorbell().clone(), board: server.board().clone(), id }
    }

    fn open(self, busy_timeout_ms: u32) -> Connection {
        let options = ClientOptions::default();
        let client = Client::new(self.ring, self.doorbell, self.board, self.id, options, clock).expect("a client");
        let vfs = Vfs::register(Rc::new(client), clock).expect("a VFS");
        Connection::open(&vfs, "a.db", &OpenOptions { busy_timeout_ms, ..OpenOptions::default() }).expect("open")
    }
}

fn number(db: &Connection, sql: &str) -> i64 {
    let mut statement = db.prepare(sql).expect(sql);
    assert!(statement.step().unwrap_or_else(|error| panic!("{sql}: {error}")), "{sql}");
    match statement.value(0) {
        Value::Integer(value) => value,
        value => panic!("{sql}: {value:?}"),
    }
}

/// Runs `job` in so many threads, each with a connection that waits for a minute, on a database that `sql` made. Then
/// the database must be sound, and what `query` gives is the answer.
fn in_threads(sql: &str, threads: usize, job: impl Fn(usize, &Connection) + Sync, query: &str) -> i64 {
    let server = serve();
    let db = Seat::new(&server).open(60_000);
    db.exec(sql).expect(sql);
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (seat, start, job) = (Seat::new(&server), &start, &job);
            scope.spawn(move || {
                let db = seat.open(60_000);
                start.wait();
                job(thread, &db);
            });
        }
    });
    let findings = number(&db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'");
    assert_eq!(findings, 0);
    number(&db, query)
}

#[test]
fn contended_changes_are_all_there() {
    let add = |_, db: &Connection| {
        for _ in 0..50 {
            db.exec("BEGIN IMMEDIATE").expect("it comes in turn");
            let x = number(db, "SELECT x FROM t");
            db.exec(&format!("UPDATE t SET x = {}; COMMIT", x + 1)).expect("commit");
            db.exec("UPDATE t SET x = x + 1").expect("it comes in turn");
        }
    };
    assert_eq!(in_threads("CREATE TABLE t(x); INSERT INTO t VALUES (0)", 4, add, "SELECT x FROM t"), 400);
}

#[test]
fn who_reads_first_and_finds_the_view_stale_starts_over() {
    let add = |_, db: &Connection| {
        let mut done = 0;
        while done < 40 {
            db.exec("BEGIN").expect("begin");
            let x = number(db, "SELECT x FROM t");
            match db.exec(&format!("UPDATE t SET x = {}; COMMIT", x + 1)) {
                Ok(()) => done += 1,
                Err(error) => {
                    assert!(matches!(error.kind(), Kind::Conflict | Kind::Busy), "{error}");
                    db.exec("ROLLBACK").expect("rollback");
                }
            }
        }
    };
    assert_eq!(in_threads("CREATE TABLE t(x); INSERT INTO t VALUES (0)", 3, add, "SELECT x FROM t"), 120);
}

#[test]
fn readers_never_see_a_half_of_a_change() {
    let stop = AtomicBool::new(false);
    let sql = "CREATE TABLE t(k INTEGER PRIMARY KEY, x, pad); CREATE INDEX xs ON t(x);
               WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
                 INSERT INTO t SELECT i, 0, hex(zeroblob(200)) FROM n";
    let job = |thread, db: &Connection| {
        if thread == 0 {
            for at in 0..150 {
                let (from, to) = (at * 37 % 200, at * 91 % 200);
                db.exec(&format!(
                    "BEGIN; UPDATE t SET x = x - 7 WHERE k = {from}; UPDATE t SET x = x + 7 WHERE k = {to}"
                ))
                .expect("change");
                db.exec("COMMIT").expect("commit");
            }
            stop.store(true, SeqCst);
            return;
        }
        let mut looks = 0;
        while !stop.load(SeqCst) || looks == 0 {
            assert_eq!(number(db, "SELECT sum(x) FROM t"), 0);
            assert_eq!(
                number(db, "SELECT (SELECT sum(x) FROM t INDEXED BY xs) + (SELECT sum(x) FROM t NOT INDEXED)"),
                0
            );
            looks += 1;
        }
    };
    assert_eq!(in_threads(sql, 4, job, "SELECT sum(abs(x)) > 0 FROM t"), 1);
}

#[test]
fn who_waits_is_woken_when_the_lock_is_free_and_not_before() {
    let server = serve();
    let holder = Seat::new(&server).open(0);
    holder.exec("CREATE TABLE t(x); BEGIN IMMEDIATE").expect("it is free");
    let (patient, brief, start) = (Seat::new(&server), Seat::new(&server), Barrier::new(2));
    std::thread::scope(|scope| {
        let woken = scope.spawn(|| {
            let db = patient.open(60_000);
            let asked_ms = clock();
            start.wait();
            db.exec("INSERT INTO t VALUES (1)").expect("it comes");
            (asked_ms, clock())
        });
        let given_up = scope.spawn(|| {
            let db = brief.open(100);
            start.wait();
            let asked_ms = clock();
            let error = db.exec("INSERT INTO t VALUES (2)").expect_err("it does not come in time");
            assert_eq!(error.kind(), Kind::Busy, "{error}");
            clock() - asked_ms
        });
        let waited_ms = given_up.join().expect("no panic");
        assert!((100.0..10_000.0).contains(&waited_ms), "{waited_ms} ms");
        let free_ms = clock();
        holder.exec("COMMIT").expect("commit");
        let (asked_ms, got_ms) = woken.join().expect("no panic");
        assert!(asked_ms < free_ms && got_ms > free_ms, "{asked_ms}, {free_ms}, {got_ms}");
    });
    assert_eq!(number(&holder, "SELECT sum(x) FROM t"), 1);
}
