//! A disk that misbehaves on purpose and by seed: the instrument that makes the rooms above trustworthy.
//!
//! Each file has three images: `live`, which reads see; `durable`, which a power loss cannot touch; and the changes in
//! between, made since the last flush. [`SimDisk::crash`] answers what a machine might find after losing power now,
//! and leaves the disk as it is, so that one moment can be crashed in many ways. [`Faults`] says what goes wrong before
//! that, and when, counted in operations that change something.
//!
//! Invariants:
//! - The same seed, faults and calls give the same answers and the same bytes.
//! - Creating, renaming and removing are durable when they return, as in OPFS; bytes and lengths are not.
//! - What a flush covered survives every crash.
//!
//! It does not simulate time, nor media that decay by themselves: [`SimDisk::flip_bits`] damages what it is told to.

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
}

/// What a power loss does to the changes since the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// None survives.
    LoseAll,
    /// All survive, as when only the process dies.
    KeepAll,
    /// Any of them survive, whole, or torn at multiples of 512 bytes or 4 KiB; a lost write beyond the end may leave
    /// zeros.
    Seed(u64),
}

/// A simulated disk. Clones share their files.
#[derive(Clone)]
pub struct SimDisk {
    state: Rc<RefCell<State>>,
}

impl SimDisk {
    /// An empty disk without faults; `seed` decides what [`Faults`] leave open.
    pub fn new(seed: u64) -> Self {
        Self::holding(BTreeMap::new(), seed)
    }

