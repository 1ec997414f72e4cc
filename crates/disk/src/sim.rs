//! A disk that misbehaves on purpose and by seed: the instrument that makes the rooms above trustworthy.
//!
//! Each file has three images: `live`, which reads see; `durable`, which a power loss cannot touch; and the changes in
//! between, made since the last flush. [`SimDisk::crash`] answers what a machine might find after losing power now,
//! and leaves the disk as it is, so that one moment can be crashed in many ways; [`SimDisk::watch`] is told of every such
//! moment. [`Faults`] says what goes wrong before that, and when, counted in operations that change something.
//!
//! Invariants:
//! - The same seed, faults and calls give the same answers and the same bytes.
//! - Creating, renaming and removing are durable when they return, as in OPFS; bytes and lengths are not.
//! - What a flush covered survives every crash.
//!
//! It has no clock of its own: a stall advances the one that [`SimDisk::set_clock`] gave it. Nor do its media decay by
//! themselves: [`SimDisk::flip_bit`] and [`SimDisk::flip_bits`] damage what they are told to.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::{Disk, Error, File, Kind, Open, Result, validate_path};

/// No simulated file grows beyond this: a test that writes further has lost its way.
const MAX_FILE_BYTES: u64 = 1 << 32;

/// What goes wrong, and when. A moment is an operation's number, from 0, as [`SimDisk::operations`] counts them: each
/// creation, removal, rename, write, change of length and flush is one. What befalls one call only befalls the first
/// it fits at or after that moment, and its field is `None` from then on, which tells a test that it happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The power goes before this operation: from then on every call fails with [`Kind::Closed`].
    pub power_off_at: Option<u64>,
    /// From this operation on, a call that would make a file longer fails with [`Kind::Quota`]; a part of what it
    /// should have written may be there.
    pub quota_at: Option<u64>,
    /// All files together cannot be longer than this: a write that would be is cut short there, and fails with
    /// [`Kind::Quota`].
    pub quota_bytes: Option<u64>,
    /// One write leaves only a part of its bytes behind, and fails with [`Kind::Io`].
    pub short_write_at: Option<u64>,
    /// One flush fails with [`Kind::Io`]. What it should have made durable survives or not, by the seed, and no later
    /// flush will save it; the file refuses changes until it is opened anew.
    pub fail_flush_at: Option<u64>,
    /// One call on a file, reads included, finds its handle invalid, and so do all later calls on that handle:
    /// [`Kind::Closed`].
    pub invalid_handle_at: Option<u64>,
    /// From this operation on no file opens: [`Kind::Busy`].
    pub refuse_open_at: Option<u64>,
    /// One call on a file, reads included, takes [`Faults::stall_ms`] of the clock that [`SimDisk::set_clock`] gave.
    pub stall_at: Option<u64>,
    /// How long [`Faults::stall_at`] takes, in milliseconds.
    pub stall_ms: u32,
}

/// What a power loss does to the changes since the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// None survives.
    LoseAll,
    /// All survive.
    KeepAll,
    /// The machine lives on, only the process dies: all is there, and as little durable as before.
    Process,
    /// Any of them survive, whole, or torn at multiples of 512 bytes or 4 KiB; a lost write beyond the end may leave
    /// zeros.
    Seed(u64),
}

/// A simulated disk. Clones share their files.
#[derive(Clone)]
pub struct SimDisk {
    state: Rc<RefCell<State>>,
}

type Watch = Rc<dyn Fn(&SimDisk)>;

impl SimDisk {
    /// An empty disk without faults; `seed` decides what [`Faults`] leave open.
    pub fn new(seed: u64) -> Self {
        Self::holding(BTreeMap::new(), seed)
    }

    fn holding(files: BTreeMap<String, Node>, seed: u64) -> Self {
        let random = Random(seed);
        let state =
            State { files, operations: 0, faults: Faults::default(), random, watch: None, clock: Rc::default() };
        SimDisk { state: Rc::new(RefCell::new(state)) }
    }

    /// Replaces the faults, those that are under way included. Poisoned files and invalid handles stay so.
    pub fn set_faults(&self, faults: Faults) {
        self.state.borrow_mut().faults = faults;
    }

    /// The faults still ahead or under way.
    pub fn faults(&self) -> Faults {
        self.state.borrow().faults
    }

    /// How many changing operations were begun: the number that the next one will have.
    pub fn operations(&self) -> u64 {
        self.state.borrow().operations
    }

