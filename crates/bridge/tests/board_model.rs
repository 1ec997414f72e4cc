//! The board under a model checker: loom runs every interleaving of server and clients (up to a bound on preemptions),
//! with stale bytes wherever nothing orders them.
//!
//! The memory below is `Cells` on loom's atomics, those parts of it that a scenario changes. The words that guard bytes
//! (a set's lock, a file's turn) get only what acquire and release give them, which is what ARM does and less than
//! ECMAScript promises. The others are read by read-modify-write, since loom takes a sequentially consistent load for an
//! acquiring one. Bytes are relaxed, in units of 8, and of a page there are only the first two. The `Flaw`s break the
//! protocol, each in one place, to show that the model notices.
//!
//! Loom lets a load see an old value, but never a store take effect before an earlier one. That bytes are not seen before
//! the word that announces their change, which is why the server announces it by a read-modify-write, is therefore not
//! shown here, but argued in `board.rs`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use statik_bridge::board::{Guest, Owner, bytes};
use statik_bridge::pages::{PAGE_BYTES, Version, View};
use statik_bridge::{Cells, Woken};

/// One set of 8 pages.
const PAGES: usize = 8;
const HORIZON: usize = 3;
const PIN: usize = 16;
const FILE: usize = 4160;
const TURN: usize = FILE / 4;
const WRITER: usize = TURN + 1;
const SET: usize = FILE + 256 * 128;
const LOCK: usize = SET / 4;
const DATA: usize = SET + 320;
const QUEUED: i32 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// Nobody looks at the guarding word after the copy.
    NoCheck,
    /// It is looked at by a load.
    CheckByLoad,
    /// The server announces a change of bytes after it.
    AnnounceLate,
    /// The client does not look at the horizon after it pinned.
    OldHorizon,
    /// The client pins after it looked at the horizon.
    LatePin,
    /// The server looks for pins before it raises the horizon.
    EarlyLook,
    /// The server shows the file's state before the cache learns of the commit.
    EarlyState,
    /// Compare-and-exchange is a load and a store.
    TornExchange,
    /// A client gives the write lock back without looking whether somebody waits.
    BlindUnlock,
    /// The server tells that somebody waits after it looked who has the lock.
    LateQueue,
    /// Words order nothing.
    RelaxedWords,
}

/// One thread's access to the memory.
struct Memory {
    shared: Rc<Shared>,
    flaw: Flaw,
    /// What this thread read last from a word that guards bytes.
    seen: Cell<i32>,
    /// A change of a word that this thread makes after its next load, by a flaw.
    late: Cell<Option<(usize, i32)>>,
}

struct Shared {
    words: HashMap<usize, AtomicI32>,
    units: HashMap<usize, AtomicU64>,
    /// What no thread changes while another one runs.
    plain: RefCell<HashMap<usize, u64>>,
}

impl Memory {
    fn new(flaw: Flaw, words: &[usize], units: &[usize]) -> Self {
        let words = words.iter().map(|word| (*word, AtomicI32::new(0))).collect();
        let units = units.iter().map(|unit| (*unit, AtomicU64::new(0))).collect();
        let shared = Rc::new(Shared { words, units, plain: RefCell::default() });
        Memory { shared, flaw, seen: Cell::new(0), late: Cell::new(None) }
    }

    fn clone(&self) -> Memory {
        Memory { shared: self.shared.clone(), flaw: self.flaw, seen: Cell::new(0), late: Cell::new(None) }
    }

    fn boxed(&self) -> Box<dyn Cells> {
        Box::new(self.clone())
    }

    fn order(&self, order: Ordering) -> Ordering {
        if self.flaw == Flaw::RelaxedWords { Ordering::Relaxed } else { order }
    }

    fn guards(word: usize) -> bool {
        word == LOCK || word == TURN
    }
}

impl Cells for Memory {
    fn len(&self) -> usize {
        bytes(PAGES)
    }

    fn load(&self, word: usize) -> i32 {
        let Some(cell) = self.shared.words.get(&word) else {
            return *self.shared.plain.borrow().get(&word).unwrap_or(&0) as i32;
        };
        if word == HORIZON && self.flaw == Flaw::OldHorizon {
            return 1;
        }
        let value = if Memory::guards(word) {
            cell.load(self.order(Ordering::Acquire))
        } else {
            cell.fetch_add(0, self.order(Ordering::SeqCst))
        };
        self.seen.set(value);
        if word == LOCK && value & 1 != 0 {
            // The reader tries again: another thread's turn.
            loom::thread::yield_now();
        }
        if let Some((word, value)) = self.late.take() {
            self.shared.words[&word].swap(value, Ordering::SeqCst);
        }
        value
    }

