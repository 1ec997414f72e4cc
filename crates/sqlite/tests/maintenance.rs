//! Checks, copies, compaction, and what a connection tells of its statements.

mod support;

use statik_bridge::pages::Pages;
use statik_disk::Kind;
use statik_sqlite::{Connection, ForeignKeyViolation, OpenOptions};
use support::{Bench, one, rows};

/// A database with holes and a foreign key that leads nowhere.
fn worn(bench: &Bench) -> Connection {
    let db = bench.open_with("a.db", &OpenOptions { foreign_keys: false, ..OpenOptions::default() });
    db.exec(
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p(id), v);
         CREATE INDEX vs ON c(v); INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 'a'), (2, 'b'), (NULL, 'c');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
           INSERT INTO c SELECT 1, hex(randomblob(100)) FROM n;
         DELETE FROM c WHERE rowid % 2",
    )
    .expect("rows");
    db
}

#[test]
fn health_tells_what_is_wrong_and_what_is_wasted() {
    let bench = Bench::new();
    let db = worn(&bench);
    let quick = db.health(false).expect("health");
    assert_eq!((quick.foreign_keys.len(), quick.fragmentation), (0, None), "that takes a full check");
    let full = db.health(true).expect("health");
    let violation = ForeignKeyViolation { table: "c".to_owned(), rowid: Some(2), parent: "p".to_owned() };
    assert_eq!(full.foreign_keys, [violation]);
    assert!(full.fragmentation.is_some_and(|share| share > 0.2 && share <= 1.0), "{full:?}");
    for health in [&quick, &full] {
        assert_eq!(health.integrity, [""; 0]);
        assert_eq!(health.page_bytes.to_string(), one(&db, "PRAGMA page_size"));
        assert_eq!(health.pages.to_string(), one(&db, "PRAGMA page_count"));
        assert!(health.usage.commits > 3);
    }
    db.exec("DELETE FROM c WHERE rowid % 3").expect("delete");
    assert!(db.health(false).expect("health").free_pages > full.free_pages);
    db.vacuum().expect("vacuum");
    let after = db.health(true).expect("health");
    assert_eq!(after.free_pages, 0);
    assert!(after.fragmentation < full.fragmentation, "{after:?}");
    assert!(!db.in_transaction());
    db.exec("BEGIN").expect("begin");
    db.health(false).expect("within a transaction");
    assert!(db.in_transaction());
}

#[test]
fn a_full_check_finds_an_index_that_lacks_a_row_and_a_quick_one_a_broken_page() {
    let bench = Bench::new();
    let db = worn(&bench);
    let root: u64 = one(&db, "SELECT rootpage FROM sqlite_schema WHERE name = 'vs'").parse().expect("a number");
    let bytes: u64 = one(&db, "PRAGMA page_size").parse().expect("a number");
    let file = bench.local.open("a.db", statik_disk::Open::Existing).expect("open");
    let harm = |offset: u64, byte: u8| {
        file.begin().expect("begin");
        file.lock().expect("lock");
        file.write_at((root - 1) * bytes + offset, &[byte]).expect("write");
        bench.local.commit(&[file.id()], statik_bridge::pages::Durability::Full, None).expect("commit");
        file.end().expect("end");
    };
    let mut cells = [0; 2];
    file.begin().expect("begin");
    file.read_at((root - 1) * bytes + 3, &mut cells).expect("read");
    file.end().expect("end");
    harm(4, cells[1] - 1);
    let other = bench.open("a.db");
    let health = other.health(true).expect("health");
    assert!(!health.integrity.is_empty());
    assert_eq!(health.fragmentation, None);
    harm(0, 0x77);
    assert!(!bench.open("a.db").health(false).expect("health").integrity.is_empty());
}

#[test]
fn a_backup_is_one_snapshot_and_one_commit() {
    let bench = Bench::new();
    let db = bench.open("a.db");
    db.exec(
        "CREATE TABLE t(x, v); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
           INSERT INTO t SELECT 0, zeroblob(900) FROM n",
    )
    .expect("rows");
    let (other, copy) = (bench.open("a.db"), bench.open("copy.db"));
    copy.exec("CREATE TABLE old(x)").expect("something is there before");
    let (mut steps, mut last) = (0, 0);
    bench.watch.commits.take();
    let mut backup = db.backup("copy.db").expect("backup");
    while !backup.step(100).expect("step") {
        let done = backup.done_bytes();
        assert!(done > last && done < backup.total_bytes());
        (steps, last) = (steps + 1, done);
        other.exec("UPDATE t SET x = x + 1 WHERE rowid IN (1, 2000, 4000)").expect("writers go on");
        assert_eq!(one(&copy, "SELECT name FROM sqlite_schema"), "old");
    }
    assert!(steps > 3, "{steps} steps");
    assert_eq!(backup.done_bytes(), backup.total_bytes());
    assert_eq!(bench.watch.commits.borrow().len(), steps + 1, "one of the copy, the others of the writer");
    assert_eq!(one(&copy, "SELECT count(*) || ' ' || total(x) FROM t"), "4000 0.0");
    assert_eq!(one(&copy, "PRAGMA integrity_check"), "ok");
    assert_eq!(one(&db, "SELECT total(x) FROM t"), (steps * 3).to_string());
    assert_eq!(backup.step(1).expect_err("it has ended").kind(), Kind::Closed);
    drop(backup);
    copy.exec("INSERT INTO t VALUES (1, 1)").expect("it has let go");
    bench.local.checkpoint().expect("no view is held");
}