    /// Has `watch` called, with the disk, before each operation that changes something and that power, space and the
    /// handle's state allow to begin: the moments at which crashes differ. It may [`SimDisk::crash`] the disk.
    pub fn watch(&self, watch: impl Fn(&SimDisk) + 'static) {
        self.state.borrow_mut().watch = Some(Rc::new(watch));
    }

    /// The clock, in milliseconds, that [`Faults::stall_at`] advances.
    pub fn set_clock(&self, clock: Rc<Cell<f64>>) {
        self.state.borrow_mut().clock = clock;
    }

    /// What a machine might find after losing power now: a new disk without faults. This one is left as it is.
    #[must_use]
    pub fn crash(&self, crash: Crash) -> SimDisk {
        let mut random = Random(match crash {
            Crash::LoseAll | Crash::KeepAll | Crash::Process => 0,
            Crash::Seed(seed) => seed,
        });
        // Some power losses take nearly everything, some hardly anything, some all of one file and nothing of another.
        let kept_of_8 = random.below(9);
        let state = self.state.borrow();
        let survive = |(path, node): (&String, &Node)| {
            if crash == Crash::Process {
                return (path.clone(), node.without_handles());
            }
            let kept_of_8 = if random.coin() { kept_of_8 } else { random.below(9) };
            let mut image = Rc::clone(&node.durable);
            for change in &node.pending {
                match crash {
                    Crash::LoseAll | Crash::Process => {}
                    Crash::KeepAll => change.apply(Rc::make_mut(&mut image)),
                    Crash::Seed(_) => change.apply_in_part(Rc::make_mut(&mut image), kept_of_8, &mut random),
                }
            }
            (path.clone(), Node { live: image.clone(), durable: image, ..Node::default() })
        };
        let files = state.files.iter().map(survive).collect();
        SimDisk::holding(files, random.next())
    }

