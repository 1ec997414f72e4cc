//! SQLite on pages on a disk that loses power, space and handles.
//!
//! A script is a list of transactions of several connections, with checkpoints in between. It runs once, which gives the
//! state after each transaction; before each operation of the disk, and at the end, the disk is kept as it was. Each
//! such moment is then crashed in several ways. What must hold:
//! - every database is sound, and all of them are in the state after one transaction: none before what is durable by
//!   `PRAGMA synchronous` or by `durable()`, none that was not attempted;
//! - finding that out changes nothing, and a crash during recovery does no harm;
//! - it works on, and after a checkpoint the files alone hold everything;
//! - a full disk fails a transaction with `Quota` and does no harm; after that the database works on;
//! - other failures of the disk are reported, and leave what a crash may leave.
//!
//! Planted bugs show that the suite would notice. `STATIK_SEED` chooses other scripts and crashes than the fixed ones,
//! `STATIK_CRASH_POINTS` how many crashes are judged at least.

#[path = "sqlite_crash/faults.rs"]
mod faults;
#[path = "sqlite_crash/judge.rs"]
mod judge;
mod points;
mod random;
#[path = "sqlite_crash/script.rs"]
mod script;
#[path = "sqlite_crash/world.rs"]
mod world;

use judge::Judge;
use points::points;
use random::{Random, seed};
use script::{Script, by_hand, by_seed};
use statik_store::Planted;
use world::Run;

/// Runs a script, and crashes one of `every` moments in the simple ways and by `seeds`; the number of crashes.
fn crash(script: &Script, every: u64, seeds: std::ops::Range<u64>) -> Result<u64, String> {
    let first = seeds.start;
    let mut run = Run::new(script, move |at| Random(first ^ (at << 32)).next().is_multiple_of(every))?;
    run.run(script)?;
    let mut judge = Judge::new(script, &run.states);
    for moment in run.moments() {
        judge.moment(&moment, seeds.clone())?;
    }
    Ok(judge.points)
}

#[test]
fn a_crash_at_any_operation_loses_nothing_durable() {
    let seed = seed();
    let mut judged = 0;
    for script in by_hand() {
        let crashed = crash(&script, 1, seed..seed + 2);
        judged += crashed.unwrap_or_else(|what| panic!("{}: {what}", script.name));
    }
    println!("SQLite, short scripts: {judged} crash points");
}

#[test]
fn a_crash_in_a_long_history_loses_nothing_durable() {
    let (mut seed, mut judged) = (seed(), 0);
    while judged < points(2) {
        let script = by_seed(seed, 40);
        let crashed = crash(&script, 25, seed..seed + 2);
        judged += crashed.unwrap_or_else(|what| panic!("{}: {what}", script.name));
        seed += 1;
    }
    println!("SQLite, random scripts, up to seed {seed}: {judged} crash points");
}

#[test]
fn planted_bugs_are_noticed() {
    let seed = seed();
    let planted = [
        Planted::SkipFlush,
        Planted::AcknowledgeEarly,
        Planted::ResetBeforeDurable,
        Planted::DropChecksum,
        Planted::ReuseEpoch,
        Planted::LoseDirectFlush,
    ];
    for bug in planted {
        let noticed = by_hand().into_iter().find_map(|mut script| {
            script.options.planted = Some(bug);
            let what = crash(&script, 1, seed..seed + 4).err()?;
            Some(format!("{}: {what}", script.name))
        });
        println!("{bug:?}: {}", noticed.unwrap_or_else(|| panic!("{bug:?}: nothing was noticed")));
    }
}
