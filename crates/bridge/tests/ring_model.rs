//! The ring under a model checker: loom runs every interleaving of the two ends (up to a bound on preemptions), with
//! stale bytes wherever nothing orders them, and fails on a deadlock, which is what a lost wake-up becomes.
//!
//! The memory below is `Cells` on loom's atomics. Words are read by read-modify-write, since loom takes a sequentially
//! consistent load for an acquiring one, which sees less; bytes are relaxed. Waits have no timeout: one that nobody
//! ends is a deadlock. The last tests break the memory to show that the model notices.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use statik_bridge::metrics::Op;
use statik_bridge::ring::{Answerer, BELL, Caller, Deadline, End, Fault, Request, word};
use statik_bridge::{Cells, Woken};

const HEADER_WORDS: usize = 16;
/// The smallest ring: two frames without payload, or one and a half with 8 bytes.
const AREA_BYTES: usize = 64;

/// A way to break the memory.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// A wait sleeps without looking at the word.
    BlindWait,
    /// Words order nothing.
    RelaxedWords,
    /// Notifications of this word are lost.
    Deaf(usize),
}

#[derive(Clone)]
struct Memory {
    words: Arc<Vec<AtomicI32>>,
    bytes: Arc<Vec<AtomicU32>>,
    sleep: Arc<(Mutex<()>, Condvar)>,
    flaw: Flaw,
}

impl Memory {
    fn new(words: usize, bytes: usize, flaw: Flaw) -> Self {
        Memory {
            words: Arc::new((0..words).map(|_| AtomicI32::new(0)).collect()),
            bytes: Arc::new((0..bytes / 4).map(|_| AtomicU32::new(0)).collect()),
            sleep: Arc::new((Mutex::new(()), Condvar::new())),
            flaw,
        }
    }

    fn ring(flaw: Flaw) -> Self {
        Memory::new(HEADER_WORDS, 2 * AREA_BYTES, flaw)
    }

    fn doorbell(flaw: Flaw) -> Self {
        Memory::new(1, 0, flaw)
    }

    fn order(&self) -> Ordering {
        if self.flaw == Flaw::RelaxedWords { Ordering::Relaxed } else { Ordering::SeqCst }
    }
}

impl Cells for Memory {
    fn len(&self) -> usize {
        4 * (self.words.len() + self.bytes.len())
    }

    fn load(&self, word: usize) -> i32 {
        self.words[word].fetch_add(0, self.order())
    }

    fn store(&self, word: usize, value: i32) {
        self.words[word].swap(value, self.order());
    }

    fn fetch_add(&self, word: usize, value: i32) -> i32 {
        self.words[word].fetch_add(value, self.order())
    }

    fn compare_exchange(&self, word: usize, expected: i32, new: i32) -> Result<i32, i32> {
        self.words[word].compare_exchange(expected, new, self.order(), Ordering::Relaxed)
    }

    fn read(&self, offset: usize, buf: &mut [u8]) {
        for (chunk, word) in buf.chunks_exact_mut(4).zip(offset / 4 - HEADER_WORDS..) {
            chunk.copy_from_slice(&self.bytes[word].load(Ordering::Relaxed).to_le_bytes());
        }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        for (chunk, word) in bytes.chunks_exact(4).zip(offset / 4 - HEADER_WORDS..) {
            let value = u32::from_le_bytes(chunk.try_into().expect("four bytes"));
            self.bytes[word].store(value, Ordering::Relaxed);
        }
    }

    fn wait(&self, word: usize, expected: i32, _timeout: Duration) -> Woken {
        let (sleeping, notified) = &*self.sleep;
        let guard = sleeping.lock().expect("no thread panics");
        if self.flaw != Flaw::BlindWait && self.load(word) != expected {
            return Woken::Changed;
        }
        drop(notified.wait(guard).expect("no thread panics"));
        Woken::Notified
    }

    fn notify(&self, word: usize) {
        if self.flaw == Flaw::Deaf(word) {
            return;
        }
        let (sleeping, notified) = &*self.sleep;
        let _guard = sleeping.lock().expect("no thread panics");
        notified.notify_all();
    }
}

fn forever() -> Deadline {
    Deadline::after(Duration::from_secs(1), || 0.0)
}

fn caller(ring: &Memory, doorbell: &Memory) -> Caller {
    Caller::new(Box::new(ring.clone()), Box::new(doorbell.clone()), 0).expect("a new ring")
}

/// A request to write that its payload can be told from, with `words` times 8 bytes.
fn write(number: u64, words: u32) -> (Request, Vec<u8>) {
    let payload = number.wrapping_mul(0x0101_0101_0101_0101).to_le_bytes().repeat(words as usize);
    (Request { offset: number, count: words, ..Request::new(Op::Write) }, payload)
}

