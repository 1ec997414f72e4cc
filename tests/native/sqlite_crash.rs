//! SQLite on a disk that loses power, space and handles.
//!
//! A script is a list of transactions. It runs once in peace, which gives the state after each, and then again and
//! again, each time with a fault at another operation of the disk. What must hold:
//! - after a crash the database is sound, and in the state after the last acknowledged transaction, or after the one
//!   that was under way; nothing in between, nothing before;
//! - finding that out changes nothing, and a crash during recovery does no harm;
//! - a full disk fails a transaction with `Quota` and does no harm; after that the database works on;
//! - other failures of the disk are reported, and leave what a crash may leave.
//!
//! Planted bugs show that the harness would notice. Short scripts crash at every operation, long ones where a seed
//! says; `STATIK_SEED` chooses another than the fixed one.

#[path = "sqlite_crash/bridged.rs"]
mod bridged;
mod random;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use random::{Random, seed};
use statik_bridge::locks::{Locks, Table};
use statik_disk::{Crash, Disk, Faults, File, Kind, Open, SimDisk};
use statik_sqlite::{Connection, OpenOptions, Value, Vfs};

type Failed = statik_sqlite::Error;

/// Transactions, each as SQL that is one, on `main.db`, and on `other.db` as `other` if that is attached.
struct Script {
    attach: bool,
    transactions: Vec<String>,
}

/// What a database holds: its schema and row counts, to read, and a hash of every value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    summary: String,
    hash: u64,
}

impl Script {
    fn of(transactions: &[&str]) -> Script {
        Script { attach: false, transactions: transactions.iter().map(|sql| (*sql).to_owned()).collect() }
    }

    fn open(&self, disk: Rc<dyn Disk>) -> Result<Connection, Failed> {
        self.open_with(disk, Rc::new(Table::new()))
    }

    fn open_with(&self, disk: Rc<dyn Disk>, locks: Rc<dyn Locks>) -> Result<Connection, Failed> {
        let vfs = Vfs::on_disk(disk, locks)?;
        // A cache this small spills: pages reach the file before the commit.
        let options = OpenOptions { cache_kib: 24, ..OpenOptions::default() };
        let db = Connection::open(&vfs, "main.db", &options)?;
        if self.attach {
            db.exec("ATTACH 'other.db' AS other")?;
        }
        Ok(db)
    }

    /// Runs the transactions from `done` on; gives the number of those acknowledged, and what stopped it.
    fn run(&self, db: &Connection, done: usize) -> (usize, Option<Failed>) {
        for (at, sql) in self.transactions.iter().enumerate().skip(done) {
            if let Err(error) = db.exec(sql) {
                return (at, Some(error));
            }
        }
        (self.transactions.len(), None)
    }

    /// Opens and runs all of it.
    fn run_on(&self, disk: Rc<dyn Disk>) -> (usize, Option<Failed>) {
        match self.open(disk) {
            Ok(db) => self.run(&db, 0),
            Err(error) => (0, Some(error)),
        }
    }

