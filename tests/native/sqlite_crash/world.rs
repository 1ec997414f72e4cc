//! SQLite on pages on a simulated disk, and a script's run there, with the moments at which it may be crashed.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::rc::Rc;

use statik_bridge::pages::local::Local;
use statik_bridge::pages::{PageStore, Pages};
use statik_disk::{Crash, Kind, SimDisk};
use statik_sqlite::{Connection, OpenOptions, Value, Vfs};
use statik_store::{Options, Store};

use super::script::{Script, Step};

thread_local! {
    static NOW_MS: Cell<f64> = const { Cell::new(0.0) };
}

fn clock() -> f64 {
    NOW_MS.get()
}

/// The databases of a script.
pub const PATHS: [&str; 2] = ["main.db", "other.db"];

pub type Failed = statik_sqlite::Error;

/// What the databases hold: schema and row counts, to read, and a hash of every value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub summary: String,
    pub hash: u64,
}

/// Connections to a store.
pub struct World {
    pub store: Rc<Store>,
    pub local: Local,
    /// The script's two.
    pub by: [Connection; 2],
    /// Looks on.
    pub reader: Connection,
}

impl World {
    pub fn open(disk: &SimDisk, options: &Options, attach: bool) -> Result<World, Failed> {
        let store = Rc::new(Store::open(Rc::new(disk.clone()), *options)?);
        let local = Local::new(Rc::clone(&store) as _, clock);
        let vfs = Vfs::register(Rc::new(local.clone()), clock)?;
        let open = || {
            // A cache this small spills: changes are staged before the commit. Nobody here gives a lock up by waiting.
            let options = OpenOptions { cache_kib: 24, busy_timeout_ms: 0, ..OpenOptions::default() };
            let db = Connection::open(&vfs, PATHS[0], &options)?;
            if attach {
                db.exec(&format!("ATTACH '{}' AS other", PATHS[1]))?;
            }
            Ok::<_, Failed>(db)
        };
        Ok(World { by: [open()?, open()?], reader: open()?, store, local })
    }

    /// What a reader finds now.
    pub fn state(&self) -> Result<State, Failed> {
        state(&self.reader)
    }

