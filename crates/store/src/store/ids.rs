//! The ids of the newest commits that carried one.
//!
//! Nobody asks often, so that nothing is kept but the list.

use std::collections::VecDeque;

use statik_bridge::pages::{CommitId, REMEMBERED_IDS};

/// Ids with their commits, oldest first.
#[derive(Default)]
pub(super) struct Ids(VecDeque<(CommitId, u64)>);

impl Ids {
    /// Adds the newest, and forgets the oldest if there are too many.
    pub fn add(&mut self, id: CommitId, commit: u64) {
        if self.0.len() == REMEMBERED_IDS {
            self.0.pop_front();
        }
        self.0.push_back((id, commit));
    }

    pub fn find(&self, id: CommitId) -> Option<u64> {
        self.0.iter().rev().find(|(other, _)| *other == id).map(|(_, commit)| *commit)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (CommitId, u64)> {
        self.0.iter().copied()
    }
}

impl FromIterator<(CommitId, u64)> for Ids {
    fn from_iter<I: IntoIterator<Item = (CommitId, u64)>>(ids: I) -> Self {
        let mut all = Ids::default();
        ids.into_iter().for_each(|(id, commit)| all.add(id, commit));
        all
    }
}
