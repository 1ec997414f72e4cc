//! Opening a store: what the logs say, up to where they can be believed.
//!
//! The log with the lower epoch is read first. When the other one took over, that one was durable, so the first record
//! there must name the last one here; the start there says which record of this log is the first that counts. So both
//! together are one chain, and the first break in it is where recovery ends: by a crash in what was never flushed, or by
//! damage.
//!
//! Nothing is written but what cuts a torn tail off, what starts logs that never were, and, where it was asked for, what
//! puts damage aside. All of it can be done again.

use std::collections::BTreeMap;
use std::collections::hash_map;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use statik_bridge::pages::Usage;
use statik_disk::{Disk, Error, File, Kind, Open, Result};

use super::file::{PAGE, PagedFile, pages};
use super::ids::Ids;
use super::index::{Index, Indexed};
use super::payload::{self, Entry};
use super::{Inner, KEEP_BYTES, LOGS, Log, Named};
use crate::log::{Record, Scanned, Tail, Writer, none_shorter_behind, peek, record_bytes, scan_trusting, set_aside};
use crate::{Damage, Options, Recover};

/// A log grows in steps of so many bytes, or fewer where it is to stay small.
const STEP_BYTES: u64 = 256 << 10;

pub(super) fn open(disk: Rc<dyn Disk>, options: Options) -> Result<Inner> {
    let mut damage = None;
    loop {
        let mut found = read(&*disk, Open::Create, credulous(&options))?;
        let Some(bad) = found.damage.take() else { return start(disk, options, found, damage) };
        if options.recover == Recover::Refuse {
            let context = format!("the log is damaged at byte {}: {bad}", bad.offset);
            return Err(Error::new(Kind::Corrupt, context).at(&bad.path));
        }
        let aside = found.set_aside(&*disk, &bad);
        if options.recover == Recover::ReadOnly {
            return start_frozen(disk, options, found, Damage { aside, ..bad });
        }
        found.may_go_on()?;
        let aside = Ok(aside?);
        found.truncate(&bad)?;
        if damage.is_some() {
            return Err(Error::new(Kind::Io, "a damaged log is still damaged after it was cut").at(&bad.path));
        }
        damage = Some(Damage { aside, ..bad });
    }
}

pub(super) fn needs(disk: &dyn Disk) -> Result<Vec<String>> {
    let mut found = match read(disk, Open::Existing, false) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let mut paths: Vec<_> = found.replay.files.drain().map(|(_, file)| file.path).collect();
    if let Some(damage) = &found.damage {
        paths.extend(found.asides(damage).map(|(.., name)| name));
    }
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(feature = "planted")]
fn credulous(options: &Options) -> bool {
    options.planted == Some(crate::Planted::DropChecksum)
}

#[cfg(not(feature = "planted"))]
fn credulous(_: &Options) -> bool {
    false
}

/// What the logs hold.
struct Found {
    files: [Rc<dyn File>; 2],
    scanned: [Option<Scanned>; 2],
    /// Which of them has the lower epoch.
    lower: usize,
    /// The number that the lower log's first record must follow on.
    after: Option<u64>,
    /// The commit that each start says is the newest in the files.
    checkpointed: [u64; 2],
    /// The newest commit of the lower log.
    target: u64,
    replay: Replay,
    /// Whether it has more than its start.
    has_records: [bool; 2],
    /// The highest number that either has of anything.
    highest: u64,
    damage: Option<Damage>,
}

/// What records that were read in order amount to.
#[derive(Default)]
struct Replay {
    files: FxHashMap<u32, PagedFile>,
    numbers: BTreeMap<String, u32>,
    indexes: [Index; 2],
    names: [FxHashMap<u32, Named>; 2],
    ids_bytes: [u64; 2],
    ids: Ids,
    /// By the transaction.
    parts: FxHashMap<u64, Parts>,
    newest: u64,
    next_file: u32,
    next_transaction: u64,
}

