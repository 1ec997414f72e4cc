//! Pages on a disk that loses power, space and handles.
//!
//! A script runs once, on a store alone and on one behind `Local`, beside a model that knows what every file holds after
//! each commit. Before each operation of the disk, and at the end, the disk is kept as it was; each such moment is then
//! crashed in several ways, and each recovery of a survivor is crashed in its turn. What must hold:
//! - what is recovered is the state after some commit, of all files at once: none before what is durable for sure, none
//!   that was not attempted;
//! - the ids of the commits up to that state are known, and no others;
//! - a crash is never taken for damage;
//! - a second recovery, and one after a crash of the first, finds the same;
//! - the store then takes commits, and after a checkpoint the files are plain;
//! - damage to what was durable is reported, and what is before it served.
//!
//! Planted bugs show that the suite would notice. `STATIK_SEED` chooses other scripts and crashes than the fixed ones,
//! `STATIK_CRASH_POINTS` how many crashes are judged at least.

#[path = "pages_crash/damage.rs"]
mod damage;
#[path = "pages_crash/faults.rs"]
mod faults;
#[path = "pages_crash/judge.rs"]
mod judge;
mod points;
mod random;
#[path = "pages_crash/run.rs"]
mod run;
#[path = "pages_crash/script.rs"]
mod script;
#[path = "pages_crash/subject.rs"]
mod subject;

use judge::Judge;
use points::points;
use random::{Random, seed};
use run::{Failed, Run};
use script::Script;
use statik_store::{Options, Planted};
use subject::{Opener, alone, local};

const OPENERS: [(&str, Opener); 2] = [("alone", alone), ("local", local)];

/// Runs a script, and crashes one of `every` moments in the simple ways and by `seeds`; the number of crashes.
fn crash(opener: Opener, script: &Script, every: u64, seeds: std::ops::Range<u64>) -> Result<u64, Failed> {
    let first = seeds.start;
    let sample = move |operation: u64| Random(first ^ (operation << 32)).next().is_multiple_of(every);
    let mut run = Run::new(opener, &script.options, sample)?;
    run.run(script)?;
    let mut judge = Judge::new(opener, &script.options, &run.states);
    for moment in run.moments() {
        judge.moment(&moment, seeds.clone())?;
    }
    Ok(judge.points)
}

/// As [`crash`], for both subjects; a failure says where.
fn crash_both(script: &Script, every: u64, seeds: std::ops::Range<u64>) -> u64 {
    let judge = |(name, opener): (&str, Opener)| {
        let judged = crash(opener, script, every, seeds.clone());
        judged.unwrap_or_else(|failed| panic!("{name}, script {:?}: {}", script.name, failed.what))
    };
    OPENERS.into_iter().map(judge).sum()
}

#[test]
fn a_crash_at_any_operation_of_a_short_script_loses_nothing_durable() {
    let seed = seed();
    let scripts = script::by_hand();
    for script in &scripts {
        let mut run = Run::new(alone, &script.options, |_| true).expect("opening an empty disk");
        run.run(script).unwrap_or_else(|failed| panic!("{}: {}", script.name, failed.what));
        let operations = run.moments().len() - 1;
        assert!(operations <= 50, "{}: {operations} operations are too many for a short script", script.name);
    }
    let judged: u64 = scripts.iter().map(|script| crash_both(script, 1, seed..seed + 4)).sum();
    println!("pages, short scripts: {judged} crash points");
}

/// Everywhere else they are asked for, too; here they are what a checkpoint may lose.
#[test]
fn after_a_crash_ids_tell_which_commits_are_there() {
    let seed = seed() + 4;
    let scripts: Vec<_> = script::by_hand().into_iter().filter(|script| script.name.starts_with("ids")).collect();
    let judged: u64 = scripts.iter().map(|script| crash_both(script, 1, seed..seed + 16)).sum();
    assert!(judged > 1000, "{judged} crash points are too few");
    println!("pages, ids of commits: {judged} crash points");
}

#[test]
fn a_crash_at_any_operation_of_a_random_script_loses_nothing_durable() {
    let (mut seed, mut judged) = (seed(), 0);
    while judged < points(76) {
        judged += crash_both(&script::by_seed(seed, 6 + (seed % 12) as usize), 1, seed..seed + 2);
        seed += 1;
    }
    println!("pages, short random scripts, up to seed {seed}: {judged} crash points");
}

#[test]
fn a_crash_in_a_long_history_loses_nothing_durable() {
    let (mut seed, mut judged) = (seed() + (1 << 32), 0);
    while judged < points(22) {
        judged += crash_both(&script::by_seed(seed, 150), 11, seed..seed + 2);
        seed += 1;
    }
    println!("pages, long random scripts, up to seed {seed}: {judged} crash points");
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
        Planted::LoseIds,
    ];
    for bug in planted {
        for (name, opener) in OPENERS {
            let noticed = script::by_hand().into_iter().find_map(|mut script| {
                script.options = Options { planted: Some(bug), ..script.options };
                let failed = crash(opener, &script, 1, seed..seed + 4).err()?;
                Some(format!("script {:?}: {}", script.name, failed.what))
            });
            println!("{bug:?}, {name}: {}", noticed.unwrap_or_else(|| panic!("{bug:?}, {name}: nothing was noticed")));
        }
    }
}
