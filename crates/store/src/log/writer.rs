//! Writing a log.

use std::rc::Rc;

use statik_disk::{Error, File, Kind, Result};

use super::scan::must_not_be_damaged;
use super::{HEADER_BYTES, Header, MAX_NUMBER, Scanned, Tail, corrupt, record_bytes, successor};

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub sequence: u64,
    /// Where its payload begins in the file.
    pub payload_offset: u64,
}

/// Appends records to a log.
///
/// After a failed [`Writer::append`] the log is as before, and the number is not used again; the next one flushes first.
/// After a failed [`Writer::flush`] nobody knows what is on the disk: every later call that changes something fails with
/// it.
pub struct Writer {
    file: Rc<dyn File>,
    path: String,
    epoch: u64,
    /// The number of the record that started it.
    start: u64,
    /// The last record's number; a number that failed may be above it.
    last: u64,
    next: u64,
    flushed: u64,
    end: u64,
    /// The file's length, or less after a failed write.
    allocated: u64,
    /// The file grows in zeros of so many bytes, so that most appends overwrite what is allocated, which a flush has
    /// less to do for. 0: it grows with each record.
    step_bytes: u64,
    /// The file's first bytes, up to `keep_bytes`, so that they need not be read back.
    kept: Vec<u8>,
    keep_bytes: usize,
    /// The record being made, once the log is longer than what is kept.
    scratch: Vec<u8>,
    /// A write failed, and may have left a part of its record behind the last one.
    spoilt: bool,
    failed: Option<Error>,
}

impl Writer {
    /// Starts a log, and an epoch, durably: whatever the file holds belongs to the log no more. The records after it
    /// have numbers above `sequence`. The epoch must be above all that the file ever had; `payload`, which should be
    /// below 400 bytes to be written in one piece by any disk, is the start's.
    pub fn start(file: Rc<dyn File>, path: &str, epoch: u64, sequence: u64, payload: &[u8]) -> Result<Writer> {
        let allocated = file.len()?;
        let mut writer = Writer {
            file,
            path: path.to_owned(),
            epoch: 0,
            start: 0,
            last: 0,
            next: 0,
            flushed: 0,
            end: 0,
            allocated,
            step_bytes: 0,
            kept: Vec::new(),
            keep_bytes: 0,
            scratch: Vec::new(),
            spoilt: false,
            failed: None,
        };
        writer.restart(epoch, sequence, payload)?;
        Ok(writer)
    }

    /// Goes on behind the records that a scan of the same file has found. What a crash left behind them is cut off. All is
    /// durable then: a process that died may have left records, even the start, that were never flushed.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the log is damaged.
    pub fn resume(file: Rc<dyn File>, path: &str, scanned: &Scanned) -> Result<Writer> {
        must_not_be_damaged(scanned, path)?;
        if scanned.tail == Tail::Torn {
            file.set_len(scanned.end)?;
        }
        file.flush()?;
        Ok(Writer { failed: None, flushed: scanned.last, ..Writer::frozen(file, path, scanned)? })
    }

    /// As [`Writer::resume`], whatever the log's end, but only to read from: every change is refused.
    pub fn frozen(file: Rc<dyn File>, path: &str, scanned: &Scanned) -> Result<Writer> {
        let allocated = file.len()?;
        Ok(Writer {
            file,
            path: path.to_owned(),
            epoch: scanned.epoch,
            start: scanned.start,
            last: scanned.last,
            next: successor(scanned.last),
            flushed: scanned.flushed.min(scanned.last),
            end: scanned.end,
            allocated,
            step_bytes: 0,
            kept: Vec::new(),
            keep_bytes: 0,
            scratch: Vec::new(),
            spoilt: false,
            failed: Some(Error::new(Kind::ReadOnly, "the log is only read").at(path)),
        })
    }

    /// Lets the file grow in steps of zeros. Default 0: with each record.
    pub fn grow_by(&mut self, step_bytes: u64) {
        self.step_bytes = step_bytes;
    }

    /// Keeps the log's first bytes in memory, for [`Writer::read_at`]; reads those that are there already. Default 0.
    pub fn keep(&mut self, keep_bytes: usize) -> Result<()> {
        self.keep_bytes = keep_bytes;
        let mut kept = vec![0; self.end.min(keep_bytes as u64) as usize];
        self.read_file(0, &mut kept)?;
        self.kept = kept;
        Ok(())
    }

    /// Ends the epoch and starts another in the same file, durably; as [`Writer::start`]. The file keeps its length.
    pub fn restart(&mut self, epoch: u64, sequence: u64, payload: &[u8]) -> Result<()> {
        self.usable()?;
        assert!(epoch > 0, "epochs begin at 1");
        if epoch >= MAX_NUMBER || sequence >= MAX_NUMBER {
            let context = format!("starting epoch {epoch} at record {sequence}: numbers end at {}", MAX_NUMBER - 1);
            return Err(corrupt(&self.path, context));
        }
        let header = Header {
            epoch,
            sequence,
            previous: sequence,
            flushed: sequence,
            payload_bytes: u32::try_from(payload.len()).expect("a start is short"),
            payload_crc: crc32fast::hash(payload),
        };
        let mut record = header.encode().to_vec();
        record.extend_from_slice(payload);
        record.resize(record_bytes(payload.len()), 0);
        // From here on the old epoch may be over, and the new one not begun: only success tells which.
        let written = self.file.write_at(0, &record).and_then(|()| self.file.flush());
        written.map_err(|error| self.fail(error))?;
        (self.epoch, self.start, self.last) = (epoch, sequence, sequence);
        (self.next, self.flushed, self.spoilt) = (successor(sequence), sequence, false);
        self.end = record.len() as u64;
        self.allocated = self.allocated.max(self.end);
        self.kept.clear();
        if record.len() <= self.keep_bytes {
            self.kept = record;
        }
        Ok(())
    }

