//! Copying a log's commits to their files, and recycling it.
//!
//! A file is brought to what it was at the target: cut to the shortest that it was since the last checkpoint, given the
//! newest version of each page, then its length. All of it can be done again after a crash, since the log stays until
//! every file is flushed.

use rustc_hash::FxHashMap;
use statik_bridge::pages::{Checkpoint, PAGE_BYTES};
use statik_disk::{Error, Kind, Result};

use super::file::{PAGE, PagedFile, Staged};
use super::payload::{self, Builder};
use super::stage::COALESCE_BYTES;
use super::{Inner, Log, Named, handle};

/// A slice ends after so many calls of the disk, or so many bytes: about a millisecond where calls are dear.
const SLICE_CALLS: usize = 8;
const SLICE_BYTES: usize = 1 << 20;
/// A log that grew keeps so many times the soft limit allocated: to overwrite costs a flush much less than to grow.
const KEPT_LIMITS: u64 = 4;

/// A log on its way to the files.
pub(super) struct Job {
    target: u64,
    copies: Vec<Copy>,
    /// The first that is not done.
    at: usize,
}

/// A file on its way.
struct Copy {
    number: u32,
    target: u64,
    /// The newest commit up to the target that changed it.
    commit: u64,
    /// The shortest that the file was.
    cut: Option<u64>,
    len: u64,
    /// Pages in order, with the log and the offset where they are.
    pages: Vec<(u64, usize, u64)>,
    next: usize,
    step: Step,
    flushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Cut,
    Pages,
    Len,
    Done,
}

impl Inner {
    pub fn checkpoint_target(&mut self) -> Result<Option<u64>> {
        if let Some(job) = &self.job {
            return Ok(Some(job.target));
        }
        if !self.is_worth_sealing() {
            return Ok(None);
        }
        self.changeable()?;
        self.seal()?;
        Ok(Some(self.usage.newest))
    }

    /// Whether the current log has something to copy, or names files for nothing, or much that was staged and is not any
    /// more. What is staged would only go to the other log.
    fn is_worth_sealing(&self) -> bool {
        let log = &self.logs[self.current];
        let idle = |number: &u32| self.files.get(number).is_some_and(|file| file.staged.is_none());
        self.usage.newest > self.usage.checkpointed
            || log.names.keys().any(idle)
            || self.outgrows(log.bytes(), self.options.soft_bytes)
    }

    /// Closes the current log, durably, and goes on in the other.
    fn seal(&mut self) -> Result<()> {
        let sealed = self.current;
        let writer = &mut self.logs[sealed].writer;
        if writer.flushed() < writer.last() {
            self.usage.flushes += 1;
            writer.flush().map_err(|error| self.fail(error))?;
        }
        self.usage.durable = self.usage.newest;
        let last = self.logs[sealed].writer.last();
        self.current = 1 - sealed;
        self.logs[self.current].writer.follow(last);
        match self.take_along(sealed) {
            Ok(moved) => moved.into_iter().for_each(|(number, parts)| self.moved(number, parts)),
            Err(error) => {
                // Nothing was closed: the other log starts anew, and what is staged stays where it is.
                let other = std::mem::replace(&mut self.current, sealed);
                self.restart(other, self.logs[other].writer.start_sequence(), self.usage.checkpointed)?;
                return Err(error);
            }
        }
        self.job = Some(self.job_for(sealed, self.usage.newest));
        Ok(())
    }

    /// Writes what is staged and needs the log to the current one, too, after the ids of commits; where the parts of each
    /// file are then.
    fn take_along(&mut self, sealed: usize) -> Result<Vec<(u32, Staged)>> {
        let staging = self.files.iter().filter(|(_, file)| file.staged.is_some()).map(|(number, _)| *number);
        let mut staging: Vec<u32> = staging.collect();
        staging.sort_unstable();
        self.note_ids()?;
        let mut moved = Vec::new();
        for number in staging {
            if self.file(number)?.has_staged_directs() {
                self.note(number)?;
            }
            if let Some(parts) = self.copy_parts(number, sealed)? {
                moved.push((number, parts));
            }
        }
        Ok(moved)
    }

