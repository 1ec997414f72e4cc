//! What transactions see of each other, and what they ask of the store.

mod support;

use statik_bridge::pages::Durability;
use statik_disk::Kind;
use statik_sqlite::{Connection, OpenOptions};
use support::{Bench, one, rows};

/// A table of one row.
fn counter(bench: &Bench) -> Connection {
    let db = bench.open("a.db");
    db.exec("CREATE TABLE t(x); INSERT INTO t VALUES (0)").expect("a table");
    db
}

fn sees(db: &Connection, expected: &str) {
    assert_eq!(one(db, "SELECT group_concat(x) FROM t"), expected);
}

#[test]
fn an_insert_costs_one_commit_and_a_select_one_read() {
    let bench = Bench::new();
    let db = counter(&bench);
    sees(&db, "0");
    let mut insert = db.prepare("INSERT INTO t VALUES (1)").expect("prepare");
    insert.run().expect("insert");
    bench.watch.take();
    insert.run().expect("insert");
    let calls = bench.watch.take();
    let expected = ["begin", "read 16", "lock", "write", "write", "commit", "end"];
    assert_eq!(calls, expected, "the header's page and the table's");
    assert_eq!(bench.watch.waits.get(), 0);
    let mut select = db.prepare("SELECT count(*) FROM t WHERE rowid = 2").expect("prepare");
    select.run().expect("select");
    assert_eq!(bench.watch.take(), ["begin", "read 16", "end"]);
    db.exec("BEGIN IMMEDIATE; COMMIT").expect("nothing");
    assert!(!bench.watch.take().contains(&"commit"), "what changes nothing commits nothing");
}

#[test]
fn a_reader_sees_its_snapshot_whatever_a_writer_does_meanwhile() {
    // The writer's steps and the reader's, in all orders that keep each one's own.
    let writer = ["BEGIN", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)", "COMMIT"];
    let reader = ["BEGIN", "SELECT", "SELECT", "COMMIT", "SELECT"];
    let orders: Vec<u32> = (0..1_u32 << 9).filter(|order| order.count_ones() as usize == writer.len()).collect();
    assert_eq!(orders.len(), 126);
    for order in orders {
        let bench = Bench::new();
        let writes = counter(&bench);
        let reads = bench.open("a.db");
        let (mut writer, mut reader) = (writer.iter(), reader.iter());
        let (mut committed, mut snapshot, mut open) = (false, None, false);
        for at in 0..9 {
            if order & (1 << at) != 0 {
                let sql = writer.next().expect("as many as the order says");
                writes.exec(sql).unwrap_or_else(|error| panic!("order {order:b}, {sql}: {error}"));
                committed |= *sql == "COMMIT";
                continue;
            }
            match *reader.next().expect("as many as the order says") {
                "SELECT" => {
                    let now = if committed { "0,1,2" } else { "0" };
                    sees(&reads, if open { snapshot.get_or_insert(now) } else { now });
                }
                sql => {
                    reads.exec(sql).expect("reader");
                    open = sql == "BEGIN";
                }
            }
        }
        sees(&reads, "0,1,2");
    }
}

#[test]
fn a_stale_view_cannot_be_written_from() {
    let bench = Bench::new();
    let (one, two) = (counter(&bench), bench.open("a.db"));
    two.exec("BEGIN").expect("begin");
    sees(&two, "0");
    one.exec("UPDATE t SET x = 1").expect("update");
    let error = two.exec("UPDATE t SET x = x + 1").expect_err("a lost update");
    assert_eq!((error.kind(), error.sqlite_code()), (Kind::Conflict, Some("SQLITE_BUSY_SNAPSHOT")));
    sees(&two, "0");
    two.exec("ROLLBACK; BEGIN IMMEDIATE; UPDATE t SET x = x + 1; COMMIT").expect("on a fresh view");
    sees(&one, "2");
}

