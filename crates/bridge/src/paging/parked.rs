//! Requests that are answered later, and when something is due that no request asks for.
//!
//! One client has one request at a time, but what is parked here need not believe that.

use std::collections::VecDeque;
use std::time::Duration;

use statik_disk::{Error, Kind, Result};

use super::{Ask, Paging, Part, Reply};
use crate::metrics::Op;
use crate::pages::local::{FLUSH_MS, PATIENCE_MS};
use crate::pages::{Checkpoint, CommitId, Durability, PageStore};

/// While other writers are about to commit, a flush is put off: for so long after the last that did, and so long in all.
const GATHER_MS: f64 = 1.0;
const GATHERED_MS: f64 = 5.0;
/// How often to look whether an old view still stands in the way of a checkpoint: of one that writers wait for, and of
/// one in idle time.
const BLOCKED_MS: f64 = 2.0;
const BLOCKED_IDLE_MS: f64 = 50.0;
/// A checkpoint that nobody waits for goes on when nobody asked for anything for so long, or, where there is no such
/// pause, after so long again: a slice takes about a millisecond, and whoever asks meanwhile waits for it.
const QUIET_MS: f64 = 5.0;
const PACE_MS: f64 = 20.0;
/// When to try again after a checkpoint in idle time failed.
const FAILED_MS: f64 = 1000.0;

#[derive(Default)]
pub(super) struct Parked {
    /// For a write lock.
    waits: Vec<Wait>,
    /// At the hard limit: for room in the log.
    room: VecDeque<Commit>,
    /// For a flush: the answers to give then.
    flushes: Vec<Flush>,
    /// For a checkpoint up to a commit.
    checkpoints: Vec<(Ask, u64)>,
    /// Since when the first of `flushes` waits, and the last.
    flush_since_ms: Option<(f64, f64)>,
    /// When to flush for the sake of commits that do not wait.
    flush_at_ms: Option<f64>,
    /// No checkpoint before.
    checkpoint_at_ms: f64,
    /// When the last request came, and the last slice of a checkpoint was copied.
    asked_ms: f64,
    sliced_ms: f64,
    /// Since when an old view stands in the way of `room`.
    blocked_since_ms: Option<f64>,
}

struct Wait {
    ask: Ask,
    file: u32,
    handle: u32,
    until_ms: f64,
}

struct Commit {
    ask: Ask,
    parts: Vec<Part>,
    durability: Durability,
    id: Option<CommitId>,
}

struct Flush {
    ask: Ask,
    seq: u64,
    payload: Vec<u8>,
}

impl Parked {
    pub(super) fn wait(&mut self, ask: Ask, file: u32, handle: u32, until_ms: f64) {
        self.waits.push(Wait { ask, file, handle, until_ms });
    }

    pub(super) fn want_room(&mut self, ask: Ask, parts: Vec<Part>, durability: Durability, id: Option<CommitId>) {
        self.checkpoint_at_ms = 0.0;
        self.room.push_back(Commit { ask, parts, durability, id });
    }

    /// Whether commits wait for room: who comes later waits behind them.
    pub(super) fn is_crowded(&self) -> bool {
        !self.room.is_empty()
    }

    pub(super) fn want_flush(&mut self, ask: Ask, seq: u64, payload: Vec<u8>, now_ms: f64) {
        self.flush_since_ms = Some((self.flush_since_ms.map_or(now_ms, |(first_ms, _)| first_ms), now_ms));
        self.flushes.push(Flush { ask, seq, payload });
    }

    pub(super) fn flush_later(&mut self, now_ms: f64) {
        self.flush_at_ms.get_or_insert(now_ms + FLUSH_MS);
    }

    pub(super) fn want_checkpoint(&mut self, ask: Ask, goal: u64) {
        self.checkpoints.push((ask, goal));
        self.checkpoint_at_ms = 0.0;
    }

    /// The answer to who waits for this lock, if somebody looks.
    pub(super) fn granted(&mut self, client: u32, file: u32, handle: u32) -> Option<(Ask, Reply)> {
        let granted = |wait: &Wait| (wait.ask.client, wait.file, wait.handle) == (client, file, handle);
        let place = self.waits.iter().position(granted)?;
        Some((self.waits.swap_remove(place).ask, Ok((1, Vec::new()))))
    }

