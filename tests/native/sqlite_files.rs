//! Database files that others made: what Debian's `sqlite3` writes, Statik reads and changes, and `sqlite3` finds sound
//! and as it would have made it itself; and files that nobody made so, which must give errors, not panics or hangs.
//!
//! Needs the `sqlite3` command. Random damage is by seed: `STATIK_SEED` chooses another than the fixed one.

mod random;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use random::{Random, seed};
use statik_bridge::pages::{Pages, local::Local};
use statik_disk::{Disk, Kind, MemDisk, Open};
use statik_sqlite::{Connection, Error, OpenOptions, Value, Vfs, files};
use statik_store::{Options, Store};

/// A database: what comes before its first table, how it is made and then changed, and what is asked of it: queries
/// of one text column.
struct Case {
    name: String,
    prelude: String,
    create: &'static str,
    change: &'static str,
    queries: &'static [&'static str],
}

impl Case {
    fn new(
        name: &str,
        prelude: &str,
        create: &'static str,
        change: &'static str,
        queries: &'static [&'static str],
    ) -> Case {
        Case { name: name.to_owned(), prelude: prelude.to_owned(), create, change, queries }
    }
}

const CREATE: &str = "
    CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL, x REAL, b BLOB);
    CREATE INDEX names ON t(name, x);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
      INSERT INTO t SELECT i, 'näme ' || (i * 37 % 400), i / 2.0, zeroblob(i % 90) FROM n;
    INSERT INTO t VALUES (1000, 'large', -0.5, zeroblob(200000));
    DELETE FROM t WHERE id % 11 = 0;";
const CHANGE: &str = "
    BEGIN;
    UPDATE t SET name = name || ' ☃', b = x'010203' WHERE id % 3 = 0;
    DELETE FROM t WHERE id % 5 = 0;
    INSERT INTO t SELECT id + 5000, upper(name), x * 2, b FROM t WHERE id < 200;
    COMMIT;
    CREATE TABLE more(a, b UNIQUE);
    INSERT INTO more SELECT name, id FROM t;";
const QUERIES: &[&str] = &[
    "SELECT id || '|' || quote(name) || '|' || quote(x) || '|' || quote(b) FROM t ORDER BY id",
    "SELECT id || '' FROM t INDEXED BY names ORDER BY name, x",
    "SELECT quote(a) || '|' || quote(b) FROM more ORDER BY b",
    "SELECT type || name || tbl_name || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name",
];

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = (9..=16)
        .map(|bits| 1 << bits)
        .map(|bytes| {
            Case::new(&format!("pages of {bytes}"), &format!("PRAGMA page_size={bytes};"), CREATE, CHANGE, QUERIES)
        })
        .collect();
    for prelude in [
        "PRAGMA auto_vacuum=FULL;",
        "PRAGMA auto_vacuum=INCREMENTAL;",
        "PRAGMA encoding='UTF-16le';",
        "PRAGMA encoding='UTF-16be';",
        "PRAGMA journal_mode=WAL;",
        "PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA auto_vacuum=FULL; PRAGMA encoding='UTF-16le';",
    ] {
        cases.push(Case::new(prelude, prelude, CREATE, CHANGE, QUERIES));
    }
    cases.push(Case::new(
        "WITHOUT ROWID",
        "",
        "CREATE TABLE w(a TEXT COLLATE NOCASE, b INT, c, PRIMARY KEY(b DESC, a)) WITHOUT ROWID;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
           INSERT INTO w SELECT 'k' || i, i % 50, hex(i) FROM n;",
        "DELETE FROM w WHERE b = 7; UPDATE w SET b = b + 100 WHERE a LIKE 'K1%'; INSERT INTO w VALUES ('z', 7, NULL);",
        &["SELECT quote(a) || quote(b) || quote(c) FROM w", "SELECT count(*) || '' FROM w WHERE b > 100"],
    ));
    cases.push(Case::new(
        "FTS5",
        "",
        "CREATE VIRTUAL TABLE docs USING fts5(title, body, tokenize='porter unicode61', prefix='2 3');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
           INSERT INTO docs SELECT 'Title ' || i, 'running foxes ' || (i % 17) || ' and Émigré words ' || i FROM n;",
        "DELETE FROM docs WHERE rowid % 4 = 0; UPDATE docs SET body = body || ' snow' WHERE rowid % 10 = 1;
         INSERT INTO docs(docs) VALUES ('optimize'); INSERT INTO docs VALUES ('new', 'fox in the snow');",
        &[
            "SELECT rowid || title || body FROM docs ORDER BY rowid",
            "SELECT rowid || '' FROM docs WHERE docs MATCH 'fox AND snow' ORDER BY rowid",
            "SELECT rowid || '' FROM docs WHERE docs MATCH 'emi*' ORDER BY rowid",
        ],
    ));
    cases.push(Case::new(
        "views, triggers, generated columns, STRICT, R-tree, JSON",
        "",
        "CREATE TABLE s(a INT, b TEXT, c INT AS (a * 2) STORED, d TEXT AS (b || c)) STRICT;
         CREATE TABLE log(what); CREATE INDEX big ON s(d) WHERE a > 3;
         CREATE TRIGGER tr AFTER INSERT ON s BEGIN INSERT INTO log VALUES (json_array(new.a, new.b)); END;
         CREATE VIEW v AS SELECT a, group_concat(what) AS w FROM s JOIN log ON json_extract(what, '$[0]') = a GROUP BY a;
         CREATE VIRTUAL TABLE box USING rtree(id, x0, x1, y0, y1);
         INSERT INTO s(a, b) VALUES (1, 'i'), (5, 'v'), (10, 'x');
         INSERT INTO box VALUES (1, 0, 2, 0, 2), (2, 5, 6, 5, 6);",
        "INSERT INTO s(a, b) VALUES (50, 'l'); UPDATE s SET a = 4 WHERE b = 'i'; INSERT INTO box VALUES (3, 1, 5, 1, 5);",
        &[
            "SELECT a || b || c || d FROM s ORDER BY d",
            "SELECT a || w FROM v ORDER BY a",
            "SELECT id || '' FROM box WHERE x1 > 1 AND x0 < 3 ORDER BY id",
        ],
    ));
    cases
}

