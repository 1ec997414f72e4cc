//! The platform, inbound: what the rooms above need of a browser, behind their traits. The origin private file system
//! as an [`AsyncDisk`](statik_bridge::AsyncDisk) of the bridge and, for files prepared beforehand, as a
//! [`Disk`](statik_disk::Disk); shared memory as the bridge's [`Cells`](statik_bridge::Cells); IndexedDB; random
//! bytes, the clock and the console.
//!
//! Invariants:
//! - A JavaScript exception becomes an [`Error`](statik_disk::Error) in [`errors`] and nowhere else.
//! - A file has at most one access handle, however often it is open.
//! - Nothing here is exported to JavaScript; that is the runtime's.
//!
//! The crate is empty on other platforms than wasm, so that a workspace builds natively.
//!
//! ```no_run
//! # #[cfg(target_family = "wasm")]
//! # async fn example() -> statik_disk::Result<()> {
//! use statik_browser::{Opfs, OpfsOptions};
//! use statik_disk::{Disk, File, Open};
//!
//! let opfs = Opfs::open("app", OpfsOptions::default()).await?;
//! opfs.prepare(&[("notes/today", Open::Create)]).await?;
//! let file = Disk::open(&opfs, "notes/today", Open::Existing)?;
//! file.write_at(0, b"milk")?;
//! file.flush()?;
//! # Ok(())
//! # }
//! ```
#![cfg(target_family = "wasm")]

pub mod clock;
pub mod errors;
pub mod idb;
pub mod random;
pub mod sanity;

mod cells;
mod doorbell;
mod handle;
mod log;
mod opfs;
mod tree;

pub use cells::SharedCells;
pub use doorbell::Doorbell;
pub use log::Log;
pub use opfs::{Opfs, OpfsOptions};