    fn store(&self, word: usize, value: i32) {
        let Some(cell) = self.shared.words.get(&word) else {
            self.shared.plain.borrow_mut().insert(word, value as u64);
            return;
        };
        if word == PIN && self.flaw == Flaw::LatePin {
            self.late.set(Some((word, value)));
        } else if Memory::guards(word) {
            cell.store(value, self.order(Ordering::Release));
        } else {
            cell.swap(value, self.order(Ordering::SeqCst));
        }
    }

    fn fetch_add(&self, word: usize, value: i32) -> i32 {
        let Some(cell) = self.shared.words.get(&word) else {
            let old = self.load(word);
            self.store(word, old.wrapping_add(value));
            return old;
        };
        match (self.flaw, value) {
            (Flaw::NoCheck, 0) => self.seen.get(),
            (Flaw::CheckByLoad, 0) => cell.load(Ordering::Acquire),
            // The end of a change is then all that there is of it.
            (Flaw::AnnounceLate, 1) if word == LOCK => cell.load(Ordering::Relaxed),
            _ => cell.fetch_add(value, self.order(Ordering::AcqRel)),
        }
    }

    fn compare_exchange(&self, word: usize, expected: i32, new: i32) -> Result<i32, i32> {
        let cell = &self.shared.words[&word];
        if self.flaw == Flaw::LateQueue && new & QUEUED != 0 {
            self.late.set(Some((word, new)));
            return Ok(expected);
        }
        if self.flaw == Flaw::TornExchange || self.flaw == Flaw::BlindUnlock && new == 0 {
            let old = cell.fetch_add(0, Ordering::SeqCst);
            if old != expected && self.flaw == Flaw::TornExchange {
                return Err(old);
            }
            cell.swap(new, Ordering::SeqCst);
            return Ok(expected);
        }
        cell.compare_exchange(expected, new, self.order(Ordering::SeqCst), Ordering::Relaxed)
    }

    fn read(&self, offset: usize, buf: &mut [u8]) {
        for (chunk, place) in buf.as_chunks_mut::<8>().0.iter_mut().zip((offset..).step_by(8)) {
            let plain = || *self.shared.plain.borrow().get(&place).unwrap_or(&0);
            let value = self.shared.units.get(&place).map_or_else(plain, |unit| unit.load(Ordering::Relaxed));
            *chunk = value.to_le_bytes();
        }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        for (chunk, place) in bytes.as_chunks::<8>().0.iter().zip((offset..).step_by(8)) {
            let value = u64::from_le_bytes(*chunk);
            if let Some(unit) = self.shared.units.get(&place) {
                unit.store(value, Ordering::Relaxed);
            } else if place < DATA {
                self.shared.plain.borrow_mut().insert(place, value);
            }
        }
    }

    fn wait(&self, _word: usize, _expected: i32, _timeout: Duration) -> Woken {
        unreachable!("nobody waits on the board")
    }

    fn notify(&self, _word: usize) {
        unreachable!("nobody waits on the board")
    }
}

/// Where the first way's record has the page's number, and the commits of its version.
const NUMBER: usize = SET + 40;
const FROM: usize = SET + 48;
const UNTIL: usize = SET + 56;
/// Where the file's state has the commit and the length; that of the odd turns lies 32 further.
const SEQ: usize = FILE + 40;
const LEN: usize = FILE + 56;

/// Fills in a version; the page holds nothing but the commit's number.
fn fill(owner: &mut Owner, page: u64, from: u64) {
    owner.fill(0, page, Version { from, until: None }, &from.to_le_bytes().repeat(PAGE_BYTES / 8));
}

fn commit(owner: &mut Owner, flaw: Flaw, page: u64, seq: u64) {
    let view = View { seq, len: seq };
    if flaw == Flaw::EarlyState {
        owner.set_file(0, view);
        fill(owner, page, seq);
    } else {
        fill(owner, page, seq);
        owner.set_file(0, view);
    }
}

/// Takes a view and reads a page of it.
fn look(guest: &Guest, page: u64) -> (View, Option<u64>) {
    let view = guest.view(0).expect("a view");
    let mut halves = [0; 16];
    let hit = guest.read(0, page, view.seq, 0, &mut halves);
    let [first, second] = halves.as_chunks::<8>().0 else { unreachable!("two times 8") };
    assert!(!hit || first == second, "half a page");
    (view, hit.then(|| u64::from_le_bytes(*first)))
}

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

fn owner(memory: &Memory, clients: u32) -> Owner {
    let mut owner = Owner::new(memory.boxed(), 1).expect("a new board");
    (0..clients).for_each(|id| owner.add_client(id));
    assert_eq!(owner.open_file(View { seq: 1, len: 1 }).expect("room"), 0);
    owner
}

