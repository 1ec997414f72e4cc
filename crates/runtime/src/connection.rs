//! A connection and its statements, as JavaScript sees them.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::{Rc, Weak};

use js_sys::{Array, Object, Reflect};
use statik_disk::Kind;
use statik_sqlite::{Statement, Value, files};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::convert::{JsResult, invalid, set, thrown};
use crate::values::{columns_out, exact_number, health_out, integer, slow_query_out, timings_out, value_in, value_out};

/// A batch of rows ends when its texts and blobs add up to this.
const BATCH_BYTES: usize = 1 << 20;

/// An open database.
#[wasm_bindgen]
pub struct Connection {
    /// None once closed.
    db: RefCell<Option<Rc<statik_sqlite::Connection>>>,
    /// To be finalized with the connection, so that it lets go of its file.
    statements: RefCell<Vec<Weak<Slot>>>,
}

/// A statement until it is finalized.
type Slot = RefCell<Option<Statement>>;

impl Connection {
    pub fn new(db: statik_sqlite::Connection) -> Self {
        Connection { db: RefCell::new(Some(Rc::new(db))), statements: RefCell::default() }
    }

    fn open(&self) -> JsResult<Rc<statik_sqlite::Connection>> {
        self.db.borrow().clone().ok_or_else(closed)
    }
}

fn closed() -> JsValue {
    thrown(statik_disk::Error::new(Kind::Closed, "the database is closed"))
}

#[wasm_bindgen]
impl Connection {
    /// Runs any number of statements.
    pub fn exec(&self, sql: &str) -> JsResult<()> {
        self.open()?.exec(sql).map_err(thrown)
    }

    /// Prepares exactly one.
    pub fn prepare(&self, sql: &str) -> JsResult<Stmt> {
        let db = self.open()?;
        let statement = Rc::new(RefCell::new(Some(db.prepare(sql).map_err(thrown)?)));
        let mut statements = self.statements.borrow_mut();
        // Sweep when the list has doubled, so that preparing stays cheap.
        if statements.len() == statements.capacity() {
            statements.retain(|statement| statement.strong_count() > 0);
        }
        statements.push(Rc::downgrade(&statement));
        Ok(Stmt { db: Rc::downgrade(&db), statement, done: Cell::new(false), names: RefCell::default() })
    }

    /// The rowid of the last insert.
    #[wasm_bindgen(getter, js_name = lastInsertRowid)]
    pub fn last_insert_rowid(&self) -> JsResult<JsValue> {
        Ok(integer(self.open()?.last_insert_rowid()))
    }

    /// Whether a transaction is open.
    #[wasm_bindgen(getter, js_name = inTransaction)]
    pub fn in_transaction(&self) -> bool {
        self.db.borrow().as_ref().is_some_and(|db| db.in_transaction())
    }

    /// How the database is, as `Health`.
    pub fn health(&self, full: bool) -> JsResult<Object> {
        self.open()?.health(full).map(|health| health_out(&health, full)).map_err(thrown)
    }

    /// Starts to copy the database to `to`.
    pub fn backup(&self, to: &str) -> JsResult<Backup> {
        files::validate_name(to).map_err(thrown)?;
        let db = self.open()?;
        let backup = db.backup(to).map_err(thrown)?;
        Ok(Backup { backup: RefCell::new(Some(backup)) })
    }

    /// Makes the file as small as it can be; answers a `VacuumResult`.
    pub fn vacuum(&self) -> JsResult<Object> {
        let vacuumed = self.open()?.vacuum().map_err(thrown)?;
        let shape = Object::new();
        set(&shape, "beforeBytes", vacuumed.before_bytes as f64);
        set(&shape, "afterBytes", vacuumed.after_bytes as f64);
        Ok(shape)
    }

    /// Copies the store's log to its files.
    pub fn checkpoint(&self) -> JsResult<()> {
        self.open()?.checkpoint().map_err(thrown)
    }

    /// How long statements took, as `Timings`.
    pub fn timings(&self) -> JsResult<Object> {
        let db = self.open()?;
        let cache = db.cache_use().map_err(thrown)?;
        Ok(timings_out(&db.timings(), cache))
    }

