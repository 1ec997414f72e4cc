//! Connections and statements on a store in memory: what SQL users rely on.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use statik_bridge::pages::{Pages, local::Local, mem::MemPages};
use statik_disk::{Disk, Kind, MemDisk, Open};
use statik_sqlite::{Connection, Error, OpenOptions, Value, Vfs, files};

struct Store {
    disk: MemDisk,
    pages: Local,
    vfs: Rc<Vfs>,
}

fn store() -> Store {
    let disk = MemDisk::new();
    let pages = Local::new(Rc::new(MemPages::on(Rc::new(disk.clone()))), support::clock);
    let vfs = Vfs::register(Rc::new(pages.clone()), support::clock).expect("register");
    Store { disk, pages, vfs }
}

impl Store {
    fn open(&self, name: &str) -> Connection {
        self.open_with(name, OpenOptions::default()).expect("open")
    }

    fn open_with(&self, name: &str, options: OpenOptions) -> Result<Connection, Error> {
        Connection::open(&self.vfs, name, &options)
    }
}

/// The first column of the first row, as text.
fn get(db: &Connection, sql: &str) -> String {
    let mut statement = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(statement.step().unwrap_or_else(|error| panic!("{sql}: {error}")), "{sql} has a row");
    match statement.value(0) {
        Value::Null => "NULL".into(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(bytes) | Value::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[test]
fn what_is_committed_is_there_after_reopening() {
    let store = store();
    let db = store.open("dir/app.db");
    db.exec("CREATE TABLE t(x); INSERT INTO t VALUES (1), (2); BEGIN; INSERT INTO t VALUES (3); ROLLBACK").unwrap();
    drop(db);
    assert_eq!(get(&store.open("dir/app.db"), "SELECT group_concat(x) FROM t"), "1,2");
    assert_eq!(store.disk.list().unwrap(), ["dir/app.db"]);
}

#[test]
fn the_promised_extensions_are_built_in() {
    let db = store().open("a");
    let version: Vec<u32> = statik_sqlite::version().split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![3, 53], "{version:?}");
    assert_eq!(get(&db, "SELECT sqlite_version()"), statik_sqlite::version());
    db.exec("CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('a quick fox')").unwrap();
    assert_eq!(get(&db, "SELECT highlight(f, 0, '<', '>') FROM f WHERE f MATCH 'quick'"), "a <quick> fox");
    db.exec("CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES (1, 2, 3)").unwrap();
    assert_eq!(get(&db, r#"SELECT json_extract('{"a":[1,{"b":"c"}]}', '$.a[1].b')"#), "c");
    assert_eq!(get(&db, "SELECT round(log2(8) + cos(0), 3)"), "4");
    assert_eq!(get(&db, "SELECT sqlite_compileoption_used('ENABLE_SESSION')"), "1");
    assert_eq!(get(&db, "PRAGMA page_size"), "4096");
    let columns = db.prepare("SELECT x AS y, 1 FROM f").unwrap().columns().unwrap();
    assert_eq!((columns[0].name.as_str(), columns[0].table.as_deref()), ("y", Some("f")));
    assert_eq!((columns[1].table.as_deref(), columns[1].declared_type.as_deref()), (None, None));
}

#[test]
fn values_come_back_as_they_went_in() {
    let db = store().open("a");
    let mut echo = db.prepare("SELECT ?").unwrap();
    let long = vec![b'x'; 100_000];
    for value in [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Real(-0.5),
        Value::Real(f64::INFINITY),
        Value::Text(b""),
        Value::Text("a\0b ☃".as_bytes()),
        Value::Text(&long),
        Value::Blob(b""),
        Value::Blob(&[0, 255]),
    ] {
        echo.reset();
        echo.bind(1, value).unwrap();
        assert!(echo.step().unwrap());
        assert_eq!(echo.value(0), value);
    }
    echo.reset();
    assert_eq!(echo.bind(2, Value::Null).unwrap_err().sqlite_code(), Some("SQLITE_RANGE"));
}

#[test]
fn failures_tell_kind_code_and_place() {
    let store = store();
    let db = store.open("a");
    db.exec("CREATE TABLE t(x UNIQUE NOT NULL); INSERT INTO t VALUES (1)").unwrap();
    let expect = |sql: &str, kind, code, offset| {
        let error = db.exec(sql).unwrap_err();
        assert_eq!((error.kind(), error.sqlite_code(), error.offset()), (kind, Some(code), offset), "{error}");
    };
    expect("INSERT INTO t VALUES (1)", Kind::Conflict, "SQLITE_CONSTRAINT_UNIQUE", None);
    expect("INSERT INTO t VALUES (NULL)", Kind::Conflict, "SQLITE_CONSTRAINT_NOTNULL", None);
    expect("SELECT '☃💾' ; SELEC", Kind::Invalid, "SQLITE_ERROR", Some(15));
    expect("SELECT nope FROM t", Kind::Invalid, "SQLITE_ERROR", Some(7));
    assert_eq!(db.exec("SELECT 1\0; SELECT 2").unwrap_err().kind(), Kind::Invalid);
    for sql in ["", " ; -- nothing", "SELECT 1; SELECT 2"] {
        assert_eq!(db.prepare(sql).err().unwrap().kind(), Kind::Invalid, "{sql}");
    }
    db.prepare(" ; SELECT 1 ; -- done").unwrap();
    let mut missing = OpenOptions { create: false, ..OpenOptions::default() };
    assert_eq!(store.open_with("none", missing.clone()).err().unwrap().kind(), Kind::NotFound);
    assert!(!store.disk.list().unwrap().iter().any(|path| path.starts_with("none")));
    missing.read_only = true;
    let read_only = store.open_with("a", missing).unwrap();
    assert_eq!(read_only.exec("DELETE FROM t").unwrap_err().kind(), Kind::ReadOnly);
    for name in ["", "../a", "file:a", "a\0b", ".statik/log-a"] {
        assert_eq!(store.open_with(name, OpenOptions::default()).err().unwrap().kind(), Kind::Invalid, "{name:?}");
    }
}

#[test]
fn a_closed_database_refuses_and_lets_go_once_its_statements_are_gone() {
    let store = store();
    let db = store.open("a");
    let mut statement = db.prepare("SELECT 1").unwrap();
    db.close();
    assert_eq!(statement.step().unwrap_err().kind(), Kind::Closed);
    assert_eq!(db.exec("SELECT 1").unwrap_err().kind(), Kind::Closed);
    drop((db, statement));
    store.pages.checkpoint().unwrap();
    store.disk.remove("a").unwrap();
}

#[test]
fn an_endless_statement_can_be_stopped() {
    let db = store().open("a");
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    db.set_interrupt(move || {
        count.set(count.get() + 1);
        count.get() > 100
    });
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let error = db.exec(endless).unwrap_err();
    assert_eq!((error.kind(), error.sqlite_code()), (Kind::Aborted, Some("SQLITE_INTERRUPT")));
    assert_eq!(asked.get(), 101);
    asked.set(-1_000_000);
    assert_eq!(get(&db, "SELECT 1"), "1", "the connection goes on");
}

#[test]
fn waiting_for_a_lock_ends_with_the_timeout_or_when_told() {
    let store = store();
    let holder = store.open("a");
    holder.exec("CREATE TABLE t(x); BEGIN IMMEDIATE").unwrap();
    let brief = store.open_with("a", OpenOptions { busy_timeout_ms: 30, ..OpenOptions::default() }).unwrap();
    assert_eq!(brief.exec("BEGIN IMMEDIATE").unwrap_err().kind(), Kind::Busy);
    // This one would wait longer than any test runs.
    let patient = store.open_with("a", OpenOptions { busy_timeout_ms: u32::MAX, ..OpenOptions::default() }).unwrap();
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    patient.set_interrupt(move || {
        count.set(count.get() + 1);
        count.get() > 3
    });
    assert_eq!(patient.exec("BEGIN IMMEDIATE").unwrap_err().kind(), Kind::Busy);
    assert_eq!(asked.get(), 4);
}

#[test]
fn foreign_bytes_are_refused_with_a_reason() {
    let store = store();
    let db = store.open("good");
    db.exec("CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(100000))").unwrap();
    drop(db);
    files::check(&store.vfs, "good").unwrap();
    store.pages.checkpoint().unwrap();
    let file = store.disk.open("good", Open::Existing).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    let numbers = Cell::new(0);
    let put = |bytes: &[u8]| {
        let path = format!("file {}", numbers.replace(numbers.get() + 1));
        store.disk.open(&path, Open::CreateNew).unwrap().write_at(0, bytes).unwrap();
        path
    };
    let refused = |bytes: &[u8], why: &str| {
        let error = files::check(&store.vfs, &put(bytes)).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains(why), "{error}");
    };
    refused(b"", "empty");
    refused(b"id,name\n1,foo\n", "header");
    refused(&bytes[..50], "header");
    refused(&bytes[..bytes.len() - 1], "truncated");
    refused(&bytes[..bytes.len() / 8 * 4], "truncated");
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    refused(&with(16, 3), "page size");
    refused(&with(18, 9), "file format");
    refused(&with(103, 255), "");
    let mut wal = with(18, 2);
    wal[19] = 2;
    let path = put(&wal);
    files::check(&store.vfs, &path).unwrap();
    store.pages.checkpoint().unwrap();
    let mut versions = [0; 2];
    store.disk.open(&path, Open::Existing).unwrap().read_at(18, &mut versions).unwrap();
    assert_eq!(versions, [1, 1], "it is out of WAL mode");
}
