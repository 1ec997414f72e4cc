//! What a file's writer changes before it commits: kept in memory, and what is too much for that, in the log or the file.

use std::collections::hash_map::Entry;
use std::rc::Rc;

use statik_bridge::pages::PAGE_BYTES;
use statik_disk::{Error, File, Kind, Result};

use super::file::{PAGE, Place, Staged, pages, runs};
use super::payload::{self, Builder, MAX_LEN};
use super::{Inner, Log, Named, handle};

/// So many new pages behind each other are worth a write of their own.
const DIRECT_PAGES: usize = 16;
/// How much is written by one call at most.
pub(super) const COALESCE_BYTES: usize = 1 << 20;

impl Inner {
    pub fn stage(&mut self, number: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        self.begin(number)?;
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > MAX_LEN) {
            let context = format!("writing {} bytes at {offset}: no file is so long", bytes.len());
            return Err(Error::new(Kind::Invalid, context).at(&self.file(number)?.path));
        }
        let mut rest = bytes;
        let mut place = offset;
        while !rest.is_empty() {
            let (page, skip) = (place / PAGE, (place % PAGE) as usize);
            let (part, after) = rest.split_at(rest.len().min(PAGE_BYTES - skip));
            if part.len() < PAGE_BYTES {
                self.load(number, page)?;
            }
            let staged = self.staged(number);
            staged.slot(page)[skip..skip + part.len()].copy_from_slice(part);
            staged.len = staged.len.max(place + part.len() as u64);
            if staged.arena.len() >= self.options.spill_bytes {
                self.spill(number)?;
            }
            (rest, place) = (after, place + part.len() as u64);
        }
        Ok(())
    }

    pub fn stage_len(&mut self, number: u32, len: u64) -> Result<()> {
        self.begin(number)?;
        if len > MAX_LEN {
            let context = format!("setting the length to {len}: no file is so long");
            return Err(Error::new(Kind::Invalid, context).at(&self.file(number)?.path));
        }
        let old_len = self.staged(number).len;
        if len >= old_len {
            self.staged(number).len = len;
            return Ok(());
        }
        let kept = (len % PAGE) as usize;
        if kept > 0 {
            // What is left of the last page keeps zeros behind it, so that the file may grow again.
            self.load(number, len / PAGE)?;
            self.staged(number).slot(len / PAGE)[kept..].fill(0);
        }
        self.staged(number).cut(len);
        self.cut_leftovers(number)
    }

    /// Sees to it that there is something to stage to.
    fn begin(&mut self, number: u32) -> Result<()> {
        self.changeable()?;
        let spare = &mut self.spare;
        let file = self.files.get_mut(&number).ok_or_else(|| super::unknown(number))?;
        if file.staged.is_none() {
            let mut staged = spare.take().unwrap_or_default();
            staged.reset(file.len());
            file.staged = Some(staged);
        }
        Ok(())
    }

    fn staged(&mut self, number: u32) -> &mut Staged {
        let file = self.files.get_mut(&number).expect("staging has begun");
        file.staged.as_mut().expect("staging has begun")
    }

    /// Brings a page to memory, to be changed in part.
    fn load(&mut self, number: u32, page: u64) -> Result<()> {
        let staged = self.staged(number);
        if let Some(Place::Memory(_)) = staged.places.get(&page) {
            return Ok(());
        }
        let mut bytes = [0; PAGE_BYTES];
        self.read_staged_pages(number, page, &mut bytes)?;
        self.staged(number).slot(page).copy_from_slice(&bytes);
        Ok(())
    }

    pub fn read_staged(&self, number: u32, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = self.file(number)?.staged_len().saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let mut rest = &mut buf[..count];
        let mut place = offset;
        while !rest.is_empty() {
            let (page, skip) = (place / PAGE, (place % PAGE) as usize);
            let whole = if skip == 0 { rest.len() / PAGE_BYTES * PAGE_BYTES } else { 0 };
            let done = if whole > 0 {
                self.read_staged_pages(number, page, &mut rest[..whole])?;
                whole
            } else {
                let mut bytes = [0; PAGE_BYTES];
                self.read_staged_pages(number, page, &mut bytes)?;
                let part = rest.len().min(PAGE_BYTES - skip);
                rest[..part].copy_from_slice(&bytes[skip..skip + part]);
                part
            };
            rest = &mut rest[done..];
            place += done as u64;
        }
        Ok(count)
    }

    /// Reads whole pages as the writer sees them.
    fn read_staged_pages(&self, number: u32, page: u64, buf: &mut [u8]) -> Result<()> {
        let newest = self.usage.newest;
        let file = self.file(number)?;
        let Some(staged) = &file.staged else { return self.read(number, newest, page, buf, &mut |_, _| {}) };
        let gone = staged.cut.map_or(u64::MAX, pages);
        let committed =
            |page: &u64| *page < gone && !staged.places.contains_key(page) && !staged.direct.contains(*page);
        let mut rest = buf;
        let mut page = page;
        while !rest.is_empty() {
            // All that is committed and lies behind each other is read together.
            let run = (page..).take(rest.len() / PAGE_BYTES).take_while(committed).count();
            let (now, after) = rest.split_at_mut(run.max(1) * PAGE_BYTES);
            match staged.places.get(&page) {
                _ if run > 0 => self.read(number, newest, page, now, &mut |_, _| {})?,
                Some(Place::Memory(slot)) => now.copy_from_slice(staged.memory(*slot)),
                Some(Place::Log(offset)) => self.logs[self.current].writer.read_at(*offset, now)?,
                None if staged.direct.contains(page) => {
                    let read = handle(file)?.read_at(page * PAGE, now)?;
                    now[read..].fill(0);
                }
                None => now.fill(0),
            }
            rest = after;
            page += run.max(1) as u64;
        }
        Ok(())
    }

    pub fn discard(&mut self, number: u32) {
        let Some(staged) = self.files.get_mut(&number).and_then(|file| file.staged.take()) else { return };
        self.drop_staged(number, staged);
    }

    /// What was staged will not be committed, or is.
    pub(super) fn drop_staged(&mut self, number: u32, staged: Box<Staged>) {
        if !staged.direct.is_empty() && self.changeable().is_ok() {
            // Should this fail, the next growth of the file tries again, and tells: nobody sees what lies there.
            drop(self.cut_leftovers(number));
        }
        self.keep_spare(staged);
    }

    pub(super) fn keep_spare(&mut self, staged: Box<Staged>) {
        if staged.arena.capacity() <= self.options.spill_bytes * 2 {
            self.spare = Some(staged);
        }
    }

    /// Cuts off what direct writes have left in a file and neither a commit nor what is staged makes count.
    pub(super) fn cut_leftovers(&mut self, number: u32) -> Result<()> {
        let file = self.file_mut(number)?;
        let end = file.extent_staged();
        if file.physical > end {
            file.unflushed = true;
            handle(file)?.set_len(end)?;
            file.physical = end;
        }
        Ok(())
    }

    /// Moves staged pages out of memory: to the file what may go there, to the log the rest.
    fn spill(&mut self, number: u32) -> Result<()> {
        let mut staged = self.file_mut(number)?.staged.take().expect("staging has begun");
        let spilt = self.write_direct(number, &mut staged).and_then(|()| self.write_part(number, &mut staged));
        if spilt.is_ok() {
            staged.arena.clear();
        }
        self.file_mut(number)?.staged = Some(staged);
        spilt
    }

    /// Writes the pages that are in memory to the log, where nobody sees them before their commit.
    fn write_part(&mut self, number: u32, staged: &mut Staged) -> Result<()> {
        let memory = staged.in_memory();
        if memory.is_empty() {
            return Ok(());
        }
        let transaction = staged.transaction.unwrap_or(self.next_transaction);
        let Inner { files, logs, current, .. } = self;
        let Log { writer, names, .. } = &mut logs[*current];
        let mut offsets = Vec::with_capacity(memory.len());
        let appended = writer.append(|bytes| {
            let mut builder = Builder::new(bytes, payload::Kind::Part, transaction);
            if !names.contains_key(&number) {
                builder.name(number, &files[&number].path, files[&number].len());
            }
            if let Some(len) = staged.untold_cut {
                builder.drop_pages(number, len);
            }
            for run in runs(&memory) {
                builder.pages(number, run[0].0, run.len() as u64);
                offsets.extend(run.iter().map(|(_, slot)| builder.page(staged.memory(*slot))));
            }
        })?;
        names.entry(number).or_insert(Named { sequence: appended.sequence, commit: 0 });
        for ((page, _), offset) in memory.iter().zip(offsets) {
            staged.places.insert(*page, Place::Log(appended.payload_offset + offset));
        }
        staged.part_pages += memory.len() as u64;
        staged.untold_cut = None;
        staged.transaction = Some(transaction);
        self.next_transaction = self.next_transaction.max(transaction + 1);
        Ok(())
    }

    /// Writes the parts of a file that are in the log `from` to the current one; what is there then, if there are any.
    pub(super) fn copy_parts(&mut self, number: u32, from: usize) -> Result<Option<Staged>> {
        let Some(staged) = self.file(number)?.staged.as_ref().filter(|staged| staged.part_pages > 0) else {
            return Ok(None);
        };
        let logged = staged.in_log();
        let mut moved = Staged { transaction: staged.transaction, ..Staged::default() };
        for part in logged.chunks(COALESCE_BYTES / PAGE_BYTES) {
            for (page, offset) in part {
                self.logs[from].writer.read_at(*offset, moved.slot(*page))?;
            }
            self.write_part(number, &mut moved)?;
            moved.arena.clear();
        }
        Ok(Some(moved))
    }

    /// The parts of a file are where [`Inner::copy_parts`] has written them.
    pub(super) fn moved(&mut self, number: u32, parts: Staged) {
        let staged = self.staged(number);
        staged.places.extend(parts.places);
        // What was cut before they were written again is not among them.
        (staged.part_pages, staged.untold_cut) = (parts.part_pages, None);
    }

    /// Writes runs of new pages beyond the file's end to the file, if that may be.
    pub(super) fn write_direct(&mut self, number: u32, staged: &mut Staged) -> Result<()> {
        let file = self.file(number)?;
        if staged.arena.len() < DIRECT_PAGES * PAGE_BYTES
            || staged.part_pages * PAGE < self.options.direct_bytes && staged.direct.is_empty()
            || !file.cuts.is_empty()
            || staged.cut.is_some_and(|len| file.is_cut(len))
        {
            return Ok(());
        }
        let first = pages(file.high);
        let memory = staged.in_memory();
        let beyond = &memory[memory.partition_point(|(page, _)| *page < first)..];
        let long: Vec<_> = runs(beyond).filter(|run| run.len() >= DIRECT_PAGES).collect();
        if long.is_empty() {
            return Ok(());
        }
        if staged.direct.is_empty() {
            self.prepare_direct(number)?;
        }
        let file = self.file_mut(number)?;
        let disk = handle(file)?;
        for run in long {
            let end = run[0].0 + run.len() as u64;
            // Even a failed write may leave something there.
            file.physical = file.physical.max(end * PAGE);
            file.unflushed = true;
            write_run(&disk, staged, run)?;
            for (page, _) in run {
                staged.places.remove(page);
            }
            staged.direct.add(run[0].0, end);
        }
        Ok(())
    }

    /// Sees to it that a recovery would know how much of the file counts, and that nothing lies beyond.
    fn prepare_direct(&mut self, number: u32) -> Result<()> {
        self.cut_leftovers(number)?;
        self.note(number)?;
        let Log { writer, names, .. } = &self.logs[self.current];
        if names[&number].sequence > writer.flushed() { self.flush_log() } else { Ok(()) }
    }

    /// Names a file in the current log, not durably yet.
    pub(super) fn note(&mut self, number: u32) -> Result<()> {
        let Inner { files, logs, current, .. } = self;
        let file = files.get(&number).ok_or_else(|| super::unknown(number))?;
        let Log { writer, names, .. } = &mut logs[*current];
        if let Entry::Vacant(name) = names.entry(number) {
            let appended = writer.append(|bytes| {
                Builder::new(bytes, payload::Kind::Note, 0).name(number, &file.path, file.len());
            })?;
            name.insert(Named { sequence: appended.sequence, commit: 0 });
        }
        Ok(())
    }
}

/// Writes a run of pages in few calls, without a copy where they lie behind each other in memory, too.
fn write_run(disk: &Rc<dyn File>, staged: &Staged, run: &[(u64, u32)]) -> Result<()> {
    for part in run.chunks(COALESCE_BYTES / PAGE_BYTES) {
        let offset = part[0].0 * PAGE;
        let first = part[0].1 as usize;
        if part.iter().zip(first..).all(|((_, slot), expected)| *slot as usize == expected) {
            disk.write_at(offset, &staged.arena[first * PAGE_BYTES..][..part.len() * PAGE_BYTES])?;
        } else {
            let bytes: Vec<u8> = part.iter().flat_map(|(_, slot)| staged.memory(*slot)).copied().collect();
            disk.write_at(offset, &bytes)?;
        }
    }
    Ok(())
}
