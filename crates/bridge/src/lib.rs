//! A synchronous call across threads: what makes a storage that lives in another worker look like a local one.
//!
//! A [`Client`] implements [`Disk`](statik_disk::Disk) and [`Pages`](pages::Pages) by requests that it writes into a
//! ring of shared memory; a [`Server`] carries them out on a [`Host`] and answers. The memory is whatever implements
//! [`Cells`]: a SharedArrayBuffer in a browser, atomics natively, a model checker's in the tests.
//!
//! Invariants:
//! - A call either returns what the server did or fails within its deadline; it never hangs and is never lost in
//!   silence. A posted write that fails is reported by the client's next call that waits.
//! - Neither end trusts what the other wrote: hostile bytes end the ring with an error.
//! - No JavaScript, no SQL and no global state here; time is passed in.
//!
//! The bytes are described in `docs/ring-format.md` and `docs/board-format.md`.
//!
//! ```
//! # #[cfg(not(target_arch = "wasm32"))] {
//! use statik_bridge::native::Thread;
//! use statik_bridge::{ClientOptions, DiskHost};
//! use statik_disk::{Disk, MemDisk, Open};
//!
//! let server = Thread::spawn(|| DiskHost::in_memory(MemDisk::new()));
//! let disk = server.client(ClientOptions::default())?;
//! let file = disk.open("notes/today", Open::Create)?;
//! file.write_at(0, b"milk")?; // posted
//! file.flush()?; // waits
//! assert_eq!(file.len()?, 4);
//! # }
//! # Ok::<(), statik_disk::Error>(())
//! ```

mod cells;
mod client;
mod server;
mod session;
mod spin;
mod wire;

pub mod board;
pub mod metrics;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
pub mod pages;
mod paging;
pub mod ring;

pub use cells::{Cells, Woken};
pub use client::{CacheUse, Client, ClientOptions};
pub use server::{AsyncDisk, AsyncDoorbell, DiskHost, Host, Server};
