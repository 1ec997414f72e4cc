//! A journal: durability for state that an application keeps in memory. It appends frames that say how the state
//! changes, and now and then a snapshot of all of it; after a crash it reads the newest snapshot and the frames since.
//!
//! A journal has two logs and two places for a snapshot, all files of fixed names, since a browser can open only what
//! was opened beforehand. A snapshot goes to the place of the older one; once it is durable, the log whose frames
//! neither of the two needs any more begins anew after it. So the frames since the older snapshot are always there, and
//! a damaged snapshot costs nothing. `docs/journal-format.md` describes the files.
//!
//! Invariants:
//! - Frames are numbered from 1. What is recovered is always the frames up to some number, with all that were durable.
//! - Damage to what was durable is told, and nothing is changed before the application has decided what becomes of it.
//! - After a change has failed nothing is changed any more: what the disk has, opening the journal again tells.
//!
//! It does not know what frames and states mean, and it does not lock: who opens a journal sees to it that nobody else
//! has it open.
//!
//! ```
//! use std::rc::Rc;
//! use statik_disk::MemDisk;
//! use statik_store::journal::{Journal, Options};
//!
//! let disk = Rc::new(MemDisk::new());
//! let journal = Journal::open(disk.clone(), "drawing", Options::default())?;
//! journal.append(b"a line")?;
//! journal.snapshot(b"a picture with a line")?;
//! journal.append(b"a circle")?;
//! drop(journal);
//!
//! let recovered = Journal::open(disk, "drawing", Options::default())?.recover()?;
//! assert_eq!(recovered.snapshot, Some((1, b"a picture with a line".to_vec())));
//! let frames: Vec<_> = recovered.frames.collect::<Result<_, _>>()?;
//! assert_eq!(frames, [(2, b"a circle".to_vec())]);
//! # Ok::<(), statik_disk::Error>(())
//! ```

mod plan;
mod segment;
mod snapshot;

use std::cell::RefCell;
use std::rc::Rc;

use statik_bridge::pages::Durability;
use statik_disk::{Disk, Error, Kind, Result, validate_path};

use crate::Recover;
use crate::log::{self, successor};
use plan::{Cut, Plan};
use segment::{Begun, Segment};
use snapshot::Slot;

/// The longest frame.
pub const MAX_FRAME_BYTES: usize = 64 << 20;
/// The largest state that a snapshot can have.
pub const MAX_SNAPSHOT_BYTES: usize = 256 << 20;
/// What counts frames, snapshots and epochs stays below this. No journal comes so far by writing.
const MAX_NUMBER: u64 = 1 << 61;
/// The longest name of a journal.
const MAX_NAME_BYTES: usize = 100;

const LOGS: [&str; 2] = ["log-a", "log-b"];
const SLOTS: [&str; 2] = ["snapshot-a", "snapshot-b"];

/// How a journal behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether [`Journal::append`] returns once the frame is durable (`Full`, the default) or once it is written.
    pub durability: Durability,
    /// What becomes of damage.
    pub recover: Recover,
}

impl Default for Options {
    fn default() -> Self {
        Options { durability: Durability::Full, recover: Recover::default() }
    }
}

/// The files of a journal, all of which [`Journal::open`] may open.
///
/// # Errors
/// [`Kind::Invalid`] for what is no name: it is one segment of a path, of up to 100 bytes.
pub fn files(name: &str, recover: Recover) -> Result<Vec<String>> {
    if name.contains('/') || name.len() > MAX_NAME_BYTES || validate_path(name).is_err() {
        let context = format!("the journal's name {name:?} is not 1 to {MAX_NAME_BYTES} bytes that can name a file");
        return Err(Error::new(Kind::Invalid, context));
    }
    let mut files: Vec<String> = LOGS.iter().chain(&SLOTS).map(|file| path(name, file)).collect();
    if recover == Recover::Truncate {
        files.extend(files.clone().iter().map(|file| aside(file)));
    }
    Ok(files)
}

fn path(name: &str, file: &str) -> String {
    format!(".statik/journal/{name}/{file}")
}

/// Where the damaged part of a file is kept.
fn aside(path: &str) -> String {
    format!("{path}.damaged")
}

/// Something that is not as it was written, though it was durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: String,
    /// From where on it is not to be trusted, in bytes.
    pub offset: u64,
    /// The first frame concerned; for a snapshot, the frame up to which it goes.
    pub sequence: u64,
    /// What is wrong.
    pub why: String,
    /// Where the part that was cut off is kept, once [`Recover::Truncate`] has cut it. `None` if nothing was there to cut.
    pub aside: Option<String>,
}