    /// Writes the ids of commits to the current log, which begins with them.
    fn note_ids(&mut self) -> Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let Log { writer, ids_bytes, .. } = &mut self.logs[self.current];
        let end = writer.end();
        writer.append(|bytes| Builder::new(bytes, payload::Kind::Note, 0).ids(self.ids.iter()))?;
        *ids_bytes = writer.end() - end;
        Ok(())
    }

    /// Whether the ids of commits in the log that was sealed may be durable only there.
    fn ids_are_pending(&self, sealed: usize) -> bool {
        let current = &self.logs[self.current];
        // They come first, so that they are durable if anything is.
        current.ids_bytes > 0 && current.writer.flushed() <= self.logs[sealed].writer.last()
    }

    /// What has to be copied from a log that is closed.
    pub(super) fn job_for(&self, sealed: usize, target: u64) -> Job {
        let log = &self.logs[sealed];
        let mut pages: Vec<_> = log.index.newest().collect();
        pages.sort_unstable_by_key(|(number, page, _)| (*number, *page));
        let mut numbers: Vec<u32> =
            log.names.keys().copied().filter(|number| self.files.contains_key(number)).collect();
        numbers.sort_unstable();
        let copy = |number: u32| {
            let start = pages.partition_point(|(other, ..)| *other < number);
            let own = pages[start..].iter().take_while(|(other, ..)| *other == number);
            let own = own.map(|(_, page, version)| (*page, version.commit, sealed, version.offset));
            Copy { commit: log.names[&number].commit, ..Copy::new(number, &self.files[&number], target, own) }
        };
        Job { target, copies: numbers.into_iter().map(copy).collect(), at: 0 }
    }

    pub fn checkpoint(&mut self, oldest: Option<u64>) -> Result<Checkpoint> {
        let Some(target) = self.checkpoint_target()? else { return Ok(Checkpoint::Idle) };
        if oldest.is_some_and(|oldest| oldest < target) {
            return Ok(Checkpoint::Blocked(target));
        }
        self.changeable()?;
        let mut job = self.job.take().expect("there is a target");
        let worked = self.work(&mut job);
        if worked == Ok(true) {
            return Ok(Checkpoint::Idle);
        }
        self.job = Some(job);
        worked.map(|_| Checkpoint::More)
    }

    /// Does a slice; whether that was the last.
    fn work(&mut self, job: &mut Job) -> Result<bool> {
        let (mut calls, mut bytes) = (0, 0);
        while let Some(copy) = job.copies.get_mut(job.at) {
            if calls >= SLICE_CALLS || bytes >= SLICE_BYTES {
                return Ok(false);
            }
            if copy.step == Step::Done {
                job.at += 1;
                continue;
            }
            let written = self.copy_step(copy)?;
            calls += usize::from(written.is_some());
            bytes += written.unwrap_or(0);
        }
        if self.flush_next(job)? {
            return Ok(false);
        }
        self.recycle(job.target)?;
        Ok(true)
    }

    /// Flushes one of the files that were copied to; whether there was one.
    fn flush_next(&mut self, job: &mut Job) -> Result<bool> {
        #[cfg(feature = "planted")]
        if self.has(crate::Planted::ResetBeforeDurable) {
            return Ok(false);
        }
        // Once is enough where direct writes go on. Where some were discarded since, only a flush cuts them off durably.
        let needs_flush = |copy: &&mut Copy| {
            let file = self.files.get(&copy.number).filter(|file| file.unflushed);
            file.is_some_and(|file| !copy.flushed || !file.is_longer_than_at(copy.target))
        };
        let Some(copy) = job.copies.iter_mut().find(needs_flush) else { return Ok(false) };
        copy.flushed = true;
        self.flush_file(copy.number)?;
        Ok(true)
    }

    /// Makes durable what was done to a file.
    pub(super) fn flush_file(&mut self, number: u32) -> Result<()> {
        let file = self.file_mut(number)?;
        if file.unflushed {
            handle(file)?.flush().map_err(|error| self.fail(error))?;
            self.file_mut(number)?.unflushed = false;
        }
        Ok(())
    }

    /// Does one step of a file's copy; how many bytes the disk was given, `None` without a call.
    fn copy_step(&mut self, copy: &mut Copy) -> Result<Option<usize>> {
        let Some(file) = self.files.get_mut(&copy.number) else {
            copy.step = Step::Done;
            return Ok(None);
        };
        // If so, it was not cut since.
        let longer = file.is_longer_than_at(copy.target);
        let resized = |file: &mut PagedFile, len: u64| -> Result<Option<usize>> {
            if longer || file.physical == len {
                return Ok(None);
            }
            file.unflushed = true;
            handle(file)?.set_len(len)?;
            (file.physical, file.extent) = (len, len);
            Ok(Some(0))
        };
        let done = match copy.step {
            Step::Cut => {
                // From here on what older views see is not there any more.
                file.base_commit = file.base_commit.max(copy.commit);
                let end = file.extent.min(copy.cut.unwrap_or(u64::MAX));
                let done = if file.physical > end { resized(file, end)? } else { None };
                copy.step = Step::Pages;
                done
            }
            Step::Pages => match copy.pages[copy.next..].first() {
                Some(_) => Some(self.copy_run(copy)?),
                None => {
                    copy.step = Step::Len;
                    None
                }
            },
            Step::Len => {
                let done = resized(file, copy.len)?;
                file.extent = file.extent.max(copy.len.min(file.physical));
                copy.step = Step::Done;
                done
            }
            Step::Done => None,
        };
        Ok(done)
    }

    /// Copies pages that lie behind each other in the file, by one call.
    fn copy_run(&mut self, copy: &mut Copy) -> Result<usize> {
        let rest = &copy.pages[copy.next..];
        let run = rest.chunk_by(|one, two| one.0 + 1 == two.0).next().expect("the caller has seen one");
        let run = &run[..run.len().min(COALESCE_BYTES / PAGE_BYTES)];
        let mut bytes = vec![0; run.len() * PAGE_BYTES];
        let mut left = &mut bytes[..];
        // Pages that lie behind each other in the log, too, are read together.
        for part in run.chunk_by(|one, two| one.1 == two.1 && one.2 + PAGE == two.2) {
            let (buf, after) = left.split_at_mut(part.len() * PAGE_BYTES);
            self.logs[part[0].1].writer.read_at(part[0].2, buf)?;
            left = after;
        }
        let start = run[0].0 * PAGE;
        let file = self.files.get_mut(&copy.number).expect("the caller has it");
        file.unflushed = true;
        handle(file)?.write_at(start, &bytes)?;
        let end = start + bytes.len() as u64;
        (file.physical, file.extent) = (file.physical.max(end), file.extent.max(end));
        copy.next += run.len();
        Ok(bytes.len())
    }

    /// Starts a new epoch in the log that was copied.
    fn recycle(&mut self, target: u64) -> Result<()> {
        let sealed = 1 - self.current;
        let pending = self.ids_are_pending(sealed);
        #[cfg(feature = "planted")]
        let pending = pending && !self.has(crate::Planted::LoseIds);
        // Where a file was written beyond its length, what is durable must still tell that length.
        if pending || self.files.values().any(|file| file.is_longer_than_at(target)) {
            self.flush_log()?;
        }
        let names = self.restart(sealed, self.logs[sealed].writer.last(), target)?;
        // Without this the next start would find the file longer, which does no harm.
        let trimmed = self.logs[sealed].writer.trim(self.options.soft_bytes * KEPT_LIMITS);
        self.usage.checkpointed = target;
        for number in names.into_keys() {
            if let Some(file) = self.files.get_mut(&number) {
                file.prune(target);
            }
            self.forget_unused(number);
        }
        trimmed
    }

    /// Starts a new epoch in a log, which holds nothing then; the files that it named.
    fn restart(&mut self, log: usize, sequence: u64, checkpointed: u64) -> Result<FxHashMap<u32, Named>> {
        let epoch = self.logs.iter().map(|log| log.writer.epoch()).max().expect("there are two") + 1;
        #[cfg(feature = "planted")]
        let epoch = if self.has(crate::Planted::ReuseEpoch) { self.logs[log].writer.epoch() } else { epoch };
        let Log { writer, index, names, ids_bytes } = &mut self.logs[log];
        if let Err(error) = writer.restart(epoch, sequence, &payload::start(checkpointed)) {
            return Err(self.fail(error));
        }
        index.clear();
        *ids_bytes = 0;
        Ok(std::mem::take(names))
    }

    pub fn settle(&mut self, path: &str) -> Result<()> {
        let Some(&number) = self.numbers.get(path) else { return Ok(()) };
        if self.file(number)?.users > 0 {
            return Err(Error::new(Kind::Busy, "settling a file that is open").at(path));
        }
        self.changeable()?;
        if self.job.is_some() {
            // Should commits in this log be found damaged one day, the note tells that the file may have them already.
            // Of a log that no other is copied before, that is assumed anyway.
            let Inner { logs, current, files, .. } = self;
            let (file, len) = (&files[&number].path, files[&number].len());
            logs[*current]
                .writer
                .append(|bytes| Builder::new(bytes, payload::Kind::Note, 0).name(number, file, len))?;
        }
        // Files change only by what is durable in the log.
        self.flush_log()?;
        let newest = self.usage.newest;
        let mut pages: Vec<_> = Vec::new();
        for log in [self.current, 1 - self.current] {
            let own = self.logs[log].index.newest().filter(|(other, ..)| *other == number);
            pages.extend(own.map(|(_, page, version)| (page, version.commit, log, version.offset)));
        }
        // The newest of each page, which is in the current log if it is in both.
        pages.sort_by_key(|(page, commit, ..)| (*page, std::cmp::Reverse(*commit)));
        pages.dedup_by_key(|(page, ..)| *page);
        let mut copy = Copy::new(number, self.file(number)?, newest, pages.into_iter());
        while copy.step != Step::Done {
            self.copy_step(&mut copy)?;
        }
        self.flush_file(number)?;
        let writer = &mut self.logs[self.current].writer;
        writer.append(|bytes| Builder::new(bytes, payload::Kind::Note, 0).forget(path))?;
        self.flush_log()?;
        self.remove(number);
        Ok(())
    }
}

impl Copy {
    /// Brings a file to what it was at `target`; of its pages, (page, commit, log, offset) in order.
    fn new(number: u32, file: &PagedFile, target: u64, pages: impl Iterator<Item = (u64, u64, usize, u64)>) -> Copy {
        let cuts: Vec<_> = file.cuts.iter().filter(|cut| cut.commit <= target).collect();
        let gone = |page: u64, commit: u64| cuts.iter().any(|cut| cut.commit > commit && cut.page <= page);
        let pages = pages.filter(|(page, commit, ..)| !gone(*page, *commit));
        Copy {
            number,
            target,
            commit: target,
            cut: cuts.iter().map(|cut| cut.len).min(),
            len: file.len_at(target),
            pages: pages.map(|(page, _, log, offset)| (page, log, offset)).collect(),
            next: 0,
            step: Step::Cut,
            flushed: false,
        }
    }
}
