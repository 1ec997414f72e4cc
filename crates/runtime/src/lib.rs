//! The platform, outbound: everything that JavaScript can call, and where the rooms are put together.
//!
//! An I/O worker makes an [`io::IoServer`]; an engine worker makes an [`engine::Engine`], over the bridge to that
//! server or directly on the store, and opens [`connection::Connection`]s on it. `web/sdk` wraps all of it: these
//! classes are not public.
//!
//! Invariants: a method converts in, makes one call, converts out. What fails throws an object of `ErrorShape` in
//! `web/sdk/src/types.d.ts`. No decision about storage is made here.
//!
//! Two modules are made of it, by feature: `engine` has SQLite and runs in workers; `records` is small, and has what every
//! context can use, service workers too.
#![cfg(target_family = "wasm")]

#[cfg(feature = "engine")]
mod connection;
mod convert;
#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
mod io;
#[cfg(feature = "engine")]
mod journal;
#[cfg(feature = "engine")]
mod owner;
#[cfg(feature = "records")]
mod reconciler;
#[cfg(feature = "records")]
mod records;
#[cfg(feature = "engine")]
mod store;
#[cfg(feature = "engine")]
mod transfer;
#[cfg(feature = "engine")]
mod values;

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(message: &str);
}

/// A trap tells JavaScript nothing; the console shall know which invariant broke.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
}
