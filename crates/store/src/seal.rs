//! Sealing: bytes at rest that nobody without the key reads, changes unseen, or passes off as another record's.
//!
//! A [`Keyring`] seals by XAES-256-GCM: AES-256-GCM under a key and a nonce that follow, for each record, from its data
//! key and 192 random bits. What the record is, its [`Context`], is authenticated with it and not stored.
//! [`Names`] hides the names of records, so that they can still be looked up. `docs/sealed-format.md` has the bytes.
//!
//! Invariants:
//! - A nonce is 192 random bits and nothing else. No counter is kept that a crash, a restored backup or a second copy
//!   of the database could set back: under one data key 2^80 records can be sealed, by whomever, before two have the
//!   same nonce with a probability of 2^-32.
//! - A data key is used for nothing but to derive keys from it; what seals, what checks and what hides names are
//!   unlike.
//! - A data key's id is derived from it, so a wrong key is told from damage: [`Kind::Permission`] for a key that is not
//!   there, [`Kind::Corrupt`] for what fails under the key that it names. Nothing is given before its tag was right.
//! - Keys are wiped from memory when what holds them is dropped. Bytes that were opened are the caller's.
//!
//! It does not hide how long bytes are, that a record was put back to what it once was, or that it was deleted. It
//! knows neither passphrases nor where keys are kept.
//!
//! ```
//! use statik_store::seal::{Context, Keyring, Seal};
//!
//! # let random = |bytes: &mut [u8]| { bytes.fill(7); Ok(()) };
//! let keyring = Keyring::new(&[1; 32], &[], random)?;
//! let context = Context { store: "notes", key: b"monday", version: 1 };
//! let sealed = keyring.seal(context, b"buy milk")?;
//! assert_eq!(keyring.open(context, &sealed)?, b"buy milk");
//! assert!(keyring.open(Context { key: b"tuesday", ..context }, &sealed).is_err());
//! # Ok::<(), statik_disk::Error>(())
//! ```

mod names;
mod xaes;

use std::cell::RefCell;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use statik_disk::{Error, Kind, Result};
use zeroize::Zeroizing;

pub use names::Names;
use xaes::{NONCE_BYTES, TAG_BYTES, Xaes256Gcm};

/// How long a data key is.
pub const KEY_BYTES: usize = 32;
/// How much longer what is sealed is than what it was.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;
/// How long the value is that tells whether a data key is the right one.
pub const CHECK_BYTES: usize = 16;

const MAGIC: [u8; 3] = *b"SEL";
const FORMAT_VERSION: u8 = 1;
const HEADER_BYTES: usize = 8;
/// So much of a record's key is told in an error.
const TOLD_BYTES: usize = 64;

/// Which record something is. It must be the same when it is opened as it was when it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The store that it lies in, by a name that no other store has that is sealed by the same keys.
    pub store: &'a str,
    /// Its key in that store.
    pub key: &'a [u8],
    /// The version of the plain bytes' format, so that bytes of one are never read as another's.
    pub version: u32,
}

impl fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, more) = match self.key.get(..TOLD_BYTES) {
            Some(start) if self.key.len() > TOLD_BYTES => (start, "…"),
            _ => (self.key, ""),
        };
        write!(f, "record \"{}{more}\" of store {:?}, version {}", told.escape_ascii(), self.store, self.version)
    }
}

impl Context<'_> {
    /// What is authenticated with a record: its header and its context, each length before what has it, so that no byte
    /// can pass from one field to the next.
    fn associated(&self, header: &[u8; HEADER_BYTES]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 4 + 8 + self.store.len() + 8 + self.key.len());
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        for field in [self.store.as_bytes(), self.key] {
            bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
            bytes.extend_from_slice(field);
        }
        bytes
    }
}

