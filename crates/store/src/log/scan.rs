//! Reading a log back, whatever its bytes are.

mod cursor;

use statik_disk::{Error, File, Kind, Result};

pub use cursor::Cursor;

use super::{ALIGN, CHUNK_BYTES, FORMAT_VERSION, HEADER_BYTES, Header, MAGIC, corrupt, record_bytes};

/// A record whose checksums are right and which continues the one before it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where its header begins in the file; 0 is the record that starts the epoch.
    pub offset: u64,
    /// Its number.
    pub sequence: u64,
    /// The number of the record before it; the start's own.
    pub previous: u64,
    /// Every record up to this number was flushed when this one was written.
    pub flushed: u64,
    /// What it says.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// Where its payload begins in the file.
    pub fn payload_offset(&self) -> u64 {
        self.offset + HEADER_BYTES as u64
    }
}

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With its last record.
    Clean,
    /// With what a crash left of records that were never flushed.
    Torn,
    /// With a record that was flushed and is bad.
    Damaged,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The epoch. If the record that starts it is bad, the highest that any record has, 0 without one.
    pub epoch: u64,
    /// The number of the record that starts it: what the log holds comes after.
    pub start: u64,
    /// The predecessor that the first record after the start claims, if its header is whole.
    pub first_previous: Option<u64>,
    /// The number of the last good record.
    pub last: u64,
    /// Where that ends in the file, and the bad one begins, if there is one.
    pub end: u64,
    /// The highest mark that any record carries, those behind the end included.
    pub flushed: u64,
    /// How it ends.
    pub tail: Tail,
}

impl Scanned {
    /// The highest number, the epoch included, that who continues the log has to go beyond.
    pub(crate) fn highest(&self) -> u64 {
        [self.epoch, self.first_previous.unwrap_or(0)].into_iter().fold(self.last, u64::max)
    }
}

