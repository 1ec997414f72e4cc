//! One of a journal's two logs: a [`log`](crate::log) whose start says after which frame it begins, and each of whose
//! other records is a frame. See `docs/journal-format.md`.

use std::rc::Rc;

use statik_disk::{Disk, File, Open, Result};

use super::{Damage, MAX_NUMBER, unsupported};
use crate::log::{self, Scanned, Tail, Writer, successor};

const MAGIC: [u8; 4] = *b"JRNL";
const VERSION: u32 = 1;

/// One log of a journal.
pub struct Segment {
    file: Rc<dyn File>,
    path: String,
    pub head: Head,
    /// So far its records may go.
    len: u64,
    /// Set by [`Segment::scan`].
    scanned: Option<Scanned>,
    /// Set by what makes it the log that is appended to.
    writer: Option<Writer>,
}

/// How a log begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Not at all: the file is empty, or what a crash leaves of one that was.
    Nothing,
    Begun(Begun),
    Damaged(Damage),
}

/// What the start of a log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Which of two logs was begun later.
    pub epoch: u64,
    /// The frame before its first.
    pub base: u64,
    /// The newest snapshot when it was begun; 0 for the very first log, for which there was none.
    pub generation: u64,
}

/// What a log holds.
pub struct Scan {
    /// The last frame, `base` if it has none.
    pub last: u64,
    /// Where that ends, in bytes.
    pub end: u64,
    pub damage: Option<Damage>,
}

impl Segment {
    /// Opens a log and reads how it begins.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](statik_disk::Kind::Unsupported) if a later version wrote it.
    pub fn open(disk: &dyn Disk, path: String) -> Result<Segment> {
        let file: Rc<dyn File> = disk.open(&path, Open::Create)?.into();
        let len = file.len()?;
        let mut segment = Segment { file, path, head: Head::Nothing, len, scanned: None, writer: None };
        segment.head = segment.read_head()?;
        Ok(segment)
    }

    fn read_head(&self) -> Result<Head> {
        let mut cursor = log::Cursor::new(Rc::clone(&self.file), &self.path);
        if let Some(start) = cursor.next(self.len)? {
            let (base, said) = (start.sequence, decode(start.payload));
            let sane = |generation| generation < MAX_NUMBER && base < MAX_NUMBER && cursor.epoch() < MAX_NUMBER;
            return match said {
                Some((VERSION, generation)) if sane(generation) => {
                    Ok(Head::Begun(Begun { epoch: cursor.epoch(), base, generation }))
                }
                Some((version, _)) if version != VERSION => Err(unsupported(version, VERSION).at(&self.path)),
                _ => Ok(Head::Damaged(self.damage_at(0, 0, "it is no journal's log"))),
            };
        }
        Ok(match log::scan(&*self.file, &self.path, None, &mut |_| Ok(()))? {
            None => Head::Nothing,
            Some(_) => Head::Damaged(self.damage_at(0, 0, "the start of the log is bad")),
        })
    }

    /// What its start says, if it has one.
    pub fn begun(&self) -> Option<Begun> {
        match self.head {
            Head::Begun(begun) => Some(begun),
            Head::Nothing | Head::Damaged(_) => None,
        }
    }

    /// Reads all of it, to find its end. It must have begun. What comes after frame `limit`, if that is given, is of no
    /// account: the next log has the frames from there on.
    pub fn scan(&mut self, limit: Option<u64>) -> Result<Scan> {
        let mut beyond = None;
        let mut last_within = 0;
        let scanned = log::scan(&*self.file, &self.path, None, &mut |record| {
            match record.sequence {
                sequence if sequence <= limit.unwrap_or(MAX_NUMBER - 1) => last_within = sequence,
                _ => beyond = beyond.or(Some(record.offset)),
            }
            Ok(())
        })?;
        let scanned = scanned.expect("it had a start when it was opened");
        self.scanned = Some(scanned);
        if let Some(end) = beyond {
            let none = || self.damage_at(end, successor(last_within), "a frame has a number that none has");
            return Ok(Scan { last: last_within, end, damage: limit.is_none().then(none) });
        }
        // What fills up the last record may be missing.
        self.len = self.len.min(scanned.end);
        let Scanned { last, end, tail, .. } = scanned;
        let damage = (tail == Tail::Damaged && limit.is_none_or(|limit| last < limit))
            .then(|| self.damage_at(end, successor(last), "a frame is bad, and a later one says that it was durable"));
        Ok(Scan { last, end, damage })
    }

    /// Makes it the log that is appended to. What a crash left behind its last frame is cut off, durably.
    pub fn resume(&mut self) -> Result<()> {
        let scanned = self.scanned.as_ref().expect("it was scanned");
        self.writer = Some(Writer::resume(Rc::clone(&self.file), &self.path, scanned)?);
        Ok(())
    }

    /// Begins it anew, durably; what it held is dropped.
    pub fn begin(&mut self, begun: Begun) -> Result<()> {
        let mut payload = Vec::with_capacity(16);
        payload.extend_from_slice(&MAGIC);
        payload.extend_from_slice(&VERSION.to_le_bytes());
        payload.extend_from_slice(&begun.generation.to_le_bytes());
        let mut writer = Writer::start(Rc::clone(&self.file), &self.path, begun.epoch, begun.base, &payload)?;
        writer.trim(0)?;
        self.head = Head::Begun(begun);
        self.len = writer.end();
        self.writer = Some(writer);
        Ok(())
    }

    /// Appends a frame; its number.
    pub fn append(&mut self, frame: &[u8]) -> Result<u64> {
        let writer = self.writer();
        let appended = writer.append(|payload| payload.extend_from_slice(frame))?;
        self.len = self.writer().end();
        Ok(appended.sequence)
    }

    pub fn flush(&mut self) -> Result<u64> {
        self.writer().flush()
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("frames go to a log that was resumed or begun")
    }

    /// How far a cursor may read.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Before its start.
    pub fn cursor(&self) -> log::Cursor {
        log::Cursor::new(Rc::clone(&self.file), &self.path)
    }

    /// Something that is wrong with it.
    pub fn damage_at(&self, offset: u64, sequence: u64, why: &str) -> Damage {
        Damage { path: self.path.clone(), offset, sequence, why: why.to_owned(), aside: None }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn file(&self) -> &dyn File {
        &*self.file
    }
}

/// The version and the generation in a start's payload.
fn decode(payload: &[u8]) -> Option<(u32, u64)> {
    let rest = payload.strip_prefix(&MAGIC)?;
    let (version, rest) = rest.split_first_chunk()?;
    let generation = rest.first_chunk()?;
    Some((u32::from_le_bytes(*version), u64::from_le_bytes(*generation)))
}
