//! The two ends of a ring: requests one way, one answer at a time the other way. The bytes are described in
//! `docs/ring-format.md`.
//!
//! Invariants:
//! - The [`Caller`] alone moves the head, the [`Answerer`] alone the tail. Each keeps its own number in its own memory
//!   and reads only the other's from the region.
//! - Bytes are written before the word that announces them, and the announcement before the notification.
//! - Whoever waits reads the word that it waits on before it looks at what it waits for, so no wake-up is lost.
//! - A number from the region is checked before it is used; what fails the check ends the ring.
//!
//! This module knows neither files nor errors with paths: see `client` and `server`.

use std::cell::Cell;
use std::time::Duration;

use crate::Cells;
use crate::metrics::Op;
use crate::spin::Spin;
use crate::wire::REQUEST_BYTES;

pub use crate::wire::Request;

/// The header's words. The first three are fixed for all versions: the page writes them.
pub mod word {
    /// The client waits here. Whoever has news for it adds 1 and notifies.
    pub const WAKE: usize = 0;
    /// Not 0: no answer will come any more. See [`End`](super::End).
    pub const DEAD: usize = 1;
    /// Belongs to the page and the engine worker.
    pub const INTERRUPT: usize = 2;
    pub(crate) const MAGIC: usize = 3;
    pub(crate) const VERSION: usize = 4;
    pub(crate) const HEAD: usize = 5;
    pub(crate) const TAIL: usize = 6;
    pub(crate) const WANTED: usize = 7;
    pub(crate) const HANG_UP: usize = 8;
    pub(crate) const ANSWER_SEQUENCE: usize = 9;
    pub(crate) const ANSWER_STATUS: usize = 10;
    pub(crate) const ANSWER_LOW: usize = 11;
    pub(crate) const ANSWER_HIGH: usize = 12;
    pub(crate) const ANSWER_LENGTH: usize = 13;
}

/// The doorbell's only word that has a meaning.
pub const BELL: usize = 0;

const HEADER_BYTES: usize = 64;
const MAGIC: i32 = i32::from_le_bytes(*b"SRNG");
const VERSION: i32 = 3;
/// Frames begin at multiples of this.
const ALIGN: u32 = 8;
const MIN_CAPACITY: usize = 64;
const MAX_CAPACITY: usize = 1 << 30;
const MAX_REASON_BYTES: u32 = 64;
/// So much may be posted quietly before the doorbell rings.
const QUIET_BYTES: u32 = 256 * 1024;

/// Why no answer will come, as the word DEAD holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The page noticed that the server's worker died.
    Died = 1,
    /// The server stopped, or it let this client go.
    Stopped = 2,
    /// The server found bytes in the ring that break the format, or another version. The answer area tells more.
    Refused = 3,
}

/// What ends a caller's use of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The deadline has passed.
    Timeout,
    /// [`End::Died`].
    Died,
    /// [`End::Stopped`].
    Stopped,
    /// [`End::Refused`], and why.
    Refused(String),
    /// The server broke the format.
    Corrupt(String),
}

/// What is wrong with bytes that a caller posted.
pub type Broken = String;

/// When a caller gives up. The clock, which is dear in browsers, runs from the first time on that it has to wait.
pub struct Deadline {
    clock: fn() -> f64,
    limit: Duration,
    end_ms: Cell<Option<f64>>,
}

impl Deadline {
    /// After waiting for `limit` by `clock`, which tells milliseconds and never goes back.
    pub fn after(limit: Duration, clock: fn() -> f64) -> Self {
        Deadline { clock, limit, end_ms: Cell::new(None) }
    }

    fn remaining(&self) -> Result<Duration, Fault> {
        let now_ms = (self.clock)();
        let end_ms = self.end_ms.get().unwrap_or(now_ms + self.limit.as_secs_f64() * 1000.0);
        self.end_ms.set(Some(end_ms));
        let left_ms = end_ms - now_ms;
        if left_ms > 0.0 { Ok(Duration::from_secs_f64((left_ms / 1000.0).min(1e6))) } else { Err(Fault::Timeout) }
    }
}

/// Where the areas lie: both are `capacity` bytes long, a power of two, so that 32-bit positions may wrap.
#[derive(Clone, Copy)]
struct Layout {
    capacity: u32,
}

impl Layout {
    fn of(ring: &dyn Cells) -> Result<Self, String> {
        let half = ring.len().saturating_sub(HEADER_BYTES) / 2;
        if half < MIN_CAPACITY {
            return Err(format!("a ring of {} bytes: at least 192 are needed", ring.len()));
        }
        let capacity = half.min(MAX_CAPACITY);
        Ok(Layout { capacity: 1 << capacity.ilog2() })
    }