fn guest(memory: &Memory, id: u32) -> Guest {
    Guest::new(memory.boxed(), id).expect("a board")
}

/// A commit replaces a page in the cache, and the new version takes the place of the old one.
fn replace(flaw: Flaw, preemptions: usize) {
    check(preemptions, move || {
        let memory = Memory::new(flaw, &[LOCK, TURN], &[FROM, UNTIL, DATA, DATA + 8, SEQ, LEN]);
        let mut owner = owner(&memory, 1);
        (0..PAGES as u64).for_each(|page| fill(&mut owner, page, 1));
        let reader = guest(&memory, 0);
        let server = loom::thread::spawn(move || commit(&mut owner, flaw, 0, 2));
        let (view, found) = look(&reader, 0);
        assert!(found.is_none_or(|from| from == view.seq), "view {} sees {found:?}", view.seq);
        server.join().expect("the server ends");
    });
}

/// A version that a commit replaced gives its place to another page.
fn displace(flaw: Flaw, preemptions: usize) {
    check(preemptions, move || {
        let memory = Memory::new(flaw, &[LOCK], &[NUMBER, FROM, UNTIL, DATA, DATA + 8]);
        let mut owner = owner(&memory, 1);
        let reader = guest(&memory, 0);
        (0..PAGES as u64).for_each(|page| fill(&mut owner, page, 1));
        owner.replaced(0, 0..1, 2);
        let server = loom::thread::spawn(move || fill(&mut owner, 8, 2));
        let (_, found) = look(&reader, 0);
        assert!(found.is_none_or(|from| from == 1), "another page");
        server.join().expect("the server ends");
    });
}

/// A file's state changes twice, so that the second one lies where the first was.
fn show(flaw: Flaw, preemptions: usize) {
    check(preemptions, move || {
        let memory = Memory::new(flaw, &[TURN, PIN], &[SEQ, LEN, SEQ + 32, LEN + 32]);
        let mut owner = owner(&memory, 1);
        let reader = guest(&memory, 0);
        let server = loom::thread::spawn(move || {
            (2..4).for_each(|seq| owner.set_file(0, View { seq, len: seq }));
            owner.oldest_pin()
        });
        let view = reader.view(0).expect("a view");
        assert_eq!(view.len, view.seq, "half a state");
        let pinned = server.join().expect("the server ends");
        assert!(pinned.is_none_or(|(_, seq)| seq == view.seq), "the pin is the view's");
    });
}

/// The server gives up what view 1 needs, unless somebody holds it.
fn give_up(flaw: Flaw, preemptions: usize) {
    check(preemptions, move || {
        let memory = Memory::new(flaw, &[HORIZON, PIN, TURN], &[SEQ, SEQ + 32]);
        let mut owner = owner(&memory, 1);
        let reader = guest(&memory, 0);
        let file = Rc::new(AtomicU64::new(1));
        let server = {
            let file = file.clone();
            loom::thread::spawn(move || {
                let early = owner.oldest_pin();
                owner.raise_horizon(2);
                let oldest = if flaw == Flaw::EarlyLook { early } else { owner.oldest_pin() };
                if oldest.is_none_or(|(_, oldest)| oldest >= 2) {
                    file.store(2, Ordering::Relaxed);
                }
            })
        };
        for _ in 0..2 {
            let view = reader.view(0).expect("a view");
            let found = file.load(Ordering::Relaxed);
            assert!(found <= view.seq, "what view {} needs was given up", view.seq);
            reader.unpin(view);
        }
        server.join().expect("the server ends");
    });
}

/// A message without contents. Loom wakes who waits also without a reason.
struct Signal {
    sent: AtomicBool,
    woken: Notify,
}

impl Signal {
    fn new() -> Rc<Self> {
        Rc::new(Signal { sent: AtomicBool::new(false), woken: Notify::new() })
    }

    fn send(&self) {
        self.sent.store(true, Ordering::Release);
        self.woken.notify();
    }

    fn wait(&self) {
        while !self.sent.load(Ordering::Acquire) {
            self.woken.wait();
        }
    }
}

