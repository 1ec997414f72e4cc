//! Options and errors on their way between JavaScript and Rust.

use js_sys::{Object, Reflect};
use statik_disk::{Error, Kind};
use wasm_bindgen::JsValue;

pub type JsResult<T> = Result<T, JsValue>;

/// A new object's property. Defining one on a plain object cannot fail.
pub fn set(object: &Object, name: &str, value: impl Into<JsValue>) {
    let set = Reflect::set(object, &name.into(), &value.into());
    debug_assert!(set.is_ok());
}

/// What can be thrown.
pub trait Thrown {
    /// The object that is.
    fn shape(&self) -> Object;
}

impl Thrown for Error {
    fn shape(&self) -> Object {
        shape_of(self.kind(), &self.to_string(), self.path())
    }
}

/// What the shapes of all errors have.
pub fn shape_of(kind: Kind, message: &str, path: Option<&str>) -> Object {
    let shape = Object::new();
    set(&shape, "code", kind.name());
    set(&shape, "message", message);
    if let Some(path) = path {
        set(&shape, "path", path);
    }
    shape
}

/// What JavaScript catches.
pub fn thrown(error: impl Thrown) -> JsValue {
    error.shape().into()
}

pub fn invalid(message: impl Into<String>) -> JsValue {
    thrown(Error::new(Kind::Invalid, message))
}

/// An options object whose properties are read by name.
pub struct Options<'a>(pub &'a JsValue);

impl Options<'_> {
    /// The property, or `None` where it is missing or undefined.
    pub fn get(&self, name: &str) -> JsResult<Option<JsValue>> {
        if self.0.is_undefined() {
            return Ok(None);
        }
        let value = Reflect::get(self.0, &name.into()).map_err(|_| invalid("the options are not an object"))?;
        Ok((!value.is_undefined()).then_some(value))
    }

    fn typed<T>(&self, name: &str, what: &str, convert: impl Fn(&JsValue) -> Option<T>) -> JsResult<Option<T>> {
        let convert = |value| convert(&value).ok_or_else(|| invalid(format!("the option {name} is not {what}")));
        self.get(name)?.map(convert).transpose()
    }

    pub fn string(&self, name: &str) -> JsResult<Option<String>> {
        self.typed(name, "a string", JsValue::as_string)
    }

    pub fn bool(&self, name: &str, default: bool) -> JsResult<bool> {
        Ok(self.typed(name, "a boolean", JsValue::as_bool)?.unwrap_or(default))
    }

    /// A number of at least 0, cut to what fits.
    pub fn u32(&self, name: &str, default: u32) -> JsResult<u32> {
        let convert = |value: &JsValue| value.as_f64().filter(|number| *number >= 0.0).map(|number| number as u32);
        Ok(self.typed(name, "a number of at least 0", convert)?.unwrap_or(default))
    }

    /// A number of at least 0.
    pub fn number(&self, name: &str) -> JsResult<Option<f64>> {
        self.typed(name, "a number of at least 0", |value| value.as_f64().filter(|number| *number >= 0.0))
    }

    /// A property that must be there.
    pub fn required(&self, name: &str) -> JsResult<JsValue> {
        self.get(name)?.ok_or_else(|| invalid(format!("the option {name} is missing")))
    }
}
