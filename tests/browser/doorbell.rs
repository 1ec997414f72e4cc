//! [`Doorbell`], rung from another thread: a worker made of a few lines of JavaScript.

use std::time::Duration;

use js_sys::{Int32Array, Object, Reflect, SharedArrayBuffer};
use statik_bridge::AsyncDoorbell;
use statik_browser::{Doorbell, clock};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::worker;

/// Rings 20 ms after it was given the bell.
const RINGER: &str = "onmessage = ({ data }) => setTimeout(() => {
    Atomics.add(data, 0, 1);
    Atomics.notify(data, 0);
}, 20);";

async fn check_changed() {
    let buffer = SharedArrayBuffer::new(64);
    let bell = Doorbell::new(&buffer);
    let ringer = worker(RINGER);
    for round in 0..3 {
        let seen = bell.count();
        assert_eq!(seen, round);
        ringer.post_message(&Int32Array::new(&buffer)).expect("post");
        while bell.count() == seen {
            bell.changed(seen, Duration::MAX).await;
        }
        bell.changed(seen, Duration::MAX).await;
    }
    ringer.terminate();
    let before_ms = clock::now_ms();
    bell.changed(bell.count(), Duration::from_millis(30)).await;
    // Browsers round their clocks, and their timers, to a millisecond.
    assert!(clock::now_ms() - before_ms >= 28.0, "nobody rang, and time is not over");
}

#[wasm_bindgen_test]
async fn a_ring_ends_the_wait_in_the_event_loop() {
    check_changed().await;
}

#[wasm_bindgen_test]
async fn a_ring_ends_the_wait_without_wait_async() {
    let atomics = Reflect::get(&js_sys::global(), &"Atomics".into()).expect("Atomics");
    let atomics: &Object = atomics.unchecked_ref();
    let key = JsValue::from_str("waitAsync");
    let original = Reflect::get(atomics, &key).expect("Atomics is an object");
    assert!(Reflect::delete_property(atomics, &key).expect("delete"));
    check_changed().await;
    // Firefox has it from 145 on.
    if original.is_function() {
        assert!(Reflect::set(atomics, &key, &original).expect("set"));
    }
}

#[wasm_bindgen_test]
async fn a_ring_ends_the_blocking_wait() {
    let buffer = SharedArrayBuffer::new(64);
    let bell = Doorbell::new(&buffer);
    let ringer = worker(RINGER);
    // The first ring tells that the worker runs: Chrome starts one only while its parent's event loop turns.
    ringer.post_message(&Int32Array::new(&buffer)).expect("post");
    while bell.count() == 0 {
        bell.changed(0, Duration::MAX).await;
    }
    ringer.post_message(&Int32Array::new(&buffer)).expect("post");
    let before_ms = clock::now_ms();
    bell.wait(1, Duration::from_secs(60));
    assert_eq!(bell.count(), 2);
    bell.wait(1, Duration::from_secs(60));
    assert!(clock::now_ms() - before_ms < 50_000.0);
    ringer.terminate();
}

#[wasm_bindgen_test]
async fn a_turn_lets_a_timer_and_a_message_come_through() {
    let bell = Doorbell::new(&SharedArrayBuffer::new(64));
    let came = std::rc::Rc::new(std::cell::Cell::new(false));
    wasm_bindgen_futures::spawn_local({
        let came = came.clone();
        async move {
            clock::sleep(0.0).await;
            came.set(true);
        }
    });
    let give_up_ms = clock::now_ms() + 10_000.0;
    while !came.get() {
        assert!(clock::now_ms() < give_up_ms, "turns starve the event loop");
        bell.turn().await;
    }
}
