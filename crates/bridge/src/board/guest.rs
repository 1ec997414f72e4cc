//! A client's end of the board.

use std::cell::{Cell, RefCell};

use statik_disk::{Error, Kind, Result};

use super::{
    CLIENTS, FILES, Layout, MAGIC, Page, QUEUED, RECORD_BYTES, State, VERSION, WAYS, bytes, holder, pin, word,
};
use crate::Cells;
use crate::pages::{PAGE_BYTES, View};

/// How often a state is read that changes meanwhile, or lies behind the horizon. Each time means that the server has
/// shown another one.
const STATE_TRIES: usize = 1000;
/// How often a set is looked at that changes meanwhile: about the time that it takes to fill a page.
const PAGE_TRIES: usize = 20;

/// How much of a file's first page is remembered: SQLite looks there for changes whenever it begins to read.
const HEAD_BYTES: usize = 128;

/// What is known of a file here.
struct Known {
    /// Which opening of it the views are of.
    key: u64,
    /// The last commit that changed it before the newest view, and that view: all between them see the same.
    changed: u64,
    newest: u64,
    /// What they see of its first bytes, once they were read.
    head: Option<[u8; HEAD_BYTES]>,
}

/// Reads the board for a client: one worker, with any number of connections.
pub struct Guest {
    cells: Box<dyn Cells>,
    layout: Layout,
    id: u32,
    /// The commits of all views that are held.
    held: RefCell<Vec<u64>>,
    /// The oldest of them, as the board shows it.
    pinned: Cell<Option<u64>>,
    /// By the file's place.
    known: RefCell<Vec<Known>>,
}

impl Guest {
    /// The client `id`, which the server has added: it has answered a request of it.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if this is not a board of this version.
    pub fn new(cells: Box<dyn Cells>, id: u32) -> Result<Self> {
        let header = [word::MAGIC, word::VERSION].map(|word| if cells.len() < 64 { 0 } else { cells.load(word) });
        if header != [MAGIC, VERSION] {
            let context = format!("magic and version of the board are {header:x?}, not {:x?}", [MAGIC, VERSION]);
            return Err(Error::new(Kind::Corrupt, context));
        }
        let pages = cells.load(word::PAGES) as u32 as usize;
        let fits = pages.is_power_of_two() && pages >= WAYS && pages <= cells.len() && bytes(pages) <= cells.len();
        if !fits || id as usize >= CLIENTS {
            let context = format!("client {id} of a board of {} bytes with {pages} pages", cells.len());
            return Err(Error::new(Kind::Corrupt, context));
        }
        let layout = Layout { sets: pages / WAYS };
        let held = RefCell::default();
        let known = (0..FILES).map(|_| Known { key: 0, changed: 0, newest: 0, head: None }).collect();
        Ok(Guest { cells, layout, id, held, pinned: Cell::new(None), known: RefCell::new(known) })
    }

    /// Takes the file's newest view, and holds it until it is [given back](Guest::unpin).
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the board makes no sense.
    pub fn view(&self, slot: u32) -> Result<View> {
        for _ in 0..STATE_TRIES {
            let state = self.state(slot)?;
            self.held.borrow_mut().push(state.seq);
            self.pin();
            // The server raises the horizon and then looks for pins. Either it sees this one, or this sees the horizon.
            if self.cells.load(word::HORIZON).wrapping_sub(state.seq as i32) <= 0 {
                let known = &mut self.known.borrow_mut()[slot as usize];
                let head = known.head.filter(|_| (known.key, known.changed) == (state.key, state.changed));
                *known = Known { key: state.key, changed: state.changed, newest: state.seq, head };
                return Ok(View { seq: state.seq, len: state.len });
            }
            self.held.borrow_mut().pop();
        }
        self.pin();
        Err(Error::new(Kind::Corrupt, format!("the views of file {slot} of the board stay behind the horizon")))
    }

    /// Gives back a view.
    pub fn unpin(&self, view: View) {
        let mut held = self.held.borrow_mut();
        let place = held.iter().position(|seq| *seq == view.seq).expect("a view is given back once");
        held.swap_remove(place);
        drop(held);
        self.pin();
    }

    /// Holds a later view in place of one: `to` is a commit that the server has shown, `from` is held until then.
    pub fn repin(&self, from: View, to: View) {
        self.held.borrow_mut().push(to.seq);
        self.unpin(from);
    }

