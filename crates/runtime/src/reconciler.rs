//! Finding what two replicas of a key-value store do not have in common, for JavaScript.

use std::cell::RefCell;

use js_sys::{Array, Object, Uint8Array};
use statik_disk::{Error, Kind};
use statik_sync::hlc::Timestamp;
use statik_sync::reconcile::{self, Id};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::convert::{JsResult, set, thrown};

/// One side of a reconciliation.
#[wasm_bindgen]
pub struct Reconciler(RefCell<reconcile::Reconciler>);

#[wasm_bindgen]
impl Reconciler {
    /// Over keys, and the stamp of each.
    #[wasm_bindgen(constructor)]
    pub fn new(keys: Vec<String>, stamps: Vec<String>) -> JsResult<Reconciler> {
        let item = |(key, stamp): (String, String)| Ok((key, stamp.parse::<Timestamp>()?));
        let items = keys.into_iter().zip(stamps).map(item).collect::<statik_disk::Result<Vec<_>>>().map_err(thrown)?;
        Ok(Reconciler(RefCell::new(reconcile::Reconciler::new(items).map_err(thrown)?)))
    }

    pub fn initiate(&self) -> JsResult<Vec<u8>> {
        self.0.borrow_mut().initiate().map_err(thrown)
    }

    pub fn respond(&self, question: &[u8]) -> JsResult<Vec<u8>> {
        self.0.borrow_mut().respond(question).map_err(thrown)
    }

    /// `{ have: string[], need: Uint8Array[], next?: Uint8Array }`
    pub fn finish(&self, answer: &[u8]) -> JsResult<Object> {
        let found = self.0.borrow_mut().finish(answer).map_err(thrown)?;
        let shape = Object::new();
        set(&shape, "have", found.have.iter().map(JsValue::from).collect::<Array>());
        set(&shape, "need", found.need.iter().map(|id| Uint8Array::from(&id[..])).collect::<Array>());
        if let Some(next) = found.next {
            set(&shape, "next", Uint8Array::from(&next[..]));
        }
        Ok(shape)
    }

    /// The key of a record of this side's; undefined if it has none of that id.
    pub fn key(&self, id: &[u8]) -> JsResult<Option<String>> {
        let wrong = |_| thrown(Error::new(Kind::Invalid, format!("an id has 32 bytes, not {}", id.len())));
        let id: Id = id.try_into().map_err(wrong)?;
        Ok(self.0.borrow().key(&id).map(str::to_owned))
    }
}