#[test]
fn a_write_that_begins_while_another_commits_starts_over_by_itself() {
    let bench = Bench::new();
    let (db, other) = (counter(&bench), bench.open("a.db"));
    for (at, sql) in ["UPDATE t SET x = x + 1", "BEGIN IMMEDIATE; UPDATE t SET x = x + 1; COMMIT"].iter().enumerate() {
        let meanwhile = bench.open("a.db");
        bench.watch.before_lock.replace(Some(Box::new(move || meanwhile.exec("UPDATE t SET x = x + 10").expect("it"))));
        db.exec(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        sees(&other, &(11 * (at + 1)).to_string());
    }
    db.exec("BEGIN").expect("begin");
    sees(&db, "22");
    bench.watch.before_lock.replace(Some(Box::new(move || other.exec("UPDATE t SET x = x + 10").expect("it"))));
    assert_eq!(db.exec("UPDATE t SET x = x + 1").expect_err("it has read").sqlite_code(), Some("SQLITE_BUSY_SNAPSHOT"));
}

#[test]
fn one_writes_at_a_time_and_others_are_busy() {
    let bench = Bench::new();
    let (one, two) = (counter(&bench), bench.open("a.db"));
    one.exec("BEGIN IMMEDIATE").expect("begin");
    let error = two.exec("UPDATE t SET x = 5").expect_err("two writers");
    assert_eq!((error.kind(), error.sqlite_code()), (Kind::Busy, Some("SQLITE_BUSY")));
    sees(&two, "0");
    one.exec("UPDATE t SET x = 1; COMMIT").expect("commit");
    two.exec("UPDATE t SET x = x + 5").expect("the lock is free");
    sees(&one, "6");
    two.exec("BEGIN; UPDATE t SET x = 9; ROLLBACK").expect("rollback");
    one.exec("UPDATE t SET x = x + 1").expect("the lock is free");
    sees(&two, "7");
}

#[test]
fn a_busy_timeout_ends_and_leaves_the_queue() {
    let bench = Bench::new();
    let one = counter(&bench);
    let two = bench.open_with("a.db", &OpenOptions { busy_timeout_ms: 60, ..OpenOptions::default() });
    one.exec("BEGIN IMMEDIATE").expect("begin");
    let before_ms = support::clock();
    let error = two.exec("UPDATE t SET x = 5").expect_err("two writers");
    let waited_ms = support::clock() - before_ms;
    assert_eq!(error.kind(), Kind::Busy);
    assert!((60.0..2000.0).contains(&waited_ms), "waited {waited_ms} ms");
    assert!((1..=200).contains(&bench.watch.waits.get()), "asked {} times", bench.watch.waits.get());
    one.exec("COMMIT; BEGIN IMMEDIATE; COMMIT").expect("nobody is before it in the queue");
    two.set_interrupt(|| true);
    one.exec("BEGIN IMMEDIATE").expect("begin");
    let before_ms = support::clock();
    let error = two.exec("UPDATE t SET x = 5").expect_err("two writers");
    assert!(matches!(error.kind(), Kind::Busy | Kind::Aborted), "{error}");
    assert!(support::clock() - before_ms < 50.0, "a wait can be stopped");
}

#[test]
fn attached_databases_commit_together() {
    let bench = Bench::new();
    let db = bench.open("a.db");
    db.exec("ATTACH 'b.db' AS b; ATTACH 'c.db' AS \"odd \"\" name\"").expect("attach");
    db.exec("CREATE TABLE t(x); CREATE TABLE b.t(x); CREATE TABLE \"odd \"\" name\".t(x)").expect("tables");
    for schema in ["main", "b", "\"odd \"\" name\""] {
        assert_eq!(one(&db, &format!("PRAGMA {schema}.journal_mode")), "memory");
    }
    let others = [bench.open("a.db"), bench.open("b.db"), bench.open("c.db")];
    bench.watch.commits.take();
    db.exec("BEGIN; INSERT INTO t VALUES (1); INSERT INTO b.t VALUES (2); INSERT INTO \"odd \"\" name\".t VALUES (3)")
        .expect("insert");
    for other in &others {
        assert_eq!(one(other, "SELECT count(*) FROM t"), "0");
    }
    db.exec("COMMIT").expect("commit");
    assert_eq!(*bench.watch.commits.borrow(), [(3, Durability::Full)]);
    for (other, x) in others.iter().zip(["1", "2", "3"]) {
        sees(other, x);
    }
    db.exec("BEGIN; INSERT INTO t VALUES (4); INSERT INTO b.t VALUES (5); ROLLBACK").expect("rollback");
    db.exec("BEGIN; ATTACH 'd.db' AS d; CREATE TABLE d.t(x); INSERT INTO b.t VALUES (6); COMMIT").expect("late attach");
    assert_eq!(bench.watch.commits.borrow()[1..], [(2, Durability::Full)]);
    sees(&others[1], "2,6");
}

#[test]
fn attached_databases_that_shrink_commit_together_too() {
    let bench = Bench::new();
    let db = bench.open("a.db");
    db.exec("PRAGMA auto_vacuum=FULL; ATTACH 'b.db' AS b; PRAGMA b.auto_vacuum=FULL").expect("settings");
    for schema in ["main", "b"] {
        db.exec(&format!(
            "CREATE TABLE {schema}.t(x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
             INSERT INTO {schema}.t SELECT zeroblob(3000) FROM n"
        ))
        .expect("rows");
    }
    db.exec("BEGIN; DELETE FROM t WHERE rowid > 5; DELETE FROM b.t WHERE rowid > 5; COMMIT").expect("shrink");
    db.exec("INSERT INTO t VALUES (1); INSERT INTO b.t VALUES (1)").expect("goes on");
    drop(db);
    for name in ["a.db", "b.db"] {
        let db = bench.open(name);
        assert_eq!(one(&db, "PRAGMA integrity_check"), "ok", "{name}");
        assert_eq!(one(&db, "SELECT count(*) FROM t"), "6", "{name}");
        assert!(one(&db, "PRAGMA page_count").parse::<u32>().expect("a number") < 20, "{name}");
    }
}

#[test]
fn a_transaction_larger_than_the_cache_spills_and_rolls_back() {
    let bench = Bench::new();
    let db = bench.open_with("a.db", &OpenOptions { cache_kib: 24, busy_timeout_ms: 0, ..OpenOptions::default() });
    let other = bench.open("a.db");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
                INSERT INTO t(k, v) SELECT i, hex(randomblob(500)) || i FROM n";
    db.exec("CREATE TABLE t(k INTEGER PRIMARY KEY, v); CREATE INDEX vs ON t(v)").expect("schema");
    db.exec(&format!("BEGIN; {fill}")).expect("fill");
    assert!(bench.watch.take().iter().filter(|call| **call == "write").count() > 50, "it spills");
    assert_eq!(one(&db, "SELECT count(*) FROM t"), "300");
    assert_eq!(one(&other, "SELECT count(*) FROM t"), "0");
    db.exec("ROLLBACK").expect("rollback");
    assert_eq!(one(&db, "SELECT count(*) FROM t"), "0");
    db.exec(&format!("BEGIN; {fill}; SAVEPOINT s; UPDATE t SET v = v || '!'; DELETE FROM t WHERE k % 3 = 0"))
        .expect("savepoint");
    assert_eq!(one(&db, "SELECT count(*) FROM t WHERE v LIKE '%!'"), "200");
    db.exec("ROLLBACK TO s; RELEASE s; DELETE FROM t WHERE k = 7; COMMIT").expect("commit");
    for db in [&db, &other] {
        assert_eq!(one(db, "SELECT count(*) || ' ' || total(v LIKE '%!') FROM t"), "299 0.0");
        assert_eq!(one(db, "PRAGMA integrity_check"), "ok");
    }
    assert!(rows(&db, "INSERT INTO t(k, v) SELECT k + 1000, v FROM t UNION ALL SELECT 1, 'x'").is_err());
    assert_eq!(one(&db, "SELECT count(*) FROM t"), "299", "a statement that fails leaves nothing");
}

#[test]
fn vacuum_shrinks_and_changes_the_page_size() {
    let bench = Bench::new();
    let db = bench.open("a.db");
    let other = bench.open("a.db");
    db.exec(
        "PRAGMA page_size=1024; CREATE TABLE t(x); CREATE INDEX xs ON t(x);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
           INSERT INTO t SELECT hex(zeroblob(200)) || i FROM n; DELETE FROM t WHERE rowid > 50",
    )
    .expect("fill");
    assert_eq!(one(&other, "SELECT count(*) FROM t"), "50");
    bench.watch.commits.take();
    let vacuumed = db.vacuum().expect("vacuum");
    assert!(vacuumed.after_bytes * 4 < vacuumed.before_bytes, "{vacuumed:?}");
    assert_eq!(*bench.watch.commits.borrow(), [(1, Durability::Full)]);
    for bytes in [512, 65536, 4096, 8192] {
        db.exec(&format!("PRAGMA page_size={bytes}; VACUUM")).expect("vacuum");
        for db in [&db, &other] {
            assert_eq!(one(db, "SELECT count(*) FROM t"), "50");
            assert_eq!(one(db, "PRAGMA page_size"), bytes.to_string());
            assert_eq!(one(db, "PRAGMA integrity_check"), "ok");
        }
    }
    db.exec("VACUUM INTO 'copy.db'").expect("vacuum into");
    assert_eq!(one(&bench.open("copy.db"), "SELECT count(*) FROM t"), "50");
    assert!(db.exec("VACUUM INTO 'copy.db'").is_err());
}

#[test]
fn synchronous_is_as_sqlite_reads_it() {
    let bench = Bench::new();
    let db = counter(&bench);
    db.exec("ATTACH 'b.db' AS b; CREATE TABLE b.t(x)").expect("attach");
    for value in [
        "OFF",
        "normal",
        "Full",
        "EXTRA",
        "0",
        "1",
        "2",
        "3",
        "4",
        "7",
        "8",
        "0x2",
        "0X0a",
        "off ",
        "'off'",
        "no",
        "yes",
        "true",
        "false",
        "on",
        "nonsense",
        "-1",
        "99999999999",
        "1e3",
        "2.5",
        "''",
    ] {
        db.exec(&format!("PRAGMA synchronous={value}")).expect(value);
        bench.watch.commits.take();
        db.exec("UPDATE main.t SET x = x + 1").expect("update");
        let expected = match one(&db, "PRAGMA synchronous").as_str() {
            "0" => Durability::Off,
            "1" => Durability::Normal,
            _ => Durability::Full,
        };
        assert_eq!(*bench.watch.commits.borrow(), [(1, expected)], "{value}");
    }
    db.exec("PRAGMA main.synchronous=OFF; PRAGMA b.synchronous=NORMAL").expect("by name");
    bench.watch.commits.take();
    db.exec("INSERT INTO b.t VALUES (1); INSERT INTO main.t VALUES (1)").expect("each");
    db.exec("BEGIN; INSERT INTO b.t VALUES (1); INSERT INTO main.t VALUES (1); COMMIT").expect("both");
    let expected = [(1, Durability::Normal), (1, Durability::Off), (2, Durability::Normal)];
    assert_eq!(*bench.watch.commits.borrow(), expected);
    db.exec("BEGIN").expect("begin");
    assert!(db.exec("PRAGMA synchronous=FULL").is_err(), "not within a transaction");
    bench.watch.commits.take();
    db.exec("INSERT INTO main.t VALUES (2); COMMIT").expect("commit");
    assert_eq!(*bench.watch.commits.borrow(), [(1, Durability::Off)]);
}

#[test]
fn what_would_break_atomicity_cannot_be_set() {
    let bench = Bench::new();
    let db = counter(&bench);
    db.exec("ATTACH 'b.db' AS b; CREATE TABLE b.t(x)").expect("attach");
    for mode in ["WAL", "wal", "OFF", "DELETE", "TRUNCATE", "PERSIST", "MEMORY", "m", "''", "nonsense"] {
        for schema in ["", "main.", "b."] {
            let mut set = db.prepare(&format!("PRAGMA {schema}journal_mode={mode}")).expect(mode);
            assert!(set.step().expect(mode), "{mode}");
            assert_eq!(set.value(0), statik_sqlite::Value::Text(b"memory"), "{schema}{mode}");
            if mode != "''" {
                assert_eq!(set.columns().expect("columns")[0].name, "journal_mode");
            }
        }
    }
    for schema in ["", "main.", "b."] {
        assert_eq!(one(&db, &format!("PRAGMA {schema}locking_mode=EXCLUSIVE")), "normal");
        assert_eq!(one(&db, &format!("PRAGMA {schema}locking_mode")), "normal");
        assert_eq!(one(&db, &format!("PRAGMA {schema}journal_mode")), "memory");
    }
    db.exec("PRAGMA writable_schema=ON").expect("ignored");
    assert!(db.exec("UPDATE sqlite_schema SET sql = 'x'").is_err());
    bench.watch.commits.take();
    db.exec("BEGIN; INSERT INTO t VALUES (1); INSERT INTO b.t VALUES (1); COMMIT").expect("both");
    assert_eq!(bench.watch.commits.borrow().len(), 1);
    sees(&bench.open("b.db"), "1");
}

#[test]
fn files_that_are_not_databases_are_out_of_reach() {
    let bench = Bench::new();
    let db = counter(&bench);
    assert_eq!(db.exec("ATTACH '.statik/log-a' AS log").expect_err("the log").kind(), Kind::Invalid);
    for uri in ["file:a.db?nolock=1", "file:a.db?immutable=1"] {
        assert_eq!(db.exec(&format!("ATTACH '{uri}' AS x")).expect_err(uri).kind(), Kind::Unsupported, "{uri}");
    }
    let missing = OpenOptions { create: false, ..OpenOptions::default() };
    let error = Connection::open(&bench.vfs, "none.db", &missing).err().expect("there is none");
    assert_eq!(error.kind(), Kind::NotFound);
    let read_only = bench.open_with("a.db", &OpenOptions { read_only: true, ..OpenOptions::default() });
    sees(&read_only, "0");
    assert_eq!(read_only.exec("DELETE FROM t").expect_err("read only").kind(), Kind::ReadOnly);
}

#[test]
fn a_database_in_memory_may_attach_those_of_the_store() {
    let bench = Bench::new();
    let db = bench.open(":memory:");
    db.exec("ATTACH 'a.db' AS a; ATTACH 'b.db' AS b; CREATE TABLE a.t(x); CREATE TABLE b.t(x)").expect("attach");
    for mode in ["DELETE", "WAL", "MEMORY"] {
        db.exec(&format!("PRAGMA journal_mode={mode}")).expect("for all");
        bench.watch.commits.take();
        db.exec("BEGIN; INSERT INTO a.t VALUES (1); INSERT INTO b.t VALUES (1); COMMIT").expect("both");
        assert_eq!(*bench.watch.commits.borrow(), [(2, Durability::Full)], "{mode}");
    }
    sees(&bench.open("a.db"), "1,1,1");
}

#[test]
fn a_checkpointed_file_is_what_any_sqlite_reads() {
    use statik_disk::{Disk, Open};
    let bench = Bench::new();
    let db = counter(&bench);
    db.exec("INSERT INTO t VALUES (zeroblob(100000)); DELETE FROM t WHERE x = 0; PRAGMA user_version=7").expect("fill");
    assert_eq!(rows(&db, "PRAGMA wal_checkpoint(TRUNCATE)").expect("checkpoint"), ["0|-1|-1"]);
    let file = bench.disk.open("a.db", Open::Existing).expect("on the disk");
    let mut bytes = vec![0; file.len().expect("len") as usize];
    file.read_at(0, &mut bytes).expect("read");
    assert_eq!(bytes[18..20], [1, 1], "not in WAL mode");
    let path = std::env::temp_dir().join(format!("statik-plain-{}.db", std::process::id()));
    std::fs::write(&path, &bytes).expect("write");
    let output = std::process::Command::new("sqlite3")
        .arg(&path)
        .arg("PRAGMA integrity_check; PRAGMA user_version; SELECT length(x) FROM t;")
        .output()
        .expect("the `sqlite3` command is installed");
    std::fs::remove_file(&path).expect("ours");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n7\n100000\n");
}