#[derive(Default)]
struct Parts {
    /// By page, the offset in the log.
    pages: FxHashMap<u64, u64>,
    /// The shortest that the file was in this record.
    dropped: Option<u64>,
}

impl Parts {
    fn drop_pages(&mut self, len: u64) {
        self.pages.retain(|page, _| *page < pages(len));
        self.dropped = Some(self.dropped.map_or(len, |dropped| dropped.min(len)));
    }
}

/// What a commit says of one file.
#[derive(Default)]
struct Changed {
    cut: Option<u64>,
    parts: Parts,
    direct: Vec<(u64, u64)>,
    len: Option<u64>,
}

fn read(disk: &dyn Disk, open: Open, credulous: bool) -> Result<Found> {
    let open_log = |path: &str| Ok(Rc::from(disk.open(path, open)?));
    let files: [Rc<dyn File>; 2] = [open_log(LOGS[0])?, open_log(LOGS[1])?];
    let mut starts = [peek(&*files[0], LOGS[0])?, peek(&*files[1], LOGS[1])?];
    let mut scanned = [None, None];
    for log in 0..2 {
        if let Some((epoch, sequence)) = starts[log] {
            reachable(log, epoch.max(sequence))?;
            continue;
        }
        // It never was a log, or it is damaged from its first byte on.
        scanned[log] = scan_trusting(&*files[log], LOGS[log], None, credulous, &mut |_| Ok(()))?;
        starts[log] = scanned[log].map(|scanned: Scanned| (scanned.epoch, 0));
    }
    // A log that never was comes after the other.
    let rank = |log: usize| starts[log].map_or(u64::MAX, |(epoch, _)| epoch);
    let lower = usize::from(rank(1) < rank(0));
    let mut found = Found {
        files,
        scanned,
        lower,
        after: None,
        checkpointed: [0; 2],
        target: 0,
        replay: Replay { next_transaction: 1, ..Replay::default() },
        has_records: [false; 2],
        highest: 0,
        damage: None,
    };
    found.after = match (found.scanned[1 - lower], starts[1 - lower]) {
        (None, start) => start.map(|(_, sequence)| sequence),
        // The start that would say where to begin is lost.
        (Some(_), _) => scan_trusting(&*found.files[lower], LOGS[lower], None, credulous, &mut |_| Ok(()))?
            .and_then(|lower| lower.first_previous),
    };
    found.read_log(lower, found.after, credulous)?;
    found.target = found.replay.newest;
    if found.damage.is_none() {
        let last = found.scanned[lower].map(|lower| lower.last);
        found.read_log(1 - lower, last, credulous)?;
        found.blame(lower);
    }
    found.look_for_changes_behind()?;
    let first = found.checkpointed[1 - lower].max(found.checkpointed[lower]);
    found.replay.newest = found.replay.newest.max(first);
    found.target = found.target.max(first);
    let of_starts = starts.iter().flatten().map(|(epoch, sequence)| *epoch.max(sequence));
    let of_records = found.scanned.iter().flatten().map(Scanned::highest);
    let of_payloads = found.replay.newest.max(found.replay.next_transaction);
    found.highest = of_starts.chain(of_records).fold(of_payloads, u64::max);
    Ok(found)
}

/// Refuses a number of a log that no store reaches.
fn reachable(log: usize, number: u64) -> Result<()> {
    if number < payload::NUMBERS {
        return Ok(());
    }
    let context = format!("an epoch or a record has the number {number}, which none reaches");
    Err(Error::new(Kind::Corrupt, context).at(LOGS[log]))
}

