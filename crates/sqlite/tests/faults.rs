//! A store that fails, at every call of a script in turn. What must hold: the failure is told by its kind; nothing of
//! the transaction under way is seen by anybody, its own connection included; and the connection goes on.

mod support;

use statik_disk::Kind;
use statik_sqlite::{Connection, Error, OpenOptions};
use support::{Bench, Fault, rows};

/// Transactions over two databases, some of which spill, shrink, or roll back a part.
const SCRIPT: &[&str] = &[
    "PRAGMA auto_vacuum=FULL; BEGIN; CREATE TABLE t(k INTEGER PRIMARY KEY, v); CREATE INDEX vs ON t(v); COMMIT",
    "PRAGMA b.auto_vacuum=FULL; CREATE TABLE b.u(x)",
    "INSERT INTO t(v) VALUES ('one'), ('two')",
    "BEGIN; INSERT INTO t(v) VALUES ('three'); INSERT INTO b.u VALUES (3); COMMIT",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 24)
       INSERT INTO t(v) SELECT hex(zeroblob(700)) || i FROM n",
    "BEGIN; INSERT INTO b.u SELECT v FROM t; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; UPDATE t SET v = v || '!'
       WHERE k % 2; COMMIT",
    "BEGIN; DELETE FROM t WHERE k > 5; DELETE FROM b.u WHERE rowid > 5; COMMIT",
    "BEGIN; UPDATE t SET v = 'x'; ROLLBACK",
    "BEGIN; SELECT count(*) FROM t; INSERT INTO b.u VALUES (9); UPDATE t SET v = 'last' WHERE k = 1; COMMIT",
    "VACUUM",
];

const LOOK: [&str; 4] =
    ["SELECT name FROM sqlite_schema", "SELECT name FROM b.sqlite_schema", "SELECT k, v FROM t", "SELECT x FROM u"];

type State = Vec<Vec<String>>;

fn open(bench: &Bench) -> Result<Connection, Error> {
    // A cache this small spills.
    let options = OpenOptions { cache_kib: 20, busy_timeout_ms: 0, ..OpenOptions::default() };
    let db = Connection::open(&bench.vfs, "a.db", &options)?;
    db.exec("ATTACH 'b.db' AS b")?;
    Ok(db)
}

/// What is in both databases; nothing where there is no table yet.
fn look(db: &Connection) -> State {
    LOOK.iter().map(|sql| rows(db, sql).unwrap_or_default()).collect()
}

/// Runs the script from a transaction on; how many are done, and what stopped it.
fn run(db: &Connection, from: usize) -> (usize, Option<Error>) {
    for (at, sql) in SCRIPT.iter().enumerate().skip(from) {
        if let Err(error) = db.exec(sql) {
            return (at, Some(error));
        }
    }
    (SCRIPT.len(), None)
}

