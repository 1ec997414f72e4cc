//! One file as the store knows it: what of it lies on the disk, what the log changes in it, and what is staged.
//!
//! Invariants:
//! - Of the file on the disk, the first `base` bytes are content, and beyond those the pages in `directs`; both give way
//!   to cuts and to pages in the log. What else lies below `extent` a checkpoint has written so far, or is zeros. Beyond
//!   that, up to `physical`, are direct writes of what is staged, or what is left of some.
//! - Direct writes begin at or beyond `high`, where no view has any content, and there are none while a cut is known
//!   that the file on the disk has not seen.

use std::collections::BTreeMap;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use statik_bridge::pages::PAGE_BYTES;
use statik_disk::File;

pub(super) const PAGE: u64 = PAGE_BYTES as u64;

/// How many pages `len` bytes take.
pub(super) fn pages(len: u64) -> u64 {
    len.div_ceil(PAGE)
}

/// A file that somebody has open or the log knows.
pub(super) struct PagedFile {
    pub path: String,
    pub users: usize,
    /// None: it does not exist, and the store may not change.
    pub disk: Option<Rc<dyn File>>,
    pub base: u64,
    /// Where what lies in the file ends, `directs` included.
    pub content: u64,
    pub extent: u64,
    pub physical: u64,
    /// It was written, cut or extended since its last flush.
    pub unflushed: bool,
    /// The newest commit that was copied to it.
    pub base_commit: u64,
    /// Its length before all `lens`.
    pub base_len: u64,
    /// Lengths, by the commits that set them, rising.
    pub lens: Vec<(u64, u64)>,
    /// The longest that it is for any view.
    pub high: u64,
    pub cuts: Vec<Cut>,
    pub directs: Vec<Direct>,
    pub staged: Option<Box<Staged>>,
}

/// A commit cut the file: pages from `page` on were gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub commit: u64,
    pub len: u64,
    pub page: u64,
}

/// A commit whose pages lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direct {
    pub commit: u64,
    pub page: u64,
    pub count: u64,
}

impl Direct {
    pub fn end(&self) -> u64 {
        self.page + self.count
    }
}

impl PagedFile {
    /// A file that the log does not know.
    pub fn new(path: &str, disk: Option<Rc<dyn File>>, len: u64) -> Self {
        PagedFile {
            path: path.to_owned(),
            users: 0,
            disk,
            base: len,
            content: len,
            extent: len,
            physical: len,
            unflushed: false,
            base_commit: 0,
            base_len: len,
            lens: Vec::new(),
            high: len,
            cuts: Vec::new(),
            directs: Vec::new(),
            staged: None,
        }
    }

    /// Its length at the newest commit.
    pub fn len(&self) -> u64 {
        self.lens.last().map_or(self.base_len, |(_, len)| *len)
    }

    /// Its length at a view.
    pub fn len_at(&self, commit: u64) -> u64 {
        let count = self.lens.partition_point(|(from, _)| *from <= commit);
        count.checked_sub(1).map_or(self.base_len, |last| self.lens[last].1)
    }

    /// Its length as its writer sees it.
    pub fn staged_len(&self) -> u64 {
        self.staged.as_ref().map_or(self.len(), |staged| staged.len)
    }

    /// Whether a cut to `len` takes anything from any view.
    pub fn is_cut(&self, len: u64) -> bool {
        pages(len) < pages(self.high)
    }

    /// A commit: first the cut, then what it wrote beyond, then its length.
    pub fn apply(&mut self, commit: u64, cut: Option<u64>, directs: impl Iterator<Item = (u64, u64)>, len: u64) {
        if let Some(len) = cut.filter(|len| self.is_cut(*len)) {
            self.cuts.push(Cut { commit, len, page: pages(len) });
        }
        for (page, count) in directs {
            self.directs.push(Direct { commit, page, count });
            // The last page may go beyond the file's end, where a checkpoint cuts it.
            self.content = self.content.max(len.min((page + count) * PAGE));
            self.extent = self.extent.max((page + count) * PAGE);
        }
        if len != self.len() {
            self.lens.push((commit, len));
        }
        self.high = self.high.max(len);
    }

