//! A commit: one record for all files, written by one call.

use statik_bridge::pages::{Change, CommitId};
use statik_disk::Result;

use super::file::{Staged, runs};
use super::index::Indexed;
use super::payload::{self, Builder};
use super::{Inner, Log, Named};
use crate::log::successor;

/// What a file contributes to a commit.
struct Part {
    number: u32,
    staged: Box<Staged>,
    /// Its pages in memory, in order, with their places there.
    memory: Vec<(u64, u32)>,
    /// Those in the log, with their offsets.
    logged: Vec<(u64, u64)>,
}

impl Inner {
    pub fn commit(&mut self, numbers: &[u32], id: Option<CommitId>, changed: &mut dyn FnMut(Change)) -> Result<u64> {
        let mut parts = Vec::with_capacity(numbers.len());
        for number in numbers {
            if let Some(staged) = self.files.get_mut(number).and_then(|file| file.staged.take()) {
                parts.push(Part { number: *number, staged, memory: Vec::new(), logged: Vec::new() });
            }
        }
        let committed = self.commit_parts(&mut parts, id, changed);
        for Part { number, staged, .. } in parts {
            match committed {
                Ok(_) => self.keep_spare(staged),
                Err(_) => self.drop_staged(number, staged),
            }
        }
        committed
    }

    fn commit_parts(
        &mut self,
        parts: &mut Vec<Part>,
        id: Option<CommitId>,
        changed: &mut dyn FnMut(Change),
    ) -> Result<u64> {
        self.changeable()?;
        parts.retain(|part| self.changes(part));
        if parts.is_empty() {
            return Ok(self.usage.newest);
        }
        #[cfg(feature = "planted")]
        if std::mem::take(&mut self.early) {
            self.flush_log()?;
        }
        for part in &mut *parts {
            self.write_direct(part.number, &mut part.staged)?;
            self.flush_direct(part)?;
            (part.memory, part.logged) = (part.staged.in_memory(), part.staged.in_log());
        }
        let commit = successor(self.usage.newest);
        self.write_commit(commit, id, parts)?;
        if let Some(id) = id {
            self.ids.add(id, commit);
        }
        self.usage.newest = commit;
        self.usage.commits += 1;
        for part in parts {
            self.tell(part, changed);
        }
        Ok(commit)
    }

    /// Whether a commit of this would make a difference.
    fn changes(&self, part: &Part) -> bool {
        let (staged, file) = (&part.staged, &self.files[&part.number]);
        !staged.places.is_empty()
            || !staged.direct.is_empty()
            || staged.len != file.len()
            || staged.cut.is_some_and(|len| file.is_cut(len))
    }

    /// What lies in the file already is durable before the commit that makes it count.
    fn flush_direct(&mut self, part: &Part) -> Result<()> {
        #[cfg(feature = "planted")]
        if self.has(crate::Planted::LoseDirectFlush) {
            return Ok(());
        }
        if part.staged.direct.is_empty() { Ok(()) } else { self.flush_file(part.number) }
    }

    fn write_commit(&mut self, commit: u64, id: Option<CommitId>, parts: &[Part]) -> Result<()> {
        let Inner { logs, current, files, .. } = self;
        let Log { writer, index, names, .. } = &mut logs[*current];
        let mut offsets = Vec::with_capacity(parts.iter().map(|part| part.memory.len()).sum());
        let appended = writer.append(|bytes| {
            let mut builder = Builder::new(bytes, payload::Kind::Commit, commit);
            if let Some(id) = id {
                builder.id(id);
            }
            for Part { number, staged, memory, logged } in parts {
                if !names.contains_key(number) {
                    builder.name(*number, &files[number].path, files[number].len());
                }
                if let Some(len) = staged.cut.filter(|len| files[number].is_cut(*len)) {
                    builder.cut(*number, len);
                }
                if let Some(transaction) = staged.transaction.filter(|_| !logged.is_empty()) {
                    builder.parts(*number, transaction);
                    if let Some(len) = staged.untold_cut {
                        builder.drop_pages(*number, len);
                    }
                }
                for run in runs(memory) {
                    builder.pages(*number, run[0].0, run.len() as u64);
                    offsets.extend(run.iter().map(|(_, slot)| builder.page(staged.memory(*slot))));
                }
                staged.direct.iter().for_each(|(page, count)| builder.direct(*number, page, count));
                builder.len(*number, staged.len);
            }
        })?;
        let mut offsets = offsets.into_iter().map(|offset| appended.payload_offset + offset);
        for Part { number, staged, memory, logged } in parts {
            for (page, offset) in memory.iter().map(|(page, _)| *page).zip(&mut offsets) {
                index.insert(*number, page, Indexed { commit, offset });
            }
            for (page, offset) in logged {
                index.insert(*number, *page, Indexed { commit, offset: *offset });
            }
            names.entry(*number).or_insert(Named { sequence: appended.sequence, commit }).commit = commit;
            let file = files.get_mut(number).expect("it has staged something");
            file.apply(commit, staged.cut, staged.direct.iter(), staged.len);
        }
        Ok(())
    }

    fn tell(&self, part: &Part, changed: &mut dyn FnMut(Change)) {
        let Part { number: file, staged, memory, logged } = part;
        if let Some(cut) = self.files[file].cuts.last().filter(|cut| cut.commit == self.usage.newest) {
            changed(Change::Cut { file: *file, len: cut.len });
        }
        for run in runs(logged) {
            changed(Change::Pages { file: *file, page: run[0].0, count: run.len() as u64 });
        }
        for (page, count) in staged.direct.iter() {
            changed(Change::Pages { file: *file, page, count });
        }
        for (page, slot) in memory {
            changed(Change::Page { file: *file, page: *page, bytes: staged.memory(*slot) });
        }
    }
}