    fn answers(&self) -> usize {
        HEADER_BYTES + self.capacity as usize
    }

    /// The place of `position` in the request area, and how many of `length` bytes fit before the area's end.
    fn place(&self, position: u32, length: usize) -> (usize, usize) {
        let index = (position & (self.capacity - 1)) as usize;
        (HEADER_BYTES + index, length.min(self.capacity as usize - index))
    }
}

/// An answer whose payload still lies in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0, or 1 + the wire number of an error kind.
    pub status: i32,
    /// The operation's result, if it is a number.
    pub value: u64,
    /// The payload's length in bytes.
    pub length: usize,
}

/// The client's end.
pub struct Caller {
    ring: Box<dyn Cells>,
    doorbell: Box<dyn Cells>,
    layout: Layout,
    head: u32,
    sequence: u32,
    spin: Spin,
    /// Bytes posted since the doorbell rang.
    quiet: u32,
}

impl Caller {
    /// The first and only caller of a zeroed `ring`. It looks up to `spin` times for an answer before it blocks.
    ///
    /// # Errors
    /// What is wrong with the ring: it is too small, or another caller used it before.
    pub fn new(ring: Box<dyn Cells>, doorbell: Box<dyn Cells>, spin: u32) -> Result<Self, String> {
        let layout = Layout::of(&*ring)?;
        if ring.load(word::MAGIC) != 0 || ring.load(word::HEAD) != 0 {
            return Err("a ring serves one client, and this one was used before".to_owned());
        }
        ring.store(word::VERSION, VERSION);
        ring.store(word::MAGIC, MAGIC);
        Ok(Caller { ring, doorbell, layout, head: 0, sequence: 0, spin: Spin::new(spin), quiet: 0 })
    }

    /// The size of the request area and of the answer area, in bytes.
    pub fn capacity(&self) -> usize {
        self.layout.capacity as usize
    }

    /// Posts a request, waiting for room if there is none, and returns its sequence number.
    ///
    /// # Panics
    /// If the request is larger than the ring: the stubs split what may be large.
    pub fn post(&mut self, request: &Request, payload: &[u8], deadline: &Deadline) -> Result<u32, Fault> {
        let sequence = self.put_frame(request, payload, deadline)?;
        self.ring_bell();
        Ok(sequence)
    }

    /// As [`Caller::post`], for what may lie there until more comes: the doorbell rings only now and then.
    pub fn post_quietly(&mut self, request: &Request, payload: &[u8], deadline: &Deadline) -> Result<u32, Fault> {
        let sequence = self.put_frame(request, payload, deadline)?;
        if self.quiet >= QUIET_BYTES {
            self.ring_bell();
        }
        Ok(sequence)
    }

    fn put_frame(&mut self, request: &Request, payload: &[u8], deadline: &Deadline) -> Result<u32, Fault> {
        let length = REQUEST_BYTES + payload.len();
        let padded = length.next_multiple_of(ALIGN as usize);
        assert!(padded <= self.capacity(), "a request of {length} bytes in a ring of {}", self.capacity());
        let (length, padded) = (length as u32, padded as u32);
        self.make_room(padded, deadline)?;
        let sequence = self.sequence.wrapping_add(1);
        self.put(self.head, &request.encode(length, sequence));
        self.put(self.head.wrapping_add(REQUEST_BYTES as u32), payload);
        self.head = self.head.wrapping_add(padded);
        self.sequence = sequence;
        self.quiet += padded;
        self.ring.store(word::HEAD, self.head as i32);
        Ok(sequence)
    }

    /// Waits for the answer to the request `sequence`, the last one posted.
    pub fn wait(&mut self, sequence: u32, deadline: &Deadline) -> Result<Answer, Fault> {
        if let Some(answer) = self.spin.look(|| self.answer(sequence).transpose()) {
            return answer;
        }
        loop {
            let seen = self.ring.load(word::WAKE);
            if let Some(answer) = self.answer(sequence)? {
                return Ok(answer);
            }
            self.alive()?;
            self.ring.wait(word::WAKE, seen, deadline.remaining()?);
        }
    }

    /// Copies the payload of the last answer, from its byte `offset`.
    pub fn payload(&self, offset: usize, buf: &mut [u8]) {
        self.ring.read(self.layout.answers() + offset, buf);
    }

    /// Fails if no answer can come any more.
    pub fn alive(&self) -> Result<(), Fault> {
        match self.ring.load(word::DEAD) {
            0 => Ok(()),
            end if end == End::Stopped as i32 => Err(Fault::Stopped),
            end if end == End::Refused as i32 => Err(Fault::Refused(self.reason())),
            _ => Err(Fault::Died),
        }
    }