    /// Whether no commit changed the file after this view.
    ///
    /// # Errors
    /// As [`Guest::view`].
    pub fn is_newest(&self, slot: u32, view: View) -> Result<bool> {
        Ok(self.state(slot)?.changed <= view.seq)
    }

    /// Takes the file's write lock if it is free and nobody queues.
    pub fn try_lock(&self, slot: u32) -> bool {
        slot < FILES as u32 && self.cells.compare_exchange(Layout::writer(slot as usize), 0, holder(self.id)).is_ok()
    }

    /// Gives the write lock back, unless somebody queues: then the server must be asked to.
    pub fn try_unlock(&self, slot: u32) -> bool {
        slot < FILES as u32 && self.cells.compare_exchange(Layout::writer(slot as usize), holder(self.id), 0).is_ok()
    }

    /// Whether this client has the write lock.
    pub fn has_lock(&self, slot: u32) -> bool {
        slot < FILES as u32 && self.cells.load(Layout::writer(slot as usize)) & !QUEUED == holder(self.id)
    }

    /// Copies a part of a page, from its byte `start`, as the view `seq` of a file of which a view is held sees it.
    /// False if it is not in the cache; then `buf` may hold anything.
    pub fn read(&self, slot: u32, page: u64, seq: u64, start: usize, buf: &mut [u8]) -> bool {
        assert!(start + buf.len() <= PAGE_BYTES, "{} bytes at {start} of a page", buf.len());
        let mut known = self.known.borrow_mut();
        let Some(known) = known.get_mut(slot as usize).filter(|known| known.key != 0) else { return false };
        let remembered = page == 0 && start + buf.len() <= HEAD_BYTES && (known.changed..=known.newest).contains(&seq);
        if !remembered {
            return self.read_cached(known.key, page, seq, start, buf);
        }
        if known.head.is_none() {
            let mut head = [0; HEAD_BYTES];
            known.head = self.read_cached(known.key, page, seq, 0, &mut head).then_some(head);
        }
        let Some(head) = &known.head else { return false };
        buf.copy_from_slice(&head[start..start + buf.len()]);
        true
    }

    fn read_cached(&self, key: u64, page: u64, seq: u64, start: usize, buf: &mut [u8]) -> bool {
        let set = self.layout.set(key, page);
        let lock = Layout::lock(set);
        for _ in 0..PAGE_TRIES {
            let before = self.cells.load(lock);
            if before & 1 != 0 {
                std::hint::spin_loop();
                continue;
            }
            let mut records = [0; WAYS * RECORD_BYTES];
            self.cells.read(Layout::record(set, 0), &mut records);
            let records = records.as_chunks().0.iter().map(Page::decode);
            // A record that was torn may hide the page or show another: the one is a miss, the other is found below.
            let found = |record: Page| record.is(key, page) && record.from <= seq && seq < record.until;
            let Some(way) = { records }.position(found) else { return false };
            self.cells.read(self.layout.page(set, way) + start, buf);
            if self.cells.fetch_add(lock, 0) == before {
                return true;
            }
        }
        false
    }

    fn state(&self, slot: u32) -> Result<State> {
        if slot as usize >= FILES {
            return Err(Error::new(Kind::Corrupt, format!("file {slot} of a board with {FILES}")));
        }
        let word = Layout::turn(slot as usize);
        for _ in 0..STATE_TRIES {
            let turn = self.cells.load(word);
            let mut record = [0; RECORD_BYTES];
            self.cells.read(Layout::state(slot as usize, turn), &mut record);
            if self.cells.fetch_add(word, 0) != turn {
                continue;
            }
            let state = State::decode(&record);
            if state.key == 0 || state.len > i64::MAX as u64 {
                let context = format!("file {slot} of the board has key {} and {} bytes", state.key, state.len);
                return Err(Error::new(Kind::Corrupt, context));
            }
            return Ok(state);
        }
        Err(Error::new(Kind::Corrupt, format!("file {slot} of the board changes all the time")))
    }

    fn pin(&self) {
        let oldest = self.held.borrow().iter().min().copied();
        if oldest != self.pinned.replace(oldest) {
            self.cells.store(Layout::pin(self.id as usize), pin(oldest));
        }
    }
}
