//! Finds what two replicas do not have in common, in few exchanges and little more bytes than the differences take.
//!
//! Each side holds a set of (key, stamp). They compare fingerprints of ranges, split those that differ, and list what is
//! in ranges that became small: range-based set reconciliation, as Negentropy does it. The messages are described in
//! `docs/reconcile-format.md`; [`message`] checks them.
//!
//! Invariants:
//! - Between honest sides every difference is found once, and nothing else.
//! - A message is a stranger's bytes. It is understood whole or refused, is bounded in length, and so is the answer; what
//!   a side does with one takes no longer than its set and the message are long. A stranger who never comes to an end is
//!   left after [`MAX_EXCHANGES`].
//! - Fingerprints are 128 bits of SHA-256 over a sum of ids modulo 2^256, and ids are SHA-256 over key and stamp. That is
//!   safe against accident. Who may choose thousands of keys can make a sum collide, which hides his changes, but no
//!   others': no reason to trust him more or less than before.
//!
//! A record's value is not part of its id: two records with one key and one stamp count as the same.

mod message;

use std::collections::{BTreeMap, BTreeSet};

use negentropy::{Negentropy, NegentropyStorageVector};
use sha2::{Digest, Sha256};
use statik_disk::{Error, Kind, Result};

use crate::hlc::Timestamp;

/// The SHA-256 of a key and its stamp.
pub type Id = [u8; 32];

/// No message is longer, unless [`Reconciler::with_message_bytes`] says so.
pub const MESSAGE_BYTES: usize = 256 * 1024;

/// Two honest sides need a handful; with millions of differences, one for each 8,000 more.
pub const MAX_EXCHANGES: u32 = 1000;

/// What one exchange found. Exchanges go on while there is a [`next`](Differences::next) message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Keys whose record the other side does not have, or has with another stamp.
    pub have: Vec<String>,
    /// What the other side has and this one has not: the other side's [`Reconciler::key`] tells the key.
    pub need: Vec<Id>,
    /// What to send next; `None` when everything was found.
    pub next: Option<Vec<u8>>,
}

/// One side of a reconciliation, over the set as it was when this was made. Whoever begins calls
/// [`Reconciler::initiate`] once and [`Reconciler::finish`] for every answer, the other side [`Reconciler::respond`].
///
/// ```
/// use statik_sync::hlc::Timestamp;
/// use statik_sync::reconcile::Reconciler;
///
/// let stamp = Timestamp::new(1_000, 0, 1)?;
/// let mut here = Reconciler::new([("milk".to_owned(), stamp), ("tea".to_owned(), stamp)])?;
/// let mut there = Reconciler::new([("tea".to_owned(), stamp), ("salt".to_owned(), stamp)])?;
/// let question = here.initiate()?;
/// let found = here.finish(&there.respond(&question)?)?;
/// assert_eq!(found.have, ["milk"]);
/// assert_eq!(there.key(&found.need[0]), Some("salt"));
/// assert_eq!(found.next, None);
/// # Ok::<(), statik_disk::Error>(())
/// ```
#[derive(Debug)]
pub struct Reconciler {
    set: Negentropy<'static, NegentropyStorageVector>,
    keys: BTreeMap<Id, String>,
    /// What was found so far. A side that begins and whose message grew too long compares some ranges a second time.
    found: BTreeSet<Id>,
    message_bytes: usize,
    exchanges: u32,
}

impl Reconciler {
    /// A side that holds these records, each key once.
    pub fn new(items: impl IntoIterator<Item = (String, Timestamp)>) -> Result<Self> {
        Self::with_message_bytes(items, MESSAGE_BYTES)
    }

    /// The same with another bound for messages in both directions, which must be the other side's, too:
    /// [`Kind::Invalid`] if it is below 8 KiB.
    pub fn with_message_bytes(
        items: impl IntoIterator<Item = (String, Timestamp)>,
        message_bytes: usize,
    ) -> Result<Self> {
        if message_bytes < 8 * 1024 {
            let context = format!("reconciling: messages must be allowed 8192 bytes, not {message_bytes}");
            return Err(Error::new(Kind::Invalid, context));
        }
        let mut set = NegentropyStorageVector::new();
        let mut keys = BTreeMap::new();
        for (key, hlc) in items {
            let id = id(&key, hlc);
            set.insert(hlc.wall_ms(), negentropy::Id::from_byte_array(id)).map_err(refused)?;
            keys.insert(id, key);
        }
        set.seal().map_err(refused)?;
        let set = Negentropy::owned(set, (message_bytes - message::HEADER_BYTES) as u64).map_err(refused)?;
        Ok(Reconciler { set, keys, found: BTreeSet::new(), message_bytes, exchanges: 0 })
    }

    /// The first message. [`Kind::Invalid`] the second time.
    pub fn initiate(&mut self) -> Result<Vec<u8>> {
        Ok(message::seal(&self.set.initiate().map_err(refused)?))
    }

    /// The answer to a message of the side that began. [`Kind::Corrupt`] or [`Kind::Unsupported`] if the message is not
    /// one, [`Kind::Invalid`] on the side that began.
    pub fn respond(&mut self, question: &[u8]) -> Result<Vec<u8>> {
        let question = message::open(question, self.message_bytes)?;
        Ok(message::seal(&self.set.reconcile(question).map_err(refused)?))
    }

    /// What the answer to the last message tells. Fails as [`Reconciler::respond`] does, the other way about, and with
    /// [`Kind::Aborted`] after [`MAX_EXCHANGES`].
    pub fn finish(&mut self, answer: &[u8]) -> Result<Differences> {
        let answer = message::open(answer, self.message_bytes)?;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = self.set.reconcile_with_ids(answer, &mut have, &mut need).map_err(refused)?;
        self.exchanges += 1;
        if next.is_some() && self.exchanges >= MAX_EXCHANGES {
            let context = format!("reconciling: the other side has come to no end in {MAX_EXCHANGES} exchanges");
            return Err(Error::new(Kind::Aborted, context));
        }
        if need.iter().any(|id| self.keys.contains_key(&**id)) {
            return Err(Error::new(Kind::Corrupt, "reconciling: the answer lists a record outside its range"));
        }
        have.retain(|id| self.found.insert(**id));
        need.retain(|id| self.found.insert(**id));
        Ok(Differences {
            have: have.iter().filter_map(|id| self.keys.get(&**id).cloned()).collect(),
            need: need.iter().map(|id| **id).collect(),
            next: next.map(|message| message::seal(&message)),
        })
    }

    /// The key of a record that this side holds.
    pub fn key(&self, id: &Id) -> Option<&str> {
        self.keys.get(id).map(String::as_str)
    }
}

/// What a record goes by: SHA-256 over its stamp (48-bit wall time in 8 bytes, counter in 2, node in 8, all big-endian)
/// and its key in UTF-8.
pub fn id(key: &str, hlc: Timestamp) -> Id {
    let mut hash = Sha256::new();
    hash.update(hlc.wall_ms().to_be_bytes());
    hash.update(hlc.counter().to_be_bytes());
    hash.update(hlc.node().to_be_bytes());
    hash.update(key.as_bytes());
    hash.finalize().into()
}

/// What the algorithm refuses after [`message`] let it pass is, but for calls in the wrong role, a bug here.
fn refused(error: negentropy::Error) -> Error {
    Error::new(Kind::Invalid, format!("reconciling: {error}"))
}