    /// The states before and after each transaction, and the number of operations.
    fn in_peace(&self) -> (Vec<State>, u64) {
        let disk = SimDisk::new(0);
        let db = self.open(Rc::new(disk.clone())).expect("open");
        let mut states = vec![state(&db).expect("state")];
        for sql in &self.transactions {
            db.exec(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            states.push(state(&db).expect("state"));
        }
        drop(db);
        (states, disk.operations())
    }
}

/// All rows that a query gives, as text.
fn rows(db: &Connection, sql: &str) -> Result<Vec<String>, Failed> {
    let mut statement = db.prepare(sql)?;
    let mut rows = Vec::new();
    while statement.step()? {
        let row: Vec<String> = (0..statement.column_count()).map(|column| show(statement.value(column))).collect();
        rows.push(row.join("|"));
    }
    Ok(rows)
}

fn show(value: Value<'_>) -> String {
    match value {
        Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        value => format!("{value:?}"),
    }
}

fn state(db: &Connection) -> Result<State, Failed> {
    let (mut summary, mut hasher) = (String::new(), DefaultHasher::new());
    for schema in rows(db, "SELECT name FROM pragma_database_list WHERE name <> 'temp' ORDER BY seq")? {
        let list = format!("SELECT type, name, sql FROM {schema}.sqlite_schema ORDER BY name");
        rows(db, &list)?.hash(&mut hasher);
        let tables = format!("SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' ORDER BY name");
        for table in rows(db, &tables)? {
            let content = rows(db, &format!("SELECT * FROM {schema}.\"{table}\" ORDER BY 1"))?;
            summary += &format!("{schema}.{table}: {} rows; ", content.len());
            content.hash(&mut hasher);
        }
    }
    Ok(State { summary, hash: hasher.finish() })
}

/// Opens what survived; gives its state if it is sound.
fn recovered(script: &Script, disk: &SimDisk) -> Result<State, String> {
    let look = || -> Result<(State, Vec<String>), Failed> {
        let db = script.open(Rc::new(disk.clone()))?;
        let state = state(&db)?;
        Ok((state, rows(&db, "PRAGMA integrity_check")?))
    };
    let (state, findings) = look().map_err(|error| format!("reopening fails: {error}"))?;
    if findings != ["ok"] {
        return Err(format!("not sound: {}", findings.join("; ")));
    }
    Ok(state)
}

/// Checks that what survived is sound and in one of the states, and that recovery withstands crashes itself.
fn survives(script: &Script, survivor: &SimDisk, allowed: &[State], seed: u64) -> Result<(), String> {
    let copy = || survivor.crash(Crash::KeepAll);
    let disk = copy();
    let state = recovered(script, &disk)?;
    if !allowed.contains(&state) {
        return Err(format!("recovered {state:?}, not one of {allowed:?}"));
    }
    let operations = disk.operations();
    if recovered(script, &disk)? != state {
        return Err(format!("opening it again changes {state:?}"));
    }
    // Each survivor tries one operation of the recovery; there are many survivors.
    if operations > 0 {
        let at = seed % operations;
        let disk = copy();
        disk.set_faults(Faults { power_off_at: Some(at), ..Faults::default() });
        if recovered(script, &disk).is_ok() {
            return Err(format!("recovery hides that the power went at its operation {at} of {operations}"));
        }
        let again = recovered(script, &disk.crash(Crash::Seed(seed)))?;
        if again != state {
            return Err(format!("a crash at operation {at} of the recovery makes {again:?} of {state:?}"));
        }
    }
    Ok(())
}

/// Runs the script with a power loss before operation `at`, and crashes that moment in each of the ways.
fn crash_at(script: &Script, states: &[State], bug: Option<Bug>, at: u64, crashes: &[Crash]) -> Result<(), String> {
    let disk = SimDisk::new(at);
    disk.set_faults(Faults { power_off_at: Some(at), ..Faults::default() });
    let (acknowledged, _) = script.run_on(bugged(&disk, bug));
    let allowed = &states[acknowledged..states.len().min(acknowledged + 2)];
    for crash in crashes {
        let judge = survives(script, &disk.crash(*crash), allowed, at);
        judge.map_err(|what| format!("power off at operation {at}, {acknowledged} acknowledged, {crash:?}: {what}"))?;
    }
    Ok(())
}

/// Crashes the script at every operation, in the two simple ways and by some seeds.
fn crash_everywhere(script: &Script, bug: Option<Bug>, seeds: std::ops::Range<u64>) -> Result<u64, String> {
    let (states, operations) = script.in_peace();
    let crashes: Vec<Crash> = [Crash::LoseAll, Crash::KeepAll].into_iter().chain(seeds.map(Crash::Seed)).collect();
    for at in 0..=operations {
        crash_at(script, &states, bug, at, &crashes)?;
    }
    Ok((operations + 1) * crashes.len() as u64)
}

/// What a careless platform might do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// No flush flushes.
    FlushNothing,
    /// The journal's flushes do nothing.
    FlushNoJournal,
    /// The database's flushes do nothing.
    FlushNoDatabase,
    /// What ends a transaction is lost: the journal's header is never overwritten with zeros, nor is the journal cut.
    KeepJournal,
    /// What a transaction overwrites is not saved: the journal's writes are dropped.
    WriteNoJournal,
}

