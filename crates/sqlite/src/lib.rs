//! SQLite on Statik's store of pages.
//!
//! A [`Vfs`] stands on a service of pages, `statik_bridge::pages::Pages`; a [`Connection`] opens databases on it; a
//! [`Statement`] binds, steps and reads columns. SQLite is bundled: 3.53 or newer, with FTS5, JSON, R-tree, math
//! functions, sessions and column metadata.
//!
//! What holds for transactions:
//! - Each sees a snapshot of each database, from its first read on; it waits for nobody. One connection at a time has a
//!   database's write lock; others wait for it in turn, up to `busy_timeout_ms`, and then fail with `SQLITE_BUSY`.
//! - A transaction that has read and then wants to write what somebody else has changed since fails with
//!   `SQLITE_BUSY_SNAPSHOT` (`Conflict`), at once: it must start over. `BEGIN IMMEDIATE` never does.
//! - A commit is atomic over all databases that the connection has ATTACHed.
//! - `PRAGMA synchronous` is FULL unless set otherwise: committed is durable. NORMAL: a flush follows within 50 ms.
//!   OFF: nobody flushes for its sake. A commit over several databases does what the strictest of them asks for.
//! - `PRAGMA journal_mode` answers `memory`, also after it is set to something else: SQLite needs a journal only to roll
//!   back. What survives a crash is the store's business, and is what `synchronous` says. `PRAGMA locking_mode` answers
//!   `normal`; `PRAGMA wal_checkpoint` checkpoints the store; `PRAGMA writable_schema` has no effect.
//!
//! Invariants:
//! - Temporary files and journals stay in memory. No other file than databases is touched.
//! - All `unsafe` of the workspace is in this crate. Nothing here is `Send`.
//!
//! ```
//! use std::rc::Rc;
//! use statik_bridge::pages::{local::Local, mem::MemPages};
//! use statik_sqlite::{Connection, OpenOptions, Value, Vfs};
//!
//! let clock = || 0.0;
//! let vfs = Vfs::register(Rc::new(Local::new(Rc::new(MemPages::new()), clock)), clock)?;
//! let db = Connection::open(&vfs, "app.db", &OpenOptions::default())?;
//! db.exec("CREATE TABLE t(x)")?;
//! let mut insert = db.prepare("INSERT INTO t VALUES (?)")?;
//! insert.bind(1, Value::Integer(42))?;
//! assert!(!insert.step()?);
//! let mut select = db.prepare("SELECT x FROM t")?;
//! assert!(select.step()?);
//! assert_eq!(select.value(0), Value::Integer(42));
//! # Ok::<(), statik_sqlite::Error>(())
//! ```

mod code;
mod connection;
mod error;
mod ffi;
mod file;
pub mod files;
mod health;
mod pragma;
mod statement;
mod timing;
mod vfs;

pub use connection::{Connection, OpenOptions};
pub use error::{Error, Result};
pub use health::{Backup, CacheUse, ForeignKeyViolation, Health, Vacuumed};
pub use statement::{Column, Statement, Value};
pub use timing::{PlanRow, SlowQuery, Timings};
pub use vfs::Vfs;

/// SQLite's version, for instance `3.53.4`.
pub fn version() -> &'static str {
    ffi::SQLITE_VERSION.to_str().expect("a version is ASCII")
}
