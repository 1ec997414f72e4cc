//! The PRAGMAs that the store has a say in.
//!
//! - `synchronous` sets when a commit returns ([`Durability`]); SQLite answers it.
//! - `journal_mode` answers `memory`, whatever it is set to: that is the mode of SQLite's own journal, and the only one
//!   that lets the store commit. It says nothing about durability, which is the store's.
//! - `locking_mode` answers `normal`, whatever it is set to.
//! - `wal_checkpoint` copies the store's log to the databases.

use std::ffi::{CStr, c_char};

use statik_bridge::pages::Durability;
use statik_disk::{Kind, Result};

use crate::ffi;
use crate::file::Database;
use crate::vfs::State;

/// What becomes of a PRAGMA.
pub(crate) enum Control {
    /// SQLite does it.
    Pass,
    /// This is the answer, and SQLite does nothing.
    Answer(&'static CStr),
}

/// Called while SQLite prepares a PRAGMA; what it changes in `value` SQLite goes on with.
pub(crate) fn control(state: &State, database: &Database, name: &[u8], value: Option<&mut [u8]>) -> Result<Control> {
    let is = |pragma: &str| name.eq_ignore_ascii_case(pragma.as_bytes());
    let Some(value) = value else {
        if is("wal_checkpoint") {
            checkpoint(state, true)?;
        }
        return Ok(Control::Pass);
    };
    if is("synchronous") {
        // SAFETY: the connection is open, since it prepares a statement.
        if unsafe { ffi::sqlite3_get_autocommit(database.connection()) } != 0 {
            database.set_durability(durability(value));
        }
    } else if is("journal_mode") {
        return Ok(only(c"memory", value));
    } else if is("locking_mode") {
        return Ok(only(c"normal", value));
    } else if is("wal_checkpoint") {
        checkpoint(state, value.eq_ignore_ascii_case(b"passive"))?;
    }
    Ok(Control::Pass)
}

/// Lets no value pass but `mode`. Any other becomes one that SQLite does not know, which it takes for the question, so
/// that the answer is SQLite's.
fn only(mode: &'static CStr, value: &mut [u8]) -> Control {
    if value.eq_ignore_ascii_case(mode.to_bytes()) {
        return Control::Pass;
    }
    let Some(first) = value.first_mut() else { return Control::Answer(mode) };
    *first = b'?';
    Control::Pass
}

/// A passive checkpoint does what it can; others need all of it.
fn checkpoint(state: &State, passive: bool) -> Result<()> {
    match state.pages().checkpoint() {
        Err(error) if passive && error.kind() == Kind::Busy => Ok(()),
        result => result,
    }
}

/// What a value of `PRAGMA synchronous` stands for, by SQLite's rules, <https://sqlite.org/pragma.html#pragma_synchronous>:
/// the low three bits of a number plus one, or a word, or NORMAL.
fn durability(value: &[u8]) -> Durability {
    let level = match value.first() {
        Some(b'0'..=b'9') => (integer(value) + 1) & 7,
        _ => match value.to_ascii_lowercase().as_slice() {
            b"off" | b"no" | b"false" => 1,
            b"full" => 3,
            b"extra" => 4,
            _ => 2,
        },
    };
    match level {
        0 | 1 => Durability::Off,
        2 => Durability::Normal,
        _ => Durability::Full,
    }
}

/// The 32-bit integer that the text begins with; 0 if it does not fit.
fn integer(text: &[u8]) -> u64 {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', first, ..] if first.is_ascii_hexdigit() => (&text[2..], 16),
        _ => (text, 10),
    };
    let digits = digits.iter().map_while(|byte| char::from(*byte).to_digit(radix));
    let value = digits.fold(0_u64, |value, digit| value.saturating_mul(radix.into()).saturating_add(digit.into()));
    if value > i32::MAX as u64 { 0 } else { value }
}

/// A copy of `text` that SQLite frees; null if there is no memory for it.
pub(crate) fn allocated(text: &CStr) -> *mut c_char {
    let bytes = text.to_bytes_with_nul();
    // SAFETY: SQLite's allocator gives null or room for the bytes.
    unsafe {
        let copy = ffi::sqlite3_malloc64(bytes.len() as u64).cast::<c_char>();
        if !copy.is_null() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), copy, bytes.len());
        }
        copy
    }
}
