//! SQLite's C interface, from whichever crate builds it for this target.

#[cfg(not(target_family = "wasm"))]
pub use libsqlite3_sys::*;
#[cfg(target_family = "wasm")]
pub use sqlite_wasm_rs::*;
