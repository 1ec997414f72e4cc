//! What only a browser can test, run by wasm-pack in a dedicated worker.
#![cfg(all(test, target_family = "wasm"))]

mod bridge;
mod cells;
mod doorbell;
mod errors;
mod faults;
mod idb;
mod opfs;

use js_sys::Array;
use wasm_bindgen_test::wasm_bindgen_test_configure;
use web_sys::{Blob, BlobPropertyBag, Url, Worker};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Another worker, made of this script.
fn worker(script: &str) -> Worker {
    let options = BlobPropertyBag::new();
    options.set_type("text/javascript");
    let blob = Blob::new_with_str_sequence_and_options(&Array::of1(&script.into()), &options).expect("a Blob");
    Worker::new(&Url::create_object_url_with_blob(&blob).expect("a URL")).expect("a worker")
}