    /// Where what counts of the file on the disk ends, staged direct writes included.
    pub fn extent_staged(&self) -> u64 {
        self.extent.max(self.staged.as_ref().map_or(0, |staged| staged.direct.end() * PAGE))
    }

    /// Whether staged pages lie in the file, beyond `extent`.
    pub fn has_staged_directs(&self) -> bool {
        self.staged.as_ref().is_some_and(|staged| !staged.direct.is_empty())
    }

    /// Whether what is staged, or was committed after `target`, lies in the file beyond the end that it had then.
    pub fn is_longer_than_at(&self, target: u64) -> bool {
        self.has_staged_directs() || self.directs.iter().any(|direct| direct.commit > target)
    }

    /// Forgets the events of commits up to `target`, which the file on the disk has seen.
    pub fn prune(&mut self, target: u64) {
        self.base_len = self.len_at(target);
        self.lens.retain(|(commit, _)| *commit > target);
        self.cuts.retain(|cut| cut.commit > target);
        self.directs.retain(|direct| direct.commit > target);
        self.high = self.lens.iter().map(|(_, len)| *len).fold(self.base_len, u64::max);
        let direct_end = self.directs.iter().map(|direct| direct.end() * PAGE).max();
        self.base = self.base_len;
        self.content = self.base.max(direct_end.unwrap_or(0).min(self.high));
        self.extent = self.extent.max(self.content);
    }
}

/// Where a staged page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In [`Staged::arena`], which so many pages precede.
    Memory(u32),
    /// In the current log, at this offset.
    Log(u64),
}

/// What a file's writer has changed.
#[derive(Default)]
pub(super) struct Staged {
    pub len: u64,
    pub places: FxHashMap<u64, Place>,
    pub arena: Vec<u8>,
    /// Runs of pages that lie in the file, by their first page; none of them is in `places`.
    pub direct: Runs,
    /// The shortest that the file was.
    pub cut: Option<u64>,
    /// The shortest that it was since the last part in the log.
    pub untold_cut: Option<u64>,
    /// The number that the parts in the log have.
    pub transaction: Option<u64>,
    /// How many pages those parts hold.
    pub part_pages: u64,
}

impl Staged {
    /// Nothing is staged yet, of a file that has `len` bytes. Keeps what it has allocated.
    pub fn reset(&mut self, len: u64) {
        self.places.clear();
        self.arena.clear();
        let Staged { places, arena, .. } = std::mem::take(self);
        *self = Staged { len, places, arena, ..Staged::default() };
    }

    /// The bytes of a page in memory.
    pub fn memory(&self, slot: u32) -> &[u8] {
        &self.arena[slot as usize * PAGE_BYTES..][..PAGE_BYTES]
    }

    /// Where in the arena to put the page's bytes, all of which the caller replaces.
    pub fn slot(&mut self, page: u64) -> &mut [u8] {
        let next = (self.arena.len() / PAGE_BYTES) as u32;
        let place = self.places.entry(page).or_insert(Place::Log(0));
        let slot = match *place {
            Place::Memory(slot) => slot,
            Place::Log(_) => {
                *place = Place::Memory(next);
                self.arena.resize(self.arena.len() + PAGE_BYTES, 0);
                if !self.direct.0.is_empty() {
                    self.direct.remove(page);
                }
                next
            }
        };
        &mut self.arena[slot as usize * PAGE_BYTES..][..PAGE_BYTES]
    }

    /// Drops the pages that a cut takes.
    pub fn cut(&mut self, len: u64) {
        let end = pages(len);
        self.places.retain(|page, _| *page < end);
        self.direct.cut(end);
        self.len = len;
        self.cut = Some(self.cut.map_or(len, |cut| cut.min(len)));
        self.untold_cut = Some(self.untold_cut.map_or(len, |cut| cut.min(len)));
    }