/// Client 0 takes the lock by itself, client 1 asks the server for it, and each adds 1 to a sum.
fn hand_over(flaw: Flaw, preemptions: usize) {
    check(preemptions, move || {
        let memory = Memory::new(flaw, &[WRITER], &[]);
        let owner = owner(&memory, 2);
        let (own, asking) = (guest(&memory, 0), guest(&memory, 1));
        let sum = Rc::new(AtomicU64::new(0));
        let add = |sum: &AtomicU64| sum.store(sum.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let (released, granted) = (Signal::new(), Signal::new());
        let server = {
            let (released, granted) = (released.clone(), granted.clone());
            loom::thread::spawn(move || {
                if owner.queue(0).is_some() {
                    released.wait();
                }
                owner.grant(0, Some(1), false);
                granted.send();
            })
        };
        let waiter = {
            let sum = sum.clone();
            loom::thread::spawn(move || {
                granted.wait();
                assert!(asking.has_lock(0), "it was granted");
                add(&sum);
                assert!(asking.try_unlock(0), "nobody else waits");
            })
        };
        let took = own.try_lock(0);
        if took {
            add(&sum);
            if !own.try_unlock(0) {
                released.send();
            }
        }
        server.join().expect("the server ends");
        waiter.join().expect("the waiter ends");
        assert_eq!(sum.load(Ordering::Relaxed), 1 + u64::from(took), "one at a time");
    });
}

/// Two clients take a free lock by themselves.
fn compete(flaw: Flaw, preemptions: usize) {
    check(preemptions, move || {
        let memory = Memory::new(flaw, &[WRITER], &[]);
        let _owner = owner(&memory, 2);
        let sum = Rc::new(AtomicU64::new(0));
        let turn = |guest: Guest, sum: &AtomicU64| {
            let took = guest.try_lock(0);
            if took {
                sum.store(sum.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                assert!(guest.try_unlock(0), "nobody waits");
            }
            u64::from(took)
        };
        let other = {
            let (guest, sum) = (guest(&memory, 1), sum.clone());
            loom::thread::spawn(move || turn(guest, &sum))
        };
        let took = turn(guest(&memory, 0), &sum) + other.join().expect("the other client ends");
        assert!(took > 0 && sum.load(Ordering::Relaxed) == took, "one at a time");
    });
}

#[test]
fn a_page_is_the_views_or_not_found() {
    replace(Flaw::None, 2);
}

#[test]
fn a_page_is_not_taken_for_another() {
    displace(Flaw::None, 2);
}

#[test]
fn a_view_is_whole() {
    show(Flaw::None, 3);
}

#[test]
fn what_a_view_needs_is_not_given_up() {
    give_up(Flaw::None, 3);
}

#[test]
fn a_lock_that_somebody_waits_for_is_handed_over() {
    hand_over(Flaw::None, 3);
}

#[test]
fn a_free_lock_is_taken_once() {
    compete(Flaw::None, 3);
}

#[test]
#[should_panic(expected = "half a page")]
fn the_model_notices_a_copy_without_a_check() {
    displace(Flaw::NoCheck, 2);
}

#[test]
#[should_panic(expected = "half a page")]
fn the_model_notices_a_check_by_a_load() {
    displace(Flaw::CheckByLoad, 2);
}

#[test]
#[should_panic(expected = "half a page")]
fn the_model_notices_an_announcement_after_the_change() {
    displace(Flaw::AnnounceLate, 2);
}

#[test]
#[should_panic(expected = "half a state")]
fn the_model_notices_a_state_without_a_check() {
    show(Flaw::NoCheck, 2);
}

#[test]
#[should_panic(expected = "view 2 sees Some(1)")]
fn the_model_notices_a_state_that_is_shown_before_the_cache_knows() {
    replace(Flaw::EarlyState, 2);
}

#[test]
#[should_panic(expected = "given up")]
fn the_model_notices_a_horizon_that_is_not_looked_at() {
    give_up(Flaw::OldHorizon, 2);
}

#[test]
#[should_panic(expected = "given up")]
fn the_model_notices_a_pin_after_the_look_at_the_horizon() {
    give_up(Flaw::LatePin, 2);
}

#[test]
#[should_panic(expected = "given up")]
fn the_model_notices_a_look_for_pins_before_the_horizon_is_raised() {
    give_up(Flaw::EarlyLook, 3);
}

#[test]
#[should_panic(expected = "nobody waits")]
fn the_model_notices_a_lock_that_is_taken_in_two_steps() {
    compete(Flaw::TornExchange, 2);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_notices_a_lock_that_is_given_back_past_who_waits() {
    hand_over(Flaw::BlindUnlock, 2);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_notices_a_queue_that_is_told_of_late() {
    hand_over(Flaw::LateQueue, 2);
}

#[test]
#[should_panic(expected = "half a page")]
fn the_model_notices_words_that_order_no_bytes() {
    displace(Flaw::RelaxedWords, 2);
}

#[test]
#[should_panic(expected = "one at a time")]
fn the_model_notices_words_that_order_no_locks() {
    compete(Flaw::RelaxedWords, 2);
}

#[test]
#[should_panic(expected = "half a state")]
fn the_model_notices_a_check_of_a_state_by_a_load() {
    show(Flaw::CheckByLoad, 2);
}