/// Reads the records of a log in order, and answers how it ends; `None` if there never was one: the file has no bytes,
/// or zeros where the start should be and no record behind them.
///
/// `after` is the number that the first record after the start must continue, by default the start's own.
///
/// # Errors
/// [`Kind::Unsupported`] if another version wrote the log; what the file and `each` fail with. Bad bytes are no error.
pub fn scan(
    file: &dyn File,
    path: &str,
    after: Option<u64>,
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<Option<Scanned>> {
    scan_trusting(file, path, after, false, each)
}

/// As [`scan`], but payloads are believed without a look at their checksum, if the caller is `credulous`: only the tests
/// of the crash suite are.
pub(crate) fn scan_trusting(
    file: &dyn File,
    path: &str,
    after: Option<u64>,
    credulous: bool,
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<Option<Scanned>> {
    let mut window = Window { file, path, len: file.len()?, at: 0, bytes: Vec::new() };
    let Some(start) = window.start()? else { return window.without_start() };
    let mut scanned = Scanned {
        epoch: start.epoch,
        start: start.sequence,
        first_previous: None,
        last: start.sequence,
        end: 0,
        flushed: start.flushed,
        tail: Tail::Clean,
    };
    if !window.pass(0, &start, credulous, each)? {
        return window.without_start();
    }
    scanned.end = record_bytes(start.payload_bytes as usize) as u64;
    scanned.last = after.unwrap_or(start.sequence);
    let first = scanned.end;
    while let Some((header, version)) = window.header(scanned.end)? {
        if header.epoch != scanned.epoch || header.is_start() {
            break;
        }
        if scanned.end == first {
            scanned.first_previous = Some(header.previous);
        }
        if header.previous != scanned.last || version != FORMAT_VERSION {
            break;
        }
        if !window.pass(scanned.end, &header, credulous, each)? {
            break;
        }
        scanned.last = header.sequence;
        scanned.flushed = scanned.flushed.max(header.flushed);
        scanned.end += record_bytes(header.payload_bytes as usize) as u64;
    }
    window.classify(&mut scanned)?;
    Ok(Some(scanned))
}

/// The epoch of a log and the number of its start, if the header of that is whole.
///
/// # Errors
/// [`Kind::Unsupported`] if another version wrote the log.
pub(crate) fn peek(file: &dyn File, path: &str) -> Result<Option<(u64, u64)>> {
    let start = Window { file, path, len: file.len()?, at: 0, bytes: Vec::new() }.start()?;
    Ok(start.map(|start| (start.epoch, start.sequence)))
}

/// Whether the records behind the last good one lie without a gap, as far as their headers tell, and none is shorter than
/// this. Only the headers need be whole.
pub(crate) fn none_shorter_behind(
    file: &dyn File,
    path: &str,
    scanned: &Scanned,
    payload_bytes: usize,
) -> Result<bool> {
    let mut window = Window { file, path, len: file.len()?, at: 0, bytes: Vec::new() };
    let mut end = scanned.end;
    let later = |header: &Header| header.epoch == scanned.epoch && header.sequence > scanned.last;
    while let Some((offset, header)) = window.find(end, &mut |header| later(header))? {
        if offset != end || (header.payload_bytes as usize) < payload_bytes {
            return Ok(false);
        }
        end += record_bytes(header.payload_bytes as usize) as u64;
    }
    Ok(end <= window.len.next_multiple_of(ALIGN as u64))
}

/// A part of the file, in memory.
struct Window<'a> {
    file: &'a dyn File,
    path: &'a str,
    len: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `offset` on, at least `count`, or `None` if the file has not so many.
    fn get(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>> {
        let inside = |window: &Self| {
            let skip = usize::try_from(offset.checked_sub(window.at)?).ok()?;
            (window.bytes.len() >= skip.checked_add(count)?).then_some(skip)
        };
        if inside(self).is_none() {
            let left = self.len.saturating_sub(offset);
            if (count as u64) > left {
                return Ok(None);
            }
            // The file has them, so that this allocates no more than it holds.
            self.bytes.resize((left.min(CHUNK_BYTES.max(count) as u64)) as usize, 0);
            let read = self.file.read_at(offset, &mut self.bytes)?;
            if read < self.bytes.len() {
                let context = format!("reading {} bytes at {offset}: the file ended after {read}", self.bytes.len());
                return Err(Error::new(Kind::Io, context).at(self.path));
            }
            self.at = offset;
        }
        Ok(inside(self).map(|skip| &self.bytes[skip..]))
    }

    fn header(&mut self, offset: u64) -> Result<Option<(Header, u32)>> {
        let bytes = self.get(offset, HEADER_BYTES)?.and_then(|bytes| bytes.first_chunk());
        Ok(bytes.and_then(Header::decode))
    }

    /// The header at offset 0, if it is a start's. What another version means by its numbers is not known.
    fn start(&mut self) -> Result<Option<Header>> {
        let Some(bytes) = self.get(0, HEADER_BYTES)?.and_then(|bytes| bytes.first_chunk()) else { return Ok(None) };
        let header = Header::decode(bytes).map(|(header, _)| header);
        match Header::version(bytes) {
            Some(version) if version != FORMAT_VERSION => {
                let context = format!("the log has version {version}, this is {FORMAT_VERSION}");
                Err(Error::new(Kind::Unsupported, context).at(self.path))
            }
            _ => Ok(header.filter(Header::is_start)),
        }
    }

    /// Hands a record out if its payload is whole.
    fn pass(
        &mut self,
        offset: u64,
        header: &Header,
        credulous: bool,
        each: &mut dyn FnMut(&Record) -> Result<()>,
    ) -> Result<bool> {
        let end = HEADER_BYTES + header.payload_bytes as usize;
        let Some(bytes) = self.get(offset, end)? else { return Ok(false) };
        let payload = &bytes[HEADER_BYTES..end];
        if !credulous && crc32fast::hash(payload) != header.payload_crc {
            return Ok(false);
        }
        let &Header { sequence, previous, flushed, .. } = header;
        each(&Record { offset, sequence, previous, flushed, payload })?;
        Ok(true)
    }

    /// What a file is whose first bytes start no log.
    fn without_start(&mut self) -> Result<Option<Scanned>> {
        let first = self.len.min(HEADER_BYTES as u64) as usize;
        let zeros = self.get(0, first)?.is_none_or(|bytes| bytes[..first].iter().all(|&byte| byte == 0));
        let mut found = None;
        self.find(0, &mut |header| {
            found = found.max(Some(header.epoch));
            false
        })?;
        if zeros && found.is_none() {
            return Ok(None);
        }
        let epoch = found.unwrap_or(0);
        Ok(Some(Scanned { epoch, start: 0, first_previous: None, last: 0, end: 0, flushed: 0, tail: Tail::Damaged }))
    }

    /// Says what lies behind the last record.
    fn classify(&mut self, scanned: &mut Scanned) -> Result<()> {
        let (epoch, last) = (scanned.epoch, scanned.last);
        let later = |header: &Header| header.epoch == epoch && header.sequence > last;
        let Some(found) = self.find(scanned.end, &mut |header| later(header))? else { return Ok(()) };
        scanned.tail = Tail::Torn;
        if let Some(proof) = self.find(found.0, &mut |header| later(header) && header.flushed > last)? {
            scanned.tail = Tail::Damaged;
            scanned.flushed = scanned.flushed.max(proof.1.flushed);
        }
        Ok(())
    }

    /// The first header at or behind `offset` that `wanted` takes.
    fn find(&mut self, offset: u64, wanted: &mut dyn FnMut(&Header) -> bool) -> Result<Option<(u64, Header)>> {
        let mut at = offset;
        while let Some(bytes) = self.get(at, HEADER_BYTES)? {
            let places = (bytes.len() - HEADER_BYTES) / ALIGN + 1;
            for place in 0..places {
                let bytes = &bytes[place * ALIGN..];
                if bytes[..4] != MAGIC {
                    continue;
                }
                let header = bytes.first_chunk().and_then(Header::decode);
                if let Some((header, _)) = header.filter(|(header, _)| wanted(header)) {
                    return Ok(Some((at + (place * ALIGN) as u64, header)));
                }
            }
            at += (places * ALIGN) as u64;
        }
        Ok(None)
    }
}

/// What [`Writer::resume`](super::Writer::resume) refuses.
pub(super) fn must_not_be_damaged(scanned: &Scanned, path: &str) -> Result<()> {
    match scanned.tail {
        Tail::Clean | Tail::Torn => Ok(()),
        Tail::Damaged => Err(corrupt(path, format!("continuing a log that is damaged at {}", scanned.end))),
    }
}
