//! Exceptions become errors that keep the name and the message and have the right kind.

use statik_browser::errors::from_js;
use statik_disk::Kind;
use wasm_bindgen::JsValue;
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
fn dom_exceptions_get_their_kinds() {
    for (name, kind) in [
        ("NotFoundError", Kind::NotFound),
        ("TypeMismatchError", Kind::Exists),
        ("NoModificationAllowedError", Kind::Busy),
        ("InvalidModificationError", Kind::Conflict),
        ("QuotaExceededError", Kind::Quota),
        ("NotAllowedError", Kind::Permission),
        ("SecurityError", Kind::Permission),
        ("NotSupportedError", Kind::Unsupported),
        ("InvalidStateError", Kind::Closed),
        ("InvalidAccessError", Kind::Invalid),
        ("TimeoutError", Kind::Timeout),
        ("AbortError", Kind::Aborted),
        ("UnknownError", Kind::Io),
    ] {
        let thrown = web_sys::DomException::new_with_message_and_name("why", name).expect("a DOMException");
        let error = from_js(&thrown, "testing");
        assert_eq!(error.kind(), kind, "{name}");
        assert_eq!(error.to_string(), format!("testing: {name}: why"));
    }
}

#[wasm_bindgen_test]
fn whatever_else_is_thrown_is_told() {
    let error = from_js(&js_sys::TypeError::new("no such name"), "testing");
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Invalid, "testing: TypeError: no such name"));
    let error = from_js(&JsValue::from_str("a string"), "testing");
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("a string"), "{error}");
    assert!(from_js(&JsValue::UNDEFINED, "testing").to_string().contains("undefined"));
}