    /// The pages in memory, in order.
    pub fn in_memory(&self) -> Vec<(u64, u32)> {
        let memory = |(page, place): (&u64, &Place)| match place {
            Place::Memory(slot) => Some((*page, *slot)),
            Place::Log(_) => None,
        };
        let mut pages: Vec<_> = self.places.iter().filter_map(memory).collect();
        pages.sort_unstable();
        pages
    }

    /// The pages in the log, in order, by their offsets.
    pub fn in_log(&self) -> Vec<(u64, u64)> {
        if self.part_pages == 0 {
            return Vec::new();
        }
        let logged = |(page, place): (&u64, &Place)| match place {
            Place::Log(offset) => Some((*page, *offset)),
            Place::Memory(_) => None,
        };
        let mut pages: Vec<_> = self.places.iter().filter_map(logged).collect();
        pages.sort_unstable();
        pages
    }
}

/// Runs of pages, disjoint, by their first page; the value is where each ends.
#[derive(Debug, Default)]
pub(super) struct Runs(pub BTreeMap<u64, u64>);

impl Runs {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, page: u64) -> bool {
        self.0.range(..=page).next_back().is_some_and(|(_, end)| page < *end)
    }

    /// Adds a run that overlaps none.
    pub fn add(&mut self, start: u64, end: u64) {
        match self.0.range_mut(..start).next_back() {
            Some((_, last)) if *last == start => *last = end,
            _ => {
                self.0.insert(start, end);
            }
        }
    }

    /// Where the last one ends.
    pub fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }

    fn remove(&mut self, page: u64) {
        let Some((&start, &end)) = self.0.range(..=page).next_back().filter(|(_, end)| page < **end) else { return };
        self.0.remove(&start);
        if start < page {
            self.0.insert(start, page);
        }
        if page + 1 < end {
            self.0.insert(page + 1, end);
        }
    }

    fn cut(&mut self, end: u64) {
        self.0.split_off(&end);
        if let Some(mut last) = self.0.last_entry().filter(|last| *last.get() > end) {
            last.insert(end);
        }
    }

    /// Each run's first page and length.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(start, end)| (*start, end - start))
    }
}

/// Splits pages in order into runs without gaps.
pub(super) fn runs<T>(pages: &[(u64, T)]) -> impl Iterator<Item = &[(u64, T)]> {
    pages.chunk_by(|one, two| one.0 + 1 == two.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_split_cut_and_join() {
        let mut all = Runs::default();
        all.add(10, 20);
        all.add(20, 30);
        assert_eq!(all.iter().collect::<Vec<_>>(), [(10, 20)]);
        all.remove(15);
        all.remove(10);
        all.remove(29);
        all.remove(40);
        assert_eq!(all.iter().collect::<Vec<_>>(), [(11, 4), (16, 13)]);
        assert!(all.contains(11) && all.contains(28) && !all.contains(15) && !all.contains(29) && !all.contains(3));
        all.cut(18);
        assert_eq!(all.iter().collect::<Vec<_>>(), [(11, 4), (16, 2)]);
        all.cut(16);
        assert_eq!(all.iter().collect::<Vec<_>>(), [(11, 4)]);
    }

    #[test]
    fn a_length_is_that_of_the_view() {
        let mut file = PagedFile::new("a", None, 100);
        file.apply(3, None, std::iter::empty(), 5000);
        file.apply(5, None, std::iter::empty(), 5000);
        file.apply(7, Some(10), std::iter::empty(), 20);
        assert_eq!([0, 2, 3, 6, 7, 9].map(|commit| file.len_at(commit)), [100, 100, 5000, 5000, 20, 20]);
        assert_eq!(file.cuts, [Cut { commit: 7, len: 10, page: 1 }]);
        assert_eq!((file.lens.len(), file.high), (2, 5000));
        file.prune(5);
        assert_eq!((file.len_at(5), file.len_at(8), file.base, file.high), (5000, 20, 5000, 5000));
        file.prune(7);
        assert_eq!((file.len(), file.base, file.high, file.cuts.len()), (20, 20, 20, 0));
    }
}
