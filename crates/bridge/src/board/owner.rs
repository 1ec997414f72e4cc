//! The server's end of the board.

use std::ops::Range;

use statik_disk::{Error, Kind, Result};

use super::{CLIENTS, FILES, Layout, MAGIC, NEVER, Page, QUEUED, State, VERSION, WAYS, holder, pin, pinned, word};
use crate::Cells;
use crate::pages::{PAGE_BYTES, Version, View};

/// Writes the board. It keeps in its own memory what it wrote, and reads nothing of that back.
///
/// The order of calls is part of the protocol. For a commit: [`Owner::fill`], [`Owner::replaced`] and [`Owner::cut`] for
/// all that it changed, then [`Owner::set_file`] for each file, then [`Owner::grant`]. Before older versions are given
/// up: [`Owner::raise_horizon`], then [`Owner::oldest_pin`].
pub struct Owner {
    cells: Box<dyn Cells>,
    layout: Layout,
    files: Vec<File>,
    /// Those that were added; views before the commit are revoked.
    clients: [Option<u64>; CLIENTS],
    /// The cache's records, set by set.
    pages: Vec<Page>,
    /// For each set, the way that is filled next if all hold newest versions.
    hands: Vec<u8>,
    keys: u64,
    newest: u64,
    horizon: u64,
}

#[derive(Clone, Copy, Default)]
struct File {
    turn: i32,
    state: State,
}

impl Owner {
    /// The first and only owner of a zeroed board. No view before the commit `newest` will be taken on it.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the board is too small, or was used before.
    pub fn new(cells: Box<dyn Cells>, newest: u64) -> Result<Self> {
        let Some(layout) = Layout::of(&*cells) else {
            let context = format!("a board of {} bytes: at least {} are needed", cells.len(), super::bytes(WAYS));
            return Err(Error::new(Kind::Invalid, context));
        };
        if cells.load(word::MAGIC) != 0 {
            return Err(Error::new(Kind::Invalid, "a board serves one server, and this one was used before"));
        }
        cells.store(word::VERSION, VERSION);
        cells.store(word::PAGES, layout.pages() as i32);
        cells.store(word::HORIZON, newest as i32);
        cells.store(word::MAGIC, MAGIC);
        Ok(Owner {
            cells,
            layout,
            files: vec![File::default(); FILES],
            clients: [None; CLIENTS],
            pages: vec![Page::default(); layout.pages()],
            hands: vec![0; layout.sets],
            keys: 0,
            newest,
            horizon: newest,
        })
    }

    /// Lets the client `id` pin views. It must not use the board before this.
    ///
    /// # Panics
    /// If `id` is not below [`CLIENTS`].
    pub fn add_client(&mut self, id: u32) {
        self.cells.store(Layout::pin(id as usize), pin(None));
        self.clients[id as usize] = Some(0);
    }

    /// Ignores the client's pin, and its write locks, from now on.
    pub fn remove_client(&mut self, id: u32) {
        self.clients[id as usize] = None;
    }

    /// Gives a file a place on the board.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if [`FILES`] have one.
    pub fn open_file(&mut self, view: View) -> Result<u32> {
        let Some(slot) = self.files.iter().position(|file| file.state.key == 0) else {
            return Err(Error::new(Kind::Unsupported, format!("no more than {FILES} files can be open at once")));
        };
        self.keys += 1;
        self.files[slot].state.key = self.keys;
        let slot = slot as u32;
        self.set_file(slot, view);
        Ok(slot)
    }

    /// Shows a file's newest view: `view.seq` is the last commit that changed it, or any later one.
    pub fn set_file(&mut self, slot: u32, view: View) {
        self.newest = self.newest.max(view.seq);
        let key = self.files[slot as usize].state.key;
        self.publish(slot, State { key, seq: view.seq.max(self.horizon), changed: view.seq, len: view.len });
    }

    /// Takes a file that no client uses off the board. What the cache holds of it is never taken for a later file's.
    pub fn close_file(&mut self, slot: u32) {
        let key = self.files[slot as usize].state.key;
        self.publish(slot, State::default());
        self.cells.store(Layout::writer(slot as usize), 0);
        // The board's records may stay: no file gets this key again.
        for page in self.pages.iter_mut().filter(|page| page.key == key) {
            *page = Page::default();
        }
    }

    /// Forbids views before `seq`, up to which all commits were shown: who is about to take one takes a newer one.
    /// What is [pinned](Owner::oldest_pin) after this, and nothing else, is still in use.
    pub fn raise_horizon(&mut self, seq: u64) {
        self.newest = self.newest.max(seq);
        self.horizon = self.horizon.max(seq);
        // First the files, so that whoever sees the horizon finds a view that is not before it.
        for slot in 0..FILES {
            let state = self.files[slot].state;
            if state.key != 0 && state.seq < self.horizon {
                self.publish(slot as u32, State { seq: self.horizon, ..state });
            }
        }
        self.cells.store(word::HORIZON, self.horizon as i32);
    }

    /// The oldest view that is held and not revoked, and the client that holds it.
    pub fn oldest_pin(&self) -> Option<(u32, u64)> {
        let pins = self.clients.iter().enumerate().filter_map(|(id, client)| {
            let seq = pinned(self.cells.load(Layout::pin(id)), self.newest)?;
            (seq >= (*client)?).then_some((id as u32, seq))
        });
        pins.min_by_key(|(_, seq)| *seq)
    }

    /// Takes the client's views before the horizon from it.
    pub fn revoke(&mut self, id: u32) {
        if let Some(revoked) = &mut self.clients[id as usize] {
            *revoked = self.horizon;
        }
    }

