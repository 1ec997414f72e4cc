//! Time: a monotonic clock, and waiting for it without blocking the thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

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
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
}

/// Milliseconds since this thread started.
pub fn now_ms() -> f64 {
    performance_now()
}

/// Returns to the event loop for at least `delay_ms`.
pub async fn sleep(delay_ms: f64) {
    Timer::new(delay_ms).await;
}

/// Ready after a delay. Dropped before, it is as if it had never been.
pub struct Timer {
    id: JsValue,
    promise: JsFuture,
}

/// The longest delay that `setTimeout` knows; a longer one would be over at once.
const LONGEST_MS: f64 = 2_147_483_647.0;

impl Timer {
    /// A timer that runs from now on.
    pub fn new(delay_ms: f64) -> Self {
        let mut id = JsValue::UNDEFINED;
        let promise = Promise::new(&mut |resolve, _| id = set_timeout(&resolve, delay_ms.min(LONGEST_MS)));
        Timer { id, promise: promise.into() }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A timer's promise is never rejected.
        Pin::new(&mut self.promise).poll(cx).map(|_| ())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.id);
    }
}
