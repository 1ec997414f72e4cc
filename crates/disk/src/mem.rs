//! Files in memory: the reference implementation, and what a store falls back to where the caller asks for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::{Disk, Error, File, Kind, Open, Result, validate_path};

type Bytes = Rc<RefCell<Vec<u8>>>;

/// A disk in memory. Clones share their files. Nothing survives the last of them.
#[derive(Clone, Default)]
pub struct MemDisk {
    files: Rc<RefCell<BTreeMap<String, Bytes>>>,
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn closed_file(&self, path: &str, doing: &str) -> Result<()> {
        validate_path(path)?;
        match self.files.borrow().get(path) {
            None => Err(Error::new(Kind::NotFound, format!("{doing}: there is no such file")).at(path)),
            Some(bytes) if Rc::strong_count(bytes) > 1 => {
                Err(Error::new(Kind::Busy, format!("{doing}: the file is open")).at(path))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn File>> {
        validate_path(path)?;
        let mut files = self.files.borrow_mut();
        let bytes = match (files.get(path), open) {
            (None, Open::Existing) => {
                return Err(Error::new(Kind::NotFound, "opening: there is no such file").at(path));
            }
            (Some(_), Open::CreateNew) => {
                return Err(Error::new(Kind::Exists, "creating: there is such a file already").at(path));
            }
            (Some(bytes), _) => Rc::clone(bytes),
            (None, _) => Rc::clone(files.entry(path.to_owned()).or_default()),
        };
        Ok(Box::new(MemFile { path: path.to_owned(), bytes }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.closed_file(path, "removing")?;
        self.files.borrow_mut().remove(path);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.closed_file(from, "renaming")?;
        match self.closed_file(to, "replacing") {
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            _ => {}
        }
        let mut files = self.files.borrow_mut();
        let bytes = files.remove(from).expect("checked above");
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.files.borrow().keys().cloned().collect())
    }
}

struct MemFile {
    path: String,
    bytes: Bytes,
}

impl MemFile {
    /// The end of a write or a new length as an index, if this machine can address and allocate it.
    fn grow(&self, len: Option<u64>) -> Result<()> {
        let mut bytes = self.bytes.borrow_mut();
        let full = || Error::new(Kind::Quota, "writing: no memory is left for the file").at(&self.path);
        let len = len.and_then(|len| usize::try_from(len).ok()).ok_or_else(full)?;
        if len > bytes.len() {
            let more = len - bytes.len();
            bytes.try_reserve(more).map_err(|_| full())?;
            bytes.resize(len, 0);
        }
        Ok(())
    }
}

impl File for MemFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let bytes = self.bytes.borrow();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buf.len().min(bytes.len() - start);
        buf[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.grow(offset.checked_add(bytes.len() as u64))?;
        // `grow` made the range addressable.
        let start = offset as usize;
        self.bytes.borrow_mut()[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        Ok(self.bytes.borrow().len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.grow(Some(len))?;
        self.bytes.borrow_mut().truncate(len as usize);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        crate::contract::disk(|| Box::new(MemDisk::new()));
    }

    #[test]
    fn a_length_beyond_memory_is_refused_not_allocated() {
        let disk = MemDisk::new();
        let file = disk.open("a", Open::Create).unwrap();
        for len in [u64::MAX, 1 << 62] {
            assert_eq!(file.set_len(len).unwrap_err().kind(), Kind::Quota);
            assert_eq!(file.write_at(len, b"x").unwrap_err().kind(), Kind::Quota);
        }
        assert_eq!(file.len().unwrap(), 0);
    }
}
