//! Pages whose store lives in the same thread: the direct mode of a browser without shared memory, and native tests.
//!
//! Invariants:
//! - Nothing waits: who cannot have a lock is told so at once, and keeps its place in the queue.
//! - A view that sees what the newest commit sees holds up no checkpoint.
//! - The flush that follows a commit, and checkpoints in idle time, happen in [`Local::tend`], which the owner of the
//!   thread calls.
//!
//! At the store's hard limit each commit first checkpoints. Where an old view stands in the way, commits go on, since
//! the thread that holds it is this one; after [`PATIENCE_MS`] the view is given up.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use statik_disk::{Error, Kind, Open, Result, validate_path};

use super::writers::Writers;
use super::{Change, Checkpoint, CommitId, Durability, PAGE_BYTES, PageStore, Paged, Pages, Usage, View};

/// A commit at [`Durability::Normal`] is flushed this much later.
pub(crate) const FLUSH_MS: f64 = 50.0;
/// How long an old view may stand in the way of the checkpoint that the hard limit calls for.
pub(crate) const PATIENCE_MS: f64 = 5000.0;
/// How often to look whether an old view still stands in the way of a checkpoint.
const BLOCKED_MS: f64 = 50.0;

/// A store in this thread, for any number of users. Clones share it.
///
/// ```
/// use std::rc::Rc;
/// use statik_bridge::pages::{Durability, Paged, Pages, local::Local, mem::MemPages};
/// use statik_disk::Open;
///
/// let pages = Local::new(Rc::new(MemPages::new()), || 0.0);
/// let (writer, reader) = (pages.open("app.db", Open::Create)?, pages.open("app.db", Open::Existing)?);
/// writer.begin()?;
/// reader.begin()?;
/// writer.lock()?;
/// writer.write_at(0, b"milk")?;
/// pages.commit(&[writer.id()], Durability::Full, None)?;
/// assert_eq!(reader.len()?, 0);
/// # Ok::<(), statik_disk::Error>(())
/// ```
#[derive(Clone)]
pub struct Local {
    shared: Rc<Shared>,
}

struct Shared {
    store: Rc<dyn PageStore>,
    clock: fn() -> f64,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    users: BTreeMap<u32, User>,
    next_user: u32,
    writers: Writers<u32>,
    /// The commit that last changed a file, by the store's number.
    changed: HashMap<u32, u64>,
    newest: u64,
    flush_at_ms: Option<f64>,
    /// Since when an old view stands in the way of the hard limit's checkpoint.
    blocked_since_ms: Option<f64>,
}

struct User {
    file: u32,
    view: Option<View>,
    /// The view was given up, for a checkpoint; until [`Paged::end`].
    revoked: bool,
}

impl Local {
    /// The users of `store`. `clock` tells milliseconds and never goes back.
    pub fn new(store: Rc<dyn PageStore>, clock: fn() -> f64) -> Self {
        let state = State { newest: store.usage().newest, ..State::default() };
        Local { shared: Rc::new(Shared { store, clock, state: RefCell::new(state) }) }
    }

    /// Does what is due, a slice of it, and answers in how many milliseconds to call again: `None` if nothing will be
    /// due until the next commit.
    ///
    /// # Errors
    /// Those of the store's flush and checkpoint.
    pub fn tend(&self) -> Result<Option<f64>> {
        let Shared { store, clock, state } = &*self.shared;
        let flush_at_ms = state.borrow().flush_at_ms;
        let due_ms = flush_at_ms.map(|at_ms| at_ms - clock());
        if due_ms.is_some_and(|due_ms| due_ms <= 0.0) {
            self.durable()?;
        }
        let left_ms = due_ms.filter(|due_ms| *due_ms > 0.0);
        if !store.wants_checkpoint() {
            return Ok(left_ms);
        }
        Ok(match self.shared.checkpoint_slice()? {
            Checkpoint::Idle if !store.wants_checkpoint() => left_ms,
            Checkpoint::Idle | Checkpoint::More => Some(0.0),
            Checkpoint::Blocked(_) => Some(left_ms.map_or(BLOCKED_MS, |left_ms| left_ms.min(BLOCKED_MS))),
        })
    }
}

impl Shared {
    fn checkpoint_slice(&self) -> Result<Checkpoint> {
        if self.store.checkpoint_target()?.is_none() {
            return Ok(Checkpoint::Idle);
        }
        let oldest = self.state.borrow_mut().freshen();
        self.store.checkpoint(oldest)
    }

    /// Checkpoints until nothing is left, or a view is in the way: the commit that such views are older than.
    fn checkpoint(&self) -> Result<Option<u64>> {
        while self.store.checkpoint_target()?.is_some() {
            if let Checkpoint::Blocked(target) = self.checkpoint_slice()? {
                return Ok(Some(target));
            }
        }
        Ok(None)
    }

