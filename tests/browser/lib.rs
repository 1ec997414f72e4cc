//! What only a browser can test, run by wasm-pack in a dedicated worker.
#![cfg(all(test, target_family = "wasm"))]

mod bridge;
mod cells;
mod doorbell;
mod errors;
mod faults;
mod opfs;

use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_dedicated_worker);
