//! SQL values, and what is told of a store, on their way between JavaScript and Rust.

use std::fmt::Display;

use js_sys::{Array, BigInt, JsString, Number, Object, Uint8Array};
use statik_bridge::CacheUse;
use statik_bridge::metrics::Metrics;
use statik_bridge::pages::{Durability, Usage};
use statik_sqlite::{Column, Error, Health, SlowQuery, Timings, Value};
use statik_store::Damage;
use wasm_bindgen::{JsCast, JsValue};

use crate::convert::{JsResult, Options, Thrown, invalid, set, shape_of};

/// The largest integer up to which every one is a `number`.
const MAX_SAFE: i64 = Number::MAX_SAFE_INTEGER as i64;

impl Thrown for Error {
    fn shape(&self) -> Object {
        let shape = shape_of(self.kind(), &self.to_string(), self.path());
        if let Some(code) = self.sqlite_code() {
            set(&shape, "sqliteCode", code);
        }
        if let Some(offset) = self.offset() {
            set(&shape, "offset", offset as f64);
        }
        shape
    }
}

/// The names in a JavaScript array of strings.
pub fn strings(array: &Array) -> JsResult<Vec<String>> {
    array.iter().map(|name| name.as_string().ok_or_else(|| invalid("a database name is not a string"))).collect()
}

/// An integer as a `number` where that is exact, else as a `bigint`.
pub fn integer(value: i64) -> JsValue {
    if (-MAX_SAFE..=MAX_SAFE).contains(&value) { JsValue::from_f64(value as f64) } else { BigInt::from(value).into() }
}

/// The `number` that a value is in JavaScript, if it is one.
pub fn exact_number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Integer(value) => (-MAX_SAFE..=MAX_SAFE).contains(&value).then_some(value as f64),
        Value::Real(value) => Some(value),
        Value::Null | Value::Text(_) | Value::Blob(_) => None,
    }
}

/// A value of a row; text that is not UTF-8 has U+FFFD where it is not.
pub fn value_out(value: Value<'_>) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Integer(value) => integer(value),
        Value::Real(value) => JsValue::from_f64(value),
        Value::Text(bytes) => JsValue::from_str(&String::from_utf8_lossy(bytes)),
        Value::Blob(bytes) => Uint8Array::from(bytes).into(),
    }
}

/// Hands `bind` what SQLite can store of `value`; `parameter` names it in errors.
pub fn value_in<T>(value: &JsValue, parameter: &dyn Display, bind: impl FnOnce(Value<'_>) -> T) -> JsResult<T> {
    if let Some(number) = value.as_f64() {
        let exact = number.fract() == 0.0 && number.abs() <= MAX_SAFE as f64;
        // Minus zero has no integer.
        let exact = exact && !(number == 0.0 && number.is_sign_negative());
        return Ok(bind(if exact { Value::Integer(number as i64) } else { Value::Real(number) }));
    }
    if let Some(text) = value.as_string() {
        return Ok(bind(Value::Text(text.as_bytes())));
    }
    if value.is_null() {
        return Ok(bind(Value::Null));
    }
    if let Some(flag) = value.as_bool() {
        return Ok(bind(Value::Integer(flag.into())));
    }
    if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
        return Ok(bind(Value::Blob(&bytes.to_vec())));
    }
    if value.is_bigint() {
        return match i64::try_from(value.clone()) {
            Ok(integer) => Ok(bind(Value::Integer(integer))),
            Err(_) => Err(invalid(format!("parameter {parameter}: the bigint does not fit into 64 bits"))),
        };
    }
    let name = if value.is_undefined() { "undefined".into() } else { JsString::from(value.js_typeof()) };
    Err(invalid(format!(
        "parameter {parameter}: SQLite stores null, number, bigint, string, boolean and Uint8Array, not {name}"
    )))
}

pub fn columns_out(columns: Vec<Column>) -> Array {
    let nullable = |text: Option<String>| text.map_or(JsValue::NULL, JsValue::from);
    columns
        .into_iter()
        .map(|column| {
            let shape = Object::new();
            set(&shape, "name", column.name);
            set(&shape, "declaredType", nullable(column.declared_type));
            set(&shape, "table", nullable(column.table));
            set(&shape, "database", nullable(column.database));
            shape
        })
        .collect()
}

pub fn database_out(name: &str, size_bytes: u64) -> Object {
    let shape = Object::new();
    set(&shape, "name", name);
    set(&shape, "sizeBytes", size_bytes as f64);
    shape
}

