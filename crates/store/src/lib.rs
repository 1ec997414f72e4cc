//! Durability: what was acknowledged is there after a crash, whole, in order, and nothing else is.
//!
//! [`log`] writes records to a file and reads them back, and tells a crash from damage. On it stand [`Store`], files of
//! pages that commit together, atomically, and [`journal`], for state that an application keeps in memory. [`seal`]
//! encrypts what is kept.
//!
//! Invariants:
//! - All bytes read back are hostile until their checksum is right: nothing here panics, hangs, or allocates by a length
//!   that they merely claim.
//! - What recovery gives is always a prefix of what was committed, with all that was durable.
//!
//! This crate knows no SQL, no JavaScript, no threads and no clock.

pub mod journal;
pub mod log;
mod options;
pub mod seal;
mod store;

pub use options::{Damage, Options, Recover};
pub use store::Store;

#[cfg(feature = "planted")]
pub use options::Planted;