fn bugged(disk: &SimDisk, bug: Option<Bug>) -> Rc<dyn Disk> {
    match bug {
        None => Rc::new(disk.clone()),
        Some(bug) => Rc::new(Bugged { disk: disk.clone(), bug }),
    }
}

struct Bugged {
    disk: SimDisk,
    bug: Bug,
}

struct BuggedFile {
    file: Box<dyn File>,
    bug: Bug,
    journal: bool,
}

impl Disk for Bugged {
    fn open(&self, path: &str, open: Open) -> statik_disk::Result<Box<dyn File>> {
        let journal = path.ends_with("-journal");
        Ok(Box::new(BuggedFile { file: self.disk.open(path, open)?, bug: self.bug, journal }))
    }

    fn remove(&self, path: &str) -> statik_disk::Result<()> {
        self.disk.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> statik_disk::Result<()> {
        self.disk.rename(from, to)
    }

    fn list(&self) -> statik_disk::Result<Vec<String>> {
        self.disk.list()
    }
}

impl File for BuggedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> statik_disk::Result<usize> {
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> statik_disk::Result<()> {
        if self.bug == Bug::WriteNoJournal && self.journal {
            return Ok(());
        }
        let ends = offset == 0 && bytes.iter().all(|byte| *byte == 0);
        if self.bug == Bug::KeepJournal && self.journal && ends {
            return Ok(());
        }
        self.file.write_at(offset, bytes)
    }

    fn len(&self) -> statik_disk::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> statik_disk::Result<()> {
        if self.bug == Bug::KeepJournal && self.journal {
            return Ok(());
        }
        self.file.set_len(len)
    }

    fn flush(&self) -> statik_disk::Result<()> {
        match self.bug {
            Bug::FlushNothing => Ok(()),
            Bug::FlushNoJournal if self.journal => Ok(()),
            Bug::FlushNoDatabase if !self.journal => Ok(()),
            _ => self.file.flush(),
        }
    }
}

/// Rows small and large, spilled pages, an index, deletions, a savepoint, a table dropped.
fn ledger() -> Script {
    Script::of(&[
        "CREATE TABLE ledger(id INTEGER PRIMARY KEY, name TEXT UNIQUE, amount, note)",
        "INSERT INTO ledger(name, amount) VALUES ('a', 1), ('b', 2.5), ('c', NULL)",
        "UPDATE ledger SET amount = 7 WHERE name = 'b'",
        "BEGIN; INSERT INTO ledger(name, note) VALUES ('d', zeroblob(9000)); UPDATE ledger SET amount = id; \
         DELETE FROM ledger WHERE name = 'a'; COMMIT",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) \
         INSERT INTO ledger(name, note) SELECT 'n' || i, hex(zeroblob(700)) || i FROM n",
        "BEGIN; SAVEPOINT s; DELETE FROM ledger; ROLLBACK TO s; CREATE INDEX amounts ON ledger(amount); COMMIT",
        "UPDATE ledger SET note = note || '!' WHERE id % 3 = 0",
        "BEGIN; DELETE FROM ledger WHERE id > 9; CREATE TABLE other(x); INSERT INTO other VALUES (x'00ff'); COMMIT",
        "DROP TABLE other",
    ])
}

/// A file that becomes shorter, by auto-vacuum and by VACUUM.
fn shrinking() -> Script {
    Script::of(&[
        "PRAGMA auto_vacuum = FULL; CREATE TABLE t(a, b)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) \
         INSERT INTO t SELECT i, zeroblob(1500) FROM n",
        "DELETE FROM t WHERE a > 5",
        "INSERT INTO t VALUES (99, zeroblob(5000))",
        "VACUUM",
        "DELETE FROM t",
    ])
}

/// Transactions over two files, which SQLite ties together by a super-journal.
fn attached() -> Script {
    let transactions = [
        "BEGIN; CREATE TABLE main.here(x); CREATE TABLE other.there(x); COMMIT",
        "BEGIN; INSERT INTO here VALUES (1), (2), (3); INSERT INTO there VALUES (4); COMMIT",
        "BEGIN; INSERT INTO there SELECT x FROM here WHERE x < 3; DELETE FROM here WHERE x < 3; COMMIT",
        "INSERT INTO there VALUES (zeroblob(6000))",
        "BEGIN; INSERT INTO here SELECT x FROM there; DELETE FROM there; COMMIT",
    ];
    Script { attach: true, ..Script::of(&transactions) }
}