    /// Makes room at the hard limit. See the module.
    fn make_room(&self) -> Result<()> {
        if !self.store.needs_checkpoint() {
            return Ok(());
        }
        let blocked = self.checkpoint()?;
        let state = &mut *self.state.borrow_mut();
        let Some(target) = blocked else {
            state.blocked_since_ms = None;
            return Ok(());
        };
        let now_ms = (self.clock)();
        // What is older than the target now sees what the newest commit does not.
        if now_ms - *state.blocked_since_ms.get_or_insert(now_ms) >= PATIENCE_MS {
            state.blocked_since_ms = None;
            for user in state.users.values_mut() {
                user.revoked |= user.view.is_some_and(|view| view.seq < target);
            }
        }
        Ok(())
    }

    /// Writes a commit and keeps track of what it changed.
    fn write_commit(&self, files: &[u32], id: Option<CommitId>) -> Result<u64> {
        self.make_room()?;
        let lengths: Vec<_> =
            files.iter().map(|file| Ok((*file, self.store.newest(*file)?.len))).collect::<Result<_>>()?;
        let mut changed = Vec::new();
        let seq = self.store.commit(files, id, &mut |change| {
            let (Change::Page { file, .. } | Change::Cut { file, .. } | Change::Pages { file, .. }) = change;
            changed.push(file);
        })?;
        for (file, len) in lengths {
            if self.store.newest(file)?.len != len {
                changed.push(file);
            }
        }
        let state = &mut *self.state.borrow_mut();
        state.newest = seq;
        state.changed.extend(changed.into_iter().map(|file| (file, seq)));
        Ok(seq)
    }

    /// Discards what `id` staged and gives up its lock.
    fn release(&self, id: u32) {
        let state = &mut *self.state.borrow_mut();
        let file = state.users[&id].file;
        if state.writers.writer(file) == Some(id) {
            self.store.discard(file);
            state.writers.unlock(file, id);
        }
    }
}

impl State {
    /// Whether the file was changed after the commit `seq`.
    fn is_stale(&self, file: u32, seq: u64) -> bool {
        self.changed.get(&file).is_some_and(|changed| *changed > seq)
    }

    /// Makes views the newest commit's where that makes no difference; the oldest view then.
    fn freshen(&mut self) -> Option<u64> {
        let State { users, changed, newest, .. } = self;
        let held =
            users.values_mut().filter(|user| !user.revoked).filter_map(|user| Some((user.file, user.view.as_mut()?)));
        held.map(|(file, view)| {
            if changed.get(&file).is_none_or(|changed| *changed <= view.seq) {
                view.seq = *newest;
            }
            view.seq
        })
        .min()
    }
}

impl Pages for Local {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn Paged>> {
        validate_path(path)?;
        let file = self.shared.store.attach(path, open)?;
        let state = &mut *self.shared.state.borrow_mut();
        let id = state.next_user;
        state.next_user += 1;
        state.users.insert(id, User { file, view: None, revoked: false });
        Ok(Box::new(LocalFile { shared: Rc::clone(&self.shared), id, file, path: path.to_owned() }))
    }

    fn commit(&self, files: &[u32], durability: Durability, id: Option<CommitId>) -> Result<u64> {
        let shared = &*self.shared;
        let mut locked = Vec::new();
        for user in files {
            let state = shared.state.borrow();
            let unknown = || Error::new(Kind::Invalid, format!("committing: there is no file {user}"));
            let file = state.users.get(user).ok_or_else(unknown)?.file;
            if state.writers.writer(file) == Some(*user) && !locked.contains(&file) {
                locked.push(file);
            }
        }
        let committed = shared.write_commit(&locked, id);
        files.iter().for_each(|user| shared.release(*user));
        let seq = committed?;
        match durability {
            Durability::Full => {
                self.durable()?;
            }
            Durability::Normal if shared.store.flushed() < seq => {
                let at_ms = (shared.clock)() + FLUSH_MS;
                shared.state.borrow_mut().flush_at_ms.get_or_insert(at_ms);
            }
            Durability::Normal | Durability::Off => {}
        }
        let users = &mut shared.state.borrow_mut().users;
        for user in files {
            let Some(User { file, view: Some(view), .. }) = users.get_mut(user) else { continue };
            *view = View { seq, len: shared.store.newest(*file)?.len };
        }
        Ok(seq)
    }

    fn committed(&self, id: CommitId) -> Result<Option<u64>> {
        Ok(self.shared.store.committed(id))
    }