impl Damage {
    fn error(&self) -> Error {
        let Damage { path, offset, sequence, why, .. } = self;
        Error::new(Kind::Corrupt, format!("damage from byte {offset} on, at frame {sequence}: {why}")).at(path)
    }
}

/// An open journal.
pub struct Journal {
    state: Rc<RefCell<State>>,
    durability: Durability,
}

/// What a journal and its cursors share.
struct State {
    name: String,
    logs: [Segment; 2],
    slots: [Slot; 2],
    /// What was found, and what has come since. With damage in it the journal is read-only.
    plan: Plan,
    /// The damage that was found, be it cut off or not.
    damage: Option<Damage>,
    /// Why nothing is changed any more.
    failed: Option<Error>,
}

/// What a crash left, or a good end.
pub struct Recovered {
    /// The newest sound snapshot: the frame up to which it goes, and the state.
    pub snapshot: Option<(u64, Vec<u8>)>,
    /// The frames after it.
    pub frames: Cursor,
    /// What is not as it was written, if anything.
    pub damage: Option<Damage>,
}

impl Journal {
    /// Opens the journal `name` of a store, made if it is missing.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it is damaged and [`Recover::Refuse`] was asked for; [`Kind::Unsupported`] if a later
    /// version wrote it; [`Kind::Invalid`] for the name, as [`files`].
    pub fn open(disk: Rc<dyn Disk>, name: &str, options: Options) -> Result<Journal> {
        files(name, options.recover)?;
        let log = |file: &str| Segment::open(&*disk, path(name, file));
        let slot = |file: &str| Slot::open(&*disk, path(name, file));
        let mut logs = [log(LOGS[0])?, log(LOGS[1])?];
        let slots = [slot(SLOTS[0])?, slot(SLOTS[1])?];
        let plan = Plan::make(&mut logs, &slots)?;
        let damage = plan.damage.clone();
        let mut state = State { name: name.to_owned(), logs, slots, plan, damage, failed: None };
        match (&state.damage, options.recover) {
            (None, _) => state.make_ready()?,
            (Some(_), Recover::ReadOnly) => {}
            (Some(damage), Recover::Refuse) => {
                return Err(Error::new(Kind::Corrupt, format!("opening journal {name:?}")).because(damage.error()));
            }
            (Some(_), Recover::Truncate) => state.truncate(&*disk)?,
        }
        Ok(Journal { state: Rc::new(RefCell::new(state)), durability: options.durability })
    }

    /// Appends a frame; its number. Durable when this returns, if the options say `Full`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] beyond [`MAX_FRAME_BYTES`]; [`Kind::ReadOnly`] for a damaged journal.
    pub fn append(&self, frame: &[u8]) -> Result<u64> {
        if frame.len() > MAX_FRAME_BYTES {
            let context = format!("appending a frame of {} bytes; the most is {MAX_FRAME_BYTES}", frame.len());
            return Err(Error::new(Kind::Invalid, context));
        }
        let full = self.durability == Durability::Full;
        self.state.borrow_mut().change("appending", |state| {
            let log = state.current();
            let sequence = log.append(frame)?;
            if full {
                log.flush()?;
            }
            state.plan.last = sequence;
            Ok(sequence)
        })
    }

    /// Makes every frame durable; the newest one's number.
    pub fn flush(&self) -> Result<u64> {
        self.state.borrow_mut().change("flushing", |state| state.current().flush())
    }

    /// Keeps `state`, which is what all frames so far have led to, durably; the number of the last of them. Frames that
    /// neither this nor the snapshot before needs are dropped.
    ///
    /// # Errors
    /// [`Kind::Invalid`] beyond [`MAX_SNAPSHOT_BYTES`]; [`Kind::ReadOnly`] for a damaged journal.
    pub fn snapshot(&self, state: &[u8]) -> Result<u64> {
        if state.len() > MAX_SNAPSHOT_BYTES {
            let context = format!("a snapshot of {} bytes; the most is {MAX_SNAPSHOT_BYTES}", state.len());
            return Err(Error::new(Kind::Invalid, context));
        }
        self.state.borrow_mut().change("keeping a snapshot", |journal| journal.snapshot(state))
    }