    pub(super) fn forget(&mut self, client: u32) {
        self.waits.retain(|wait| wait.ask.client != client);
        self.room.retain(|commit| commit.ask.client != client);
        self.flushes.retain(|flush| flush.ask.client != client);
        self.checkpoints.retain(|(ask, _)| ask.client != client);
        if self.flushes.is_empty() {
            self.flush_since_ms = None;
        }
    }
}

impl Paging {
    /// Does what is due. `idle`: no request is queued, so what takes longer may be done, too. Whether something was.
    pub(crate) fn tend(&mut self, store: &dyn PageStore, idle: bool, now_ms: f64) -> bool {
        if !idle {
            self.parked.asked_ms = now_ms;
        }
        let expired = self.expire(now_ms);
        let flushed = self.flush_if_due(store, idle, now_ms);
        let checkpointed = if self.parked.is_crowded() {
            self.make_room(store, now_ms)
        } else {
            idle && self.parked.flushes.is_empty() && self.checkpoint_if_due(store, now_ms)
        };
        expired || flushed || checkpointed
    }

    /// After how long [`Paging::tend`] will have something to do, if nobody asks for anything.
    pub(crate) fn due(&self, store: &dyn PageStore, now_ms: f64) -> Duration {
        let parked = &self.parked;
        let checkpoint = parked.is_crowded() || !parked.checkpoints.is_empty() || store.wants_checkpoint();
        let waits = parked.waits.iter().map(|wait| wait.until_ms);
        let times = waits.chain(parked.flush_since_ms.map(gathered_ms));
        let times = times.chain(parked.flush_at_ms).chain(checkpoint.then_some(parked.checkpoint_at_ms));
        let due_ms = times.fold(f64::INFINITY, f64::min) - now_ms;
        // Beyond what a duration holds is never.
        Duration::try_from_secs_f64(due_ms.max(0.0) / 1000.0).unwrap_or(Duration::MAX)
    }

    /// Whether nobody waits for a flush, so that the server may stop.
    pub(crate) fn is_settled(&self) -> bool {
        self.parked.flushes.is_empty() && self.answers.is_empty()
    }

    /// Checkpoints what it can, and flushes: nobody will ask for anything any more.
    pub(crate) fn finish(&mut self, store: &dyn PageStore) -> Result<()> {
        store.flush()?;
        while store.checkpoint_target()?.is_some() {
            if let Checkpoint::Blocked(_) = self.slice(store)? {
                break;
            }
        }
        Ok(())
    }

    /// Tells those who waited for a lock for long enough; they keep their places.
    fn expire(&mut self, now_ms: f64) -> bool {
        let before = self.answers.len();
        let Paging { parked, answers, .. } = self;
        parked.waits.retain(|wait| {
            let waits = wait.until_ms > now_ms;
            if !waits {
                answers.push((wait.ask, Ok((0, Vec::new()))));
            }
            waits
        });
        self.answers.len() > before
    }

    fn flush_if_due(&mut self, store: &dyn PageStore, idle: bool, now_ms: f64) -> bool {
        let parked = &mut self.parked;
        let alone = idle && self.writers.is_empty() && parked.room.is_empty();
        let due = parked.flush_since_ms.is_some_and(|since| alone || gathered_ms(since) <= now_ms)
            || parked.flush_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if !due {
            return false;
        }
        parked.flush_since_ms = None;
        parked.flush_at_ms = None;
        let flushed = store.flush();
        let waited = std::mem::take(&mut parked.flushes);
        if waited.is_empty() {
            // Nobody to tell, but for the counts; the store fails what comes next.
            self.metrics.record(Op::Durable, 0.0, flushed.as_ref().ok().map(|_| 0));
        }
        let reply = |Flush { ask, seq, payload }| (ask, flushed.clone().map(|_| (seq, payload)));
        self.answers.extend(waited.into_iter().map(reply));
        true
    }

    /// Copies a slice of the log, unless views are in the way.
    fn slice(&mut self, store: &dyn PageStore) -> Result<Checkpoint> {
        let Some(target) = store.checkpoint_target()? else { return Ok(Checkpoint::Idle) };
        self.owner.raise_horizon(target);
        let oldest = self.owner.oldest_pin().map(|(_, seq)| seq);
        if oldest.is_none_or(|oldest| oldest >= target) {
            self.floor = self.floor.max(target);
        }
        store.checkpoint(oldest)
    }