pub fn metrics_out(metrics: &Metrics) -> Object {
    let shape = Object::new();
    for (operation, totals) in metrics.iter() {
        let row = Object::new();
        set(&row, "count", totals.count as f64);
        set(&row, "errors", totals.errors as f64);
        set(&row, "bytes", totals.bytes as f64);
        set(&row, "totalMs", totals.total_ms);
        set(&row, "maxMs", totals.max_ms);
        set(&shape, operation, row);
    }
    shape
}

/// When a commit returns, as the option `synchronous` says.
pub fn durability_in(options: &Options<'_>) -> JsResult<Option<Durability>> {
    match options.string("synchronous")?.as_deref() {
        None => Ok(None),
        Some("off") => Ok(Some(Durability::Off)),
        Some("normal") => Ok(Some(Durability::Normal)),
        Some("full") => Ok(Some(Durability::Full)),
        Some(other) => {
            Err(invalid(format!("the option synchronous is {other:?}, not \"off\", \"normal\" or \"full\"")))
        }
    }
}

pub fn usage_out(usage: &Usage, cache: CacheUse) -> Object {
    let shape = Object::new();
    set(&shape, "logBytes", usage.log_bytes as f64);
    set(&shape, "newest", usage.newest as f64);
    set(&shape, "durable", usage.durable as f64);
    set(&shape, "checkpointed", usage.checkpointed as f64);
    set(&shape, "commits", usage.commits as f64);
    set(&shape, "flushes", usage.flushes as f64);
    set(&shape, "cacheHits", cache.hits as f64);
    set(&shape, "cacheMisses", cache.misses as f64);
    if let Some(oldest) = usage.oldest_view {
        set(&shape, "oldestView", oldest as f64);
    }
    shape
}

pub fn damage_out(damage: &Damage) -> Object {
    let shape = Object::new();
    set(&shape, "file", &damage.path);
    set(&shape, "offset", damage.offset as f64);
    set(&shape, "sequence", damage.sequence as f64);
    set(&shape, "filesAhead", damage.files_ahead);
    let aside = match &damage.aside {
        Ok(path) => format!("copied to {path:?}"),
        Err(error) => format!("not copied aside: {error}"),
    };
    set(&shape, "reason", format!("{damage}; the log from there on was {aside}"));
    shape
}

pub fn health_out(health: &Health, full: bool) -> Object {
    let violations = health.foreign_keys.iter().map(|violation| {
        let shape = Object::new();
        set(&shape, "table", &violation.table);
        set(&shape, "rowid", violation.rowid.map_or(JsValue::NULL, integer));
        set(&shape, "parent", &violation.parent);
        shape
    });
    let shape = Object::new();
    set(&shape, "ok", health.integrity.is_empty() && health.foreign_keys.is_empty());
    set(&shape, "full", full);
    set(&shape, "integrity", health.integrity.iter().map(JsValue::from).collect::<Array>());
    set(&shape, "foreignKeys", violations.collect::<Array>());
    set(&shape, "sizeBytes", (health.pages * health.page_bytes) as f64);
    set(&shape, "freeBytes", (health.free_pages * health.page_bytes) as f64);
    if let Some(fragmentation) = health.fragmentation {
        set(&shape, "fragmentation", fragmentation);
    }
    let log = Object::new();
    set(&log, "bytes", health.usage.log_bytes as f64);
    set(&log, "newest", health.usage.newest as f64);
    set(&log, "durable", health.usage.durable as f64);
    set(&log, "checkpointed", health.usage.checkpointed as f64);
    set(&shape, "log", log);
    shape
}

pub fn timings_out(timings: &Timings, cache: statik_sqlite::CacheUse) -> Object {
    let shape = Object::new();
    set(&shape, "count", timings.count as f64);
    set(&shape, "totalMs", timings.total_ms);
    set(&shape, "maxMs", timings.max_ms);
    set(&shape, "buckets", timings.buckets.iter().map(|count| JsValue::from(*count)).collect::<Array>());
    set(&shape, "cacheHits", cache.hits as f64);
    set(&shape, "cacheMisses", cache.misses as f64);
    shape
}

pub fn slow_query_out(query: &SlowQuery) -> Object {
    let plan = query.plan.iter().map(|row| {
        let shape = Object::new();
        set(&shape, "id", row.id as f64);
        set(&shape, "parent", row.parent as f64);
        set(&shape, "detail", &row.detail);
        shape
    });
    let shape = Object::new();
    set(&shape, "sql", &query.sql);
    set(&shape, "ms", query.ms);
    set(&shape, "rows", query.rows as f64);
    set(&shape, "plan", plan.collect::<Array>());
    shape
}
