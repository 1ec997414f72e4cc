//! The server's side of pages: a store, the board that shows it, and who waits for what.
//!
//! Invariants:
//! - A commit is shown in this order: pages in the cache, states of files, write locks. Then it is answered.
//! - The store holds staged changes of a file's writer alone: before another's come, what is left of the last one's is
//!   discarded.
//! - The store may change files up to `floor`. No view before it is served, nor is what the store then says of them.
//! - While somebody queues for a write lock, or after it was granted to one who did, `writers` knows it; otherwise
//!   the board does, where clients take it and give it back by themselves.
//! - Who is answered later is in exactly one of `waits`, `room`, `flushes` and `checkpoints`.
//!
//! It does not know rings: what it answers lies in `answers`, until the server delivers it.

mod parked;

use std::collections::{BTreeSet, HashMap};

use statik_disk::{Error, Kind, Result};

use crate::Cells;
use crate::board::Owner;
use crate::metrics::Metrics;
use crate::pages::writers::Writers;
use crate::pages::{Change, CommitId, Durability, PAGE_BYTES, PageStore, Usage, Version, View};
use crate::wire;
use parked::Parked;

/// What a client waits for: a number and bytes.
pub(crate) type Reply = Result<(u64, Vec<u8>)>;

/// Whom to answer what: the client, and its request's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) client: u32,
    pub(crate) sequence: u32,
}

/// A request's reply, if it is there already.
pub(crate) type Outcome = Option<Reply>;

/// Who has a write lock, or queues for it. A client that took it by itself did not say for which of its files.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Holder {
    client: u32,
    handle: Option<u32>,
}

pub(crate) struct Paging {
    owner: Owner,
    /// By the store's number.
    files: HashMap<u32, OpenFile>,
    writers: Writers<Holder>,
    /// The newest commit.
    newest: u64,
    floor: u64,
    parked: Parked,
    answers: Vec<(Ask, Reply)>,
    metrics: Metrics,
}

struct OpenFile {
    /// On the board.
    slot: u32,
    users: usize,
    /// Whose staged changes the store holds.
    staged_by: Option<u32>,
}

/// A file that a commit is about.
pub(crate) struct Part {
    /// The store's number.
    pub(crate) file: u32,
    /// The client says that it has the write lock.
    pub(crate) locked: bool,
}

impl Paging {
    /// The board of `store`.
    ///
    /// # Errors
    /// As [`Owner::new`].
    pub(crate) fn new(board: Box<dyn Cells>, store: &dyn PageStore, metrics: Metrics) -> Result<Self> {
        let newest = store.usage().newest;
        Ok(Paging {
            owner: Owner::new(board, newest)?,
            files: HashMap::new(),
            writers: Writers::new(),
            newest,
            floor: 0,
            parked: Parked::default(),
            answers: Vec::new(),
            metrics,
        })
    }

    /// One more client, whose number is below [`CLIENTS`](crate::board::CLIENTS).
    pub(crate) fn add_client(&mut self, client: u32) {
        self.owner.add_client(client);
    }

    /// The client is gone, and has closed its files: what it still holds or waits for is released.
    pub(crate) fn remove_client(&mut self, store: &dyn PageStore, client: u32) {
        self.cancel(client);
        let files: Vec<_> = self.files.keys().copied().collect();
        for file in files {
            if self.holds(file, client) {
                self.discard(store, file, client);
                self.unlock(file);
            }
        }
        self.owner.remove_client(client);
    }

    /// One more user of a file that the store attached; the file's place on the board.
    pub(crate) fn open(&mut self, store: &dyn PageStore, file: u32) -> Result<u32> {
        if let Some(open) = self.files.get_mut(&file) {
            open.users += 1;
            return Ok(open.slot);
        }
        let View { seq, len } = store.newest(file)?;
        let slot = self.owner.open_file(View { seq: seq.max(self.newest), len })?;
        self.files.insert(file, OpenFile { slot, users: 1, staged_by: None });
        Ok(slot)
    }

    /// One user less.
    pub(crate) fn close(&mut self, store: &dyn PageStore, client: u32, handle: u32, file: u32) {
        self.release(store, client, handle, file, wire::LEAVE);
        let open = self.files.get_mut(&file).expect("an open file");
        open.users -= 1;
        if open.users == 0 {
            let slot = open.slot;
            store.discard(file);
            self.writers.forget(file);
            self.owner.close_file(slot);
            self.files.remove(&file);
        }
        store.detach(file);
    }

