//! A reference store of pages, in memory: it keeps every version of every page, so that what it answers is obviously
//! right. For tests, as a model, and where nothing is to survive.
//!
//! It stands on a disk, from which a file's first content comes and to which checkpoints copy the last; nothing in
//! between is durable.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use statik_disk::{Disk, Error, Kind, MemDisk, Open, Result};

use super::{Change, Checkpoint, CommitId, PAGE_BYTES, PageStore, REMEMBERED_IDS, Usage, Version, View};

/// A store of pages that keeps every version.
///
/// ```
/// use statik_bridge::pages::{PageStore, mem::MemPages};
/// use statik_disk::Open;
///
/// let store = MemPages::new();
/// let file = store.attach("app.db", Open::Create)?;
/// store.stage(file, 0, b"milk")?;
/// assert_eq!(store.newest(file)?.len, 0);
/// assert_eq!(store.commit(&[file], None, &mut |_| {})?, 1);
/// assert_eq!(store.newest(file)?.len, 4);
/// # Ok::<(), statik_disk::Error>(())
/// ```
pub struct MemPages {
    disk: Rc<dyn Disk>,
    soft_bytes: u64,
    hard_bytes: u64,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u32, Versions>,
    next_file: u32,
    usage: Usage,
    /// Every id, with its commit.
    ids: Vec<(CommitId, u64)>,
}

/// What a file held after each commit that changed it, the first entry being what it held before all.
struct Versions {
    path: String,
    users: usize,
    committed: Vec<(u64, Content)>,
    staged: Option<Staged>,
}

struct Staged {
    content: Content,
    /// The shortest length that was staged, if the file was cut.
    cut: Option<u64>,
}

/// A file's length and its pages; one that is not there is all zeros, as is what lies beyond the length.
#[derive(Clone, Default)]
struct Content {
    len: u64,
    pages: BTreeMap<u64, Rc<[u8; PAGE_BYTES]>>,
}

impl Default for MemPages {
    fn default() -> Self {
        Self::new()
    }
}

impl MemPages {
    /// An empty store.
    pub fn new() -> Self {
        Self::on(Rc::new(MemDisk::new()))
    }

    /// A store of the files of `disk`.
    pub fn on(disk: Rc<dyn Disk>) -> Self {
        MemPages { disk, soft_bytes: u64::MAX, hard_bytes: u64::MAX, state: RefCell::default() }
    }

    /// Wants a checkpoint after so many bytes of commits, and makes writers wait for one after so many more.
    #[must_use]
    pub fn with_limits(self, soft_bytes: u64, hard_bytes: u64) -> Self {
        MemPages { soft_bytes, hard_bytes, ..self }
    }

    fn file(&self, file: u32) -> RefMut<'_, Versions> {
        RefMut::map(self.state.borrow_mut(), |state| {
            state.files.get_mut(&file).unwrap_or_else(|| panic!("file {file} is not attached"))
        })
    }

    fn load(&self, path: &str, open: Open) -> Result<Content> {
        let file = self.disk.open(path, open)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).expect("a file that fits in memory")];
        file.read_at(0, &mut bytes)?;
        let mut content = Content::default();
        content.write(0, &bytes)?;
        Ok(content)
    }

    fn save(&self, path: &str, content: &Content) -> Result<()> {
        let file = self.disk.open(path, Open::Create)?;
        file.set_len(0)?;
        for (page, bytes) in &content.pages {
            file.write_at(page * PAGE_BYTES as u64, &bytes[..])?;
        }
        file.set_len(content.len)?;
        file.flush()
    }
}

impl Versions {
    fn newest(&self) -> &(u64, Content) {
        self.committed.last().expect("there is a first version")
    }

    fn seen(&self) -> &Content {
        self.staged.as_ref().map_or(&self.newest().1, |staged| &staged.content)
    }

    fn stage(&mut self) -> &mut Staged {
        let Versions { committed, staged, .. } = self;
        let newest = &committed.last().expect("there is a first version").1;
        staged.get_or_insert_with(|| Staged { content: newest.clone(), cut: None })
    }

    /// The place in `committed` of what the view `seq` sees.
    fn at(&self, seq: u64) -> usize {
        self.committed.partition_point(|(from, _)| *from <= seq) - 1
    }

