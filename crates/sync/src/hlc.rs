//! Hybrid logical clock: stamps that are near the time of day, and yet rise with every change, whatever the clock on the
//! wall does. After Kulkarni, Demirbas et al., "Logical Physical Clocks" (2014).
//!
//! The text form is described in `docs/hlc-format.md`: 34 characters, whose order as text is the order in time.
//!
//! Invariants:
//! - A clock's stamps rise strictly, also when the time that is passed in goes back, and across restarts if
//!   [`Clock::restore`] is told of what is stored.
//! - No remote stamp moves a clock further ahead of its time than its bound on drift, not even in many small steps.
//! - What fails leaves the clock as it was.
//!
//! Node ids are to be different for each replica, and each tab that writes; nothing here can check that.

use std::fmt;
use std::str::FromStr;

use statik_disk::{Error, Kind, Result};

/// The last millisecond that a stamp can hold, in the year 10889.
pub const MAX_WALL_MS: u64 = (1 << 48) - 1;

/// How far ahead of the time here a remote stamp may be if nothing else is said.
pub const MAX_DRIFT_MS: u64 = 60_000;

const TEXT_BYTES: usize = 34;
const DASHES: [usize; 2] = [12, 17];

/// When and where a change was made. Ordered by time, then counter, then node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    // The derived order is by the fields' order.
    wall_ms: u64,
    counter: u16,
    node: u64,
}

impl Timestamp {
    /// A stamp of these parts: [`Kind::Invalid`] if `wall_ms` needs more than 48 bits.
    pub fn new(wall_ms: u64, counter: u16, node: u64) -> Result<Self> {
        if wall_ms > MAX_WALL_MS {
            let context = format!("stamping a change: the time must be at most {MAX_WALL_MS} ms, and is {wall_ms} ms");
            return Err(Error::new(Kind::Invalid, context));
        }
        Ok(Timestamp { wall_ms, counter, node })
    }

    /// Milliseconds since 1970, below 2^48.
    pub const fn wall_ms(self) -> u64 {
        self.wall_ms
    }

    /// Which one of the stamps with the same milliseconds.
    pub const fn counter(self) -> u16 {
        self.counter
    }

    /// Who made the stamp.
    pub const fn node(self) -> u64 {
        self.node
    }

    const fn time(self) -> (u64, u16) {
        (self.wall_ms, self.counter)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}-{:04x}-{:016x}", self.wall_ms, self.counter, self.node)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Reads what `Display` writes and nothing else: [`Kind::Invalid`] with what came.
    fn from_str(text: &str) -> Result<Self> {
        let bytes = text.as_bytes();
        let is_right = |(at, byte): (usize, &u8)| match DASHES.contains(&at) {
            true => *byte == b'-',
            false => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        if bytes.len() != TEXT_BYTES || !bytes.iter().enumerate().all(is_right) {
            let start: String = text.chars().take(TEXT_BYTES + 6).collect();
            let context = format!(
                "reading a timestamp: expected wwwwwwwwwwww-cccc-nnnnnnnnnnnnnnnn in lower-case hexadecimal digits, \
                 found {} bytes that begin {start:?}",
                bytes.len()
            );
            return Err(Error::new(Kind::Invalid, context));
        }
        let number = |part: &[u8]| part.iter().fold(0, |number, digit| number << 4 | u64::from(value(*digit)));
        let counter = bytes[13..17].iter().fold(0, |number, digit| number << 4 | u16::from(value(*digit)));
        Ok(Timestamp { wall_ms: number(&bytes[..12]), counter, node: number(&bytes[18..]) })
    }
}

/// The value of a digit that was checked before.
const fn value(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 }
}

/// The clock of one node.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The newest stamp given or seen, under this clock's node.
    last: Timestamp,
    max_drift_ms: u64,
}

impl Clock {
    /// A clock that has seen nothing yet, bound to [`MAX_DRIFT_MS`].
    pub const fn new(node: u64) -> Self {
        Clock { last: Timestamp { wall_ms: 0, counter: 0, node }, max_drift_ms: MAX_DRIFT_MS }
    }

    /// The same clock with another bound on how far ahead a remote stamp may be.
    #[must_use]
    pub const fn with_max_drift_ms(mut self, max_drift_ms: u64) -> Self {
        self.max_drift_ms = max_drift_ms;
        self
    }

    /// The newest stamp given, or the time of the newest one seen: what to keep for [`Clock::restore`].
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// Raises the clock above a stamp out of its own storage, without a bound: what is stored was accepted before. To be
    /// called after a start with each stored stamp, or with the greatest.
    pub fn restore(&mut self, stored: Timestamp) {
        if stored.time() > self.last.time() {
            self.last = Timestamp { node: self.last.node, ..stored };
        }
    }

    /// A stamp for a change made here, above all that were given or seen. [`Kind::Invalid`] if `now_ms`, or the stamp,
    /// needs more than 48 bits.
    pub fn tick(&mut self, now_ms: u64) -> Result<Timestamp> {
        self.last = self.above(now_ms, self.last)?;
        Ok(self.last)
    }

    /// Takes note of a stamp from elsewhere and gives one above it. [`Kind::Invalid`] if it is further ahead of `now_ms`
    /// than the bound: then somebody's clock is wrong, and following it would make every later change wrong, too. A
    /// stamp that is not above the clock is taken however far ahead it is, since it moves nothing: it may be an echo of
    /// this node's own, after its time was set back.
    pub fn receive(&mut self, now_ms: u64, remote: Timestamp) -> Result<Timestamp> {
        let moves = remote.time() > self.last.time();
        if moves && remote.wall_ms.saturating_sub(now_ms) > self.max_drift_ms {
            let context = format!(
                "receiving the timestamp {remote}: it may be at most {} ms ahead of the time here, and is {} ms",
                self.max_drift_ms,
                remote.wall_ms - now_ms
            );
            return Err(Error::new(Kind::Invalid, context));
        }
        self.last = self.above(now_ms, if moves { remote } else { self.last })?;
        Ok(self.last)
    }

    /// The least stamp of this node that is above `newest` and not before `now_ms`.
    fn above(&self, now_ms: u64, newest: Timestamp) -> Result<Timestamp> {
        let node = self.last.node;
        match newest.counter.checked_add(1) {
            _ if now_ms > newest.wall_ms => Timestamp::new(now_ms, 0, node),
            Some(counter) => Timestamp::new(newest.wall_ms, counter, node),
            None => Timestamp::new(newest.wall_ms + 1, 0, node),
        }
    }
}