/// Seals bytes and opens them again.
///
/// Values of structured databases are sealed record by record. The same trait fits pages and logs, whose context would
/// be: for a page of a SQLite database its file's path as `store` and the page's number, as 8 bytes in little-endian
/// order, as `key`; for a record of a log the log's path as `store`, and the epoch and the sequence number, 8 bytes
/// each, as `key`. The version is that of the format of pages, or of logs.
pub trait Seal {
    /// Bytes from which [`Seal::open`] gets `plain` back, in the same context only. Sealing twice gives different
    /// bytes.
    ///
    /// # Errors
    /// What the source of random bytes says. [`Kind::Invalid`] for more than 64 GiB.
    fn seal(&self, context: Context<'_>, plain: &[u8]) -> Result<Vec<u8>>;

    /// What was sealed.
    ///
    /// # Errors
    /// [`Kind::Permission`] if it was sealed with a key that is not here, [`Kind::Corrupt`] if it is not as it was
    /// sealed or was sealed in another context, [`Kind::Unsupported`] for another version of the format.
    fn open(&self, context: Context<'_>, sealed: &[u8]) -> Result<Vec<u8>>;
}

/// Fills the slice with bytes that nobody can guess.
pub type Random = Box<dyn FnMut(&mut [u8]) -> Result<()>>;

/// Data keys: one seals, all open.
pub struct Keyring {
    /// The one that seals, and after it those that only open.
    keys: Vec<(u32, Xaes256Gcm)>,
    random: RefCell<Random>,
}

impl Keyring {
    /// `current` seals; `older` are the keys that what was sealed earlier may need. `random` fills a slice with bytes
    /// that nobody can guess.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if two keys have the same id, as one that is given twice has.
    pub fn new(
        current: &[u8; KEY_BYTES],
        older: &[[u8; KEY_BYTES]],
        random: impl FnMut(&mut [u8]) -> Result<()> + 'static,
    ) -> Result<Keyring> {
        let mut keys = Vec::with_capacity(1 + older.len());
        for key in std::iter::once(current).chain(older) {
            let id = key_id(key);
            if keys.iter().any(|&(other, _)| other == id) {
                let context = format!("a keyring was given two data keys with the id {id:08x}");
                return Err(Error::new(Kind::Invalid, context));
            }
            keys.push((id, Xaes256Gcm::new(&derive(key, "records"))));
        }
        Ok(Keyring { keys, random: RefCell::new(Box::new(random)) })
    }

    /// The id of the key that seals.
    pub fn current(&self) -> u32 {
        self.keys[0].0
    }

    /// What was sealed with an older key, sealed with the current one; `None` if it was that already.
    ///
    /// # Errors
    /// As [`Seal::open`] and [`Seal::seal`]. What is current already is not opened, so damage to it is not noticed.
    pub fn reseal(&self, context: Context<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>> {
        if sealed_with(context, sealed)? == self.current() {
            return Ok(None);
        }
        let plain = Zeroizing::new(self.open(context, sealed)?);
        self.seal(context, &plain).map(Some)
    }
}

impl Seal for Keyring {
    fn seal(&self, context: Context<'_>, plain: &[u8]) -> Result<Vec<u8>> {
        let (id, key) = &self.keys[0];
        let header = header(*id);
        let mut nonce = [0; NONCE_BYTES];
        (self.random.borrow_mut())(&mut nonce)?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
        sealed.extend_from_slice(&header);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = key
            .encrypt(&nonce, &context.associated(&header), &mut sealed[HEADER_BYTES + NONCE_BYTES..])
            .ok_or_else(|| Error::new(Kind::Invalid, format!("sealing {} bytes: {context}", plain.len())))?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    fn open(&self, context: Context<'_>, sealed: &[u8]) -> Result<Vec<u8>> {
        let id = sealed_with(context, sealed)?;
        let Some((_, key)) = self.keys.iter().find(|&&(other, _)| other == id) else {
            let ids: Vec<String> = self.keys.iter().map(|(id, _)| format!("{id:08x}")).collect();
            let context = format!("opening {context}: it names the data key {id:08x}; here are {}", ids.join(", "));
            return Err(Error::new(Kind::Permission, context));
        };
        let (nonce, rest) = sealed[HEADER_BYTES..].split_first_chunk().expect("the length was looked at");
        let (bytes, tag) = rest.split_last_chunk().expect("the length was looked at");
        let mut plain = bytes.to_vec();
        if !key.decrypt(nonce, &context.associated(&header(id)), &mut plain, tag) {
            let context =
                format!("opening {context}: the bytes were changed, or sealed as another record (data key {id:08x})");
            return Err(Error::new(Kind::Corrupt, context));
        }
        Ok(plain)
    }
}

fn header(id: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..3].copy_from_slice(&MAGIC);
    bytes[3] = FORMAT_VERSION;
    bytes[4..].copy_from_slice(&id.to_le_bytes());
    bytes
}

/// The id of the data key that `sealed` names. Nothing has vouched for it yet.
fn sealed_with(context: Context<'_>, sealed: &[u8]) -> Result<u32> {
    let refuse = |kind, what: String| Err(Error::new(kind, format!("opening {context}: {what}")));
    match sealed {
        [a, b, c, version, id @ ..] if [*a, *b, *c] == MAGIC => {
            if *version != FORMAT_VERSION {
                let what = format!("it is sealed in version {version} of the format; this code reads {FORMAT_VERSION}");
                return refuse(Kind::Unsupported, what);
            }
            match id.first_chunk() {
                Some(&id) if sealed.len() >= OVERHEAD_BYTES => Ok(u32::from_le_bytes(id)),
                _ => refuse(Kind::Corrupt, format!("{} bytes are too few to be sealed ones", sealed.len())),
            }
        }
        _ => refuse(Kind::Corrupt, "the bytes are not sealed ones".to_owned()),
    }
}

/// A value that tells whether a data key is the right one, and tells nothing else about it. Its first four bytes, in
/// little-endian order, are the key's id.
pub fn check(key: &[u8; KEY_BYTES]) -> [u8; CHECK_BYTES] {
    *derive(key, "check").first_chunk().expect("a check is shorter than a key")
}

/// The id of a data key.
pub fn key_id(key: &[u8; KEY_BYTES]) -> u32 {
    u32::from_le_bytes(*check(key).first_chunk().expect("an id is shorter than a check"))
}

/// The key, of those that follow from `key`, for this purpose.
fn derive(key: &[u8; KEY_BYTES], purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
    let derived = mac(key).chain_update("statik sealed v1 ").chain_update(purpose).finalize();
    Zeroizing::new(derived.into_bytes().into())
}

fn mac(key: &[u8; KEY_BYTES]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}
