//! A journal and its cursors, as JavaScript sees them.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Object, Uint8Array};
use statik_bridge::pages::Durability;
use statik_disk::{Error, Kind, Open};
use statik_store::Recover;
use statik_store::journal::{self, Damage};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::convert::{JsResult, Options, invalid, set, thrown};
use crate::store::{Hold, Store};

/// An open journal, which nobody else of the store has open.
#[wasm_bindgen]
pub struct Journal {
    name: String,
    /// None once closed.
    open: RefCell<Option<(journal::Journal, Hold)>>,
}

/// Frames on their way to JavaScript.
#[wasm_bindgen]
pub struct JournalCursor {
    frames: RefCell<journal::Cursor>,
    /// What came after frames that had to be handed out first.
    failed: RefCell<Option<Error>>,
}

/// What only one who has a journal open can hold.
fn lock_of(name: &str) -> String {
    format!(".statik/journal/{name}/lock")
}

fn parse(options: &Options<'_>) -> JsResult<journal::Options> {
    let durability = match options.string("durability")?.as_deref() {
        None | Some("full") => Durability::Full,
        Some("normal") => Durability::Normal,
        Some(_) => return Err(invalid("the option durability is neither \"full\" nor \"normal\"")),
    };
    let recover = match options.string("recover")?.as_deref() {
        None => Recover::ReadOnly,
        Some("truncate") => Recover::Truncate,
        Some("refuse") => Recover::Refuse,
        Some(_) => return Err(invalid("the option recover is neither \"truncate\" nor \"refuse\"")),
    };
    Ok(journal::Options { durability, recover })
}

impl Journal {
    pub async fn prepare(store: &Store, name: &str, options: &Options<'_>) -> JsResult<()> {
        let files = journal::files(name, parse(options)?.recover).map_err(thrown)?;
        if let Some(opfs) = store.direct() {
            let files: Vec<_> = files.iter().map(|path| (path.as_str(), Open::Create)).collect();
            opfs.prepare(&files).await.map_err(thrown)?;
        }
        Ok(())
    }

    pub fn release(store: &Store, name: &str) -> JsResult<()> {
        let files = journal::files(name, Recover::Truncate).map_err(thrown)?;
        if let Some(opfs) = store.direct() {
            opfs.release(&files.iter().map(String::as_str).collect::<Vec<_>>());
        }
        Ok(())
    }

    pub fn open(store: &Store, name: &str, options: &Options<'_>) -> JsResult<Journal> {
        let options = parse(options)?;
        journal::files(name, options.recover).map_err(thrown)?;
        let lock = store.hold(&lock_of(name)).map_err(|error| match error.kind() {
            Kind::Busy => thrown(Error::new(Kind::Busy, format!("journal {name:?} is open already"))),
            _ => thrown(error),
        })?;
        let journal = journal::Journal::open(Rc::clone(store.disk()), name, options).map_err(thrown)?;
        Ok(Journal { name: name.to_owned(), open: RefCell::new(Some((journal, lock))) })
    }

    fn with<T>(&self, call: impl FnOnce(&journal::Journal) -> statik_disk::Result<T>) -> JsResult<T> {
        match &*self.open.borrow() {
            Some((journal, _)) => call(journal).map_err(thrown),
            None => Err(thrown(Error::new(Kind::Closed, format!("journal {:?} is closed", self.name)))),
        }
    }
}

#[wasm_bindgen]
impl Journal {
    /// Appends a frame; its number.
    pub fn append(&self, frame: &[u8]) -> JsResult<f64> {
        self.with(|journal| journal.append(frame)).map(|sequence| sequence as f64)
    }

    /// Makes every frame durable; the newest one's number.
    pub fn flush(&self) -> JsResult<f64> {
        self.with(journal::Journal::flush).map(|sequence| sequence as f64)
    }

    /// Keeps a snapshot; the number of the frame up to which it goes.
    pub fn snapshot(&self, state: &[u8]) -> JsResult<f64> {
        self.with(|journal| journal.snapshot(state)).map(|sequence| sequence as f64)
    }

    /// The frames from this number on; 0 means from the oldest that is kept.
    pub fn cursor(&self, from: f64) -> JsResult<JournalCursor> {
        self.with(|journal| journal.cursor(from as u64))
            .map(|frames| JournalCursor { frames: RefCell::new(frames), failed: RefCell::default() })
    }

    /// The newest sound snapshot, as `JournalFrame`; undefined without one.
    #[wasm_bindgen(js_name = readSnapshot)]
    pub fn read_snapshot(&self) -> JsResult<Option<Object>> {
        let recovered = self.with(journal::Journal::recover)?;
        Ok(recovered.snapshot.map(|(sequence, state)| frame_out(sequence, &state)))
    }

    /// What was found damaged, as `JournalDamage`; undefined if nothing was.
    #[wasm_bindgen(getter)]
    pub fn damage(&self) -> JsResult<Option<Object>> {
        self.with(|journal| Ok(journal.damage())).map(|damage| damage.as_ref().map(damage_out))
    }

    /// Lets another open it. Idempotent.
    pub fn close(&self) {
        self.open.take();
    }
}

#[wasm_bindgen]
impl JournalCursor {
    /// The next frames, as `JournalFrame[]`, until they have `max_bytes` together; none at the end.
    pub fn read(&self, max_bytes: u32) -> JsResult<Array> {
        let frames = Array::new();
        let mut bytes = 0;
        while bytes <= max_bytes as usize && self.failed.borrow().is_none() {
            match self.frames.borrow_mut().next() {
                None => break,
                Some(Err(error)) => *self.failed.borrow_mut() = Some(error),
                Some(Ok((sequence, frame))) => {
                    frames.push(&frame_out(sequence, &frame));
                    // A frame of no bytes takes room as well.
                    bytes += frame.len() + size_of::<JsValue>();
                }
            }
        }
        match self.failed.borrow_mut().take_if(|_| frames.length() == 0) {
            Some(error) => Err(thrown(error)),
            None => Ok(frames),
        }
    }
}

fn frame_out(sequence: u64, bytes: &[u8]) -> Object {
    let shape = Object::new();
    set(&shape, "seq", sequence as f64);
    set(&shape, "bytes", Uint8Array::from(bytes));
    shape
}

fn damage_out(damage: &Damage) -> Object {
    let shape = Object::new();
    set(&shape, "file", damage.path.as_str());
    set(&shape, "offset", damage.offset as f64);
    set(&shape, "seq", damage.sequence as f64);
    set(&shape, "reason", damage.why.as_str());
    if let Some(aside) = &damage.aside {
        set(&shape, "aside", aside.as_str());
    }
    shape
}
