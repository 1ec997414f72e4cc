//! JavaScript's exceptions as errors: the one place where a DOMException gets a kind.

use js_sys::Reflect;
use statik_disk::{Error, Kind};
use wasm_bindgen::JsValue;

/// What was thrown while `doing`, as an error that keeps the exception's name and message.
pub fn from_js(thrown: &JsValue, doing: &str) -> Error {
    let name = name(thrown);
    let message = property(thrown, "message").unwrap_or_else(|| format!("{thrown:?}"));
    Error::new(kind(&name), format!("{doing}: {name}: {message}"))
}

/// The exception's `name`, or `""` if what was thrown has none.
pub(crate) fn name(thrown: &JsValue) -> String {
    property(thrown, "name").unwrap_or_default()
}

fn property(thrown: &JsValue, key: &str) -> Option<String> {
    // `get` fails for what is no object; that has no properties.
    Reflect::get(thrown, &JsValue::from_str(key)).ok()?.as_string()
}

/// The names of <https://webidl.spec.whatwg.org/#idl-DOMException-error-names>, of ECMAScript's errors where file
/// functions throw them, and of Firefox's internal ones that were seen to leak.
fn kind(name: &str) -> Kind {
    match name {
        "NotFoundError" => Kind::NotFound,
        // A directory where a file was expected, or the other way round.
        "TypeMismatchError" => Kind::Exists,
        "NoModificationAllowedError" => Kind::Busy,
        "InvalidModificationError" | "ConstraintError" | "VersionError" => Kind::Conflict,
        "QuotaExceededError" | "NS_ERROR_FILE_NO_DEVICE_SPACE" | "NS_ERROR_DOM_QUOTA_EXCEEDED_ERR" => Kind::Quota,
        "NotAllowedError" | "SecurityError" => Kind::Permission,
        "ReadOnlyError" => Kind::ReadOnly,
        "NotSupportedError" => Kind::Unsupported,
        "InvalidStateError" => Kind::Closed,
        "TypeError" | "RangeError" | "SyntaxError" | "DataCloneError" | "InvalidAccessError" => Kind::Invalid,
        // A key that is none; a request of a transaction that has ended.
        "DataError" | "TransactionInactiveError" => Kind::Invalid,
        "TimeoutError" => Kind::Timeout,
        "AbortError" => Kind::Aborted,
        _ => Kind::Io,
    }
}
