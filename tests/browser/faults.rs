//! What an access handle does when the browser refuses: for real where a page can bring that about, else with one
//! method of `FileSystemSyncAccessHandle` replaced for a moment.

use std::rc::Rc;

use js_sys::{Function, Object, Reflect};
use statik_bridge::AsyncDisk;
use statik_browser::{Opfs, OpfsOptions};
use statik_disk::{File, Kind, Open, Result};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

/// More than any origin may store, but not more than file systems could count: 8 TiB.
const TOO_MUCH: u64 = 1 << 43;

const QUOTA_EXCEEDED: &str = "throw new DOMException('full', 'QuotaExceededError')";

async fn open(opfs: &Opfs, path: &str) -> Rc<dyn File> {
    AsyncDisk::open(opfs, path, Open::Create).await.expect("the file opens")
}

async fn store(name: &str) -> Opfs {
    Opfs::open(name, OpfsOptions::default()).await.expect("the store opens")
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

/// Puts `value` in the place of a method of all objects of this class, until the answer is called.
fn replace(class: &str, method: &str, value: &JsValue) -> impl FnOnce() + use<> {
    let class = Reflect::get(&js_sys::global(), &class.into()).expect("the class");
    let prototype: Object = Reflect::get(&class, &"prototype".into()).expect("its prototype").unchecked_into();
    let key = JsValue::from_str(method);
    let original = Reflect::get(&prototype, &key).expect("the method");
    assert!(original.is_function(), "this browser has {method}");
    assert!(Reflect::set(&prototype, &key, value).expect("set"));
    move || assert!(Reflect::set(&prototype, &key, &original).expect("set"))
}

/// Calls `body` while `method` of all access handles is a function with this JavaScript `code`.
fn with_method<T>(method: &str, code: &str, body: impl FnOnce() -> T) -> T {
    let restore =
        replace("FileSystemSyncAccessHandle", method, &Function::new_with_args("buffer, options", code).into());
    let result = body();
    restore();
    result
}

#[wasm_bindgen_test]
async fn a_browser_without_the_file_system_is_told() {
    let refusal = "return Promise.reject(new DOMException('private window', 'SecurityError'))";
    let refusal: JsValue = Function::new_no_args(refusal).into();
    for (class, method, value, why) in [
        ("StorageManager", "getDirectory", &refusal, "SecurityError: private window"),
        ("StorageManager", "getDirectory", &JsValue::UNDEFINED, "getDirectory is missing"),
        ("FileSystemFileHandle", "createSyncAccessHandle", &JsValue::UNDEFINED, "createSyncAccessHandle is missing"),
    ] {
        let restore = replace(class, method, value);
        let result = Opfs::open("refused", OpfsOptions::default()).await;
        restore();
        let error = result.err().expect("it was refused");
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains(why), "{error}");
    }
    store("refused").await;
}

#[wasm_bindgen_test]
async fn no_origin_has_that_many_bytes() {
    let opfs = store("quota").await;
    let file = open(&opfs, "a").await;
    file.write_at(0, b"kept").expect("write");
    for len in [TOO_MUCH, 1 << 60, u64::MAX] {
        assert_eq!(kind(file.set_len(len)), Some(Kind::Quota), "{len}");
        assert_eq!(kind(file.write_at(len - 1, b"x")), Some(Kind::Quota), "{len}");
        assert_eq!(kind(file.write_at(len, b"xy")), Some(Kind::Quota), "{len}");
    }
    assert_eq!(file.len().expect("len"), 4, "what was refused left nothing");
    let mut bytes = [0; 5];
    assert_eq!(file.read_at(0, &mut bytes).expect("read"), 4);
    assert_eq!(&bytes, b"kept\0");
    file.flush().expect("flush");
}

#[wasm_bindgen_test]
async fn every_way_to_say_full_is_quota() {
    let opfs = store("full").await;
    let file = open(&opfs, "a").await;
    for code in ["return buffer.length - 1", "return 0", "return 2 ** 32", "return 2 ** 64", QUOTA_EXCEEDED] {
        let result = with_method("write", code, || file.write_at(0, b"bytes"));
        assert_eq!(kind(result), Some(Kind::Quota), "{code}");
    }
    assert_eq!(kind(with_method("truncate", QUOTA_EXCEEDED, || file.set_len(9))), Some(Kind::Quota));
    assert_eq!(file.len().expect("len"), 0, "it was asked for anew");
    file.write_at(0, b"once there is room again").expect("write");
}

#[wasm_bindgen_test]
async fn a_short_read_is_an_error() {
    let opfs = store("short").await;
    let file = open(&opfs, "a").await;
    file.write_at(0, b"bytes").expect("write");
    let mut buf = [0; 5];
    let error = with_method("read", "return 3", || file.read_at(0, &mut buf)).expect_err("two bytes are missing");
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("reading 5 bytes at 0: the browser read 3"), "{error}");
    assert_eq!(file.read_at(0, &mut buf).expect("read"), 5);
}

#[wasm_bindgen_test]
async fn after_a_failed_flush_the_file_stays_failed() {
    let opfs = store("poison").await;
    let (file, same, other) = (open(&opfs, "a").await, open(&opfs, "a").await, open(&opfs, "b").await);
    file.write_at(0, b"bytes").expect("write");
    let code = "throw new DOMException('the device is gone', 'UnknownError')";
    let first = with_method("flush", code, || file.flush()).expect_err("it was made to fail");
    assert_eq!(first.kind(), Kind::Io);
    assert!(first.to_string().contains("flushing: UnknownError: the device is gone (a)"), "{first}");
    for file in [&file, &same] {
        assert_eq!(file.flush().expect_err("stays failed"), first);
        assert_eq!(file.write_at(0, b"x").expect_err("stays failed"), first);
        assert_eq!(file.read_at(0, &mut [0]).expect_err("stays failed"), first);
        assert_eq!(file.set_len(0).expect_err("stays failed"), first);
        assert_eq!(file.len().expect_err("stays failed"), first);
    }
    other.flush().expect("other files are not concerned");
    drop(file);
    assert_eq!(open(&opfs, "a").await.len().expect_err("somebody still has it open"), first);
    drop(same);
    open(&opfs, "a").await.flush().expect("opened anew, it tells what is there");
}

#[wasm_bindgen_test]
async fn an_invalid_handle_is_not_used_again() {
    let opfs = store("invalid").await;
    let file = open(&opfs, "a").await;
    file.write_at(0, b"bytes").expect("write");
    let code = "throw new DOMException('invalidated', 'InvalidStateError')";
    assert_eq!(kind(with_method("read", code, || file.read_at(0, &mut [0]))), Some(Kind::Closed));
    assert_eq!(kind(file.write_at(0, b"x")), Some(Kind::Closed));
    drop(file);
    let mut buf = [0; 5];
    assert_eq!(open(&opfs, "a").await.read_at(0, &mut buf).expect("read"), 5);
    assert_eq!(&buf, b"bytes");
}