    /// One step towards room for the commits that wait for it.
    fn make_room(&mut self, store: &dyn PageStore, now_ms: f64) -> bool {
        if store.needs_checkpoint() {
            if now_ms < self.parked.checkpoint_at_ms {
                return false;
            }
            match self.slice(store) {
                Ok(Checkpoint::More) => {
                    self.parked.blocked_since_ms = None;
                    return true;
                }
                // Nothing is left to copy, so waiting would not help.
                Ok(Checkpoint::Idle) => {}
                Ok(Checkpoint::Blocked(_)) => return self.push_through(store, now_ms),
                Err(error) => {
                    while let Some(Commit { ask, parts, .. }) = self.parked.room.pop_front() {
                        self.refuse_commit(store, ask.client, &parts);
                        self.answers.push((ask, Err(error.clone())));
                    }
                    return true;
                }
            }
        }
        self.parked.blocked_since_ms = None;
        if let Some(commit) = self.parked.room.pop_front() {
            self.resume(store, commit, now_ms);
        }
        true
    }

    /// An old view is in the way of room. Its client may itself wait for room, so that it cannot end the view: then its
    /// commit goes on. Any other has [`PATIENCE_MS`].
    fn push_through(&mut self, store: &dyn PageStore, now_ms: f64) -> bool {
        let Some((client, _)) = self.owner.oldest_pin() else { return true };
        if now_ms - *self.parked.blocked_since_ms.get_or_insert(now_ms) >= PATIENCE_MS {
            self.owner.revoke(client);
            return true;
        }
        if let Some(place) = self.parked.room.iter().position(|commit| commit.ask.client == client) {
            let commit = self.parked.room.remove(place).expect("the place of one");
            self.resume(store, commit, now_ms);
            return true;
        }
        self.parked.checkpoint_at_ms = now_ms + BLOCKED_MS;
        false
    }

    fn resume(&mut self, store: &dyn PageStore, commit: Commit, now_ms: f64) {
        let reply = self.commit_now(store, commit.ask, &commit.parts, commit.durability, commit.id, now_ms);
        self.answers.extend(reply.map(|reply| (commit.ask, reply)));
    }

    /// A slice of a checkpoint that somebody asked for, or that the soft limit calls for.
    fn checkpoint_if_due(&mut self, store: &dyn PageStore, now_ms: f64) -> bool {
        let asked = !self.parked.checkpoints.is_empty();
        if now_ms < self.parked.checkpoint_at_ms || !asked && !store.wants_checkpoint() {
            return false;
        }
        let next_ms = (self.parked.asked_ms + QUIET_MS).min(self.parked.sliced_ms + PACE_MS);
        if !asked && now_ms < next_ms {
            self.parked.checkpoint_at_ms = next_ms;
            return false;
        }
        self.parked.sliced_ms = now_ms;
        let left = store.checkpoint_target().map(|target| target.is_some());
        match left.and_then(|left| if left { self.slice(store).map(Some) } else { Ok(None) }) {
            Ok(Some(Checkpoint::More | Checkpoint::Idle)) => {
                let checkpointed = store.usage().checkpointed;
                self.answer_checkpoints(|goal| goal <= checkpointed, Ok(()));
                true
            }
            Ok(None) => {
                self.answer_checkpoints(|_| true, Ok(()));
                if store.wants_checkpoint() {
                    // It is of no use now.
                    self.parked.checkpoint_at_ms = now_ms + FAILED_MS;
                }
                asked
            }
            Ok(Some(Checkpoint::Blocked(target))) => {
                let context = format!("checkpointing: a view older than commit {target} is in use");
                self.answer_checkpoints(|_| true, Err(Error::new(Kind::Busy, context)));
                self.parked.checkpoint_at_ms = now_ms + BLOCKED_IDLE_MS;
                asked
            }
            Err(error) => {
                if !asked {
                    self.metrics.record(Op::Checkpoint, 0.0, None);
                }
                self.answer_checkpoints(|_| true, Err(error));
                self.parked.checkpoint_at_ms = now_ms + FAILED_MS;
                asked
            }
        }
    }

    /// Answers who waits for a checkpoint up to a commit for which `done` says yes.
    fn answer_checkpoints(&mut self, done: impl Fn(u64) -> bool, result: Result<()>) {
        let reply = result.map(|()| (0, Vec::new()));
        let Paging { parked, answers, .. } = self;
        answers.extend(parked.checkpoints.extract_if(.., |(_, goal)| done(*goal)).map(|(ask, _)| (ask, reply.clone())));
    }
}

/// When a flush is due for commits of which the first and the last came at these times.
fn gathered_ms((first_ms, last_ms): (f64, f64)) -> f64 {
    (last_ms + GATHER_MS).min(first_ms + GATHERED_MS)
}