    /// Reads `count` pages as the view `seq` sees them, and `ahead` more for the cache.
    pub(crate) fn read(
        &mut self,
        store: &dyn PageStore,
        client: u32,
        file: u32,
        seq: u64,
        pages: (u64, usize),
        ahead: usize,
    ) -> Result<Vec<u8>> {
        if seq < self.floor || self.owner.is_revoked(client, seq) {
            let context = format!("reading: the view of commit {seq} was so old that it was given up");
            return Err(Error::new(Kind::Conflict, context));
        }
        let (page, count) = pages;
        let behind = store.newest(file)?.len.div_ceil(PAGE_BYTES as u64).saturating_sub(page + count as u64);
        let ahead = ahead.min(usize::try_from(behind).unwrap_or(usize::MAX));
        let mut bytes = vec![0; (count + ahead) * PAGE_BYTES];
        let mut versions = Vec::with_capacity(count + ahead);
        store.read(file, seq, page, &mut bytes, &mut |index, version| versions.push((index, version)))?;
        let slot = self.files[&file].slot;
        for (index, version) in versions {
            let version = Version { from: version.from.max(self.floor), ..version };
            let start = index * PAGE_BYTES;
            self.owner.fill(slot, page + index as u64, version, &bytes[start..start + PAGE_BYTES]);
        }
        bytes.truncate(count * PAGE_BYTES);
        Ok(bytes)
    }

