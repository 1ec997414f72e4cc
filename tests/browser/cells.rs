//! [`SharedCells`]: every operation, seen from both of two views of one buffer.

use std::time::Duration;

use js_sys::SharedArrayBuffer;
use statik_bridge::{Cells, Woken};
use statik_browser::{SharedCells, clock};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
fn words_and_bytes_are_shared_and_little_endian() {
    let buffer = SharedArrayBuffer::new(64);
    let (one, two) = (SharedCells::new(&buffer), SharedCells::new(&buffer));
    assert_eq!(one.len(), 64);
    one.store(3, -2);
    assert_eq!(two.load(3), -2);
    assert_eq!(two.fetch_add(3, i32::MIN), -2);
    assert_eq!(one.load(3), i32::MIN.wrapping_add(-2), "an addition wraps");

    one.write(17, b"bytes");
    let mut back = [7; 7];
    two.read(16, &mut back);
    assert_eq!(&back, b"\0bytes\0");
    two.store(0, 0x0403_0201);
    one.read(0, &mut back[..4]);
    assert_eq!(&back[..4], [1, 2, 3, 4]);
    one.write(64, b"");
    two.read(64, &mut []);
}

#[wasm_bindgen_test]
fn a_wait_ends_by_the_value_or_by_the_time() {
    let cells = SharedCells::new(&SharedArrayBuffer::new(64));
    cells.store(1, 5);
    assert_eq!(cells.wait(1, 4, Duration::from_secs(60)), Woken::Changed);
    let before = clock::now_ms();
    assert_eq!(cells.wait(1, 5, Duration::from_millis(30)), Woken::TimedOut);
    // Browsers round their clocks.
    assert!(clock::now_ms() - before >= 28.0, "it waited {} ms", clock::now_ms() - before);
    cells.notify(1);
}
