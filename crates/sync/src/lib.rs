//! What replicas need to agree: a hybrid logical clock, a merge in which the last writer wins, the rules of an op-log,
//! a search for what two replicas do not have in common, and the contract of the storage that holds it all.
//!
//! Invariants:
//! - No clock, no randomness, no I/O of its own: the time in milliseconds and the node's id are passed in.
//! - Whatever order changes arrive in, and however often, replicas end with the same record for a key: [`record`] merges
//!   by a total order.
//! - What came from elsewhere, text or bytes, is an error or is understood: it never panics, never hangs, and nothing is
//!   allocated by a length that it claims.
//! - The log of changes loses nothing that a known peer has not acknowledged.
//!
//! This crate knows no JavaScript and no database; whoever implements [`adapter::Storage`] brings one.
//!
//! ```
//! use statik_sync::hlc::Clock;
//! use statik_sync::record::{Record, merge};
//!
//! let (mut here, mut there) = (Clock::new(1), Clock::new(2));
//! let first = Record { value: Some(b"milk".to_vec()), hlc: here.tick(1_000)?, expires_ms: None };
//! // The other replica's clock is behind, but it has seen the first change.
//! there.receive(400, first.hlc)?;
//! let second = Record { value: None, hlc: there.tick(400)?, expires_ms: None };
//! assert_eq!(merge(first, second.clone()), second);
//! # Ok::<(), statik_disk::Error>(())
//! ```

pub mod adapter;
pub mod hlc;
pub mod oplog;
pub mod reconcile;
pub mod record;
