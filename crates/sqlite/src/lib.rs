//! SQLite on Statik's disks.
//!
//! A [`Vfs`] stands on a `Disk` for bytes and on `Locks` for SQLite's file locks; a [`Connection`] opens databases on
//! it; a [`Statement`] binds, steps and reads columns. SQLite is bundled: 3.53 or newer, with FTS5, JSON, R-tree, math
//! functions, sessions and column metadata.
//!
//! Invariants:
//! - A database's file and its journal are opened with the connection and closed with it; no file is opened, closed or
//!   removed inside a transaction (a super-journal, needed by a commit over ATTACHed files, is the exception).
//! - Temporary files stay in memory.
//! - All `unsafe` of the workspace is in this crate. Nothing here is `Send`.
//!
//! In this version SQLite keeps its own rollback journal (`journal_mode=PERSIST`).
//!
//! ```
//! use std::rc::Rc;
//! use statik_bridge::locks::Table;
//! use statik_disk::MemDisk;
//! use statik_sqlite::{Connection, OpenOptions, Value, Vfs};
//!
//! let vfs = Vfs::register(Rc::new(MemDisk::new()), Rc::new(Table::new()))?;
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
pub mod files;
mod statement;
mod vfs;

pub use connection::{Connection, OpenOptions};
pub use error::{Error, Result};
pub use statement::{Column, Statement, Value};
pub use vfs::Vfs;

/// SQLite's version, for instance `3.53.4`.
pub fn version() -> &'static str {
    ffi::SQLITE_VERSION.to_str().expect("a version is ASCII")
}
