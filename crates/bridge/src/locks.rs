//! SQLite's file locks, as its unix VFS has them between processes, for connections that share a store.
//!
//! Invariants, for each path:
//! - Any number of holders may be at Shared; beside them one at Reserved or Pending; one at Exclusive is alone.
//! - While one is at Pending, nobody new comes to Shared, so that a writer is not starved.
//! - Nothing waits here: what cannot be had is [`Kind::Busy`] at once. Waiting is the caller's policy.
//!
//! It does not lock files against other programs, nor against other tabs: the store's Web Lock does.

pub mod contract;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use statik_disk::{Error, Kind, Result, validate_path};

/// How much of a file one connection holds, in rising order. <https://sqlite.org/lockingv3.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// It may read.
    Shared,
    /// It may read and is the one that will write.
    Reserved,
    /// It waits for the last readers to go, and no new ones come.
    Pending,
    /// It may write, and nobody else may do anything.
    Exclusive,
}

impl Level {
    /// All levels, in the order of their wire numbers, which are SQLite's.
    pub const ALL: [Level; 5] = [Level::None, Level::Shared, Level::Reserved, Level::Pending, Level::Exclusive];
}

/// Where locks come from.
pub trait Locks {
    /// A new holder, at [`Level::None`], of the lock that belongs to `path`. The file need not exist.
    fn open(&self, path: &str) -> Result<Box<dyn Lock>>;
}

/// One holder of one file's lock. Dropping it releases what it holds.
pub trait Lock {
    /// Raises this holder to Shared (from None), Reserved (from Shared) or Exclusive (from Shared or above); being
    /// there already is success. Another way is [`Kind::Invalid`].
    ///
    /// [`Kind::Busy`] if another holder is in the way. A holder that is refused Exclusive at Reserved is left at
    /// Pending; otherwise a refusal changes nothing.
    fn raise(&self, to: Level) -> Result<()>;

    /// Lowers this holder to Shared or None; being there or lower already is success. Another level is
    /// [`Kind::Invalid`].
    fn lower(&self, to: Level) -> Result<()>;

    /// Whether any holder, this one included, is above Shared.
    fn reserved(&self) -> Result<bool>;
}

/// The real locks, for all who share one thread. Clones share their locks.
///
/// ```
/// use statik_bridge::locks::{Level, Lock, Locks, Table};
///
/// let table = Table::new();
/// let (reader, writer) = (table.open("app.db")?, table.open("app.db")?);
/// reader.raise(Level::Shared)?;
/// writer.raise(Level::Shared)?;
/// writer.raise(Level::Reserved)?;
/// assert!(writer.raise(Level::Exclusive).is_err());
/// drop(reader);
/// writer.raise(Level::Exclusive)?;
/// # Ok::<(), statik_disk::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Table {
    paths: Rc<RefCell<Paths>>,
}

/// The levels of all holders, by path and by the holder's number.
#[derive(Default)]
struct Paths {
    holders: BTreeMap<String, BTreeMap<u64, Level>>,
    next: u64,
}

impl Table {
    /// No holder yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Locks for Table {
    fn open(&self, path: &str) -> Result<Box<dyn Lock>> {
        validate_path(path)?;
        let mut paths = self.paths.borrow_mut();
        let id = paths.next;
        paths.next += 1;
        paths.holders.entry(path.to_owned()).or_default().insert(id, Level::None);
        Ok(Box::new(Holder { table: self.clone(), path: path.to_owned(), id }))
    }
}

struct Holder {
    table: Table,
    path: String,
    id: u64,
}

impl Holder {
    /// Calls `change` with this holder's level and the highest of the others'.
    fn with<T>(&self, change: impl FnOnce(&mut Level, Level) -> T) -> T {
        let mut paths = self.table.paths.borrow_mut();
        let holders = paths.holders.get_mut(&self.path).expect("a path stays while it has holders");
        let others = holders.iter().filter(|(id, _)| **id != self.id).map(|(_, level)| *level).max();
        change(holders.get_mut(&self.id).expect("a holder stays until it is dropped"), others.unwrap_or_default())
    }

    fn error(&self, kind: Kind, context: String) -> Error {
        Error::new(kind, context).at(&self.path)
    }
}

impl Lock for Holder {
    fn raise(&self, to: Level) -> Result<()> {
        self.with(|mine, others| {
            let from = *mine;
            if from >= to {
                return Ok(());
            }
            let free = match (from, to) {
                (Level::None, Level::Shared) => others < Level::Pending,
                (Level::Shared, Level::Reserved) => others < Level::Reserved,
                (Level::Shared | Level::Reserved | Level::Pending, Level::Exclusive) => others == Level::None,
                _ => return Err(self.error(Kind::Invalid, format!("a lock cannot go from {from:?} to {to:?}"))),
            };
            if free {
                *mine = to;
                return Ok(());
            }
            if from == Level::Reserved {
                *mine = Level::Pending;
            }
            Err(self.error(Kind::Busy, format!("raising a lock from {from:?} to {to:?}: another is at {others:?}")))
        })
    }

    fn lower(&self, to: Level) -> Result<()> {
        if to > Level::Shared {
            return Err(self.error(Kind::Invalid, format!("a lock cannot be lowered to {to:?}")));
        }
        self.with(|mine, _| *mine = to.min(*mine));
        Ok(())
    }

    fn reserved(&self) -> Result<bool> {
        Ok(self.with(|mine, others| others.max(*mine) > Level::Shared))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut paths = self.table.paths.borrow_mut();
        let Some(holders) = paths.holders.get_mut(&self.path) else { return };
        holders.remove(&self.id);
        if holders.is_empty() {
            paths.holders.remove(&self.path);
        }
    }
}