    fn durable(&self) -> Result<u64> {
        self.shared.state.borrow_mut().flush_at_ms = None;
        self.shared.store.flush()
    }

    fn checkpoint(&self) -> Result<()> {
        match self.shared.checkpoint()? {
            None => Ok(()),
            Some(target) => {
                let context = format!("checkpointing: a view older than commit {target} is in use");
                Err(Error::new(Kind::Busy, context))
            }
        }
    }

    fn usage(&self) -> Result<Usage> {
        let state = self.shared.state.borrow();
        let held = state.users.values().filter(|user| !user.revoked);
        let oldest_view = held.filter_map(|user| Some(user.view?.seq)).min();
        Ok(Usage { oldest_view, ..self.shared.store.usage() })
    }
}

struct LocalFile {
    shared: Rc<Shared>,
    id: u32,
    file: u32,
    path: String,
}

impl LocalFile {
    fn error(&self, kind: Kind, context: &str) -> Error {
        Error::new(kind, context).at(&self.path)
    }

    fn with<T>(&self, run: impl FnOnce(&mut User) -> T) -> T {
        run(self.shared.state.borrow_mut().users.get_mut(&self.id).expect("a user stays until it is dropped"))
    }

    fn view(&self, doing: &str) -> Result<View> {
        let (view, revoked) = self.with(|user| (user.view, user.revoked));
        if revoked {
            return Err(self.error(Kind::Conflict, &format!("{doing}: the view was so old that it was given up")));
        }
        view.ok_or_else(|| self.error(Kind::Invalid, &format!("{doing}: no view is held")))
    }

    /// Whether this is the file's writer, for the view that it holds.
    fn writes(&self, view: View) -> bool {
        let state = self.shared.state.borrow();
        state.writers.writer(self.file) == Some(self.id) && !state.is_stale(self.file, view.seq)
    }

    /// For a change.
    fn require_lock(&self) -> Result<()> {
        let view = self.view("writing")?;
        if self.writes(view) { Ok(()) } else { Err(self.error(Kind::Invalid, "writing without the write lock")) }
    }
}

impl Paged for LocalFile {
    fn id(&self) -> u32 {
        self.id
    }

    fn begin(&self) -> Result<View> {
        let len = self.shared.store.newest(self.file)?.len;
        let seq = self.shared.state.borrow().newest;
        self.with(|user| *user.view.get_or_insert(View { seq, len }));
        self.view("taking a view")
    }

    fn lock(&self) -> Result<()> {
        let view = self.view("locking")?;
        let state = &mut *self.shared.state.borrow_mut();
        if state.is_stale(self.file, view.seq) {
            return Err(self.error(Kind::Conflict, "locking: the file was changed after the view was taken"));
        }
        if state.writers.lock(self.file, self.id) {
            return Ok(());
        }
        Err(self.error(Kind::Busy, "locking: another writes"))
    }

    fn wait(&self, _timeout: Duration) -> Result<bool> {
        if self.with(|user| user.view.is_some()) {
            return Err(self.error(Kind::Invalid, "waiting for the write lock while a view is held"));
        }
        Ok(self.shared.state.borrow_mut().writers.wait(self.file, self.id))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let view = self.view("reading")?;
        let store = &self.shared.store;
        if self.writes(view) {
            return store.read_staged(self.file, offset, buf);
        }
        let count = view.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        if count > 0 {
            read_at_view(&**store, self.file, view.seq, offset, &mut buf[..count])?;
        }
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.require_lock()?;
        self.shared.store.stage(self.file, offset, bytes)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.require_lock()?;
        self.shared.store.stage_len(self.file, len)
    }

    fn len(&self) -> Result<u64> {
        let view = self.view("asking for the length")?;
        if self.writes(view) { self.shared.store.staged_len(self.file) } else { Ok(view.len) }
    }

    fn discard(&self) -> Result<()> {
        self.shared.release(self.id);
        Ok(())
    }

    fn end(&self) -> Result<()> {
        self.shared.release(self.id);
        self.shared.state.borrow_mut().writers.leave(self.file, self.id);
        self.with(|user| (user.view, user.revoked) = (None, false));
        Ok(())
    }
}