/// The states before and after each transaction, and the number of calls.
fn in_peace() -> (Vec<State>, usize) {
    let bench = Bench::new();
    let db = open(&bench).expect("open");
    let mut states = vec![look(&db)];
    for sql in SCRIPT {
        db.exec(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        states.push(look(&db));
    }
    let bench = Bench::new();
    look(&open(&bench).expect("open"));
    bench.watch.take();
    assert_eq!(run(&open(&bench).expect("open"), 0), (SCRIPT.len(), None));
    (states, bench.watch.take().len())
}

/// Runs the script with a fault; whether it was met in a commit.
fn faulty(states: &[State], fault: Fault) -> bool {
    let bench = Bench::new();
    // Somebody who has looked at everything before.
    let witness = open(&bench).expect("open");
    look(&witness);
    bench.watch.take();
    bench.watch.fail.set(Some(fault));
    let (db, done, failure) = match open(&bench) {
        Ok(db) => {
            let (done, failure) = run(&db, 0);
            (Some(db), done, failure)
        }
        Err(error) => (None, 0, Some(error)),
    };
    bench.watch.fail.set(None);
    let failed = bench.watch.failed.get();
    assert!(failed.is_some(), "{fault:?} is met");
    if let Some(error) = &failure {
        assert_eq!(error.kind(), fault.kind, "{fault:?} in {failed:?}: {error}");
    }
    let db = db.unwrap_or_else(|| open(&bench).expect("open again"));
    if db.in_transaction() {
        db.exec("ROLLBACK").unwrap_or_else(|error| panic!("{fault:?}: rolling back: {error}"));
    }
    let fresh = open(&bench).expect("another");
    let (expected, own) = (look(&fresh), look(&db));
    assert!(
        expected == states[done] || fault.done && failure.is_some() && expected == states[done + 1],
        "{fault:?} in {failed:?}, transaction {done}, {failure:?}: {expected:?}"
    );
    assert_eq!(own, expected, "{fault:?} in {failed:?}: the connection itself");
    assert_eq!(look(&witness), expected, "{fault:?} in {failed:?}: a connection that looked before");
    let done = if expected == states[done] { done } else { done + 1 };
    let (done, failure) = run(&db, done);
    assert_eq!((done, failure), (SCRIPT.len(), None), "{fault:?} in {failed:?}: it goes on");
    for db in [&db, &witness, &fresh] {
        assert_eq!(look(db), states[SCRIPT.len()], "{fault:?} in {failed:?}: in the end");
        for schema in ["main", "b"] {
            let check = rows(db, &format!("PRAGMA {schema}.integrity_check")).expect("check");
            assert_eq!(check, ["ok"], "{fault:?} in {failed:?}");
        }
    }
    failed == Some("commit")
}

/// With a fault at every `step`th call.
fn everywhere(kind: Kind, done: bool, step: usize) {
    let (states, calls) = in_peace();
    assert!(calls > 200, "{calls} calls");
    let commits = (0..calls).step_by(step).filter(|at| faulty(&states, Fault { at: *at, kind, done })).count();
    assert!(step > 1 || commits >= 7, "{commits} of {calls} calls are commits");
}

#[test]
fn a_call_that_fails_without_effect_fails_one_transaction() {
    everywhere(Kind::Io, false, 1);
}

#[test]
fn a_call_that_fails_after_its_effect_leaves_all_or_nothing() {
    everywhere(Kind::Io, true, 1);
}

#[test]
fn the_kind_of_a_failure_is_kept() {
    for (first, kind) in [Kind::Quota, Kind::Closed, Kind::ReadOnly, Kind::Timeout, Kind::Corrupt].iter().enumerate() {
        everywhere(*kind, first % 2 == 0, 11);
    }
}

/// The next commit fails, in one way or the other.
fn fail_commit(bench: &Bench, done: bool) {
    bench.watch.take();
    bench.watch.fail_commit.set(Some(done));
}

#[test]
fn a_failed_commit_leaves_no_page_that_another_commit_could_pass_for() {
    for done in [false, true] {
        for reading in [false, true] {
            let bench = Bench::new();
            let (one, two) = (open(&bench).expect("open"), open(&bench).expect("open"));
            one.exec("CREATE TABLE t(x); CREATE TABLE b.u(x); INSERT INTO t VALUES (0); INSERT INTO b.u VALUES (0)")
                .expect("tables");
            let mut cursor = one.prepare("SELECT x FROM t, (SELECT 1 UNION ALL SELECT 2)").expect("prepare");
            if reading {
                assert!(cursor.step().expect("a row"));
            }
            fail_commit(&bench, done);
            let error = one.exec("BEGIN; UPDATE t SET x = 1; UPDATE b.u SET x = 1; COMMIT").expect_err("it fails");
            assert_eq!(error.kind(), Kind::Io);
            assert!(!one.in_transaction(), "SQLite rolls back by itself");
            if reading {
                // It may have read on from before, or be stopped; it does not see what failed.
                match cursor.step() {
                    Ok(true) => assert_eq!(cursor.value(0), statik_sqlite::Value::Integer(0)),
                    Ok(false) => panic!("there is a second row"),
                    Err(error) => assert_eq!(error.kind(), Kind::Io, "{error}"),
                }
            }
            drop(cursor);
            // In the file's header this commit looks as the failed one would have.
            let expected = if done { "1" } else { "0" };
            for table in ["t", "u"] {
                assert_eq!(rows(&two, &format!("SELECT x FROM {table}")).expect("read"), [expected]);
            }
            two.exec("BEGIN; UPDATE t SET x = 2; UPDATE b.u SET x = 2; COMMIT").expect("the locks are free");
            for db in [&one, &two] {
                for table in ["t", "u"] {
                    assert_eq!(rows(db, &format!("SELECT x FROM {table}")).expect("read"), ["2"], "{table}");
                }
            }
            one.exec("BEGIN; UPDATE t SET x = 3; UPDATE b.u SET x = 3; COMMIT").expect("it goes on");
            assert_eq!(rows(&two, "SELECT t.x, u.x FROM t, u").expect("read"), ["3|3"]);
        }
    }
}
