//! Bytes that survive: the one seam between Statik's logic and a platform's storage.
//!
//! A [`Disk`] opens, removes, renames and lists files; a [`File`] reads and writes at positions, sets and tells its
//! length, and flushes. Everything above performs I/O through these two traits only, so that all of it also runs
//! natively, on [`MemDisk`] and under the seeded faults of [`SimDisk`].
//!
//! Invariants:
//! - Calls are synchronous and nothing is `Send`: a browser's handles are neither.
//! - What was written is durable after [`File::flush`] returned `Ok`, not before.
//! - Opening one path twice gives two handles to the same bytes.
//! - Every implementation passes [`contract::disk`].
//!
//! This crate knows no JavaScript, no SQL and no threads.
//!
//! ```
//! use statik_disk::{Disk, MemDisk, Open};
//!
//! let disk = MemDisk::new();
//! let file = disk.open("notes/today", Open::Create)?;
//! file.write_at(0, b"milk")?;
//! file.flush()?;
//! let mut first = [0; 2];
//! assert_eq!(file.read_at(0, &mut first)?, 2);
//! assert_eq!(&first, b"mi");
//! # Ok::<(), statik_disk::Error>(())
//! ```

mod error;
mod mem;
mod path;
mod sim;

pub mod contract;

pub use error::{Error, Kind, Result};
pub use mem::MemDisk;
pub use path::validate as validate_path;
pub use sim::{Crash, Faults, SimDisk};

/// What [`Disk::open`] does about a file that is, or is not, there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// The file must exist, else [`Kind::NotFound`].
    Existing,
    /// The file is created, empty, if it does not exist.
    Create,
    /// The file must not exist, else [`Kind::Exists`].
    CreateNew,
}

/// A set of named files. Paths are relative, `/` separates directories, which come and go with their files.
///
/// A path that [`validate_path`] refuses fails with [`Kind::Invalid`].
pub trait Disk {
    /// Opens a file. Two handles to one path see each other's writes.
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn File>>;

    /// Removes a file: [`Kind::NotFound`] if there is none, [`Kind::Busy`] while a handle to it is open.
    fn remove(&self, path: &str) -> Result<()>;

    /// Gives a file another name, replacing what has it: [`Kind::NotFound`] if there is no `from`, [`Kind::Busy`]
    /// while a handle to either is open.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// The paths of all files, in no order that a caller may rely on.
    fn list(&self) -> Result<Vec<String>>;
}

/// An open file. Dropping it closes it, without a flush.
pub trait File {
    /// Reads up to `buf.len()` bytes at `offset`; less only at the file's end, 0 beyond it.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Writes all of `bytes` at `offset`, or fails; what a failed write left behind is not defined. A gap before
    /// `offset` reads as zeros.
    ///
    /// An implementation may post the write and report its failure at a later call on the same disk, at the latest
    /// from the next [`File::flush`], [`File::set_len`] or [`File::len`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// The length in bytes.
    fn len(&self) -> Result<u64>;

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> Result<()>;

    /// Makes durable what was written through any handle of this file. After a failed flush the file stays failed:
    /// nobody knows what the platform dropped.
    fn flush(&self) -> Result<()>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}
