//! The log of changes that peers still have to get, and the rules for what may leave it.
//!
//! Invariants:
//! - Numbers rise by one from 1 and are never given twice, also when the log was pruned to nothing.
//! - Nothing that a known peer has not acknowledged is pruned. Without known peers nothing is pruned at all: nobody has
//!   said that they have it.
//! - A peer's watermark never goes back, never passes what was appended, and is never dropped in silence: a peer that
//!   stays away holds the log until somebody forgets it by name. [`Peer::seen_ms`] tells how long it has been away.
//!
//! It keeps no operations itself: a storage does, and asks [`Watermarks`].

use std::collections::BTreeMap;

use statik_disk::{Error, Kind, Result};

use crate::hlc::Timestamp;

/// What was done to a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It got this value.
    Put(Vec<u8>),
    /// It was removed.
    Remove,
}

/// A change, before the log gave it a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The record's key.
    pub key: String,
    /// What was done.
    pub action: Action,
    /// When and where.
    pub hlc: Timestamp,
}

/// A change in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// Its number in this log, from 1.
    pub id: u64,
    /// What was changed.
    pub entry: Entry,
}

/// A replica that this log is kept for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// What it is called here.
    pub name: String,
    /// It has all operations up to this one.
    pub acknowledged: u64,
    /// When it last registered or acknowledged, in milliseconds since 1970.
    pub seen_ms: u64,
}

/// How far each known peer is, and how far the log goes.
#[derive(Clone, Debug, Default)]
pub struct Watermarks {
    peers: BTreeMap<String, Peer>,
    /// The newest number given.
    last: u64,
    /// Up to here operations are gone.
    pruned: u64,
}

impl Watermarks {
    /// Those of an empty log that nobody knows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of a log that was stored: its peers, the newest number that it ever gave, and the number up to which it was
    /// pruned. [`Kind::Corrupt`] if they contradict each other.
    pub fn restore(peers: impl IntoIterator<Item = Peer>, last: u64, pruned: u64) -> Result<Self> {
        let corrupt = |what: String| Err(Error::new(Kind::Corrupt, format!("opening the op-log: {what}")));
        if pruned > last {
            return corrupt(format!("it was pruned up to {pruned}, but ends at {last}"));
        }
        let mut known = BTreeMap::new();
        for peer in peers {
            if !(pruned..=last).contains(&peer.acknowledged) {
                let Peer { name, acknowledged, .. } = peer;
                return corrupt(format!("the peer {name:?} is at {acknowledged}, not within {pruned}..={last}"));
            }
            if let Some(peer) = known.insert(peer.name.clone(), peer) {
                return corrupt(format!("the peer {:?} is there twice", peer.name));
            }
        }
        Ok(Watermarks { peers: known, last, pruned })
    }

    /// The number for the next operation. [`Kind::Unsupported`] if there is none left.
    pub fn append(&mut self) -> Result<u64> {
        let none =
            || Error::new(Kind::Unsupported, format!("appending to the op-log: {} was the last number", self.last));
        self.last = self.last.checked_add(1).ok_or_else(none)?;
        Ok(self.last)
    }

    /// Makes a peer known. A new one starts where the log does: what was pruned before cannot be given to it, so if it
    /// starts above 0, it has to be reconciled first. One that is known stays where it is. [`Kind::Invalid`] if the name
    /// is empty.
    pub fn register(&mut self, name: &str, now_ms: u64) -> Result<&Peer> {
        if name.is_empty() {
            return Err(Error::new(Kind::Invalid, "registering a peer: its name is empty"));
        }
        let acknowledged = self.pruned;
        let peer = self.peers.entry(name.to_owned());
        let peer = peer.or_insert_with(|| Peer { name: name.to_owned(), acknowledged, seen_ms: now_ms });
        peer.seen_ms = peer.seen_ms.max(now_ms);
        Ok(peer)
    }

    /// Takes note that a peer has all operations up to `id`; less than it had before changes nothing.
    /// [`Kind::NotFound`] if nobody knows the peer, [`Kind::Invalid`] if the log does not go that far.
    pub fn acknowledge(&mut self, name: &str, id: u64, now_ms: u64) -> Result<()> {
        let last = self.last;
        let peer = self.peers.get_mut(name).ok_or_else(|| unknown("acknowledging operations", name))?;
        if id > last {
            let context =
                format!("acknowledging operations: the peer {name:?} says up to {id}, the log ends at {last}");
            return Err(Error::new(Kind::Invalid, context));
        }
        peer.acknowledged = peer.acknowledged.max(id);
        peer.seen_ms = peer.seen_ms.max(now_ms);
        Ok(())
    }

    /// Makes a peer unknown, so that it holds the log no longer. [`Kind::NotFound`] if nobody knows it.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        self.peers.remove(name).map(drop).ok_or_else(|| unknown("forgetting a peer", name))
    }

    /// A known peer, or [`Kind::NotFound`].
    pub fn peer(&self, name: &str) -> Result<&Peer> {
        self.peers.get(name).ok_or_else(|| unknown("looking for a peer", name))
    }

    /// All known peers, by name.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// All known peers have the operations up to this one; `None` without known peers.
    pub fn prunable(&self) -> Option<u64> {
        self.peers.values().map(|peer| peer.acknowledged).min()
    }

    /// Takes note that operations are about to be pruned, and answers up to which one they may: at most `up_to`, and no
    /// further than every known peer has got. To drop what nobody will ever ask for, register a peer that acknowledges
    /// it.
    pub fn prune(&mut self, up_to: u64) -> u64 {
        let allowed = self.prunable().map_or(0, |prunable| prunable.min(up_to));
        self.pruned = self.pruned.max(allowed);
        self.pruned
    }

    /// The newest number given, 0 before the first.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// The operations up to this one are gone.
    pub const fn pruned(&self) -> u64 {
        self.pruned
    }
}

fn unknown(doing: &str, name: &str) -> Error {
    Error::new(Kind::NotFound, format!("{doing}: no peer {name:?} is known; it has to be registered first"))
}