    /// The frames from the number `from` on; 0 means from the oldest that is kept.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if that frame was dropped already.
    pub fn cursor(&self, from: u64) -> Result<Cursor> {
        let oldest = self.state.borrow().oldest();
        if from != 0 && from < oldest {
            let context = format!("a cursor from frame {from}: frames before {oldest} were dropped after a snapshot");
            return Err(Error::new(Kind::NotFound, context));
        }
        Ok(self.cursor_at(from.max(oldest)))
    }

    fn cursor_at(&self, next: u64) -> Cursor {
        Cursor { state: Rc::clone(&self.state), next, reading: None }
    }

    /// The newest sound snapshot and the frames after it.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the snapshot was damaged since the journal was opened: opened again, it falls back.
    pub fn recover(&self) -> Result<Recovered> {
        let state = self.state.borrow();
        let slot = state.plan.snapshot.map(|slot| &state.slots[slot]);
        let kept = slot.and_then(|slot| Some((slot, slot.kept()?)));
        let snapshot = kept.map(|(slot, kept)| Ok((kept.sequence, slot.read(kept)?))).transpose()?;
        let frames = self.cursor_at(successor(state.plan.base));
        Ok(Recovered { snapshot, frames, damage: state.damage.clone() })
    }

    /// What was found damaged when the journal was opened. Unless it was cut off the journal is read-only.
    pub fn damage(&self) -> Option<Damage> {
        self.state.borrow().damage.clone()
    }

    /// The newest frame's number, 0 before the first.
    pub fn last(&self) -> u64 {
        self.state.borrow().plan.last
    }
}

impl State {
    /// Makes a sound journal one that can be appended to.
    fn make_ready(&mut self) -> Result<()> {
        // No log says of this snapshot that it was durable, and a dead process may have left it in memory only.
        let vouched = self.plan.chain.last().and_then(|&newest| self.logs[newest].begun());
        let vouched = vouched.map_or(0, |newest| newest.generation);
        for slot in &self.slots {
            if slot.kept().is_some_and(|kept| kept.generation > vouched) {
                slot.file().flush()?;
            }
        }
        match self.plan.chain.last() {
            Some(&newest) => self.logs[newest].resume(),
            None => self.begin(0),
        }
    }

    /// Lets the frames after the last one go to this log, whose own are not needed any more.
    fn begin(&mut self, log: usize) -> Result<()> {
        self.plan.epoch += 1;
        let Plan { epoch, last, generation, .. } = self.plan;
        self.logs[log].begin(Begun { epoch, base: last, generation })?;
        self.plan.chain.retain(|&other| other != log);
        self.plan.chain.push(log);
        Ok(())
    }

    /// Cuts off what is damaged, after it was copied to files of its own, so that what is left is sound.
    fn truncate(&mut self, disk: &dyn Disk) -> Result<()> {
        let part = |cut: &Cut| match *cut {
            Cut::Log { log, offset } => (self.logs[log].file(), self.logs[log].path().to_owned(), offset),
            Cut::Slot(slot) => (self.slots[slot].file(), self.slots[slot].path().to_owned(), 0),
        };
        // One that has nothing to cut was cut before, when a crash came, and its copy is not to be lost.
        let mut parts: Vec<_> = self.plan.cuts.iter().map(part).collect();
        let lens = parts.iter().map(|(file, ..)| file.len()).collect::<Result<Vec<_>>>()?;
        let mut lens = lens.into_iter();
        parts.retain(|(.., offset)| lens.next().is_some_and(|len| len > *offset));
        for (file, path, offset) in &parts {
            log::set_aside(disk, *file, *offset, &aside(path))?;
        }
        for (file, _, offset) in &parts {
            file.set_len(*offset)?;
            file.flush()?;
        }
        let copied: Vec<String> = parts.into_iter().map(|(_, path, _)| path).collect();
        for log in &mut self.logs {
            *log = Segment::open(disk, log.path().to_owned())?;
        }
        for slot in &mut self.slots {
            *slot = Slot::open(disk, slot.path().to_owned())?;
        }
        self.plan = Plan::make(&mut self.logs, &self.slots)?;
        if let Some(left) = &self.plan.damage {
            let context = format!("opening journal {:?}: cutting off what is damaged was not enough", self.name);
            return Err(Error::new(Kind::Corrupt, context).because(left.error()));
        }
        if let Some(damage) = &mut self.damage {
            // A log that ends too early has nothing to cut, but what came after it has.
            let copied = copied.iter().find(|path| **path == damage.path).or(copied.first());
            damage.aside = copied.map(|path| aside(path));
        }
        self.make_ready()
    }