    /// Reads as the file's writer sees it.
    pub(crate) fn read_staged(
        &mut self,
        store: &dyn PageStore,
        client: u32,
        file: u32,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize> {
        if !self.holds(file, client) {
            return Err(Error::new(Kind::Invalid, "reading staged changes without the write lock"));
        }
        self.own(store, file, client);
        store.read_staged(file, offset, buf)
    }

    /// Stages by `change`, if the client has the lock. One that gave it back and posted this before has changed its
    /// mind.
    pub(crate) fn stage(
        &mut self,
        store: &dyn PageStore,
        client: u32,
        file: u32,
        change: impl FnOnce(&dyn PageStore) -> Result<()>,
    ) -> Result<()> {
        if !self.holds(file, client) {
            return Ok(());
        }
        self.own(store, file, client);
        change(store)
    }

    /// What [`Op::Release`](crate::metrics::Op::Release) says.
    pub(crate) fn release(&mut self, store: &dyn PageStore, client: u32, handle: u32, file: u32, what: u32) {
        let me = Holder { client, handle: Some(handle) };
        if what & wire::DISCARD != 0 {
            self.discard(store, file, client);
        }
        let holder = self.writers.writer(file);
        let granted = holder == Some(me) && what & (wire::UNLOCK | wire::LEAVE) != 0;
        if granted || what & wire::UNLOCK != 0 && holder.is_some_and(|holder| holder.client == client) {
            self.discard(store, file, client);
            self.unlock(file);
        } else if what & wire::LEAVE != 0 {
            self.writers.leave(file, me);
        }
    }

    /// Queues for the write lock of a file, until the clock says `until_ms`.
    pub(crate) fn wait_lock(&mut self, ask: Ask, handle: u32, file: u32, until_ms: f64, now_ms: f64) -> Outcome {
        let (slot, me) = (self.files[&file].slot, Holder { client: ask.client, handle: Some(handle) });
        if self.writers.writer(file).is_none()
            && let Some(client) = self.owner.queue(slot)
        {
            self.writers.lock(file, Holder { client, handle: None });
        }
        let mine = self.writers.wait(file, me);
        if mine {
            self.owner.grant(slot, Some(ask.client), self.writers.queued(file));
        } else if until_ms > now_ms {
            self.parked.wait(ask, file, handle, until_ms);
            return None;
        }
        Some(Ok((mine.into(), Vec::new())))
    }

    /// Commits what the client staged in those files whose lock it has, or lets it wait until that can be done.
    pub(crate) fn commit(
        &mut self,
        store: &dyn PageStore,
        ask: Ask,
        parts: Vec<Part>,
        durability: Durability,
        id: Option<CommitId>,
        now_ms: f64,
    ) -> Outcome {
        if store.needs_checkpoint() || self.parked.is_crowded() {
            self.parked.want_room(ask, parts, durability, id);
            return None;
        }
        self.commit_now(store, ask, &parts, durability, id, now_ms)
    }

    /// Fails a commit: what was staged is discarded, and the locks are given up.
    pub(crate) fn refuse_commit(&mut self, store: &dyn PageStore, client: u32, parts: &[Part]) {
        for file in locked(parts) {
            self.discard(store, file, client);
            self.unlock(file);
        }
    }

    /// The newest commit.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether the client has the write lock, by itself or granted.
    pub(crate) fn holds(&self, file: u32, client: u32) -> bool {
        self.owner.writer(self.files[&file].slot) == Some(client)
    }

    /// Waits for a flush of all that was committed.
    pub(crate) fn durable(&mut self, store: &dyn PageStore, ask: Ask, now_ms: f64) -> Outcome {
        if store.flushed() >= self.newest {
            return Some(Ok((store.flushed(), Vec::new())));
        }
        self.parked.want_flush(ask, self.newest, Vec::new(), now_ms);
        None
    }

    /// Waits for a checkpoint of all that was committed.
    pub(crate) fn checkpoint(&mut self, ask: Ask) -> Outcome {
        self.parked.want_checkpoint(ask, self.newest);
        None
    }

    /// What the store tells of itself.
    pub(crate) fn usage(&self, store: &dyn PageStore) -> Usage {
        Usage { oldest_view: self.owner.oldest_pin().map(|(_, seq)| seq), ..store.usage() }
    }

    /// The client does not wait any more.
    pub(crate) fn cancel(&mut self, client: u32) {
        self.parked.forget(client);
        self.answers.retain(|(ask, _)| ask.client != client);
    }

    /// What can be answered now.
    pub(crate) fn take_answers(&mut self) -> Vec<(Ask, Reply)> {
        std::mem::take(&mut self.answers)
    }

    /// Writes a commit, shows it, passes the locks on, and answers, unless a flush comes first.
    fn commit_now(
        &mut self,
        store: &dyn PageStore,
        ask: Ask,
        parts: &[Part],
        durability: Durability,
        id: Option<CommitId>,
        now_ms: f64,
    ) -> Outcome {
        let locked = locked(parts);
        locked.iter().for_each(|file| self.own(store, *file, ask.client));
        let written = self.write(store, &locked.iter().copied().collect::<Vec<_>>(), id);
        for file in locked {
            self.files.get_mut(&file).expect("an open file").staged_by = None;
            self.unlock(file);
        }
        let lengths = |file: &Part| Ok(store.newest(file.file)?.len.to_le_bytes());
        let payload =
            written.and_then(|seq| Ok((seq, parts.iter().map(lengths).collect::<Result<Vec<_>>>()?.concat())));
        let (seq, payload) = match payload {
            Ok(written) => written,
            Err(error) => return Some(Err(error)),
        };
        if store.flushed() < seq {
            match durability {
                Durability::Full => {
                    self.parked.want_flush(ask, seq, payload, now_ms);
                    return None;
                }
                Durability::Normal => self.parked.flush_later(now_ms),
                Durability::Off => {}
            }
        }
        Some(Ok((seq, payload)))
    }

    /// Writes a commit of what these files have staged, and shows it, but for the locks.
    fn write(&mut self, store: &dyn PageStore, locked: &[u32], id: Option<CommitId>) -> Result<u64> {
        let lengths: Vec<_> = locked.iter().map(|file| Ok(store.newest(*file)?.len)).collect::<Result<_>>()?;
        let next = successor(self.newest);
        let (owner, files) = (&mut self.owner, &self.files);
        let mut changed = Vec::new();
        let seq = store.commit(locked, id, &mut |change| {
            let (Change::Page { file, .. } | Change::Cut { file, .. } | Change::Pages { file, .. }) = change;
            let slot = files[&file].slot;
            if changed.last() != Some(&file) {
                changed.push(file);
            }
            match change {
                Change::Page { page, bytes, .. } => {
                    owner.fill(slot, page, Version { from: next, until: None }, bytes);
                }
                Change::Cut { len, .. } => owner.cut(slot, len.div_ceil(PAGE_BYTES as u64), next),
                Change::Pages { page, count, .. } => owner.replaced(slot, page..page.saturating_add(count), next),
            }
        })?;
        assert!(seq == next || seq == self.newest && changed.is_empty(), "commit {seq} came after {}", self.newest);
        self.newest = seq;
        for (file, len) in locked.iter().zip(lengths) {
            let view = View { seq, len: store.newest(*file)?.len };
            if view.len != len || changed.contains(file) {
                self.owner.set_file(self.files[file].slot, view);
            }
        }
        Ok(seq)
    }

    /// Lets the store hold this client's staged changes, and nobody else's.
    fn own(&mut self, store: &dyn PageStore, file: u32, client: u32) {
        let open = self.files.get_mut(&file).expect("an open file");
        if open.staged_by.replace(client).is_some_and(|other| other != client) {
            store.discard(file);
        }
    }

    fn discard(&mut self, store: &dyn PageStore, file: u32, client: u32) {
        let open = self.files.get_mut(&file).expect("an open file");
        if open.staged_by == Some(client) {
            open.staged_by = None;
            store.discard(file);
        }
    }

    /// Takes the lock from who has it and passes it on.
    fn unlock(&mut self, file: u32) {
        let slot = self.files[&file].slot;
        let next = self.writers.writer(file).and_then(|holder| self.writers.unlock(file, holder));
        self.owner.grant(slot, next.map(|next| next.client), self.writers.queued(file));
        if let Some(Holder { client, handle: Some(handle) }) = next {
            self.answers.extend(self.parked.granted(client, file, handle));
        }
    }
}

/// Each file whose lock the client has, once.
fn locked(parts: &[Part]) -> BTreeSet<u32> {
    parts.iter().filter(|part| part.locked).map(|part| part.file).collect()
}

/// The number of the commit after `seq`: none has 32 low bits of 0.
fn successor(seq: u64) -> u64 {
    if (seq + 1) as u32 == 0 { seq + 2 } else { seq + 1 }
}
