//! Reading a log one record at a time, at the caller's pace.

use std::rc::Rc;

use statik_disk::{File, Result};

use super::{FORMAT_VERSION, HEADER_BYTES, Header, Record, Window, record_bytes};

/// A place in a log. Unlike a scan it does not look behind the end: what is no record there is not judged.
pub struct Cursor {
    file: Rc<dyn File>,
    path: String,
    /// The last record that was read, if one was.
    last: Option<Header>,
    /// Where the next record begins.
    next: u64,
    /// The part of the file in memory, and where it begins.
    bytes: Vec<u8>,
    at: u64,
}

impl Cursor {
    /// Before the record that starts the log.
    pub fn new(file: Rc<dyn File>, path: &str) -> Cursor {
        Cursor { file, path: path.to_owned(), last: None, next: 0, bytes: Vec::new(), at: 0 }
    }

    /// The next record, within the file's first `len` bytes, which must be there; `None` if none begins here. The first
    /// is the start.
    pub fn next(&mut self, len: u64) -> Result<Option<Record<'_>>> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut window = Window { file: &*self.file, path: &self.path, len, at: self.at, bytes };
        let found = next(&mut window, self.next, self.last);
        (self.at, self.bytes) = (window.at, window.bytes);
        let Some(header) = found? else { return Ok(None) };
        let offset = self.next;
        self.last = Some(header);
        self.next += record_bytes(header.payload_bytes as usize) as u64;
        let payload = (offset - self.at) as usize + HEADER_BYTES;
        let payload = &self.bytes[payload..payload + header.payload_bytes as usize];
        let Header { sequence, previous, flushed, .. } = header;
        Ok(Some(Record { offset, sequence, previous, flushed, payload }))
    }

    /// The epoch, 0 before the start was read.
    pub fn epoch(&self) -> u64 {
        self.last.map_or(0, |last| last.epoch)
    }
}

/// The header at `offset`, if it continues `last`; its record is in the window then, and whole.
fn next(window: &mut Window<'_>, offset: u64, last: Option<Header>) -> Result<Option<Header>> {
    let Some((header, FORMAT_VERSION)) = window.header(offset)? else { return Ok(None) };
    let continues = match last {
        None => header.is_start(),
        Some(last) => !header.is_start() && header.epoch == last.epoch && header.previous == last.sequence,
    };
    let sound = continues && window.pass(offset, &header, false, &mut |_| Ok(()))?;
    Ok(sound.then_some(header))
}