    fn version(&self, at: usize, page: u64) -> Version {
        let same = |(_, content): &&(u64, Content)| content.same_page(&self.committed[at].1, page);
        let from = self.committed[..at].iter().rev().take_while(same).last().unwrap_or(&self.committed[at]).0;
        let until = self.committed[at..].iter().find(|version| !same(version)).map(|(seq, _)| *seq);
        Version { from, until }
    }
}

impl Content {
    fn same_page(&self, other: &Content, page: u64) -> bool {
        match (self.pages.get(&page), other.pages.get(&page)) {
            (Some(one), Some(two)) => Rc::ptr_eq(one, two),
            (one, two) => one.is_none() && two.is_none(),
        }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let count = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let place = offset + done as u64;
            let start = (place % PAGE_BYTES as u64) as usize;
            let part = &mut buf[done..count.min(done + PAGE_BYTES - start)];
            match self.pages.get(&(place / PAGE_BYTES as u64)) {
                Some(page) => part.copy_from_slice(&page[start..start + part.len()]),
                None => part.fill(0),
            }
            done += part.len();
        }
        count
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("writing {} bytes at {offset}: that is no place", bytes.len()))
        })?;
        let mut done = 0;
        while done < bytes.len() {
            let place = offset + done as u64;
            let (page, start) = (place / PAGE_BYTES as u64, (place % PAGE_BYTES as u64) as usize);
            let count = (PAGE_BYTES - start).min(bytes.len() - done);
            let old = self.pages.entry(page).or_insert_with(|| Rc::new([0; PAGE_BYTES]));
            // A new allocation even if nobody shares the old one: the page has a new version.
            let mut new = **old;
            new[start..start + count].copy_from_slice(&bytes[done..done + count]);
            *old = Rc::new(new);
            done += count;
        }
        self.len = self.len.max(end);
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE_BYTES as u64));
            if let Some(last) = self.pages.get_mut(&(len / PAGE_BYTES as u64)) {
                let mut new = **last;
                new[len as usize % PAGE_BYTES..].fill(0);
                *last = Rc::new(new);
            }
        }
        self.len = len;
    }
}

impl PageStore for MemPages {
    fn attach(&self, path: &str, open: Open) -> Result<u32> {
        if let Some((number, file)) = self.state.borrow_mut().files.iter_mut().find(|(_, file)| file.path == path) {
            if open == Open::CreateNew {
                return Err(Error::new(Kind::Exists, "attaching a new file").at(path));
            }
            file.users += 1;
            return Ok(*number);
        }
        let committed = vec![(0, self.load(path, open)?)];
        let state = &mut *self.state.borrow_mut();
        let number = state.next_file;
        state.next_file += 1;
        state.files.insert(number, Versions { path: path.to_owned(), users: 1, committed, staged: None });
        Ok(number)
    }

    fn detach(&self, file: u32) {
        self.file(file).users -= 1;
    }

    fn newest(&self, file: u32) -> Result<View> {
        let file = self.file(file);
        let (seq, content) = file.newest();
        Ok(View { seq: *seq, len: content.len })
    }

    fn read(
        &self,
        file: u32,
        seq: u64,
        page: u64,
        buf: &mut [u8],
        version: &mut dyn FnMut(usize, Version),
    ) -> Result<()> {
        let file = self.file(file);
        let at = file.at(seq);
        for (index, (page, bytes)) in (page..).zip(buf.chunks_mut(PAGE_BYTES)).enumerate() {
            let held = file.committed[at].1.pages.get(&page);
            bytes.copy_from_slice(held.map_or(&[0; PAGE_BYTES], |held| &**held));
            version(index, file.version(at, page));
        }
        Ok(())
    }

    fn read_staged(&self, file: u32, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Ok(self.file(file).seen().read(offset, buf))
    }

    fn stage(&self, file: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file(file).stage().content.write(offset, bytes)
    }

    fn stage_len(&self, file: u32, len: u64) -> Result<()> {
        let mut file = self.file(file);
        let staged = file.stage();
        if len < staged.content.len {
            staged.cut = Some(staged.cut.map_or(len, |cut| cut.min(len)));
        }
        staged.content.set_len(len);
        Ok(())
    }

    fn staged_len(&self, file: u32) -> Result<u64> {
        Ok(self.file(file).seen().len)
    }

    fn discard(&self, file: u32) {
        self.file(file).staged = None;
    }

