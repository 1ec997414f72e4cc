//! Memory that two threads share, as the platform gives it: a SharedArrayBuffer in a browser, atomics natively.
//!
//! Invariants:
//! - Operations on words are sequentially consistent.
//! - Bytes are not synchronised: who reads them has seen, in a word, that they were written.
//! - What lies in the region was written by somebody else; nobody trusts it.

use std::time::Duration;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Somebody notified; or the platform woke without a reason.
    Notified,
    /// The word did not hold what was expected, so there was no wait.
    Changed,
    /// Nobody notified in time.
    TimedOut,
}

/// A shared region of 32-bit words, also addressed as bytes. Word `i` lies at bytes `4 * i ..`, little-endian.
///
/// An index beyond the region is the caller's error and may panic: callers check what they read from the region
/// before they use it as one.
#[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
pub trait Cells {
    /// The region's length in bytes.
    fn len(&self) -> usize;

    /// The value of a word.
    fn load(&self, word: usize) -> i32;

    /// Sets a word.
    fn store(&self, word: usize, value: i32);

    /// Adds to a word, wrapping, and returns what it held before.
    fn fetch_add(&self, word: usize, value: i32) -> i32;

    /// Sets a word to `new` if it holds `expected`. What it held: `Ok` if it was set, else `Err`.
    fn compare_exchange(&self, word: usize, expected: i32, new: i32) -> Result<i32, i32>;

    /// Copies the bytes at `offset` into `buf`.
    fn read(&self, offset: usize, buf: &mut [u8]);

    /// Copies `bytes` to `offset`.
    fn write(&self, offset: usize, bytes: &[u8]);

    /// Blocks while `word` holds `expected`, until [`Cells::notify`] or until `timeout` has passed. The comparison and
    /// the start of the wait are one step: a notification between them is not lost.
    fn wait(&self, word: usize, expected: i32, timeout: Duration) -> Woken;

    /// Wakes all who wait on `word`.
    fn notify(&self, word: usize);
}
