//! IndexedDB: databases that every context of an origin reaches, window, worker and service worker.
//!
//! [`open`] and [`delete`] make one attempt, and say who blocks them. A [`Database`] has a connection when it needs one:
//! made once, by whatever the runtime gives it as an opener, used by all, let go when another tab wants to upgrade, and
//! made again when it was lost.
//!
//! Invariants:
//! - A call is over within its deadline, or its transaction is aborted and it fails with `Timeout`.
//! - Only what certainly did not happen is tried again, once, and only over a new connection: a transaction that could not
//!   begin, or that was aborted together with its connection.
//! - A write is told as done when its transaction has completed, and a failed one with the reason of its abort: quota
//!   comes as one.
//! - No transaction is committed by a call of `commit`. After one, Firefox commits the rest of a batch of which a record was
//!   refused, for want of room even, and tells nobody; Chrome aborts a group of which one record was. Neither can be given up.
//! - Between two requests of a transaction nothing foreign is awaited: it would end.
//! - The objects are only ever looked at by their methods, never by their class, so that a factory which is not the
//!   browser's, such as one in memory, does as well.
//!
//! Values and keys are JavaScript's and pass through.

mod connect;
mod database;
mod group;
mod js;
mod query;

use futures_util::future::{Either, select};
use js_sys::{Function, Object, Promise, Reflect};
use statik_disk::{Error, Kind};
use std::future::Future;
use std::pin::pin;
use wasm_bindgen::JsValue;

pub use connect::{delete, open};
pub use database::{Database, Durability, Options};
pub use query::{Page, Position, Query};

use crate::clock::Timer;
use crate::errors::{from_js, told};
use crate::log::Log;

/// Why a call failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The platform or we refused.
    Error(Error),
    /// What a function of the caller's has thrown: it gets that back.
    Thrown(JsValue),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

/// A specialised `Result`.
pub type Result<T> = std::result::Result<T, Failure>;

fn failed(thrown: &JsValue, doing: &str) -> Failure {
    Failure::Error(from_js(thrown, doing))
}

/// Tells the app what it could not know otherwise: `{ type, database, reason }`.
#[derive(Clone, Debug)]
pub struct Listener(pub Function);

impl Listener {
    fn tell(&self, kind: &str, database: &str, reason: &str) {
        let event = Object::new();
        for (name, value) in [("type", kind), ("database", database), ("reason", reason)] {
            let set = Reflect::set(&event, &name.into(), &value.into());
            debug_assert!(set.is_ok());
        }
        // What a listener throws is its own affair; it must not end what it was told of.
        if let Err(thrown) = self.0.call1(&JsValue::UNDEFINED, &event) {
            Log::default().warn(&format!("a listener for events of IndexedDB failed: {}", told(&thrown)));
        }
    }
}

/// What `work` comes to, if it does so in time.
async fn within<T>(deadline_ms: f64, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), pin!(Timer::new(deadline_ms))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

fn timeout(doing: &str, deadline_ms: f64) -> Error {
    Error::new(Kind::Timeout, format!("{doing}: no answer within {} ms", deadline_ms as u64))
}

/// A promise that settles when one of two handlers, which `install` sets, is called.
fn settled(mut install: impl FnMut(&Function, &Function)) -> Promise {
    Promise::new(&mut |resolve, reject| install(&resolve, &reject))
}