/// A directory that goes when the test does.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("statik-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the scratch directory is ours");
    }
}

/// What the `sqlite3` command answers to the SQL.
fn cli(database: &Path, sql: &str) -> String {
    let mut child = Command::new("sqlite3")
        .args(["-batch", "-bail"])
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the `sqlite3` command is installed");
    child.stdin.take().expect("piped").write_all(sql.as_bytes()).expect("sqlite3 reads");
    let output = child.wait_with_output().expect("sqlite3 ends");
    assert!(output.status.success(), "sqlite3 fails on {sql}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn cli_queries(database: &Path, queries: &[&str]) -> Vec<String> {
    queries.iter().map(|query| cli(database, &format!("{query};"))).collect()
}

fn load(disk: &dyn Disk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, Open::CreateNew).expect("a new file");
    file.write_at(0, bytes).expect("write");
    file.flush().expect("flush");
}

fn unload(disk: &dyn Disk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Existing).expect("the file is there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("len")).expect("a small file")];
    assert_eq!(file.read_at(0, &mut bytes).expect("read"), bytes.len());
    bytes
}

/// A store of the disk's files.
fn pages_on(disk: &MemDisk) -> Local {
    Local::new(Rc::new(Store::open(Rc::new(disk.clone()), Options::default()).expect("a store")), clock)
}

fn vfs_on(pages: &Local) -> Rc<Vfs> {
    Vfs::register(Rc::new(pages.clone()), clock).expect("a VFS")
}

/// Nothing here waits.
fn clock() -> f64 {
    0.0
}

/// What a query of one text column answers, in the form of the `sqlite3` command.
fn query(db: &Connection, sql: &str) -> Result<String, Error> {
    let mut statement = db.prepare(sql)?;
    let mut answer = String::new();
    while statement.step()? {
        match statement.value(0) {
            Value::Text(text) => answer += &(String::from_utf8_lossy(text) + "\n"),
            value => answer += &format!("{value:?}\n"),
        }
    }
    Ok(answer)
}

