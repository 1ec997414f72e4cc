//! All that holds on a store in memory, on the real one.

#[path = "faults.rs"]
mod faults;
#[path = "maintenance.rs"]
mod maintenance;
#[path = "transactions.rs"]
mod transactions;