    /// The slow statements since the last call, as `SlowQuery[]`.
    #[wasm_bindgen(js_name = takeSlowQueries)]
    pub fn take_slow_queries(&self) -> JsResult<Array> {
        Ok(self.open()?.take_slow_queries().iter().map(slow_query_out).collect())
    }

    /// Finalizes what is left and closes. Idempotent.
    pub fn close(&self) {
        let Some(db) = self.db.take() else { return };
        for statement in self.statements.take() {
            if let Some(statement) = statement.upgrade() {
                statement.take();
            }
        }
        db.close();
    }
}

/// A copy of a database on its way.
#[wasm_bindgen]
pub struct Backup {
    /// None once closed.
    backup: RefCell<Option<statik_sqlite::Backup>>,
}

#[wasm_bindgen]
impl Backup {
    /// How much there is to copy.
    #[wasm_bindgen(getter, js_name = totalBytes)]
    pub fn total_bytes(&self) -> f64 {
        self.backup.borrow().as_ref().map_or(0, statik_sqlite::Backup::total_bytes) as f64
    }

    /// How much of it was copied.
    #[wasm_bindgen(getter, js_name = doneBytes)]
    pub fn done_bytes(&self) -> f64 {
        self.backup.borrow().as_ref().map_or(0, statik_sqlite::Backup::done_bytes) as f64
    }

    /// Copies up to so many pages more. Whether all are copied, and committed.
    pub fn step(&self, pages: u32) -> JsResult<bool> {
        let ended = || thrown(statik_disk::Error::new(Kind::Closed, "the backup has ended"));
        self.backup.borrow_mut().as_mut().ok_or_else(ended)?.step(pages).map_err(thrown)
    }

    /// Ends it. Idempotent.
    pub fn close(&self) {
        self.backup.take();
    }
}

/// A prepared statement.
#[wasm_bindgen]
pub struct Stmt {
    db: Weak<statik_sqlite::Connection>,
    statement: Rc<Slot>,
    done: Cell<bool>,
    /// The columns' names, and how often SQLite had compiled the statement again by then.
    names: RefCell<Option<(u32, Array)>>,
}

impl Stmt {
    fn with<T>(&self, call: impl FnOnce(&mut Statement) -> JsResult<T>) -> JsResult<T> {
        match &mut *self.statement.borrow_mut() {
            Some(statement) => call(statement),
            None => Err(thrown(statik_disk::Error::new(Kind::Closed, "the statement is finalized"))),
        }
    }
}

#[wasm_bindgen]
impl Stmt {
    /// Whether it leaves the database as it is.
    #[wasm_bindgen(getter, js_name = readOnly)]
    pub fn read_only(&self) -> JsResult<bool> {
        self.with(|statement| statement.read_only().map_err(thrown))
    }

    /// The columns' names: the same array for as long as they are the same, so it is not to be changed.
    #[wasm_bindgen(getter, js_name = columnNames)]
    pub fn column_names(&self) -> JsResult<Array> {
        self.with(|statement| {
            let compiled = statement.recompiled().map_err(thrown)?;
            let known =
                self.names.borrow().as_ref().filter(|(then, _)| *then == compiled).map(|(_, names)| names.clone());
            if let Some(names) = known {
                return Ok(names);
            }
            let names: Array = statement.column_names().map_err(thrown)?.into_iter().map(JsValue::from).collect();
            self.names.replace(Some((compiled, names.clone())));
            Ok(names)
        })
    }

    /// What the columns are, as `ColumnInfo[]`.
    pub fn columns(&self) -> JsResult<Array> {
        self.with(|statement| statement.columns().map(columns_out).map_err(thrown))
    }

    /// Starts over with these parameters: an array, an object, or undefined where there are none.
    pub fn bind(&self, params: &JsValue) -> JsResult<()> {
        self.done.set(false);
        self.with(|statement| {
            statement.reset();
            let count = statement.parameter_count().map_err(thrown)?;
            if Array::is_array(params) {
                bind_positional(statement, count, params.unchecked_ref())
            } else if params.is_undefined() {
                bind_positional(statement, count, &Array::new())
            } else if params.is_object() && !params.is_instance_of::<js_sys::Uint8Array>() {
                bind_named(statement, count, params)
            } else {
                Err(invalid("parameters come as an array or as an object"))
            }
        })
    }