#[test]
fn a_backup_that_ends_early_leaves_nothing() {
    let bench = Bench::new();
    let db = bench.open("a.db");
    db.exec("CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(3000000))").expect("rows");
    let mut stopped = db.backup("copy.db").expect("backup");
    assert!(!stopped.step(10).expect("step"));
    drop(stopped);
    bench.watch.fail_commit.set(Some(false));
    let mut failing = db.backup("copy.db").expect("backup");
    assert_eq!(failing.step(u32::MAX).expect_err("the commit fails").kind(), Kind::Io);
    assert_eq!(failing.step(1).expect_err("it has ended").kind(), Kind::Closed);
    bench.watch.fail.set(None);
    assert_eq!(one(&bench.open("copy.db"), "PRAGMA page_count"), "0");
    assert!(db.backup("copy.db").expect("backup").step(u32::MAX).expect("nothing is in the way"));
    assert_eq!(one(&bench.open("copy.db"), "SELECT length(x) FROM t"), "3000000");
    let memory = bench.open(":memory:");
    memory.exec("CREATE TABLE m(x); INSERT INTO m VALUES (5)").expect("rows");
    let mut backup = memory.backup("memory.db").expect("from memory");
    drop(memory);
    assert!(backup.step(u32::MAX).expect("step"), "the database lives as long as its backup");
    assert_eq!(one(&bench.open("memory.db"), "SELECT x FROM m"), "5");
}

#[test]
fn a_checkpoint_says_if_an_old_view_is_in_its_way() {
    let bench = Bench::new();
    let (db, other) = (bench.open("a.db"), bench.open("a.db"));
    db.exec("CREATE TABLE t(x)").expect("a table");
    other.exec("BEGIN; SELECT * FROM t").expect("a view");
    db.exec("INSERT INTO t VALUES (1)").expect("insert");
    assert_eq!(db.checkpoint().expect_err("the view is older").kind(), Kind::Busy);
    db.exec("PRAGMA wal_checkpoint; PRAGMA wal_checkpoint(PASSIVE)").expect("as much as goes");
    assert_eq!(db.exec("PRAGMA wal_checkpoint(FULL)").expect_err("all of it").kind(), Kind::Busy);
    other.exec("COMMIT").expect("commit");
    db.exec("PRAGMA wal_checkpoint(FULL)").expect("all of it");
    db.checkpoint().expect("nothing left");
    assert_eq!(db.health(false).expect("health").usage.log_bytes, 0);
}

#[test]
fn statements_are_timed_and_slow_ones_kept_with_their_plan() {
    let bench = Bench::new();
    let db = bench.open("a.db");
    assert_eq!(db.timings().count, 0, "what the connection does for itself does not count");
    db.exec("CREATE TABLE t(x, y); CREATE INDEX xs ON t(x); INSERT INTO t VALUES (1, 2)").expect("a table");
    assert_eq!(db.timings().count, 3);
    db.set_slow_query_ms(Some(0.0));
    let query = "SELECT * FROM t WHERE x = 1 UNION ALL SELECT * FROM t WHERE y = 2";
    assert_eq!(rows(&db, query).expect("rows").len(), 2);
    assert!(db.exec("SELECT nothing").is_err());
    db.exec("DROP TABLE t; PRAGMA synchronous=OFF").expect("drop");
    let slow = db.take_slow_queries();
    assert_eq!(slow.len(), 3, "{slow:?}");
    assert_eq!((slow[0].sql.as_str(), slow[0].rows), (query, 2));
    let plan = &slow[0].plan;
    for detail in ["USING INDEX xs", "SCAN t"] {
        let row = plan.iter().find(|row| row.detail.contains(detail)).unwrap_or_else(|| panic!("{plan:?}"));
        assert!(plan.iter().any(|parent| parent.id == row.parent), "{plan:?}");
    }
    assert!(slow[2].plan.is_empty(), "a PRAGMA has no plan");
    assert_eq!(db.timings().count, 6);
    for _ in 0..100 {
        db.exec("SELECT 1").expect("select");
    }
    assert_eq!(db.take_slow_queries().len(), 32);
    db.set_slow_query_ms(Some(1e9));
    db.exec("SELECT 1").expect("select");
    assert!(db.take_slow_queries().is_empty());
    let timings = db.timings();
    assert_eq!(timings.buckets.iter().map(|count| u64::from(*count)).sum::<u64>(), timings.count);
    assert!(timings.max_ms <= timings.total_ms);
}

#[test]
fn time_between_steps_counts_unless_the_statement_is_paused() {
    let bench = Bench::new();
    let db = bench.open("a.db");
    let time = |pause: bool| {
        let before_ms = db.timings().total_ms;
        let mut statement = db.prepare("SELECT 1 UNION ALL SELECT 2").expect("prepare");
        assert!(statement.step().expect("step"));
        if pause {
            statement.pause();
        }
        let until_ms = support::clock() + 20.0;
        while support::clock() < until_ms {}
        statement.run().expect("run");
        db.timings().total_ms - before_ms
    };
    let (counted, paused) = (time(false), time(true));
    assert!(counted >= 20.0 && paused < 20.0, "{counted} ms, {paused} ms");
}

#[test]
fn the_page_cache_tells_how_well_it_does() {
    let bench = Bench::new();
    let db = worn(&bench);
    db.exec("SELECT count(v) FROM c").expect("warm");
    let before = db.cache_use().expect("use");
    db.exec("SELECT count(v) FROM c").expect("again");
    let after = db.cache_use().expect("use");
    assert!(after.hits > before.hits);
    assert_eq!(after.misses, before.misses);
}
