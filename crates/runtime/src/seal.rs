//! Sealing for JavaScript: [`Keyring`] encrypts the values of structured databases, [`BlindNames`] hides names.
//!
//! Stores and keys are text here; `store` must tell databases apart too. One record crosses at a time: for 10,000 of 200
//! bytes neither arrays of them nor one buffer with lengths were faster, since the ciphers take nearly all of the time.
//!
//! Invariant: copies of keys that are made on the way are wiped.

use js_sys::{Array, Uint8Array};
use statik_browser::random;
use statik_disk::{Error, Kind};
use statik_store::seal::{self, Context, KEY_BYTES, Names, Seal};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use zeroize::Zeroizing;

use crate::convert::{JsResult, invalid, thrown};

/// Data keys: one seals, all open.
#[wasm_bindgen]
pub struct Keyring(seal::Keyring);

#[wasm_bindgen]
impl Keyring {
    /// `older` is an array of keys, each of 32 bytes as `current` is.
    #[wasm_bindgen(constructor)]
    pub fn new(current: &Uint8Array, older: &Array) -> JsResult<Keyring> {
        let current = key(current)?;
        let mut others = Zeroizing::new(Vec::with_capacity(older.length() as usize));
        for other in older.iter() {
            others.push(*key(&bytes(other)?)?);
        }
        seal::Keyring::new(&current, &others, random::fill).map(Keyring).map_err(thrown)
    }

    /// The id of the key that seals.
    #[wasm_bindgen(getter)]
    pub fn current(&self) -> u32 {
        self.0.current()
    }

    pub fn seal(&self, store: &str, key: &str, version: u32, plain: &[u8]) -> JsResult<Vec<u8>> {
        self.0.seal(Context { store, key: key.as_bytes(), version }, plain).map_err(thrown)
    }

    pub fn open(&self, store: &str, key: &str, version: u32, sealed: &[u8]) -> JsResult<Vec<u8>> {
        self.0.open(Context { store, key: key.as_bytes(), version }, sealed).map_err(thrown)
    }

    /// Undefined for what the current key has sealed.
    pub fn reseal(&self, store: &str, key: &str, version: u32, sealed: &[u8]) -> JsResult<Option<Vec<u8>>> {
        self.0.reseal(Context { store, key: key.as_bytes(), version }, sealed).map_err(thrown)
    }
}

/// Names under a key, of 32 bytes, that is kept as long as they are.
#[wasm_bindgen]
pub struct BlindNames(Names);

#[wasm_bindgen]
impl BlindNames {
    #[wasm_bindgen(constructor)]
    pub fn new(names: &Uint8Array) -> JsResult<BlindNames> {
        Ok(BlindNames(Names::new(&*key(names)?)))
    }

    /// What stands for a name of this store: 32 bytes.
    pub fn blind(&self, store: &str, name: &str) -> Vec<u8> {
        self.0.blind(store, name.as_bytes()).to_vec()
    }
}

fn bytes(value: JsValue) -> JsResult<Uint8Array> {
    value.dyn_into().map_err(|_| invalid("a key is not a Uint8Array"))
}

fn key(bytes: &Uint8Array) -> JsResult<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if bytes.length() as usize != KEY_BYTES {
        let context = format!("a key must have {KEY_BYTES} bytes; it has {}", bytes.length());
        return Err(thrown(Error::new(Kind::Invalid, context)));
    }
    bytes.copy_to(&mut key[..]);
    Ok(key)
}