/// The loop of the server, as `Server::serve` has it: answers what waits with the sum of what was posted before it,
/// until the caller hangs up.
fn serve(ring: &Memory, doorbell: &Memory) -> Vec<u64> {
    let mut answerer = Answerer::new(Box::new(ring.clone())).expect("a large enough ring");
    let (mut posted, mut payload) = (Vec::new(), Vec::new());
    loop {
        let seen = doorbell.load(BELL);
        while let Some((sequence, request)) = answerer.next(&mut payload).expect("sound bytes") {
            if request.op == Op::Write {
                assert_eq!(payload, write(request.offset, request.count).1, "the payload of the request");
                posted.push(request.offset);
            } else {
                answerer.answer(sequence, 0, posted.iter().sum(), &request.offset.to_le_bytes());
            }
        }
        if answerer.hung_up() && !answerer.has_next() {
            return posted;
        }
        doorbell.wait(BELL, seen, Duration::MAX);
    }
}

fn ask(caller: &mut Caller, question: u64) -> u64 {
    let request = Request { offset: question, ..Request::new(Op::Len) };
    let sequence = caller.post(&request, &[], &forever()).expect("room");
    let answer = caller.wait(sequence, &forever()).expect("an answer");
    let mut echo = [0; 8];
    caller.payload(0, &mut echo[..answer.length]);
    assert_eq!(u64::from_le_bytes(echo), question, "the answer is this question's");
    answer.value
}

/// Runs `client` against the server's loop, which must have seen exactly `expected`. The bound of 3 takes seconds; 5, which
/// takes minutes, found nothing more.
fn run(flaw: Flaw, preemptions: usize, expected: &'static [u64], client: fn(&mut Caller)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 100_000;
    model.check(move || {
        let (ring, doorbell) = (Memory::ring(flaw), Memory::doorbell(flaw));
        let server = {
            let (ring, doorbell) = (ring.clone(), doorbell.clone());
            loom::thread::spawn(move || serve(&ring, &doorbell))
        };
        let mut caller = caller(&ring, &doorbell);
        client(&mut caller);
        caller.hang_up();
        assert_eq!(server.join().expect("the server ends"), expected);
    });
}

fn post(caller: &mut Caller, number: u64, words: u32) {
    let (request, payload) = write(number, words);
    caller.post(&request, &payload, &forever()).expect("room");
}

#[test]
fn answers_are_the_questions() {
    run(Flaw::None, 3, &[], |caller| {
        assert_eq!(ask(caller, 5), 0);
        assert_eq!(ask(caller, 6), 0);
    });
}

/// Frames of 40 bytes in 64: each post but the first waits for room, and the second and third wrap around.
#[test]
fn a_full_ring_waits_and_wraps() {
    run(Flaw::None, 3, &[1, 2, 3], |caller| {
        for number in 1..=3 {
            post(caller, number, 1);
        }
    });
}

/// Each frame fills the ring, so the second lies where the first one was.
#[test]
fn room_is_given_away_only_once_it_was_read() {
    run(Flaw::None, 3, &[1, 2], |caller| {
        post(caller, 1, 4);
        post(caller, 2, 4);
    });
}

#[test]
fn a_question_sees_what_was_posted_before_it() {
    run(Flaw::None, 3, &[1], |caller| {
        post(caller, 1, 1);
        assert_eq!(ask(caller, 7), 1);
    });
}

#[test]
fn whoever_waits_learns_that_the_server_ended() {
    loom::model(|| {
        let (ring, doorbell) = (Memory::ring(Flaw::None), Memory::doorbell(Flaw::None));
        let mut answerer = Answerer::new(Box::new(ring.clone())).expect("a large enough ring");
        let server = loom::thread::spawn(move || answerer.end(End::Stopped));
        let mut caller = caller(&ring, &doorbell);
        let asked = caller.post(&Request::new(Op::Len), &[], &forever());
        let answer = asked.and_then(|sequence| caller.wait(sequence, &forever()));
        assert_eq!(answer, Err(Fault::Stopped));
        server.join().expect("the server ends");
    });
}

/// What the page does when a worker died, with the three fixed words only.
#[test]
fn whoever_waits_for_room_learns_that_the_server_died() {
    loom::model(|| {
        let (ring, doorbell) = (Memory::ring(Flaw::None), Memory::doorbell(Flaw::None));
        let page = {
            let ring = ring.clone();
            loom::thread::spawn(move || {
                ring.store(word::DEAD, 1);
                ring.fetch_add(word::WAKE, 1);
                ring.notify(word::WAKE);
            })
        };
        let mut caller = caller(&ring, &doorbell);
        let (request, payload) = write(1, 1);
        let ended = (0..3).find_map(|_| caller.post(&request, &payload, &forever()).err());
        assert_eq!(ended, Some(Fault::Died));
        page.join().expect("the page ends");
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_notices_a_wait_that_does_not_compare() {
    run(Flaw::BlindWait, 2, &[], |caller| assert_eq!(ask(caller, 5), 0));
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_notices_an_answer_without_notification() {
    run(Flaw::Deaf(word::WAKE), 2, &[], |caller| assert_eq!(ask(caller, 5), 0));
}

#[test]
#[should_panic]
fn the_model_notices_words_that_order_nothing() {
    run(Flaw::RelaxedWords, 2, &[1], |caller| {
        post(caller, 1, 1);
        assert_eq!(ask(caller, 7), 1);
    });
}
