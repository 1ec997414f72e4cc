//! All that holds on a store in memory, on the real one.

#![expect(clippy::duplicate_mod, reason = "each of these is a test crate of its own, too, with its own support")]

#[path = "faults.rs"]
mod faults;
#[path = "maintenance.rs"]
mod maintenance;
#[path = "transactions.rs"]
mod transactions;
