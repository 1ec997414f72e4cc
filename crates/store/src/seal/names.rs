//! Blind names: a name's HMAC-SHA-256 stands for it where it is stored, so that it is found again and not read.
//!
//! Invariant: a name gives the same bytes for ever, and other bytes in each store, so the key is one of its own: data
//! keys come and go.
//!
//! Who has the database without the key sees how many names there are, which of them is written when, and whether two
//! copies have the same one.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{KEY_BYTES, derive, mac};

/// How long a blind name is.
pub const BLIND_BYTES: usize = 32;

/// Names under one key.
pub struct Names {
    keyed: Hmac<Sha256>,
}

impl Names {
    /// `key` is 256 random bits that are kept as long as the names are.
    pub fn new(key: &[u8; KEY_BYTES]) -> Names {
        Names { keyed: mac(&derive(key, "names")) }
    }

    /// What stands for a name of this store.
    pub fn blind(&self, store: &str, name: &[u8]) -> [u8; BLIND_BYTES] {
        let length = (store.len() as u64).to_le_bytes();
        self.keyed.clone().chain_update(length).chain_update(store).chain_update(name).finalize().into_bytes().into()
    }
}
