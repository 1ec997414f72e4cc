//! One file's sync access handle, and what its users see of it.
//!
//! Invariants:
//! - Nobody else changes the file while the handle is open, so its length is known without asking.
//! - Once a flush failed, or the browser invalidated the handle, every call fails with that first error.
//! - The access handle is closed when the last owner of a [`Handle`] is gone.

use std::cell::{Cell, RefCell};

use statik_disk::{Error, Kind, Result};
use wasm_bindgen::JsValue;
use web_sys::{FileSystemReadWriteOptions, FileSystemSyncAccessHandle};

use crate::errors::{from_js, name};

/// What a JavaScript number counts exactly; no origin's quota comes near.
const MAX_LEN: u64 = (1 << 53) - 1;

pub(crate) struct Handle {
    path: String,
    access: FileSystemSyncAccessHandle,
    /// Kept, because making one costs more than some reads.
    at: FileSystemReadWriteOptions,
    /// `None` after a call failed half-way.
    len: Cell<Option<u64>>,
    failed: RefCell<Option<Error>>,
    idle_since_ms: Cell<f64>,
}

impl Handle {
    pub fn new(path: &str, access: FileSystemSyncAccessHandle) -> Self {
        Handle {
            path: path.to_owned(),
            access,
            at: FileSystemReadWriteOptions::new(),
            len: Cell::new(None),
            failed: RefCell::new(None),
            idle_since_ms: Cell::new(0.0),
        }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// When the last user left.
    pub fn idle_since_ms(&self) -> f64 {
        self.idle_since_ms.get()
    }

    pub fn set_idle_since_ms(&self, now_ms: f64) {
        self.idle_since_ms.set(now_ms);
    }

    /// Closes the access handle under its users; their calls fail from now on.
    pub fn close(&self) {
        self.access.close();
        self.failed.borrow_mut().get_or_insert_with(|| self.error(Kind::Closed, "the store was closed"));
    }

    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = self.len()?.saturating_sub(offset);
        let count = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(0);
        }
        self.at.set_at(offset as f64);
        let read = self
            .access
            .read_with_u8_array_and_options(&mut buf[..count], &self.at)
            .map_err(|thrown| self.thrown(&thrown, "reading"))?;
        if read != count as f64 {
            let context = format!("reading {count} bytes at {offset}: the browser read {read}");
            return Err(self.error(Kind::Io, context));
        }
        Ok(count)
    }

    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let old_len = self.len()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = self.addressable(offset.checked_add(bytes.len() as u64), "writing")?;
        self.at.set_at(offset as f64);
        self.len.set(None);
        let written = self
            .access
            .write_with_u8_array_and_options(bytes, &self.at)
            .map_err(|thrown| self.thrown(&thrown, "writing"))?;
        if written != bytes.len() as f64 {
            // Over quota, Chrome answers with a number larger than what it was given and Firefox with a smaller one.
            let given = bytes.len();
            let context =
                format!("writing {given} bytes at {offset}: no space is left, the browser answered {written}");
            return Err(self.error(Kind::Quota, context));
        }
        self.len.set(Some(end.max(old_len)));
        Ok(())
    }

    pub fn len(&self) -> Result<u64> {
        self.check()?;
        if let Some(len) = self.len.get() {
            return Ok(len);
        }
        let len = self.access.get_size().map_err(|thrown| self.thrown(&thrown, "asking for the length"))? as u64;
        self.len.set(Some(len));
        Ok(len)
    }

    pub fn set_len(&self, len: u64) -> Result<()> {
        self.check()?;
        self.addressable(Some(len), "setting the length")?;
        self.len.set(None);
        self.access
            .truncate_with_f64(len as f64)
            .map_err(|thrown| self.thrown(&thrown, &format!("setting the length to {len}")))?;
        self.len.set(Some(len));
        Ok(())
    }

    pub fn flush(&self) -> Result<()> {
        self.check()?;
        self.access.flush().map_err(|thrown| {
            let error = self.thrown(&thrown, "flushing");
            self.failed.borrow_mut().get_or_insert_with(|| error.clone());
            error
        })
    }

    fn check(&self) -> Result<()> {
        match &*self.failed.borrow() {
            Some(first) => Err(first.clone()),
            None => Ok(()),
        }
    }

    fn addressable(&self, end: Option<u64>, doing: &str) -> Result<u64> {
        end.filter(|end| *end <= MAX_LEN)
            .ok_or_else(|| self.error(Kind::Quota, format!("{doing}: a file cannot be longer than {MAX_LEN} bytes")))
    }

    fn error(&self, kind: Kind, context: impl Into<String>) -> Error {
        Error::new(kind, context).at(&self.path)
    }

    /// An exception's error. One that says the handle is invalid ends the handle: no later call can do better.
    fn thrown(&self, thrown: &JsValue, doing: &str) -> Error {
        let error = from_js(thrown, doing).at(&self.path);
        if name(thrown) == "InvalidStateError" {
            self.failed.borrow_mut().get_or_insert_with(|| error.clone());
        }
        error
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.access.close();
    }
}