impl Found {
    /// Reads one log, whose first record must follow on the number `after`.
    fn read_log(&mut self, log: usize, after: Option<u64>, credulous: bool) -> Result<()> {
        if self.scanned[log].is_none() {
            let Found { replay, checkpointed, has_records, files, .. } = self;
            // Parts are of the epoch of their commit.
            replay.parts.clear();
            let scanned = scan_trusting(&*files[log], LOGS[log], after, credulous, &mut |record| {
                has_records[log] |= record.offset > 0;
                replay.record(log, record, &mut checkpointed[log]).map_err(|what| {
                    let context = format!("reading record {} at byte {}: {what}", record.sequence, record.offset);
                    Error::new(Kind::Corrupt, context).at(LOGS[log])
                })
            })?;
            self.scanned[log] = scanned;
            if let Some(scanned) = scanned {
                reachable(log, scanned.last.max(scanned.first_previous.unwrap_or(0)))?;
            }
        }
        let Some(scanned) = self.scanned[log].filter(|scanned| scanned.tail == Tail::Damaged) else { return Ok(()) };
        self.damage = Some(Damage {
            path: LOGS[log].to_owned(),
            offset: scanned.end,
            epoch: scanned.epoch,
            sequence: scanned.last.max(after.unwrap_or(0)) + 1,
            files_ahead: true,
            aside: Err(Error::new(Kind::NotFound, "it was not copied")),
        });
        Ok(())
    }

    /// Refuses to write anything where the next numbers might be ones that are refused.
    fn may_go_on(&self) -> Result<()> {
        if self.highest < payload::USED_UP {
            return Ok(());
        }
        let context = format!("the store's numbers are used up: one is {}", self.highest);
        Err(Error::new(Kind::Unsupported, context).at(LOGS[self.lower]))
    }

    /// Where the first record of the higher log follows on one that the lower has lost, that is where the damage is.
    fn blame(&mut self, lower: usize) {
        let (Some(damage), Some(low), Some(high)) = (&mut self.damage, self.scanned[lower], self.scanned[1 - lower])
        else {
            return;
        };
        if high.last == low.last && high.first_previous.is_some_and(|previous| previous > low.last) {
            (damage.path, damage.offset, damage.epoch) = (LOGS[lower].to_owned(), low.end, low.epoch);
        }
    }

    /// Commits of the lower log may be in the files at any time: a checkpoint that begins leaves nothing durable before
    /// it. Those of the higher one are there only where a file was settled, which leaves notes.
    fn look_for_changes_behind(&mut self) -> Result<()> {
        let higher = 1 - self.lower;
        let Some(damage) = self.damage.as_mut().filter(|damage| damage.path == LOGS[higher]) else { return Ok(()) };
        let Some(scanned) = &self.scanned[higher] else { return Ok(()) };
        // A note has no room for a page, nor for a path so long.
        damage.files_ahead = !none_shorter_behind(&*self.files[higher], LOGS[higher], scanned, PAGE as usize)?;
        Ok(())
    }

    /// The parts of the logs that are behind the damage: log, offset, and the name that they are kept under.
    fn asides(&self, damage: &Damage) -> impl Iterator<Item = (usize, u64, String)> {
        let name = |epoch: u64| format!(".statik/damaged-{epoch}-{}", damage.sequence);
        let in_lower = damage.path == LOGS[self.lower];
        let higher = 1 - self.lower;
        let whole = peek(&*self.files[higher], LOGS[higher]).ok().flatten();
        let behind = whole.filter(|_| in_lower).map(|(epoch, _)| (higher, 0, name(epoch)));
        let bad = if in_lower { self.lower } else { higher };
        std::iter::once((bad, damage.offset, name(damage.epoch))).chain(behind)
    }

    fn set_aside(&self, disk: &dyn Disk, damage: &Damage) -> Result<String> {
        for (log, offset, name) in self.asides(damage) {
            set_aside(disk, &*self.files[log], offset, &name)?;
        }
        Ok(format!(".statik/damaged-{}-{}", damage.epoch, damage.sequence))
    }