#[test]
fn what_sqlite3_made_and_statik_changed_is_what_sqlite3_would_have_made() {
    const KEPT: &[&str] = &["PRAGMA page_size", "PRAGMA encoding", "PRAGMA auto_vacuum", "PRAGMA user_version"];
    let scratch = Scratch::new("files");
    for (number, case) in cases().iter().enumerate() {
        let name = &case.name;
        let theirs = scratch.0.join(format!("{number}-theirs.db"));
        let ours = scratch.0.join(format!("{number}-ours.db"));
        cli(&theirs, &format!("{} PRAGMA user_version=42; {}", case.prelude, case.create));
        let bytes = std::fs::read(&theirs).expect("sqlite3 wrote it");
        cli(&theirs, case.change);
        let expected = cli_queries(&theirs, case.queries);
        assert!(expected.iter().all(|answer| answer.lines().count() > 0), "{name}: each query has an answer");

        let disk = MemDisk::new();
        load(&disk, "case.db", &bytes);
        let pages = pages_on(&disk);
        let vfs = vfs_on(&pages);
        files::check(&vfs, "case.db").unwrap_or_else(|error| panic!("{name}: {error}"));
        let db = Connection::open(&vfs, "case.db", &OpenOptions::default()).expect("open");
        db.exec(case.change).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (sql, expected) in case.queries.iter().zip(&expected) {
            assert_eq!(query(&db, sql).unwrap_or_else(|error| panic!("{name}: {error}")), *expected, "{name}: {sql}");
        }
        drop(db);
        pages.checkpoint().expect("checkpoint");
        let mut left = disk.list().expect("list");
        left.sort();
        assert_eq!(left, [".statik/log-a", ".statik/log-b", "case.db"], "{name}: no journal is left");

        std::fs::write(&ours, unload(&disk, "case.db")).expect("write");
        assert_eq!(cli(&ours, "PRAGMA integrity_check;"), "ok\n", "{name}");
        assert_eq!(cli_queries(&ours, case.queries), expected, "{name}");
        assert_eq!(cli_queries(&ours, KEPT), cli_queries(&theirs, KEPT), "{name}");
    }
}

#[test]
fn vacuum_and_page_sizes_survive_the_way_back() {
    let scratch = Scratch::new("vacuum");
    let (theirs, ours) = (scratch.0.join("theirs.db"), scratch.0.join("ours.db"));
    cli(&theirs, &format!("PRAGMA page_size=1024; PRAGMA auto_vacuum=INCREMENTAL; {CREATE}"));
    let disk = MemDisk::new();
    load(&disk, "a.db", &std::fs::read(&theirs).expect("read"));
    let pages = pages_on(&disk);
    let vfs = vfs_on(&pages);
    let db = Connection::open(&vfs, "a.db", &OpenOptions::default()).expect("open");
    db.exec("DELETE FROM t WHERE id > 100; PRAGMA incremental_vacuum(20)").expect("incremental vacuum");
    pages.checkpoint().expect("checkpoint");
    let incremental = unload(&disk, "a.db").len();
    db.exec("PRAGMA page_size=8192; VACUUM").expect("vacuum");
    drop(db);
    pages.checkpoint().expect("checkpoint");
    let bytes = unload(&disk, "a.db");
    assert!(bytes.len() < incremental && bytes.len().is_multiple_of(8192), "{} of {incremental} bytes", bytes.len());
    std::fs::write(&ours, bytes).expect("write");
    assert_eq!(cli(&ours, "PRAGMA integrity_check; PRAGMA page_size; SELECT count(*) FROM t;"), "ok\n8192\n91\n");
}

/// Harms the bytes as a bad disk, a broken download or an attacker might.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let len = bytes.len();
        if len < 2 {
            return;
        }
        match random.below(7) {
            0 => (0..=random.below(20)).for_each(|_| bytes[random.below(len)] ^= 1 << random.below(8)),
            1 => {
                let (start, value) = (random.below(len), random.next() as u8);
                let end = len.min(start + 1 + random.below(600));
                bytes[start..end].fill([0, 0xff, value][random.below(3)]);
            }
            2 => bytes.truncate(random.below(len)),
            3 => bytes[random.below(len.min(100))] = random.next() as u8,
            4 => {
                let (from, to, count) = (random.below(len), random.below(len), 1 + random.below(4096));
                let count = count.min(len - from).min(len - to);
                bytes.copy_within(from..from + count, to);
            }
            5 => (0..=random.below(700)).for_each(|_| bytes.push(random.next() as u8)),
            // The first bytes of a page tell its kind, cells and free blocks.
            _ => {
                let page = random.below(len / 512 + 1) * 512;
                let at = (page + random.below(12)).min(len - 1);
                bytes[at] = random.next() as u8;
            }
        }
    }
}

/// Reads and changes everything; what fails, fails. Stops a statement that runs for too long, as an app could.
fn use_all(vfs: &Rc<Vfs>, path: &str) -> Result<(), Error> {
    let db = Connection::open(vfs, path, &OpenOptions { create: false, ..OpenOptions::default() })?;
    let polls = std::cell::Cell::new(0);
    db.set_interrupt(move || {
        polls.set(polls.get() + 1);
        polls.get() % 300 == 0
    });
    let mut worst = Ok(());
    let mut attempt = |sql: &str| {
        if let Err(error) = query(&db, sql) {
            worst = Err(error);
        }
    };
    attempt("PRAGMA integrity_check");
    for (table, key) in [("t", "id"), ("w", "b"), ("docs", "rowid"), ("docs_data", "id")] {
        attempt(&format!("SELECT * FROM {table}"));
        attempt(&format!("SELECT count(*) FROM {table} WHERE {key} > 7"));
    }
    attempt("DELETE FROM t WHERE id % 3 = 0");
    attempt("DELETE FROM w WHERE b % 3 = 0");
    attempt("DELETE FROM docs WHERE rowid % 3 = 0");
    attempt("SELECT rowid FROM docs WHERE docs MATCH 'fox AND words'");
    attempt("SELECT id FROM t INDEXED BY names ORDER BY name");
    attempt("UPDATE t SET name = name || 'x', b = zeroblob(3000)");
    attempt("INSERT INTO w SELECT a || 'new', b, c FROM w");
    attempt("INSERT INTO docs VALUES ('a', 'b')");
    attempt("PRAGMA incremental_vacuum");
    attempt("VACUUM");
    worst
}