    fn holding(files: BTreeMap<String, Node>, seed: u64) -> Self {
        let state = State { files, operations: 0, faults: Faults::default(), random: Random(seed) };
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

    /// What a machine might find after losing power now: a new disk without faults. This one is left as it is.
    #[must_use]
    pub fn crash(&self, crash: Crash) -> SimDisk {
        let mut random = Random(match crash {
            Crash::LoseAll | Crash::KeepAll => 0,
            Crash::Seed(seed) => seed,
        });
        // Some power losses take nearly everything, some hardly anything.
        let kept_of_8 = random.below(9);
        let state = self.state.borrow();
        let survive = |(path, node): (&String, &Node)| {
            let mut image = node.durable.clone();
            for change in &node.pending {
                match crash {
                    Crash::LoseAll => {}
                    Crash::KeepAll => change.apply(&mut image),
                    Crash::Seed(_) => change.apply_in_part(&mut image, kept_of_8, &mut random),
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
        for bit in chosen {
            for image in [&mut node.live, &mut node.durable] {
                if let Some(byte) = image.get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        Ok(())
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
                state.begin();
                state.files.insert(path.to_owned(), Node::default());
            }
        }
        state.node(path, "opening")?.handles += 1;
        Ok(Box::new(SimFile { state: Rc::clone(&self.state), path: path.to_owned(), invalid: Cell::new(false) }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        validate_path(path)?;
        let mut state = self.state.borrow_mut();
        state.powered().map_err(|error| error.at(path))?;
        state.closed_node(path, "removing")?;
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
}

#[derive(Default)]
struct Node {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Applied in order to `durable`, these give `live`, unless a flush failed.
    pending: Vec<Change>,
    handles: usize,
    poisoned: bool,
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

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
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
    state: Rc<RefCell<State>>,
    path: String,
    invalid: Cell<bool>,
}

impl SimFile {
    fn error(&self, kind: Kind, context: impl Into<String>) -> Error {
        Error::new(kind, context).at(&self.path)
    }

    /// The state, if this handle still works and nothing befalls the operation with this number.
    fn usable(&self, doing: &str) -> Result<RefMut<'_, State>> {
        let mut state = self.state.borrow_mut();
        state.powered().map_err(|error| error.at(&self.path))?;
        let operations = state.operations;
        if self.invalid.get() || befalls(&mut state.faults.invalid_handle_at, operations) {
            self.invalid.set(true);
            return Err(self.error(Kind::Closed, format!("{doing}: the handle is invalid")));
        }
        Ok(state)
    }

    /// The state and the number of an operation that changes this file.
    fn changing(&self, doing: &str) -> Result<(RefMut<'_, State>, u64)> {
        let mut state = self.usable(doing)?;
        if state.node(&self.path, doing)?.poisoned {
            return Err(self.error(Kind::Io, format!("{doing}: an earlier flush of the file failed")));
        }
        let number = state.begin();
        Ok((state, number))
    }

    fn change(&self, state: &mut State, change: Change) -> Result<()> {
        let node = state.node(&self.path, "changing")?;
        change.apply(&mut node.live);
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
            self.change(&mut state, Change::Write { offset: offset as usize, bytes: bytes[..count].to_vec() })?;
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
            pending.iter().for_each(|change| change.apply_in_part(&mut node.durable, 4, random));
            node.poisoned = true;
            return Err(self.error(Kind::Io, "flushing: the simulated disk failed"));
        }
        pending.iter().for_each(|change| change.apply(&mut node.durable));
        Ok(())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
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
mod tests {
    use super::*;

    fn kind<T>(result: Result<T>) -> Option<Kind> {
        result.err().map(|error| error.kind())
    }

    fn content(disk: &SimDisk, path: &str) -> Vec<u8> {
        let file = disk.open(path, Open::Existing).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
        bytes
    }

    /// A disk whose file "a" holds `flushed`, and the open file.
    fn disk_with(flushed: &[u8]) -> (SimDisk, Box<dyn File>) {
        let disk = SimDisk::new(7);
        let file = disk.open("a", Open::Create).unwrap();
        file.write_at(0, flushed).unwrap();
        file.flush().unwrap();
        (disk, file)
    }

    fn outcomes(disk: &SimDisk) -> std::collections::BTreeSet<Vec<u8>> {
        (0..200).map(|seed| content(&disk.crash(Crash::Seed(seed)), "a")).collect()
    }

    #[test]
    fn keeps_the_contract() {
        crate::contract::disk(|| Box::new(SimDisk::new(0)));
    }

    #[test]
    fn an_unflushed_write_is_lost_by_some_crashes_and_kept_by_others() {
        let (disk, file) = disk_with(b"old");
        file.write_at(0, b"new").unwrap();
        assert_eq!(content(&disk.crash(Crash::LoseAll), "a"), b"old");
        assert_eq!(content(&disk.crash(Crash::KeepAll), "a"), b"new");
        assert_eq!(outcomes(&disk), [b"old".to_vec(), b"new".to_vec()].into());
        assert_eq!(content(&disk, "a"), b"new", "a crash leaves the disk as it is");
        file.flush().unwrap();
        assert_eq!(outcomes(&disk), [b"new".to_vec()].into(), "what was flushed survives every crash");
    }

    #[test]
    fn any_subset_of_the_writes_survives() {
        let (disk, file) = disk_with(b"...");
        for at in 0..3 {
            file.write_at(at, b"x").unwrap();
        }
        assert_eq!(outcomes(&disk).len(), 8);
    }

    #[test]
    fn a_lost_change_of_length_comes_back() {
        let (disk, file) = disk_with(b"abcdef");
        file.set_len(2).unwrap();
        file.set_len(4).unwrap();
        let expected = [&b"abcdef"[..], b"ab", b"abcd", b"ab\0\0"].map(<[u8]>::to_vec);
        assert_eq!(outcomes(&disk), expected.into());
    }

    #[test]
    fn writes_tear_at_sectors_and_lost_extensions_leave_zeros() {
        let (disk, file) = disk_with(&[1; 8192]);
        file.write_at(100, &[2; 16000]).unwrap();
        let (mut small, mut large, mut zeros) = (false, false, false);
        for image in outcomes(&disk) {
            let edges: Vec<usize> = (1..image.len()).filter(|&i| image[i - 1] != image[i]).collect();
            for edge in edges.iter().filter(|edge| ![100, 8192, 16100].contains(edge)) {
                assert_eq!(edge % 512, 0, "torn at {edge}");
                small |= edge % 4096 != 0;
                large |= edge % 4096 == 0;
            }
            zeros |= image.len() == 16100 && image[8192..].iter().all(|&byte| byte == 0);
        }
        assert!(small && large && zeros, "torn at 512: {small}, at 4096: {large}, zeros left: {zeros}");
    }

    #[test]
    fn names_are_durable_at_once() {
        let (disk, file) = disk_with(b"moved");
        drop(file);
        disk.rename("a", "b").unwrap();
        drop(disk.open("c", Open::CreateNew).unwrap());
        drop(disk.open("d", Open::CreateNew).unwrap());
        disk.remove("d").unwrap();
        let after = disk.crash(Crash::LoseAll);
        assert_eq!(after.list().unwrap(), ["b", "c"]);
        assert_eq!(content(&after, "b"), b"moved");
    }

    #[test]
    fn a_seed_replays_exactly() {
        let run = || {
            let (disk, file) = disk_with(&[0; 5000]);
            disk.set_faults(Faults { short_write_at: Some(4), fail_flush_at: Some(9), ..Faults::default() });
            let results: Vec<_> = (0..20_u64)
                .flat_map(|i| [file.write_at(i * 700, &[i as u8; 3000]), file.flush()])
                .map(|result| result.map_err(|error| error.to_string()))
                .collect();
            (results, content(&disk, "a"), outcomes(&disk))
        };
        assert!(run() == run());
    }

    #[test]
    fn the_power_goes_before_its_operation() {
        let (disk, file) = disk_with(b"old");
        let next = disk.operations();
        disk.set_faults(Faults { power_off_at: Some(next + 1), ..Faults::default() });
        file.write_at(0, b"new").unwrap();
        assert_eq!(kind(file.flush()), Some(Kind::Closed));
        assert_eq!(kind(file.read_at(0, &mut [0])), Some(Kind::Closed));
        assert_eq!(kind(disk.list()), Some(Kind::Closed));
        assert_eq!(kind(disk.open("a", Open::Existing)), Some(Kind::Closed));
        assert_eq!(kind(disk.remove("a")), Some(Kind::Closed));
        assert_eq!(kind(disk.rename("a", "b")), Some(Kind::Closed));
        assert_eq!(disk.operations(), next + 1, "what fails for want of power is not counted");
        assert_eq!(content(&disk.crash(Crash::LoseAll), "a"), b"old");
    }

    #[test]
    fn the_quota_stops_what_grows_until_it_is_lifted() {
        let (disk, file) = disk_with(b"four");
        disk.set_faults(Faults { quota_at: Some(disk.operations() + 1), ..Faults::default() });
        file.write_at(4, b"+").unwrap();
        for _ in 0..2 {
            assert_eq!(kind(file.write_at(3, b"xyz")), Some(Kind::Quota));
            assert_eq!(kind(file.set_len(9)), Some(Kind::Quota));
        }
        assert_eq!(content(&disk, "a"), b"fouxy", "what fits was written");
        file.write_at(0, b"F").unwrap();
        file.set_len(2).unwrap();
        disk.set_faults(Faults::default());
        file.write_at(2, b"und").unwrap();
        assert_eq!(content(&disk, "a"), b"Found");
    }

    #[test]
    fn the_quota_in_bytes_counts_all_files() {
        let (disk, file) = disk_with(b"four");
        disk.set_faults(Faults { quota_bytes: Some(10), ..Faults::default() });
        let other = disk.open("b", Open::Create).unwrap();
        other.write_at(0, b"12345").unwrap();
        assert_eq!(kind(file.write_at(4, b"67")), Some(Kind::Quota));
        assert_eq!(content(&disk, "a"), b"four6");
        other.set_len(0).unwrap();
        file.write_at(5, b"7").unwrap();
        assert_eq!(kind(other.write_at(u64::MAX, b"x")), Some(Kind::Quota));
        disk.set_faults(Faults::default());
        assert_eq!(kind(other.set_len(u64::MAX)), Some(Kind::Quota), "no file is longer than the simulation allows");
    }

    #[test]
    fn a_short_write_leaves_a_part_and_fails_once() {
        let lengths: std::collections::BTreeSet<u64> = (0..50)
            .map(|seed| {
                let disk = SimDisk::new(seed);
                let file = disk.open("a", Open::Create).unwrap();
                disk.set_faults(Faults { short_write_at: Some(0), ..Faults::default() });
                assert_eq!(kind(file.write_at(0, b"123")), Some(Kind::Io));
                assert_eq!(disk.faults(), Faults::default());
                let part = file.len().unwrap();
                file.write_at(0, b"123").unwrap();
                part
            })
            .collect();
        assert_eq!(lengths, [0, 1, 2].into());
    }

    #[test]
    fn a_failed_flush_poisons_the_file_and_loses_what_it_likes() {
        let mut kept = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let file = disk.open("a", Open::Create).unwrap();
            let other = disk.open("a", Open::Create).unwrap();
            file.write_at(0, b"x").unwrap();
            disk.set_faults(Faults { fail_flush_at: Some(0), ..Faults::default() });
            assert_eq!(kind(file.flush()), Some(Kind::Io));
            assert_eq!(kind(file.flush()), Some(Kind::Io));
            assert_eq!(kind(other.write_at(0, b"y")), Some(Kind::Io));
            assert_eq!(kind(other.set_len(0)), Some(Kind::Io));
            drop((file, other));
            let again = disk.open("a", Open::Existing).unwrap();
            again.flush().unwrap();
            assert_eq!(content(&disk, "a"), b"x", "reads cannot tell what the flush lost");
            kept.insert(content(&disk.crash(Crash::KeepAll), "a"));
        }
        assert!(kept.contains(&b"x"[..]) && kept.len() > 1, "kept and lost: {kept:?}");
    }

    #[test]
    fn an_invalid_handle_stays_invalid_and_may_not_be_replaced() {
        let (disk, file) = disk_with(b"kept");
        let other = disk.open("a", Open::Existing).unwrap();
        let now = Some(disk.operations());
        disk.set_faults(Faults { invalid_handle_at: now, refuse_open_at: now, ..Faults::default() });
        assert_eq!(kind(file.read_at(0, &mut [0])), Some(Kind::Closed));
        assert_eq!(kind(file.len()), Some(Kind::Closed));
        assert_eq!(kind(file.write_at(0, b"x")), Some(Kind::Closed));
        assert_eq!(kind(file.write_at(0, b"")), Some(Kind::Closed));
        assert_eq!(kind(file.set_len(0)), Some(Kind::Closed));
        assert_eq!(kind(file.flush()), Some(Kind::Closed));
        assert_eq!(other.len().unwrap(), 4, "another handle works on");
        assert_eq!(kind(disk.open("a", Open::Existing)), Some(Kind::Busy));
        assert_eq!(kind(disk.open("b", Open::Create)), Some(Kind::Busy));
        disk.set_faults(Faults::default());
        assert_eq!(kind(file.len()), Some(Kind::Closed));
        assert_eq!(content(&disk, "a"), b"kept");
    }

    #[test]
    fn bits_flip_where_asked() {
        let (disk, _file) = disk_with(&[0; 100]);
        disk.flip_bits("a", 1, 5).unwrap();
        for image in [content(&disk, "a"), content(&disk.crash(Crash::LoseAll), "a")] {
            assert_eq!(image.iter().map(|byte| byte.count_ones()).sum::<u32>(), 5);
        }
        assert_eq!(kind(disk.flip_bits("a", 1, 801)), Some(Kind::Invalid));
        assert_eq!(kind(disk.flip_bits("b", 1, 1)), Some(Kind::NotFound));
    }
}