    /// Cuts the logs at the damage, durably. What is later goes first, so that a crash in between leaves a damaged log
    /// with nothing behind it.
    fn truncate(&self, damage: &Damage) -> Result<()> {
        let (lower, higher) = (self.lower, 1 - self.lower);
        let known = |log: usize| self.scanned[log].map_or(0, |scanned| scanned.epoch);
        let epochs = (0..2).filter_map(|log| peek(&*self.files[log], LOGS[log]).transpose());
        let epochs = epochs.collect::<Result<Vec<_>>>()?;
        let epoch = epochs.iter().map(|(epoch, _)| *epoch).fold(known(0).max(known(1)), u64::max) + 1;
        // What lies behind the start may be of any epoch, this one included: it has to go.
        let restart = |log: usize, epoch: u64, sequence: u64, commit: u64| {
            let file = &self.files[log];
            Writer::start(Rc::clone(file), LOGS[log], epoch, sequence, &payload::start(commit))?.trim(0)?;
            file.flush()
        };
        let cut = |log: usize| {
            self.files[log].set_len(damage.offset)?;
            self.files[log].flush()
        };
        let last = epochs.iter().map(|(_, sequence)| *sequence).fold(0, u64::max);
        // As it was read, so that what was not is not read then, either.
        let first = self.after.unwrap_or(last);
        match (damage.path == LOGS[lower], damage.offset) {
            (true, 0) => {
                // Records have numbers at least as high as commits.
                restart(higher, epoch, last, last)?;
                restart(lower, epoch + 1, last, last)
            }
            (true, _) => {
                restart(higher, epoch, first, self.checkpointed[lower])?;
                cut(lower)
            }
            (false, 0) => restart(higher, epoch, first, self.checkpointed[lower]),
            (false, _) => cut(higher),
        }
    }
}

