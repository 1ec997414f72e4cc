//! Time: a monotonic clock, and waiting for it without blocking the thread.

use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, delay_ms: f64) -> JsValue;
}

/// Milliseconds since this thread started.
pub fn now_ms() -> f64 {
    performance_now()
}

/// Returns to the event loop for at least `delay_ms`.
pub async fn sleep(delay_ms: f64) {
    let timer = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, delay_ms);
    });
    JsFuture::from(timer).await.expect("a timer's promise is never rejected");
}