/// Transactions by seed, over a few tables with and without rowid.
fn random_script(seed: u64, transactions: usize) -> Script {
    let mut random = Random(seed);
    let mut script = Script::of(&[
        "BEGIN; CREATE TABLE t0(k INTEGER PRIMARY KEY, v); CREATE TABLE t1(k TEXT PRIMARY KEY, v) WITHOUT ROWID; COMMIT",
        "CREATE VIRTUAL TABLE t2 USING fts5(k, v)",
    ]);
    for _ in 0..transactions {
        let mut sql = "BEGIN; ".to_owned();
        for _ in 0..=random.below(4) {
            let (table, key, count) = (random.below(3), random.below(60), 1 + random.below(12));
            let words = "word ".repeat(1 + random.below(500));
            sql += &match random.below(8) {
                0..4 => format!(
                    "WITH RECURSIVE n(i) AS (SELECT {key} UNION ALL SELECT i + 1 FROM n WHERE i < {key} + {count}) \
                     INSERT OR REPLACE INTO t{table}(k, v) SELECT i, '{words}' || i FROM n; "
                ),
                4 | 5 => format!("UPDATE t{table} SET v = v || 'x{key}' WHERE k % 7 = {key} % 7; "),
                6 => format!("DELETE FROM t{table} WHERE k % 5 = {key} % 5; "),
                _ => format!("CREATE INDEX IF NOT EXISTS i{key} ON t{}(v); ", table % 2),
            };
        }
        script.transactions.push(sql + "COMMIT");
        if random.below(10) == 0 {
            script.transactions.push("VACUUM".to_owned());
        }
    }
    script
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    let seed = seed();
    for (name, script) in [("ledger", ledger()), ("shrinking", shrinking()), ("attached", attached())] {
        let crashes = crash_everywhere(&script, None, seed..seed + 4).unwrap_or_else(|what| panic!("{name}: {what}"));
        println!("{name}: {crashes} crashes");
    }
}

#[test]
fn a_crash_in_a_long_history_loses_nothing_acknowledged() {
    let seed = seed();
    for seed in seed..seed + 6 {
        let script = random_script(seed, 25);
        let (states, operations) = script.in_peace();
        let mut random = Random(seed);
        for _ in 0..25 {
            let at = random.next() % (operations + 1);
            let crashes = [Crash::LoseAll, Crash::Seed(random.next()), Crash::Seed(random.next())];
            let judge = crash_at(&script, &states, None, at, &crashes);
            judge.unwrap_or_else(|what| panic!("script {seed}: {what}"));
        }
    }
}

#[test]
fn planted_bugs_are_noticed() {
    let seed = seed();
    for bug in [Bug::FlushNothing, Bug::FlushNoJournal, Bug::FlushNoDatabase, Bug::KeepJournal, Bug::WriteNoJournal] {
        let noticed = crash_everywhere(&ledger(), Some(bug), seed..seed + 4).expect_err(&format!("{bug:?}"));
        println!("{bug:?}: {noticed}");
    }
}

#[test]
fn a_full_disk_fails_one_transaction_and_harms_none() {
    for (name, script) in [("ledger", ledger()), ("shrinking", shrinking()), ("attached", attached())] {
        let (states, operations) = script.in_peace();
        let at_operation = (0..operations).map(|at| Faults { quota_at: Some(at), ..Faults::default() });
        let at_bytes = (0..80_000).step_by(1009).map(|bytes| Faults { quota_bytes: Some(bytes), ..Faults::default() });
        for (kind, faults) in [("operation", at_operation.collect::<Vec<_>>()), ("bytes", at_bytes.collect())] {
            let (mut failures, runs) = (0, faults.len());
            for faults in faults {
                let judge = full(&script, &states, faults);
                failures += usize::from(judge.unwrap_or_else(|what| panic!("{name}, {faults:?}: {what}")));
            }
            assert!(failures > runs / 8, "{name}, by {kind}: {failures} of {runs} runs met the quota");
        }
    }
}

