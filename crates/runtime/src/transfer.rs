//! Whole databases on their way in and out, a chunk at a time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Object, Uint8Array};
use statik_bridge::pages::Paged;
use statik_disk::{Error, File, Kind, Open};
use statik_sqlite::files;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::convert::{JsResult, thrown};
use crate::store::Store;
use crate::values::database_out;

/// An import on its way: bytes go to a file beside the database, which takes the database's name once it is found
/// sound.
#[wasm_bindgen]
pub struct Import {
    store: Rc<Store>,
    name: String,
    path: String,
    /// None once finished or aborted.
    file: RefCell<Option<Box<dyn File>>>,
    bytes: Cell<u64>,
}

impl Import {
    pub async fn begin(store: Rc<Store>, name: &str) -> statik_sqlite::Result<Import> {
        files::validate_name(name)?;
        let path = files::import_of(name);
        store.prepare(&path, Open::Create).await?;
        let file = store.disk().open(&path, Open::Create)?;
        file.set_len(0)?;
        Ok(Import { store, name: name.to_owned(), path, file: RefCell::new(Some(file)), bytes: Cell::new(0) })
    }

    async fn replace(&self) -> statik_sqlite::Result<()> {
        files::check(self.store.vfs(), &self.path)?;
        Ok(self.store.replace(&self.path, &self.name).await?)
    }

    async fn clean_up(&self) -> statik_disk::Result<()> {
        self.store.remove(&self.path).await
    }
}

#[wasm_bindgen]
impl Import {
    /// Appends bytes.
    pub fn write(&self, chunk: &Uint8Array) -> JsResult<()> {
        let file = self.file.borrow();
        let file = file.as_ref().ok_or_else(ended)?;
        file.write_at(self.bytes.get(), &chunk.to_vec()).map_err(thrown)?;
        self.bytes.set(self.bytes.get() + u64::from(chunk.length()));
        Ok(())
    }

    /// Validates, then replaces. If it fails the old database stays and the new one is gone.
    pub async fn finish(&self) -> JsResult<Object> {
        let file = self.file.take().ok_or_else(ended)?;
        let written = file.flush();
        drop(file);
        let replaced = match written {
            Ok(()) => self.replace().await,
            Err(error) => Err(error.into()),
        };
        match replaced {
            Ok(()) => Ok(database_out(&self.name, self.bytes.get())),
            Err(error) => match self.clean_up().await {
                Ok(()) => Err(thrown(error)),
                Err(also) => {
                    let message = format!("{error}; and what was imported could not be removed");
                    Err(thrown(Error::new(error.kind(), message).at(&self.path).because(also)))
                }
            },
        }
    }

    /// Gives up; the old database stays.
    pub async fn abort(&self) -> JsResult<()> {
        match self.file.take() {
            None => Ok(()),
            Some(file) => {
                drop(file);
                self.clean_up().await.map_err(thrown)
            }
        }
    }
}

fn ended() -> JsValue {
    thrown(Error::new(Kind::Closed, "the import or export has ended"))
}

/// An export on its way: a view keeps the database as it is until the end.
#[wasm_bindgen]
pub struct Export {
    size_bytes: u64,
    next: Cell<u64>,
    /// None once closed.
    file: RefCell<Option<Box<dyn Paged>>>,
}

impl Export {
    pub async fn begin(store: &Store, name: &str) -> statik_sqlite::Result<Export> {
        files::validate_name(name)?;
        store.prepare(name, Open::Existing).await?;
        let opened = store.pages().open(name, Open::Existing);
        store.release(name);
        let file = opened?;
        let size_bytes = file.begin()?.len;
        Ok(Export { size_bytes, next: Cell::new(0), file: RefCell::new(Some(file)) })
    }
}

#[wasm_bindgen]
impl Export {
    /// How much there is.
    #[wasm_bindgen(getter, js_name = sizeBytes)]
    pub fn size_bytes(&self) -> f64 {
        self.size_bytes as f64
    }

    /// The next bytes; undefined at the end.
    pub fn read(&self, max_bytes: u32) -> JsResult<Option<Uint8Array>> {
        let file = self.file.borrow();
        let file = file.as_ref().ok_or_else(ended)?;
        let count = u64::from(max_bytes).min(self.size_bytes - self.next.get());
        if count == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; count as usize];
        let read = file.read_at(self.next.get(), &mut bytes).map_err(thrown)?;
        if read != bytes.len() {
            let message = format!("the file ended at {} of {} bytes", self.next.get() + read as u64, self.size_bytes);
            return Err(thrown(Error::new(Kind::Io, message)));
        }
        self.next.set(self.next.get() + count);
        Ok(Some(Uint8Array::from(&bytes[..])))
    }

    /// Lets go of the view.
    pub fn close(&self) {
        self.file.take();
    }
}