/// Reads bytes of a file that are within its length at the view `seq`.
fn read_at_view(store: &dyn PageStore, file: u32, seq: u64, offset: u64, buf: &mut [u8]) -> Result<()> {
    let page_bytes = PAGE_BYTES as u64;
    if offset.is_multiple_of(page_bytes) && buf.len().is_multiple_of(PAGE_BYTES) {
        return store.read(file, seq, offset / page_bytes, buf, &mut |_, _| {});
    }
    let skip = (offset % page_bytes) as usize;
    let mut pages = vec![0; (skip + buf.len()).next_multiple_of(PAGE_BYTES)];
    store.read(file, seq, offset / page_bytes, &mut pages, &mut |_, _| {})?;
    buf.copy_from_slice(&pages[skip..skip + buf.len()]);
    Ok(())
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        self.shared.release(self.id);
        let state = &mut *self.shared.state.borrow_mut();
        state.writers.leave(self.file, self.id);
        state.users.remove(&self.id);
        self.shared.store.detach(self.file);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::pages::contract;
    use crate::pages::mem::MemPages;

    thread_local!(static NOW_MS: Cell<f64> = const { Cell::new(0.0) });

    fn now_ms() -> f64 {
        NOW_MS.get()
    }

    fn commit(pages: &Local, file: &dyn Paged, byte: u8, durability: Durability) {
        file.begin().unwrap();
        file.lock().unwrap();
        file.write_at(0, &[byte; PAGE_BYTES]).unwrap();
        pages.commit(&[file.id()], durability, None).unwrap();
        file.end().unwrap();
    }

    #[test]
    fn keeps_the_contract() {
        contract::pages(|| {
            let pages: Rc<dyn Pages> = Rc::new(Local::new(Rc::new(MemPages::new()), || 0.0));
            (Rc::clone(&pages), pages)
        });
    }

    #[test]
    fn a_normal_commit_is_flushed_within_50_ms_and_idle_time_checkpoints() {
        let store = Rc::new(MemPages::new().with_limits(PAGE_BYTES as u64, u64::MAX));
        let pages = Local::new(store.clone(), now_ms);
        let file = pages.open("a", Open::Create).unwrap();
        assert_eq!(pages.tend(), Ok(None));
        commit(&pages, &*file, 1, Durability::Off);
        assert_eq!(pages.tend(), Ok(None), "nobody flushes for its sake");
        NOW_MS.set(10.0);
        commit(&pages, &*file, 2, Durability::Normal);
        NOW_MS.set(20.0);
        commit(&pages, &*file, 3, Durability::Normal);
        let reader = pages.open("a", Open::Existing).unwrap();
        reader.begin().unwrap();
        commit(&pages, &*file, 4, Durability::Off);
        assert_eq!(pages.tend(), Ok(Some(40.0)), "the checkpoint is blocked, the flush comes next");
        assert_eq!(store.flushed(), 0);
        NOW_MS.set(60.0);
        assert_eq!(pages.tend(), Ok(Some(BLOCKED_MS)));
        assert_eq!((store.flushed(), pages.usage().unwrap().checkpointed), (4, 0));
        reader.end().unwrap();
        assert_eq!(pages.tend(), Ok(None));
        assert_eq!(pages.usage().unwrap().checkpointed, 4);
    }

    #[test]
    fn a_view_of_an_unchanged_file_holds_up_no_checkpoint() {
        let pages = Local::new(Rc::new(MemPages::new()), now_ms);
        let (still, file) = (pages.open("still", Open::Create).unwrap(), pages.open("a", Open::Create).unwrap());
        commit(&pages, &*still, 7, Durability::Full);
        still.begin().unwrap();
        commit(&pages, &*file, 1, Durability::Full);
        pages.checkpoint().unwrap();
        let mut bytes = [0; 1];
        assert_eq!((still.read_at(0, &mut bytes), bytes), (Ok(1), [7]));
        still.lock().unwrap();
    }

    #[test]
    fn at_the_hard_limit_an_old_view_is_given_up_after_5_seconds() {
        let pages = Local::new(Rc::new(MemPages::new().with_limits(0, 4 * PAGE_BYTES as u64)), now_ms);
        let (reader, file) = (pages.open("a", Open::Create).unwrap(), pages.open("a", Open::Create).unwrap());
        let begun = reader.begin().unwrap();
        let start_ms = NOW_MS.get();
        for byte in 0..20 {
            NOW_MS.set(start_ms + f64::from(byte) * PATIENCE_MS / 10.0);
            commit(&pages, &*file, byte, Durability::Full);
        }
        let kinds = [reader.begin().map(|_| ()), reader.read_at(0, &mut [0]).map(|_| ()), reader.lock()];
        assert_eq!(kinds.map(|result| result.unwrap_err().kind()), [Kind::Conflict; 3]);
        assert!(pages.usage().unwrap().log_bytes <= 5 * PAGE_BYTES as u64);
        reader.end().unwrap();
        assert!(reader.begin().unwrap().seq > begun.seq);
        let mut bytes = [0; 1];
        assert_eq!((reader.read_at(0, &mut bytes), bytes), (Ok(1), [19]));
    }
}