impl Replay {
    fn record(&mut self, log: usize, record: &Record, checkpointed: &mut u64) -> Result<(), &'static str> {
        let (kind, number, entries) = payload::read(record.payload)?;
        let mut changed: Vec<(u32, Changed)> = Vec::new();
        if (kind == payload::Kind::Start) != (record.offset == 0) {
            return Err("a start is not the first record, or another is");
        }
        for entry in entries {
            let entry = entry?;
            let file = match entry {
                Entry::Name { file, path, base } => {
                    self.name(file, path, base)?;
                    self.names[log].entry(file).or_insert(Named { sequence: record.sequence, commit: 0 });
                    continue;
                }
                Entry::Forget { path } => {
                    self.forget(path);
                    continue;
                }
                Entry::Id { id } if kind == payload::Kind::Commit => {
                    self.ids.add(id, number);
                    continue;
                }
                Entry::Ids { ids } if kind == payload::Kind::Note => {
                    // Those that the other log told are among them.
                    self.ids = ids.iter().collect();
                    self.ids_bytes[log] = record_bytes(record.payload.len()) as u64;
                    continue;
                }
                Entry::Id { .. } | Entry::Ids { .. } => return Err("an id is of no commit"),
                Entry::Parts { file, .. }
                | Entry::Drop { file, .. }
                | Entry::Pages { file, .. }
                | Entry::Cut { file, .. }
                | Entry::Direct { file, .. }
                | Entry::Len { file, .. } => file,
            };
            if !self.names[log].contains_key(&file) {
                return Err("a file is changed that has no name");
            }
            if changed.last().is_none_or(|(last, _)| *last != file) {
                changed.push((file, Changed::default()));
            }
            let (_, of_file) = changed.last_mut().expect("pushed if there was none");
            self.change(of_file, entry, record.payload_offset())?;
        }
        self.finish(log, kind, number, changed, checkpointed)
    }

    /// Adds an entry to what a record says of a file.
    fn change(&mut self, changed: &mut Changed, entry: Entry, payload_offset: u64) -> Result<(), &'static str> {
        match entry {
            Entry::Parts { transaction, .. } => {
                changed.parts = self.parts.remove(&transaction).ok_or("the parts of a transaction are missing")?;
            }
            Entry::Cut { len, .. } => changed.cut = Some(len),
            Entry::Drop { len, .. } => changed.parts.drop_pages(len),
            Entry::Pages { page, count, at, .. } => {
                let places = (page..page + count).zip((payload_offset + at as u64..).step_by(PAGE as usize));
                changed.parts.pages.extend(places);
            }
            Entry::Direct { page, count, .. } => {
                changed.parts.pages.retain(|other, _| !(page..page + count).contains(other));
                changed.direct.push((page, count));
            }
            Entry::Len { len, .. } => changed.len = Some(len),
            Entry::Name { .. } | Entry::Forget { .. } | Entry::Id { .. } | Entry::Ids { .. } => {}
        }
        Ok(())
    }

    fn finish(
        &mut self,
        log: usize,
        kind: payload::Kind,
        number: u64,
        changed: Vec<(u32, Changed)>,
        checkpointed: &mut u64,
    ) -> Result<(), &'static str> {
        match kind {
            payload::Kind::Start => *checkpointed = number,
            payload::Kind::Note => {}
            payload::Kind::Part => {
                self.next_transaction = self.next_transaction.max(number + 1);
                for (_, Changed { parts, .. }) in changed {
                    let whole = self.parts.entry(number).or_default();
                    if let Some(len) = parts.dropped {
                        whole.drop_pages(len);
                    }
                    whole.pages.extend(parts.pages);
                }
            }
            payload::Kind::Commit => {
                if number <= self.newest {
                    return Err("a commit has a number that does not rise");
                }
                self.newest = number;
                for (file, Changed { cut, parts, direct, len }) in changed {
                    let len = len.ok_or("a commit does not say how long a file is")?;
                    for (page, offset) in parts.pages {
                        self.indexes[log].insert(file, page, Indexed { commit: number, offset });
                    }
                    self.names[log].entry(file).or_default().commit = number;
                    let known = self.files.get_mut(&file).ok_or("a file is changed that has no name")?;
                    known.apply(number, cut, direct.into_iter(), len);
                }
            }
        }
        Ok(())
    }

    fn name(&mut self, number: u32, path: &str, base: u64) -> Result<(), &'static str> {
        if number == u32::MAX {
            return Err("a file has a number that none has");
        }
        match self.files.entry(number) {
            hash_map::Entry::Occupied(known) if known.get().path != path => return Err("two files have one number"),
            hash_map::Entry::Occupied(_) => {}
            hash_map::Entry::Vacant(new) => {
                if self.numbers.insert(path.to_owned(), number).is_some() {
                    return Err("a file has two numbers");
                }
                // Every cut that the log tells of counts: the longest view was not necessarily in the log.
                new.insert(PagedFile { high: u64::MAX, ..PagedFile::new(path, None, base) });
            }
        }
        self.next_file = self.next_file.max(number + 1);
        Ok(())
    }

    fn forget(&mut self, path: &str) {
        if let Some(number) = self.numbers.remove(path) {
            self.files.remove(&number);
        }
    }

    /// Opens the files that the log knows.
    fn open_files(&mut self, disk: &dyn Disk, open: Open) -> Result<()> {
        for file in self.files.values_mut() {
            let on_disk: Option<Rc<dyn File>> = match disk.open(&file.path, open) {
                Err(error) if open == Open::Existing && error.kind() == Kind::NotFound => None,
                opened => Some(opened?.into()),
            };
            let len = on_disk.as_ref().map_or(Ok(0), |file| file.len())?;
            file.disk = on_disk;
            file.physical = len;
            file.extent = file.extent.min(len);
            // A checkpoint may have been at it when the process died.
            file.unflushed = true;
            file.high = file.lens.iter().map(|(_, len)| *len).fold(file.base, u64::max);
        }
        Ok(())
    }
}