    fn commit(&self, files: &[u32], id: Option<CommitId>, changed: &mut dyn FnMut(Change)) -> Result<u64> {
        let staged: Vec<_> =
            files.iter().filter_map(|number| Some((*number, self.file(*number).staged.take()?))).collect();
        let mut usage = self.usage();
        if staged.is_empty() {
            return Ok(usage.newest);
        }
        usage.newest += 1;
        usage.commits += 1;
        for (number, Staged { content, cut }) in staged {
            if let Some(len) = cut {
                changed(Change::Cut { file: number, len });
            }
            let mut file = self.file(number);
            for (page, bytes) in &content.pages {
                if !content.same_page(&file.newest().1, *page) {
                    usage.log_bytes += PAGE_BYTES as u64;
                    changed(Change::Page { file: number, page: *page, bytes: &bytes[..] });
                }
            }
            file.committed.push((usage.newest, content));
        }
        let state = &mut *self.state.borrow_mut();
        state.usage = usage;
        state.ids.extend(id.map(|id| (id, usage.newest)));
        Ok(usage.newest)
    }

    fn committed(&self, id: CommitId) -> Option<u64> {
        let ids = &self.state.borrow().ids;
        ids.iter().rev().take(REMEMBERED_IDS).find(|(other, _)| *other == id).map(|(_, commit)| *commit)
    }

    fn flush(&self) -> Result<u64> {
        let usage = &mut self.state.borrow_mut().usage;
        if usage.durable < usage.newest {
            usage.flushes += 1;
            usage.durable = usage.newest;
        }
        Ok(usage.durable)
    }

    fn flushed(&self) -> u64 {
        self.usage().durable
    }

    fn wants_checkpoint(&self) -> bool {
        self.usage().log_bytes > self.soft_bytes
    }

    fn needs_checkpoint(&self) -> bool {
        self.usage().log_bytes > self.hard_bytes
    }

    fn checkpoint_target(&self) -> Result<Option<u64>> {
        let usage = self.usage();
        Ok((usage.checkpointed < usage.newest).then_some(usage.newest))
    }

    fn checkpoint(&self, oldest: Option<u64>) -> Result<Checkpoint> {
        let Some(target) = self.checkpoint_target()? else { return Ok(Checkpoint::Idle) };
        if oldest.is_some_and(|oldest| oldest < target) {
            return Ok(Checkpoint::Blocked(target));
        }
        let state = &mut *self.state.borrow_mut();
        for file in state.files.values().filter(|file| file.newest().0 > state.usage.checkpointed) {
            self.save(&file.path, &file.newest().1)?;
        }
        state.usage = Usage { log_bytes: 0, durable: target, checkpointed: target, ..state.usage };
        Ok(Checkpoint::Idle)
    }

    fn settle(&self, path: &str) -> Result<()> {
        let state = &mut *self.state.borrow_mut();
        let Some((number, file)) = state.files.iter().find(|(_, file)| file.path == path) else { return Ok(()) };
        if file.users > 0 {
            return Err(Error::new(Kind::Busy, "the file is in use").at(path));
        }
        if file.committed.len() > 1 {
            self.save(path, &file.newest().1)?;
        }
        let number = *number;
        state.files.remove(&number);
        Ok(())
    }

    fn usage(&self) -> Usage {
        self.state.borrow().usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        crate::pages::contract::store(|| Rc::new(MemPages::new()));
    }

    #[test]
    fn checkpoints_copy_to_the_disk_and_settling_forgets() {
        let disk = Rc::new(MemDisk::new());
        disk.open("a", Open::Create).unwrap().write_at(0, b"old").unwrap();
        let store = MemPages::on(disk.clone());
        let content = |disk: &MemDisk| {
            let mut bytes = [0; 3];
            disk.open("a", Open::Existing).unwrap().read_at(0, &mut bytes).unwrap();
            bytes
        };
        let file = store.attach("a", Open::Existing).unwrap();
        store.stage(file, 0, b"n").unwrap();
        store.commit(&[file], None, &mut |_| {}).unwrap();
        assert_eq!(&content(&disk), b"old");
        assert_eq!(store.checkpoint(None), Ok(Checkpoint::Idle));
        assert_eq!(&content(&disk), b"nld");
        store.stage(file, 1, b"ew").unwrap();
        store.commit(&[file], None, &mut |_| {}).unwrap();
        store.detach(file);
        store.settle("a").unwrap();
        assert_eq!(&content(&disk), b"new");
        disk.remove("a").unwrap();
        assert_eq!(store.attach("a", Open::Existing).err().map(|error| error.kind()), Some(Kind::NotFound));
    }
}