    /// What is wrong with the databases.
    pub fn findings(&self) -> Result<Vec<String>, Failed> {
        let mut findings = rows(&self.reader, "PRAGMA integrity_check")?;
        findings.retain(|finding| finding != "ok");
        Ok(findings)
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

/// What a connection sees in one transaction.
pub fn state(db: &Connection) -> Result<State, Failed> {
    db.exec("BEGIN")?;
    let state = look(db);
    db.exec("COMMIT")?;
    state
}

fn look(db: &Connection) -> Result<State, Failed> {
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

/// A disk as it was, and which states may be found on it after a crash.
pub struct Moment {
    pub disk: SimDisk,
    pub operation: u64,
    pub allowed: RangeInclusive<usize>,
}

#[derive(Default)]
struct Trace {
    floor: usize,
    attempted: usize,
    moments: Vec<Moment>,
}

impl Trace {
    fn take(&mut self, disk: &SimDisk) {
        let (disk, operation) = (disk.crash(Crash::Process), disk.operations());
        self.moments.push(Moment { disk, operation, allowed: self.floor..=self.attempted });
    }
}

/// A script on its way.
pub struct Run {
    pub disk: SimDisk,
    pub world: World,
    /// What was found after each transaction, first before all.
    pub states: Vec<State>,
    /// The store's newest commit in each of them.
    seqs: Vec<u64>,
    synchronous: [&'static str; 2],
    trace: Rc<RefCell<Trace>>,
}

/// What a step did.
pub enum Done {
    Yes,
    /// A transaction failed, as a whole.
    Failed(Failed),
}

impl Run {
    /// Opens the databases on an empty disk. The moments for which `sample` says so, by the operation, are kept.
    pub fn new(script: &Script, sample: impl Fn(u64) -> bool + 'static) -> Result<Run, String> {
        NOW_MS.set(0.0);
        let disk = SimDisk::new(0);
        let trace = Rc::new(RefCell::new(Trace::default()));
        let watched = Rc::clone(&trace);
        disk.watch(move |disk| {
            if sample(disk.operations()) {
                watched.borrow_mut().take(disk);
            }
        });
        let world = World::open(&disk, &script.options, script.attach).map_err(|error| format!("opening: {error}"))?;
        let state = world.state().map_err(|error| format!("reading what is new: {error}"))?;
        let seqs = vec![world.store.usage().newest];
        Ok(Run { disk, world, states: vec![state], seqs, synchronous: ["FULL"; 2], trace })
    }

    /// Runs the script, which must not fail.
    pub fn run(&mut self, script: &Script) -> Result<(), String> {
        for (at, step) in script.steps.iter().enumerate() {
            match self.step(step).map_err(|what| format!("step {at}, {step:?}: {what}"))? {
                Done::Yes => {}
                Done::Failed(error) => return Err(format!("step {at}, {step:?}: {error}")),
            }
        }
        self.take();
        Ok(())
    }

    /// Keeps this moment.
    pub fn take(&self) {
        self.trace.borrow_mut().take(&self.disk);
    }

    pub fn moments(&self) -> Vec<Moment> {
        std::mem::take(&mut self.trace.borrow_mut().moments)
    }

    /// One step; `Err` is what must not be.
    pub fn step(&mut self, step: &Step) -> Result<Done, String> {
        let done = match step {
            Step::Sql { by, sql } => return self.transaction(*by, sql),
            Step::Synchronous { by, value } => {
                self.synchronous[*by] = value;
                let schemas = rows(&self.world.by[*by], "SELECT name FROM pragma_database_list");
                schemas.and_then(|schemas| {
                    let set =
                        |schema: &String| self.world.by[*by].exec(&format!("PRAGMA {schema}.synchronous={value}"));
                    schemas.iter().filter(|schema| *schema != "temp").try_for_each(set)
                })
            }
            Step::Read { by } => self.world.by[*by].exec("BEGIN; SELECT * FROM main.sqlite_schema"),
            Step::End { by } => self.world.by[*by].exec("COMMIT"),
            Step::Pass { ms } => {
                NOW_MS.set(NOW_MS.get() + ms);
                self.world.local.tend().map(drop).map_err(Failed::from)
            }
            Step::Slice => self.world.local.tend().map(drop).map_err(Failed::from),
            Step::Checkpoint => match self.world.local.checkpoint() {
                // A reader holds an older view.
                Err(error) if error.kind() == Kind::Busy => Ok(()),
                done => done.map_err(Failed::from),
            },
            Step::Durable => {
                let durable = self.world.local.durable();
                if durable.is_ok() {
                    let newest = self.states.len() - 1;
                    self.trace.borrow_mut().floor = newest;
                }
                durable.map(drop).map_err(Failed::from)
            }
        };
        self.raise_floor();
        self.compare()?;
        Ok(match done {
            Ok(()) => Done::Yes,
            Err(error) => Done::Failed(error),
        })
    }

    fn transaction(&mut self, by: usize, sql: &str) -> Result<Done, String> {
        self.trace.borrow_mut().attempted = self.states.len();
        let done = self.world.by[by].exec(sql);
        if self.world.by[by].in_transaction() {
            self.world.by[by].exec("ROLLBACK").map_err(|error| format!("rolling back: {error}"))?;
        }
        let newest = self.world.store.usage().newest;
        let found = self.world.state().map_err(|error| format!("reading: {error}"))?;
        let committed = newest != self.seqs[self.seqs.len() - 1];
        if committed {
            self.states.push(found);
            self.seqs.push(newest);
        } else if found != self.states[self.states.len() - 1] {
            return Err(format!("without a commit it became {found:?}"));
        }
        let last = self.states.len() - 1;
        let mut trace = self.trace.borrow_mut();
        trace.attempted = last;
        // Who commits nothing flushes nothing.
        if committed && done.is_ok() && self.synchronous[by] == "FULL" {
            trace.floor = last;
        }
        drop(trace);
        self.raise_floor();
        Ok(match done {
            Ok(()) => Done::Yes,
            Err(error) => Done::Failed(error),
        })
    }

    /// What the store says is durable, is.
    fn raise_floor(&self) {
        let durable = self.world.store.usage().durable;
        let durable = self.seqs.iter().rposition(|seq| *seq <= durable).unwrap_or(0);
        let mut trace = self.trace.borrow_mut();
        trace.floor = trace.floor.max(durable);
    }

    /// A reader sees what the last transaction left.
    pub fn compare(&self) -> Result<(), String> {
        let found = self.world.state().map_err(|error| format!("reading: {error}"))?;
        let expected = &self.states[self.states.len() - 1];
        if found == *expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
    }
}