    /// Tells the server that nothing will be posted any more and no answer is waited for.
    pub fn hang_up(&mut self) {
        self.ring.store(word::HANG_UP, 1);
        self.ring_bell();
    }

    fn reason(&self) -> String {
        let length = self.ring.load(word::ANSWER_LENGTH) as u32;
        let mut text = vec![0; length.min(MAX_REASON_BYTES) as usize];
        self.payload(0, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn ring_bell(&mut self) {
        self.quiet = 0;
        self.doorbell.fetch_add(BELL, 1);
        self.doorbell.notify(BELL);
    }

    fn answer(&self, sequence: u32) -> Result<Option<Answer>, Fault> {
        if self.ring.load(word::ANSWER_SEQUENCE) as u32 != sequence {
            return Ok(None);
        }
        let length = self.ring.load(word::ANSWER_LENGTH) as u32;
        if length > self.layout.capacity {
            return Err(Fault::Corrupt(format!("an answer of {length} bytes in {}", self.layout.capacity)));
        }
        let low = self.ring.load(word::ANSWER_LOW) as u32;
        let high = self.ring.load(word::ANSWER_HIGH) as u32;
        Ok(Some(Answer {
            status: self.ring.load(word::ANSWER_STATUS),
            value: u64::from(high) << 32 | u64::from(low),
            length: length as usize,
        }))
    }

    fn make_room(&mut self, needed: u32, deadline: &Deadline) -> Result<(), Fault> {
        self.alive()?;
        if self.free()? >= needed {
            return Ok(());
        }
        if self.quiet > 0 {
            self.ring_bell();
        }
        // Half a ring, so that a long sequence of posts does not wake this thread for each.
        let wanted = needed.max(self.layout.capacity / 2) as i32;
        self.ring.fetch_add(word::WANTED, wanted);
        let outcome = self.wait_for_room(needed, deadline);
        self.ring.fetch_add(word::WANTED, -wanted);
        outcome
    }

    fn wait_for_room(&self, needed: u32, deadline: &Deadline) -> Result<(), Fault> {
        loop {
            let seen = self.ring.load(word::WAKE);
            self.alive()?;
            if self.free()? >= needed {
                return Ok(());
            }
            self.ring.wait(word::WAKE, seen, deadline.remaining()?);
        }
    }

    fn free(&self) -> Result<u32, Fault> {
        let used = self.head.wrapping_sub(self.ring.load(word::TAIL) as u32);
        self.layout.capacity.checked_sub(used).ok_or_else(|| Fault::Corrupt("the tail is not in the ring".to_owned()))
    }

    fn put(&self, position: u32, bytes: &[u8]) {
        let (place, first) = self.layout.place(position, bytes.len());
        self.ring.write(place, &bytes[..first]);
        self.ring.write(HEADER_BYTES, &bytes[first..]);
    }
}

/// The server's end.
pub struct Answerer {
    ring: Box<dyn Cells>,
    layout: Layout,
    tail: u32,
    sequence: u32,
    /// The head beyond which nothing is taken any more.
    last: Option<u32>,
}

impl Answerer {
    /// The server's end of `ring`, whose caller may have posted already.
    ///
    /// # Errors
    /// What is wrong with the ring: it is too small.
    pub fn new(ring: Box<dyn Cells>) -> Result<Self, String> {
        let layout = Layout::of(&*ring)?;
        Ok(Answerer { ring, layout, tail: 0, sequence: 0, last: None })
    }

    /// The size of the request area and of the answer area, in bytes.
    pub fn capacity(&self) -> usize {
        self.layout.capacity as usize
    }

    /// Takes the next request, its payload into `payload`, and makes its room free.
    ///
    /// # Errors
    /// What is wrong, if the bytes break the format. The ring must then be [refused](Answerer::refuse).
    pub fn next(&mut self, payload: &mut Vec<u8>) -> Result<Option<(u32, Request)>, Broken> {
        payload.clear();
        let request = self.next_if(payload, |_, _| true)?;
        Ok(request.map(|request| (self.sequence, request)))
    }

    /// As [`Answerer::next`], but appends to `payload`, and leaves a request of which `wanted`, given the length of its
    /// payload, says no.
    ///
    /// # Errors
    /// As [`Answerer::next`].
    pub fn next_if(
        &mut self,
        payload: &mut Vec<u8>,
        wanted: impl Fn(&Request, usize) -> bool,
    ) -> Result<Option<Request>, Broken> {
        let Some((length, request)) = self.peek()? else { return Ok(None) };
        let more = length as usize - REQUEST_BYTES;
        if !wanted(&request, more) {
            return Ok(None);
        }
        let start = payload.len();
        payload.resize(start + more, 0);
        self.take(self.tail.wrapping_add(REQUEST_BYTES as u32), &mut payload[start..]);
        self.advance(length);
        Ok(Some(request))
    }

    /// Whether there is something to take.
    pub fn has_next(&self) -> bool {
        self.posted() != 0
    }

    /// Answers the request `sequence`.
    ///
    /// # Panics
    /// If the payload is larger than the answer area.
    pub fn answer(&self, sequence: u32, status: i32, value: u64, payload: &[u8]) {
        assert!(payload.len() <= self.capacity(), "an answer of {} bytes", payload.len());
        self.ring.write(self.layout.answers(), payload);
        self.ring.store(word::ANSWER_STATUS, status);
        self.ring.store(word::ANSWER_LOW, value as u32 as i32);
        self.ring.store(word::ANSWER_HIGH, (value >> 32) as u32 as i32);
        self.ring.store(word::ANSWER_LENGTH, payload.len() as i32);
        self.ring.store(word::ANSWER_SEQUENCE, sequence as i32);
        self.wake();
    }

    /// Whether the caller will post nothing any more.
    pub fn hung_up(&self) -> bool {
        self.ring.load(word::HANG_UP) != 0
    }

    /// Tells the caller that no answer will come any more. What it posted until now can still be taken.
    pub fn end(&mut self, end: End) {
        self.last.get_or_insert(self.ring.load(word::HEAD) as u32);
        self.ring.store(word::DEAD, end as i32);
        self.wake();
    }

    /// [Ends](Answerer::end) the ring because of what its caller wrote.
    pub fn refuse(&mut self, why: &Broken) {
        let why = &why[..why.floor_char_boundary(MAX_REASON_BYTES as usize)];
        self.ring.write(self.layout.answers(), why.as_bytes());
        self.ring.store(word::ANSWER_LENGTH, why.len() as i32);
        self.end(End::Refused);
    }

    fn wake(&self) {
        self.ring.fetch_add(word::WAKE, 1);
        self.ring.notify(word::WAKE);
    }

    /// How many bytes the caller says to have posted that were not taken yet.
    fn posted(&self) -> u32 {
        let head = self.last.unwrap_or_else(|| self.ring.load(word::HEAD) as u32);
        head.wrapping_sub(self.tail)
    }

    /// The length of the next frame and its request, both checked.
    fn peek(&self) -> Result<Option<(u32, Request)>, Broken> {
        let posted = self.posted();
        if posted == 0 {
            return Ok(None);
        }
        let (magic, version) = (self.ring.load(word::MAGIC), self.ring.load(word::VERSION));
        if magic != MAGIC || version != VERSION {
            return Err(format!("magic {magic:#x}, version {version}, not {MAGIC:#x}, {VERSION}"));
        }
        if posted > self.layout.capacity || posted < REQUEST_BYTES as u32 {
            return Err(format!("{posted} bytes in a ring of {}", self.layout.capacity));
        }
        let mut bytes = [0; REQUEST_BYTES];
        self.take(self.tail, &mut bytes);
        let (length, sequence, request) = Request::decode(&bytes)?;
        if length < REQUEST_BYTES as u32 || length > posted || length.next_multiple_of(ALIGN) > posted {
            return Err(format!("a frame of {length} bytes in {posted}"));
        }
        let expected = self.sequence.wrapping_add(1);
        if sequence != expected {
            return Err(format!("frame {sequence} in place of {expected}"));
        }
        Ok(Some((length, request)))
    }

    fn advance(&mut self, length: u32) {
        self.sequence = self.sequence.wrapping_add(1);
        self.tail = self.tail.wrapping_add(length.next_multiple_of(ALIGN));
        self.ring.store(word::TAIL, self.tail as i32);
        let wanted = self.ring.load(word::WANTED);
        if wanted > 0 && self.layout.capacity.saturating_sub(self.posted()) >= wanted as u32 {
            self.wake();
        }
    }

    fn take(&self, position: u32, buf: &mut [u8]) {
        let (place, first) = self.layout.place(position, buf.len());
        let (front, back) = buf.split_at_mut(first);
        self.ring.read(place, front);
        self.ring.read(HEADER_BYTES, back);
    }
}

impl Request {
    /// A request for an operation that is about nothing but itself.
    pub fn new(op: Op) -> Self {
        Request { op, handle: 0, offset: 0, count: 0 }
    }
}