    /// Whether a view was taken from the client, or the client is gone.
    pub fn is_revoked(&self, id: u32, seq: u64) -> bool {
        self.clients[id as usize].is_none_or(|revoked| seq < revoked)
    }

    /// The client that has the file's write lock, unless it is gone.
    pub fn writer(&self, slot: u32) -> Option<u32> {
        let word = self.cells.load(Layout::writer(slot as usize)) & !QUEUED;
        let id = word.checked_sub(1).and_then(|id| u32::try_from(id).ok())?;
        self.clients.get(id as usize)?.map(|_| id)
    }

    /// Gives the write lock to a client, or to nobody, and tells whether somebody else waits for it. While somebody
    /// does, no client takes it by itself or gives it back without the server's knowing.
    ///
    /// For who has it the caller speaks: a client that waits for an answer, or one that is gone. Nobody's it gives only
    /// after [`Owner::queue`].
    pub fn grant(&self, slot: u32, to: Option<u32>, queued: bool) {
        let queued = if queued { QUEUED } else { 0 };
        self.cells.store(Layout::writer(slot as usize), to.map_or(0, holder) | queued);
    }

    /// Tells that somebody waits for the write lock, and who has it then.
    pub fn queue(&self, slot: u32) -> Option<u32> {
        let word = Layout::writer(slot as usize);
        let mut old = self.cells.load(word);
        // Each turn but the last means that a client took the lock or gave it back.
        while let Err(now) = self.cells.compare_exchange(word, old, old | QUEUED) {
            old = now;
        }
        self.writer(slot)
    }

    /// Keeps a copy of a version of a page: [`PAGE_BYTES`] bytes. If it is the newest, it replaces the one before it.
    pub fn fill(&mut self, slot: u32, page: u64, version: Version, bytes: &[u8]) {
        assert_eq!(bytes.len(), PAGE_BYTES, "a page");
        let key = self.files[slot as usize].state.key;
        let new = Page { key, page, from: version.from, until: version.until.unwrap_or(NEVER) };
        let set = self.layout.set(key, page);
        let first = set * WAYS;
        // Versions that end alike are one; but of two that have no end, the older just got it. A store that forgets says
        // 0 for where a version began, so the numbers may differ.
        let same = |old: &Page| old.until == new.until && (old.from >= new.from || new.until != NEVER);
        if self.pages[first..first + WAYS].iter().any(|old| old.is(key, page) && same(old)) {
            return;
        }
        let lock = self.lock(set);
        for way in 0..WAYS {
            let old = self.pages[first + way];
            if old.is(key, page) && old.until == NEVER && old.from < new.from {
                self.end_version(set, way, new.from);
            }
        }
        let way = self.victim(set);
        self.cells.write(Layout::record(set, way), &new.encode());
        self.cells.write(self.layout.page(set, way), bytes);
        self.unlock(set, lock);
        self.pages[first + way] = new;
    }

    /// These pages of a file were changed by the commit `seq`, and the cache does not get the new versions.
    pub fn replaced(&mut self, slot: u32, pages: Range<u64>, seq: u64) {
        let key = self.files[slot as usize].state.key;
        if pages.end.saturating_sub(pages.start) > self.layout.sets as u64 {
            for set in 0..self.layout.sets {
                self.end_versions(set, seq, |old| old.key == key && pages.contains(&old.page));
            }
            return;
        }
        for page in pages {
            self.end_versions(self.layout.set(key, page), seq, |old| old.is(key, page));
        }
    }

    /// The commit `seq` cut a file before `first_page`.
    pub fn cut(&mut self, slot: u32, first_page: u64, seq: u64) {
        self.replaced(slot, first_page..u64::MAX, seq);
    }

    fn publish(&mut self, slot: u32, state: State) {
        let file = &mut self.files[slot as usize];
        file.state = state;
        file.turn = file.turn.wrapping_add(1);
        // Nobody reads these bytes: they are those of the turn before the last, and who still copies them looks at the
        // turn afterwards.
        self.cells.write(Layout::state(slot as usize, file.turn), &state.encode());
        self.cells.fetch_add(Layout::turn(slot as usize), 1);
    }

    /// Begins to change a set; the number is for [`Owner::unlock`].
    fn lock(&self, set: usize) -> i32 {
        self.cells.fetch_add(Layout::lock(set), 1)
    }

    fn unlock(&self, set: usize, lock: i32) {
        // Even, whatever somebody made of the word.
        self.cells.store(Layout::lock(set), (lock | 1).wrapping_add(1));
    }

    fn end_versions(&mut self, set: usize, seq: u64, which: impl Fn(&Page) -> bool) {
        for way in 0..WAYS {
            let old = self.pages[set * WAYS + way];
            if old.until == NEVER && old.from < seq && which(&old) {
                let lock = self.lock(set);
                self.end_version(set, way, seq);
                self.unlock(set, lock);
            }
        }
    }

    /// Under the set's lock.
    fn end_version(&mut self, set: usize, way: usize, seq: u64) {
        let page = &mut self.pages[set * WAYS + way];
        page.until = seq;
        self.cells.write(Layout::record(set, way), &page.encode());
    }

    /// The way to fill next: an empty one, else the version that was replaced first, else each in its turn.
    fn victim(&mut self, set: usize) -> usize {
        let pages = &self.pages[set * WAYS..(set + 1) * WAYS];
        let age = |way: &usize| if pages[*way].key == 0 { 0 } else { pages[*way].until };
        let oldest = (0..WAYS).min_by_key(age).expect("a set has ways");
        if age(&oldest) < NEVER {
            return oldest;
        }
        let hand = &mut self.hands[set];
        *hand = (*hand + 1) % WAYS as u8;
        usize::from(*hand)
    }
}