    /// Cuts the file, which must be no shorter than its records, so that it takes no more room than it needs.
    pub fn trim(&mut self, len: u64) -> Result<()> {
        self.usable()?;
        let len = len.max(self.end);
        if len < self.allocated {
            self.file.set_len(len)?;
            self.allocated = len;
        }
        Ok(())
    }

    /// Continues another log that is durable up to `last`: the next record names that as its predecessor.
    pub fn follow(&mut self, last: u64) {
        assert!(last >= self.last, "numbers rise over all logs");
        (self.last, self.next, self.flushed) = (last, successor(last), last);
    }

    /// Appends a record, whose payload `fill` adds to what it is given, by one write.
    pub fn append(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<Appended> {
        self.usable()?;
        let keep = self.kept.len() as u64 == self.end && self.kept.len() < self.keep_bytes;
        let mut bytes = std::mem::take(if keep { &mut self.kept } else { &mut self.scratch });
        if !keep {
            bytes.clear();
        }
        let at = bytes.len();
        bytes.resize(at + HEADER_BYTES, 0);
        fill(&mut bytes);
        let written = self.write(&mut bytes, at);
        if written.is_err() {
            bytes.truncate(at);
        }
        *(if keep { &mut self.kept } else { &mut self.scratch }) = bytes;
        written
    }

    fn write(&mut self, bytes: &mut Vec<u8>, at: usize) -> Result<Appended> {
        self.mend()?;
        let payload_bytes = bytes.len() - at - HEADER_BYTES;
        let too_long = || Error::new(Kind::Invalid, "a record of more than 4 GiB").at(&self.path);
        if self.next >= MAX_NUMBER {
            let context = format!("adding a record behind number {}: they end at {}", self.last, MAX_NUMBER - 1);
            return Err(corrupt(&self.path, context));
        }
        let header = Header {
            epoch: self.epoch,
            sequence: self.next,
            previous: self.last,
            flushed: self.flushed,
            payload_bytes: u32::try_from(payload_bytes).map_err(|_| too_long())?,
            payload_crc: crc32fast::hash(&bytes[at + HEADER_BYTES..]),
        };
        bytes.resize(at + record_bytes(payload_bytes), 0);
        let record = &mut bytes[at..];
        record[..HEADER_BYTES].copy_from_slice(&header.encode());
        self.next = successor(self.next);
        self.make_room(record.len() as u64)?;
        self.spoilt = true;
        self.file.write_at(self.end, record)?;
        self.spoilt = false;
        let appended = Appended { sequence: header.sequence, payload_offset: self.end + HEADER_BYTES as u64 };
        self.last = header.sequence;
        self.end += record.len() as u64;
        self.allocated = self.allocated.max(self.end);
        Ok(appended)
    }

    /// Cuts off what a failed write has left, durably. Otherwise a crash might keep it, and of the next record no more than
    /// an end that is like its own: it would be whole.
    fn mend(&mut self) -> Result<()> {
        if self.spoilt {
            self.file.set_len(self.end)?;
            self.file.flush().map_err(|error| self.fail(error))?;
            (self.allocated, self.flushed, self.spoilt) = (self.end, self.last, false);
        }
        Ok(())
    }

    /// Sees to it that the file is allocated a step beyond what is about to be written, unless that is a good part of
    /// a step: then the zeros would soon cost more than they save.
    fn make_room(&mut self, record_bytes: u64) -> Result<()> {
        let end = self.end + record_bytes;
        if record_bytes >= self.step_bytes / 4 || end <= self.allocated {
            return Ok(());
        }
        let len = end.next_multiple_of(self.step_bytes);
        let zeros = vec![0; (len - end) as usize];
        match self.file.write_at(end, &zeros) {
            Ok(()) => self.allocated = len,
            // A disk too full for the zeros may still have room for the record.
            Err(error) if error.kind() == Kind::Quota => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes every record durable; the last one's number.
    pub fn flush(&mut self) -> Result<u64> {
        self.usable()?;
        if self.flushed < self.last {
            self.file.flush().map_err(|error| self.fail(error))?;
            self.flushed = self.last;
        }
        Ok(self.last)
    }

    /// Reads back what was appended.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the file does not hold it any more.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        match self.kept_at(offset, buf.len()) {
            Some(kept) => {
                buf.copy_from_slice(kept);
                Ok(())
            }
            None => self.read_file(offset, buf),
        }
    }

    /// What [`Writer::read_at`] would read, where it is in memory.
    pub fn kept_at(&self, offset: u64, count: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.kept.get(start..start.checked_add(count)?)
    }

    fn read_file(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let read = self.file.read_at(offset, buf)?;
        if read < buf.len() {
            let context = format!("reading {} bytes of a log at {offset}: it ended after {read}", buf.len());
            return Err(Error::new(Kind::Corrupt, context).at(&self.path));
        }
        Ok(())
    }

    fn usable(&self) -> Result<()> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn fail(&mut self, cause: Error) -> Error {
        let context = "an earlier flush of the log failed, so that nobody knows what it holds";
        self.failed = Some(Error::new(cause.kind(), context).at(&self.path).because(cause.clone()));
        cause
    }

    /// Why nothing can be changed any more.
    pub(crate) fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// The log's file name.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the record that started the epoch.
    pub fn start_sequence(&self) -> u64 {
        self.start
    }

    /// The last record's number.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Every record up to this number is known to be durable.
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Where the next record will begin.
    pub fn end(&self) -> u64 {
        self.end
    }
}