/// Whether a disk with such a quota failed a transaction; nothing else may come of it.
fn full(script: &Script, states: &[State], faults: Faults) -> Result<bool, String> {
    let disk = SimDisk::new(0);
    disk.set_faults(faults);
    let db = script.open(Rc::new(disk.clone())).map_err(|error| format!("opening: {error}"))?;
    let (acknowledged, failed) = stopped_by_quota(script, &db, states)?;
    for crash in [Crash::LoseAll, Crash::KeepAll, Crash::Seed(disk.operations())] {
        let found = recovered(script, &disk.crash(crash))?;
        if found != states[acknowledged] {
            return Err(format!("after {crash:?} {found:?}, not {:?}", states[acknowledged]));
        }
    }
    disk.set_faults(Faults::default());
    finish(script, db, acknowledged)?;
    let found = recovered(script, &disk.crash(Crash::LoseAll))?;
    if found != states[states.len() - 1] {
        return Err(format!("in the end {found:?}, not {:?}", states[states.len() - 1]));
    }
    Ok(failed)
}

/// Runs the script into the quota, if it meets one: how many transactions were acknowledged, and whether one failed.
/// The connection must see all of the first and nothing of the other.
fn stopped_by_quota(script: &Script, db: &Connection, states: &[State]) -> Result<(usize, bool), String> {
    let (acknowledged, failure) = script.run(db, 0);
    if let Some(error) = &failure {
        if error.kind() != Kind::Quota {
            return Err(format!("not Quota but {:?}, {:?}: {error}", error.kind(), error.sqlite_code()));
        }
        if db.in_transaction() {
            db.exec("ROLLBACK").map_err(|error| format!("rolling back: {error}"))?;
        }
    }
    let found = state(db).map_err(|error| format!("reading while full: {error}"))?;
    if found != states[acknowledged] {
        return Err(format!("while full {found:?}, not {:?}", states[acknowledged]));
    }
    Ok((acknowledged, failure.is_some()))
}

/// Runs the rest of the script, now that there is room.
fn finish(script: &Script, db: Connection, done: usize) -> Result<(), String> {
    match script.run(&db, done) {
        (_, None) => Ok(()),
        (_, Some(error)) => Err(format!("still failing after the quota was lifted: {error}")),
    }
}

#[test]
fn other_failures_are_reported_and_leave_what_a_crash_may_leave() {
    type FaultAt = fn(u64) -> Faults;
    let faults: [(&str, FaultAt, &[Kind]); 4] = [
        ("short write", |at| Faults { short_write_at: Some(at), ..Faults::default() }, &[Kind::Io]),
        ("failed flush", |at| Faults { fail_flush_at: Some(at), ..Faults::default() }, &[Kind::Io]),
        ("invalid handle", |at| Faults { invalid_handle_at: Some(at), ..Faults::default() }, &[Kind::Closed]),
        (
            "invalid handle, not replaced",
            |at| Faults { invalid_handle_at: Some(at), refuse_open_at: Some(at), ..Faults::default() },
            &[Kind::Closed, Kind::Busy],
        ),
    ];
    for (name, script) in [("ledger", ledger()), ("attached", attached())] {
        let (states, operations) = script.in_peace();
        for (fault, fault_at, kinds) in faults {
            let mut failures = 0;
            for at in 0..operations {
                let disk = SimDisk::new(at);
                disk.set_faults(fault_at(at));
                let (acknowledged, failure) = script.run_on(Rc::new(disk.clone()));
                failures += u64::from(failure.is_some());
                if let Some(error) = &failure {
                    assert!(kinds.contains(&error.kind()), "{name}, {fault} at {at}: {:?}, {error}", error.kind());
                }
                let allowed =
                    &states[acknowledged..states.len().min(acknowledged + 1 + usize::from(failure.is_some()))];
                // The process ends and the machine with it; or only the process.
                disk.set_faults(Faults::default());
                for survivor in [disk.crash(Crash::LoseAll), disk.crash(Crash::Seed(at)), disk] {
                    let judge = survives(&script, &survivor, allowed, at);
                    judge.unwrap_or_else(|what| panic!("{name}, {fault} at {at} ({failure:?}): {what}"));
                }
            }
            assert!(failures > operations / 2, "{name}: {failures} of {operations} runs met a {fault}");
        }
    }
}