/// The store that undamaged logs hold.
fn start(disk: Rc<dyn Disk>, options: Options, mut found: Found, damage: Option<Damage>) -> Result<Inner> {
    let (lower, higher) = (found.lower, 1 - found.lower);
    let used_up = found.may_go_on().err();
    if let Some(error) = used_up.clone().filter(|_| found.scanned.contains(&None)) {
        return Err(error);
    }
    found.replay.open_files(&*disk, Open::Create)?;
    let resume = |log: usize, new: (u64, u64, u64)| {
        let file = Rc::clone(&found.files[log]);
        match &found.scanned[log] {
            Some(scanned) => Writer::resume(file, LOGS[log], scanned),
            None => Writer::start(file, LOGS[log], new.0, new.1, &payload::start(new.2)),
        }
    };
    let low = resume(lower, (1, 0, 0))?;
    let first = found.scanned[lower].map_or(0, |scanned| scanned.start);
    let high = resume(higher, (low.epoch() + 1, first, found.checkpointed[lower]))?;
    let sealed = found.has_records[higher].then_some(lower);
    let target = found.target;
    let mut inner = assemble(disk, options, found, [low, high])?;
    for log in &mut inner.logs {
        log.writer.grow_by(STEP_BYTES.min(options.soft_bytes / 4).next_multiple_of(PAGE));
    }
    inner.job = sealed.map(|sealed| inner.job_for(sealed, target));
    inner.damage = damage;
    inner.failed = used_up.map(|error| Error::new(Kind::ReadOnly, "the store is only read").because(error));
    Ok(inner)
}

/// What can be read of damaged logs.
fn start_frozen(disk: Rc<dyn Disk>, options: Options, mut found: Found, damage: Damage) -> Result<Inner> {
    found.replay.open_files(&*disk, Open::Existing)?;
    let frozen = |log: usize| {
        let nothing =
            Scanned { epoch: 0, start: 0, first_previous: None, last: 0, end: 0, flushed: 0, tail: Tail::Damaged };
        let scanned = found.scanned[log].unwrap_or(nothing);
        Writer::frozen(Rc::clone(&found.files[log]), LOGS[log], &scanned)
    };
    let (low, high) = (frozen(found.lower)?, frozen(1 - found.lower)?);
    let mut inner = assemble(disk, options, found, [low, high])?;
    let context = format!("the log is damaged at byte {}, and what was before is only read: {damage}", damage.offset);
    inner.failed = Some(Error::new(Kind::ReadOnly, context).at(&damage.path));
    inner.damage = Some(damage);
    Ok(inner)
}

/// Puts the store together; the writers are those of the lower and the higher log.
fn assemble(disk: Rc<dyn Disk>, options: Options, found: Found, mut writers: [Writer; 2]) -> Result<Inner> {
    for writer in &mut writers {
        writer.keep(KEEP_BYTES)?;
    }
    let Found { lower, checkpointed, has_records, replay, .. } = found;
    if lower == 1 {
        writers.swap(0, 1);
    }
    let Replay { files, numbers, indexes, names, ids_bytes, ids, newest, next_file, next_transaction, .. } = replay;
    let mut parts = indexes.into_iter().zip(names).zip(ids_bytes);
    let logs = writers.map(|writer| {
        let ((index, names), ids_bytes) = parts.next().expect("there are two of each");
        Log { writer, index, names, ids_bytes }
    });
    let checkpointed = checkpointed[0].max(checkpointed[1]);
    Ok(Inner {
        disk,
        options,
        logs,
        current: if has_records[1 - lower] { 1 - lower } else { lower },
        job: None,
        files,
        numbers,
        next_file,
        next_transaction,
        ids,
        usage: Usage { newest, durable: newest, checkpointed, ..Usage::default() },
        failed: None,
        damage: None,
        spare: None,
        #[cfg(feature = "planted")]
        early: false,
    })
}
