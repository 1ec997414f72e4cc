//! Shared memory: the bridge's [`Cells`] over a SharedArrayBuffer.

use std::time::Duration;

use js_sys::{Int32Array, SharedArrayBuffer, Uint8Array};
use statik_bridge::{Cells, Woken};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

// Declared here rather than taken from js-sys, whose functions catch exceptions at a price, and whose `set` takes no
// offset: these are called many times a request.
#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Atomics)]
    fn load(words: &Int32Array, index: usize) -> i32;
    #[wasm_bindgen(js_namespace = Atomics)]
    fn store(words: &Int32Array, index: usize, value: i32) -> i32;
    #[wasm_bindgen(js_namespace = Atomics)]
    fn add(words: &Int32Array, index: usize, value: i32) -> i32;
    #[wasm_bindgen(js_namespace = Atomics, js_name = compareExchange)]
    fn compare_exchange(words: &Int32Array, index: usize, expected: i32, new: i32) -> i32;
    #[wasm_bindgen(js_namespace = Atomics)]
    fn notify(words: &Int32Array, index: usize) -> u32;
    #[wasm_bindgen(js_namespace = Atomics)]
    fn wait(words: &Int32Array, index: usize, value: i32, timeout_ms: f64) -> String;

    #[wasm_bindgen(extends = Uint8Array)]
    #[derive(Clone)]
    type Bytes;
    #[wasm_bindgen(method)]
    fn set(this: &Bytes, source: &[u8], offset: usize);
}

// One call and no object that Rust would have to hold: half of what `subarray` and `copy_to` cost, a third in Firefox.
#[wasm_bindgen(inline_js = "export function copy(bytes, offset, into) {
    into.set(bytes.subarray(offset, offset + into.length));
}")]
extern "C" {
    fn copy(bytes: &Bytes, offset: usize, into: &mut [u8]);
}

/// A SharedArrayBuffer as words and bytes. Clones share it.
#[derive(Clone)]
pub struct SharedCells {
    words: Int32Array,
    bytes: Bytes,
    len: usize,
}

impl SharedCells {
    /// The words and bytes of `buffer`, whose length must be a multiple of 4.
    ///
    /// # Panics
    /// If it is not.
    pub fn new(buffer: &SharedArrayBuffer) -> Self {
        let len = buffer.byte_length() as usize;
        assert!(len.is_multiple_of(4), "a SharedArrayBuffer of {len} bytes is not one of words");
        let buffer: &JsValue = buffer.as_ref();
        SharedCells { words: Int32Array::new(buffer), bytes: Uint8Array::new(buffer).unchecked_into(), len }
    }

    pub(crate) fn words(&self) -> &Int32Array {
        &self.words
    }
}

impl Cells for SharedCells {
    fn len(&self) -> usize {
        self.len
    }

    fn load(&self, word: usize) -> i32 {
        load(&self.words, word)
    }

    fn store(&self, word: usize, value: i32) {
        store(&self.words, word, value);
    }

    fn fetch_add(&self, word: usize, value: i32) -> i32 {
        add(&self.words, word, value)
    }

    fn compare_exchange(&self, word: usize, expected: i32, new: i32) -> Result<i32, i32> {
        let old = compare_exchange(&self.words, word, expected, new);
        if old == expected { Ok(old) } else { Err(old) }
    }

    fn read(&self, offset: usize, buf: &mut [u8]) {
        // JavaScript would clamp the range in silence.
        assert!(offset + buf.len() <= self.len, "{} bytes at {offset} in {}", buf.len(), self.len);
        copy(&self.bytes, offset, buf);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.bytes.set(bytes, offset);
    }

    fn wait(&self, word: usize, expected: i32, timeout: Duration) -> Woken {
        woken(&wait(&self.words, word, expected, timeout.as_secs_f64() * 1000.0))
    }

    fn notify(&self, word: usize) {
        notify(&self.words, word);
    }
}

/// What `Atomics.wait` and `Atomics.waitAsync` answer.
///
/// # Panics
/// For an answer that ECMAScript does not define.
pub(crate) fn woken(answer: &str) -> Woken {
    match answer {
        "ok" => Woken::Notified,
        "not-equal" => Woken::Changed,
        "timed-out" => Woken::TimedOut,
        other => panic!("Atomics.wait answered {other:?}"),
    }
}