    /// Up to `max_rows` rows, flat; fewer if they are large, and at the end.
    pub fn step(&self, max_rows: u32) -> JsResult<Array> {
        let mut values = Values::default();
        let mut bytes = 0;
        self.with(|statement| {
            for _ in 0..max_rows {
                if bytes >= BATCH_BYTES {
                    break;
                }
                if !statement.step().map_err(thrown)? {
                    self.done.set(true);
                    break;
                }
                for index in 0..statement.column_count() {
                    let value = statement.value(index);
                    if let Value::Text(content) | Value::Blob(content) = value {
                        bytes += content.len();
                    }
                    values.push(value);
                }
            }
            Ok(())
        })?;
        Ok(values.into_array())
    }

    /// Whether the last `step` reached the end.
    #[wasm_bindgen(getter)]
    pub fn done(&self) -> bool {
        self.done.get()
    }

    /// Runs it with these parameters, to its end; answers how many rows that changed.
    pub fn run(&self, params: &JsValue) -> JsResult<f64> {
        self.bind(params)?;
        let db = self.db.upgrade().ok_or_else(closed)?;
        let before = db.total_changes();
        self.with(|statement| statement.run().map_err(thrown))?;
        self.done.set(true);
        // SQLite remembers the last statement that changed something; this one may not have.
        Ok(if db.total_changes() == before { 0.0 } else { db.changes() as f64 })
    }

    /// Starts over, keeping what is bound.
    pub fn reset(&self) {
        if let Some(statement) = &mut *self.statement.borrow_mut() {
            statement.reset();
        }
    }

    /// Calls after that fail with `Closed`.
    pub fn finalize(&self) {
        self.statement.take();
    }
}

#[wasm_bindgen(inline_js = "export function append(array, numbers) {
    for (let i = 0; i < numbers.length; i++) array.push(numbers[i]);
}")]
extern "C" {
    fn append(array: &Array, numbers: &[f64]);
}

/// So many numbers are handed over at once at most.
const NUMBERS: usize = 1024;

/// Values on their way to a JavaScript array. A call for each costs more than most rows take to find, so numbers that
/// follow each other go together.
#[derive(Default)]
struct Values {
    array: Array,
    numbers: Vec<f64>,
}

impl Values {
    fn push(&mut self, value: Value<'_>) {
        match exact_number(value) {
            Some(number) => {
                self.numbers.push(number);
                if self.numbers.len() == NUMBERS {
                    self.hand_over();
                }
            }
            None => {
                self.hand_over();
                self.array.push(&value_out(value));
            }
        }
    }

    fn hand_over(&mut self) {
        match self.numbers[..] {
            [] => return,
            [number] => drop(self.array.push(&number.into())),
            _ => append(&self.array, &self.numbers),
        }
        self.numbers.clear();
    }

    fn into_array(mut self) -> Array {
        self.hand_over();
        self.array
    }
}

fn bind(statement: &mut Statement, index: usize, value: &JsValue, parameter: &dyn Display) -> JsResult<()> {
    value_in(value, parameter, |value| statement.bind(index, value))?.map_err(thrown)
}

fn bind_positional(statement: &mut Statement, count: usize, values: &Array) -> JsResult<()> {
    let came = values.length();
    if came as usize != count {
        return Err(invalid(format!("the statement has {count} parameters, {came} values came")));
    }
    (1..=count).try_for_each(|index| bind(statement, index, &values.get(index as u32 - 1), &index))
}

fn bind_named(statement: &mut Statement, count: usize, params: &JsValue) -> JsResult<()> {
    for index in 1..=count {
        let Some(name) = statement.parameter_name(index).map_err(thrown)? else {
            return Err(invalid(format!("parameter {index} has no name, but the values came by name")));
        };
        let key = JsValue::from_str(&name[1..]);
        let value = Reflect::get(params, &key)?;
        if value.is_undefined() {
            return Err(invalid(format!("no value came for parameter {name}")));
        }
        bind(statement, index, &value, &name)?;
    }
    Ok(())
}
