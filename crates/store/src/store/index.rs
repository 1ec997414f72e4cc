//! Where a log holds which version of which page.
//!
//! A page's versions are chained, newest first, in one vector; a log is forgotten whole.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

const NONE: u32 = u32::MAX;

/// The versions of pages in one log.
#[derive(Default)]
pub(super) struct Index {
    /// The newest version of a page, by its file's number and its own.
    heads: FxHashMap<(u32, u64), u32>,
    versions: Vec<Linked>,
}

struct Linked {
    commit: u64,
    offset: u64,
    older: u32,
}

/// A version of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Indexed {
    /// The commit that wrote it.
    pub commit: u64,
    /// Where it begins in the log's file.
    pub offset: u64,
}

impl Index {
    /// Adds the newest version of a page.
    pub fn insert(&mut self, file: u32, page: u64, version: Indexed) {
        // A log of 2^32 pages would be 16 TiB long.
        let place = self.versions.len() as u32;
        let Indexed { commit, offset } = version;
        let older = match self.heads.entry((file, page)) {
            Entry::Occupied(mut head) => head.insert(place),
            Entry::Vacant(head) => {
                head.insert(place);
                NONE
            }
        };
        self.versions.push(Linked { commit, offset, older });
    }

    /// The versions of a page, newest first.
    pub fn versions(&self, file: u32, page: u64) -> impl Iterator<Item = Indexed> {
        let mut place = if self.heads.is_empty() { NONE } else { *self.heads.get(&(file, page)).unwrap_or(&NONE) };
        std::iter::from_fn(move || {
            let version = self.versions.get(place as usize)?;
            place = version.older;
            Some(Indexed { commit: version.commit, offset: version.offset })
        })
    }

    /// The newest version of every page, in no order.
    pub fn newest(&self) -> impl Iterator<Item = (u32, u64, Indexed)> {
        self.heads.iter().map(|((file, page), place)| {
            let Linked { commit, offset, .. } = self.versions[*place as usize];
            (*file, *page, Indexed { commit, offset })
        })
    }

    pub fn clear(&mut self) {
        self.heads.clear();
        self.versions.clear();
    }
}