    /// Damages a file as bad media would: flips `count` bits of what reads see and of what is durable, chosen by
    /// `seed`, each at most once.
    ///
    /// # Errors
    /// [`Kind::NotFound`] without such a file, [`Kind::Invalid`] if it has fewer bits.
    pub fn flip_bits(&self, path: &str, seed: u64, count: usize) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let node = state.node(path, "damaging")?;
        let bits = node.live.len() as u64 * 8;
        if bits < count as u64 {
            let context = format!("damaging: {count} bits of a file that has {bits}");
            return Err(Error::new(Kind::Invalid, context).at(path));
        }
        let mut random = Random(seed);
        let mut chosen = std::collections::BTreeSet::new();
        while chosen.len() < count {
            chosen.insert(random.below(bits));
        }
        chosen.into_iter().for_each(|bit| node.flip(bit));
        Ok(())
    }

    /// Flips one bit of what reads see and of what is durable: bit `bit % 8` of the byte `bit / 8`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] without such a file, [`Kind::Invalid`] if it has no such bit.
    pub fn flip_bit(&self, path: &str, bit: u64) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let node = state.node(path, "damaging")?;
        let bits = node.live.len() as u64 * 8;
        if bit >= bits {
            return Err(Error::new(Kind::Invalid, format!("damaging: bit {bit} of a file that has {bits}")).at(path));
        }
        node.flip(bit);
        Ok(())
    }

    /// Tells who watches that an operation is about to begin. Nothing may be borrowed.
    fn tell(&self) {
        let watch = self.state.borrow().watch.clone();
        if let Some(watch) = watch {
            watch(self);
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn File>> {
        validate_path(path)?;
        let mut state = self.state.borrow_mut();
        state.powered().map_err(|error| error.at(path))?;
        if state.faults.refuse_open_at.is_some_and(|at| state.operations >= at) {
            return Err(Error::new(Kind::Busy, "opening: the platform refuses a handle").at(path));
        }
        match (state.files.contains_key(path), open) {
            (false, Open::Existing) => {
                return Err(Error::new(Kind::NotFound, "opening: there is no such file").at(path));
            }
            (true, Open::CreateNew) => {
                return Err(Error::new(Kind::Exists, "creating: there is such a file already").at(path));
            }
            (true, _) => {}
            (false, _) => {
                drop(state);
                self.tell();
                state = self.state.borrow_mut();
                state.begin();
                state.files.insert(path.to_owned(), Node::default());
            }
        }
        state.node(path, "opening")?.handles += 1;
        Ok(Box::new(SimFile { disk: self.clone(), path: path.to_owned(), invalid: Cell::new(false) }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        validate_path(path)?;
        let mut state = self.state.borrow_mut();
        state.powered().map_err(|error| error.at(path))?;
        state.closed_node(path, "removing")?;
        drop(state);
        self.tell();
        let mut state = self.state.borrow_mut();
        state.begin();
        state.files.remove(path);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        validate_path(from)?;
        validate_path(to)?;
        let mut state = self.state.borrow_mut();
        state.powered().map_err(|error| error.at(from))?;
        state.closed_node(from, "renaming")?;
        if state.files.contains_key(to) {
            state.closed_node(to, "replacing")?;
        }
        drop(state);
        self.tell();
        let mut state = self.state.borrow_mut();
        state.begin();
        let node = state.files.remove(from).expect("checked above");
        state.files.insert(to.to_owned(), node);
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>> {
        let state = self.state.borrow();
        state.powered()?;
        Ok(state.files.keys().cloned().collect())
    }
}

struct State {
    files: BTreeMap<String, Node>,
    operations: u64,
    faults: Faults,
    random: Random,
    watch: Option<Watch>,
    clock: Rc<Cell<f64>>,
}

#[derive(Clone, Default)]
struct Node {
    live: Rc<Vec<u8>>,
    durable: Rc<Vec<u8>>,
    /// Applied in order to `durable`, these give `live`, unless a flush failed.
    pending: Vec<Change>,
    handles: usize,
    poisoned: bool,
}

impl Node {
    fn without_handles(&self) -> Node {
        Node { handles: 0, poisoned: false, ..self.clone() }
    }

    fn flip(&mut self, bit: u64) {
        for image in [&mut self.live, &mut self.durable] {
            if let Some(byte) = Rc::make_mut(image).get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }
}

impl State {
    fn powered(&self) -> Result<()> {
        match self.faults.power_off_at {
            Some(at) if self.operations >= at => Err(Error::new(Kind::Closed, "the simulated power is off")),
            _ => Ok(()),
        }
    }

    /// Counts an operation that changes something, and gives its number.
    fn begin(&mut self) -> u64 {
        self.operations += 1;
        self.operations - 1
    }

    fn node(&mut self, path: &str, doing: &str) -> Result<&mut Node> {
        let none = || Error::new(Kind::NotFound, format!("{doing}: there is no such file")).at(path);
        self.files.get_mut(path).ok_or_else(none)
    }

    fn closed_node(&mut self, path: &str, doing: &str) -> Result<()> {
        match self.node(path, doing)?.handles {
            0 => Ok(()),
            _ => Err(Error::new(Kind::Busy, format!("{doing}: the file is open")).at(path)),
        }
    }

    /// How many bytes a file that has `len` may have, if the operation with this number wants `wanted`.
    fn room(&self, number: u64, len: u64, wanted: u64) -> u64 {
        if wanted <= len {
            return wanted;
        }
        if self.faults.quota_at.is_some_and(|at| number >= at) {
            return len;
        }
        let used: u64 = self.files.values().map(|node| node.live.len() as u64).sum();
        let free = self.faults.quota_bytes.map_or(u64::MAX, |quota| quota.saturating_sub(used));
        wanted.min(len.saturating_add(free)).min(MAX_FILE_BYTES)
    }
}

/// Whether a fault that befalls one call befalls the operation with this number.
fn befalls(at: &mut Option<u64>, number: u64) -> bool {
    at.take_if(|at| number >= *at).is_some()
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Rc<[u8]> },
    Len(usize),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => put(image, *offset, bytes),
            Change::Len(len) => image.resize(*len, 0),
        }
    }

    /// Applies all, nothing or some of a change.
    fn apply_in_part(&self, image: &mut Vec<u8>, kept_of_8: u64, random: &mut Random) {
        if random.below(8) < kept_of_8 {
            return self.apply(image);
        }
        let Change::Write { offset, bytes } = self else { return };
        let end = offset + bytes.len();
        if random.coin() {
            let sector = if random.coin() { 512 } else { 4096 };
            let mut start = *offset;
            while start < end {
                let stop = end.min((start / sector + 1) * sector);
                if random.coin() {
                    put(image, start, &bytes[start - offset..stop - offset]);
                }
                start = stop;
            }
        }
        // A file system may have recorded the new length, but not the bytes.
        if end > image.len() && random.coin() {
            image.resize(end, 0);
        }
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}

struct SimFile {
    disk: SimDisk,
    path: String,
    invalid: Cell<bool>,
}

impl SimFile {
    fn error(&self, kind: Kind, context: impl Into<String>) -> Error {
        Error::new(kind, context).at(&self.path)
    }

    /// The state, if this handle still works and nothing befalls the operation with this number.
    fn usable(&self, doing: &str) -> Result<RefMut<'_, State>> {
        let mut state = self.disk.state.borrow_mut();
        state.powered().map_err(|error| error.at(&self.path))?;
        let operations = state.operations;
        if self.invalid.get() || befalls(&mut state.faults.invalid_handle_at, operations) {
            self.invalid.set(true);
            return Err(self.error(Kind::Closed, format!("{doing}: the handle is invalid")));
        }
        if befalls(&mut state.faults.stall_at, operations) {
            state.clock.set(state.clock.get() + f64::from(state.faults.stall_ms));
        }
        Ok(state)
    }

    /// The state and the number of an operation that changes this file.
    fn changing(&self, doing: &str) -> Result<(RefMut<'_, State>, u64)> {
        let mut state = self.usable(doing)?;
        if state.node(&self.path, doing)?.poisoned {
            return Err(self.error(Kind::Io, format!("{doing}: an earlier flush of the file failed")));
        }
        drop(state);
        self.disk.tell();
        let mut state = self.disk.state.borrow_mut();
        let number = state.begin();
        Ok((state, number))
    }

    fn change(&self, state: &mut State, change: Change) -> Result<()> {
        let node = state.node(&self.path, "changing")?;
        change.apply(Rc::make_mut(&mut node.live));
        node.pending.push(change);
        Ok(())
    }
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut state = self.usable("reading")?;
        let bytes = &state.node(&self.path, "reading")?.live;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buf.len().min(bytes.len() - start);
        buf[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return self.usable("writing").map(drop);
        }
        let (mut state, number) = self.changing("writing")?;
        let len = state.node(&self.path, "writing")?.live.len() as u64;
        let end = offset.saturating_add(bytes.len() as u64);
        let room = state.room(number, len, end);
        let (count, failure) = if room < end {
            let fits = room.saturating_sub(offset).min(bytes.len() as u64);
            (fits as usize, Some(self.error(Kind::Quota, format!("writing {} bytes: {fits} fit", bytes.len()))))
        } else if befalls(&mut state.faults.short_write_at, number) {
            let part = state.random.below(bytes.len() as u64);
            (part as usize, Some(self.error(Kind::Io, format!("writing {} bytes: {part} were written", bytes.len()))))
        } else {
            (bytes.len(), None)
        };
        if count > 0 {
            // `room` made the range addressable.
            self.change(&mut state, Change::Write { offset: offset as usize, bytes: bytes[..count].into() })?;
        }
        failure.map_or(Ok(()), Err)
    }

    fn len(&self) -> Result<u64> {
        let mut state = self.usable("measuring")?;
        Ok(state.node(&self.path, "measuring")?.live.len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let (mut state, number) = self.changing("setting the length")?;
        let old = state.node(&self.path, "setting the length")?.live.len() as u64;
        if state.room(number, old, len) < len {
            return Err(self.error(Kind::Quota, format!("setting the length from {old} to {len}: no room")));
        }
        // `room` made it addressable.
        self.change(&mut state, Change::Len(len as usize))
    }

    fn flush(&self) -> Result<()> {
        let (mut state, number) = self.changing("flushing")?;
        let State { files, faults, random, .. } = &mut *state;
        let node = files.get_mut(&self.path).expect("`changing` found it");
        let pending = std::mem::take(&mut node.pending);
        if befalls(&mut faults.fail_flush_at, number) {
            pending.iter().for_each(|change| change.apply_in_part(Rc::make_mut(&mut node.durable), 4, random));
            node.poisoned = true;
            return Err(self.error(Kind::Io, "flushing: the simulated disk failed"));
        }
        pending.iter().for_each(|change| change.apply(Rc::make_mut(&mut node.durable)));
        Ok(())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state.borrow_mut();
        let node = state.files.get_mut(&self.path).expect("an open file is neither removed nor renamed");
        node.handles -= 1;
        node.poisoned &= node.handles > 0;
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

#[cfg(test)]
mod tests;