    fn current(&mut self) -> &mut Segment {
        let log = *self.plan.chain.last().expect("a journal that may change has a log");
        &mut self.logs[log]
    }

    fn base(&self, log: usize) -> u64 {
        self.logs[log].begun().map_or(0, |begun| begun.base)
    }

    /// The oldest frame that a cursor can read.
    fn oldest(&self) -> u64 {
        successor(self.plan.chain.first().map_or(self.plan.last, |&log| self.base(log)))
    }

    fn change<T>(&mut self, doing: &str, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if let Some(error) = &self.failed {
            let context = format!("{doing}: an earlier change of journal {:?} failed; open it again", self.name);
            return Err(Error::new(Kind::Closed, context).because(error.clone()));
        }
        if let Some(damage) = &self.plan.damage {
            let context = format!("{doing}: journal {:?} is damaged, and read-only until it is repaired", self.name);
            return Err(Error::new(Kind::ReadOnly, context).because(damage.error()));
        }
        let Plan { last, epoch, generation, .. } = self.plan;
        if last.max(epoch).max(generation) >= MAX_NUMBER - 1 {
            let context = format!("{doing}: the numbers of journal {:?} are used up", self.name);
            return Err(Error::new(Kind::Unsupported, context));
        }
        change(self).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn snapshot(&mut self, state: &[u8]) -> Result<u64> {
        // Should the new snapshot be damaged one day, the older one needs these frames.
        let last = self.current().flush()?;
        let slot = self.plan.snapshot.map_or(0, |newest| 1 - newest);
        self.plan.generation += 1;
        self.slots[slot].write(self.plan.generation, last, state)?;
        (self.plan.snapshot, self.plan.base) = (Some(slot), last);
        let older = self.slots[1 - slot].kept().map_or(0, |kept| kept.sequence);
        let current = *self.plan.chain.last().expect("flushed above");
        // Else the older snapshot needs the other log as well, and the frames go on in this one.
        if self.base(current) <= older {
            self.begin(1 - current)?;
        }
        Ok(last)
    }
}

fn unsupported(version: u32, known: u32) -> Error {
    Error::new(Kind::Unsupported, format!("opening a journal of version {version}: this is {known}"))
}

/// Frames in order: it ends at the newest one, and goes on once there are more.
///
/// # Errors
/// [`Kind::Conflict`] if a snapshot has dropped what it would have read next, [`Kind::Corrupt`] for a frame that is not
/// as it was. After an error it ends.
pub struct Cursor {
    state: Rc<RefCell<State>>,
    next: u64,
    /// The epoch of the log that it is in, and the place there.
    reading: Option<(u64, log::Cursor)>,
}

impl Iterator for Cursor {
    type Item = Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let state = Rc::clone(&self.state);
        let state = state.borrow();
        if self.next > state.plan.last {
            return None;
        }
        let frame = self.read(&state);
        self.next = frame.as_ref().map_or(u64::MAX, |(sequence, _)| successor(*sequence));
        Some(frame)
    }
}

impl Cursor {
    /// Reads the next frame, from the newest log that begins before it.
    fn read(&mut self, state: &State) -> Result<(u64, Vec<u8>)> {
        let failed = |kind: Kind, what: &str| {
            Error::new(kind, format!("reading frame {} of journal {:?}: {what}", self.next, state.name))
        };
        let chain = &state.plan.chain;
        let Some(place) = chain.iter().rposition(|&log| state.base(log) < self.next) else {
            return Err(failed(Kind::Conflict, "a snapshot dropped it"));
        };
        let last = chain.get(place + 1).map_or(state.plan.last, |&newer| state.base(newer));
        let log = &state.logs[chain[place]];
        let epoch = log.begun().map_or(0, |begun| begun.epoch);
        // The logs' epochs differ, and from those before.
        let reading = self.reading.take().filter(|reading| reading.0 == epoch);
        let (_, reading) = self.reading.insert(reading.unwrap_or_else(|| (epoch, log.cursor())));
        while let Some(record) = reading.next(log.len())? {
            // The start of the log is no frame; its number is below that of the first.
            if record.sequence >= self.next && record.sequence <= last {
                return Ok((record.sequence, record.payload.to_vec()));
            }
        }
        Err(failed(Kind::Corrupt, "it is not there").at(log.path()))
    }
}