const HOSTILE_CREATE: &str = "
    CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL, x REAL, b BLOB);
    CREATE INDEX names ON t(name, x);
    CREATE TABLE w(a TEXT, b INT, c, PRIMARY KEY(a, b)) WITHOUT ROWID;
    CREATE VIRTUAL TABLE docs USING fts5(title, body);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
      INSERT INTO t SELECT i, 'name ' || (i * 37 % 60), i / 2.0, zeroblob(i * 20 % 900) FROM n;
    INSERT INTO w SELECT name, id, b FROM t;
    INSERT INTO docs SELECT name, 'fox words ' || id FROM t;
    DELETE FROM t WHERE id % 4 = 0;";

/// Runs `job` on a thread of its own; panics if it does, or if it says nothing for a minute. `job` tells what it is
/// about to do, so that a hang has a name.
fn watched(job: impl FnOnce(&dyn Fn(String)) + Send + 'static) {
    let (sender, progress) = mpsc::channel();
    let worker = std::thread::spawn(move || job(&|doing| sender.send(doing).expect("the watch outlives the job")));
    let mut last = "nothing yet".to_owned();
    loop {
        match progress.recv_timeout(Duration::from_secs(60)) {
            Ok(doing) => last = doing,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs: {last}"),
        }
    }
    worker.join().unwrap_or_else(|_| panic!("it panicked: {last}"));
}

#[test]
fn a_damaged_database_gives_errors() {
    let (seed, scratch) = (seed(), Scratch::new("hostile"));
    let bases: Vec<Vec<u8>> = [
        "PRAGMA page_size=512;",
        "PRAGMA page_size=1024; PRAGMA auto_vacuum=FULL;",
        "PRAGMA page_size=4096; PRAGMA encoding='UTF-16le'; PRAGMA auto_vacuum=INCREMENTAL;",
    ]
    .iter()
    .enumerate()
    .map(|(number, prelude)| {
        let path = scratch.0.join(format!("{number}.db"));
        cli(&path, &format!("{prelude} {HOSTILE_CREATE}"));
        std::fs::read(path).expect("sqlite3 wrote it")
    })
    .collect();
    for base in &bases {
        let disk = MemDisk::new();
        load(&disk, "a.db", base);
        use_all(&vfs_on(&pages_on(&disk)), "a.db").expect("what is not damaged works");
    }
    watched(move |doing| {
        let (mut refused, mut failed, mut misnamed, runs) = (0, 0, Vec::new(), 1200);
        for seed in seed..seed + runs {
            let mut random = Random(seed);
            let mut bytes = bases[random.below(bases.len())].clone();
            damage(&mut bytes, &mut random);
            let disk = MemDisk::new();
            load(&disk, "checked.db", &bytes);
            load(&disk, "unchecked.db", &bytes);
            let vfs = vfs_on(&pages_on(&disk));
            doing(format!("checking damage {seed}"));
            match files::check(&vfs, "checked.db") {
                Ok(()) => {
                    doing(format!("using what was checked of damage {seed}"));
                    failed += u64::from(use_all(&vfs, "checked.db").is_err());
                }
                Err(error) => {
                    refused += 1;
                    if error.kind() != Kind::Corrupt {
                        misnamed.push(format!("damage {seed} is {:?}: {error}", error.kind()));
                    }
                }
            }
            doing(format!("using damage {seed} unchecked"));
            failed += u64::from(use_all(&vfs, "unchecked.db").is_err());
        }
        println!("of {runs} damaged databases {refused} were refused; {failed} of {} uses failed", runs * 2 - refused);
        assert!(misnamed.is_empty(), "refused, but not as Corrupt:\n{}", misnamed.join("\n"));
        assert!(refused > runs / 2 && failed > runs / 4, "the damage does harm: {refused}, {failed}");
    });
}
