//! Random bytes that nobody can guess, from WebCrypto, which every context has.

use statik_disk::{Error, Result};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::errors::from_js;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]) -> std::result::Result<JsValue, JsValue>;
}

/// So many bytes WebCrypto gives at once.
const MOST_BYTES: usize = 65_536;

/// Fills the slice.
///
/// # Errors
/// What the platform says.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    for part in bytes.chunks_mut(MOST_BYTES) {
        get_random_values(part).map_err(|thrown: JsValue| -> Error { from_js(&thrown, "drawing random bytes") })?;
    }
    Ok(())
}
