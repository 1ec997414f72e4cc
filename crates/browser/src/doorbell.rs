//! The word that clients ring, as the bridge's server waits on it: blocking its thread, or in the event loop.

use std::time::Duration;

use js_sys::{Int32Array, Promise, Reflect, SharedArrayBuffer};
use statik_bridge::ring::BELL;
use statik_bridge::{AsyncDoorbell, Cells};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;
use web_sys::MessageChannel;

use crate::{SharedCells, clock};

/// Without `Atomics.waitAsync`, the longest that the thread blocks between two turns of its event loop.
const MAX_BLOCK: Duration = Duration::from_millis(8);

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Atomics, js_name = waitAsync)]
    fn wait_async(words: &Int32Array, index: usize, value: i32, timeout_ms: f64) -> WaitAsync;

    type WaitAsync;
    /// A promise, or a string if there is nothing to wait for.
    #[wasm_bindgen(method, getter)]
    fn value(this: &WaitAsync) -> Promise;
}

/// The server's end of the doorbell: the first word of a SharedArrayBuffer. One task waits on it at a time.
pub struct Doorbell {
    cells: SharedCells,
    can_wait_async: bool,
    /// A message to itself is the fastest way through the event loop: timers are held back for milliseconds.
    channel: MessageChannel,
}

impl Doorbell {
    /// The doorbell in `buffer`, whose length must be a multiple of 4, and not 0.
    ///
    /// # Panics
    /// If it is not.
    pub fn new(buffer: &SharedArrayBuffer) -> Self {
        let wait_async = Reflect::get(&js_sys::global(), &"Atomics".into())
            .and_then(|atomics| Reflect::get(&atomics, &"waitAsync".into()));
        let cells = SharedCells::new(buffer);
        assert!(cells.len() > BELL * 4, "the doorbell needs a word");
        Doorbell {
            cells,
            can_wait_async: wait_async.is_ok_and(|function| function.is_function()),
            channel: MessageChannel::new().expect("a worker can make a MessageChannel"),
        }
    }
}

impl AsyncDoorbell for Doorbell {
    fn count(&self) -> i32 {
        self.cells.load(BELL)
    }

    fn wait(&self, seen: i32, timeout: Duration) {
        self.cells.wait(BELL, seen, timeout);
    }

    /// With `Atomics.waitAsync`, costs nothing while nobody rings. In browsers without it (Firefox before 145, Safari
    /// before 16.4) the thread blocks and turns by turns, so that clients still get it at once and what comes through
    /// the event loop within some milliseconds.
    async fn changed(&self, seen: i32, timeout: Duration) {
        let timeout_ms = timeout.as_secs_f64() * 1000.0;
        if self.can_wait_async {
            // Awaiting a string, which says that the word changed already, resolves at once.
            let promise = Promise::resolve(&wait_async(self.cells.words(), BELL, seen, timeout_ms).value());
            JsFuture::from(promise).await.expect("a wait is never rejected");
            return;
        }
        let end_ms = clock::now_ms() + timeout_ms;
        let mut block = Duration::from_millis(1);
        while self.count() == seen && clock::now_ms() < end_ms {
            self.turn().await;
            self.wait(seen, block.min(timeout));
            block = MAX_BLOCK.min(block * 2);
        }
    }

    async fn turn(&self) {
        let came = Promise::new(&mut |resolve, _| self.channel.port1().set_onmessage(Some(&resolve)));
        self.channel.port2().post_message(&JsValue::NULL).expect("null can be posted");
        JsFuture::from(came).await.expect("nothing rejects a message");
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        // An open port with a listener keeps the channel alive.
        self.channel.port1().close();
    }
}
