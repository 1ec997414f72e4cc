//! What fails without a crash: a full disk, a short write, a flush, a handle.

use std::ops::Range;

use statik_disk::{Faults, Kind};

use super::judge::Judge;
use super::script::{Script, by_hand};
use super::world::{Done, Run, State};

/// For so many steps after the first failure a full disk stays full.
const FULL_STEPS: usize = 2;
/// One operation in so many gets its fault: there are many scripts.
const EVERY: usize = 3;

/// The numbers of operations of a script, after opening, and the states that it goes through.
fn in_peace(script: &Script) -> (Range<u64>, Vec<State>) {
    let mut run = Run::new(script, |_| false).expect("opening an empty disk");
    let first = run.disk.operations();
    run.run(script).unwrap_or_else(|what| panic!("{}: {what}", script.name));
    (first..run.disk.operations(), run.states)
}

/// Runs each script with a fault at each operation; `judge` answers whether it was met.
fn at_each_operation(fault: fn(u64) -> Faults, judge: impl Fn(&Script, &[State], Faults) -> Result<bool, String>) {
    for script in by_hand() {
        let (operations, states) = in_peace(&script);
        let moments: Vec<u64> = operations.step_by(EVERY).collect();
        let met = |at: &&u64| {
            judge(&script, &states, fault(**at))
                .unwrap_or_else(|what| panic!("{}, {:?}: {what}", script.name, fault(**at)))
        };
        let count = moments.iter().filter(met).count();
        assert!(count * 8 > moments.len(), "{}: {count} of {} met it", script.name, moments.len());
    }
}

fn judge(script: &Script, run: &Run) -> Result<(), String> {
    let mut judge = Judge::new(script, &run.states);
    run.moments().iter().try_for_each(|moment| judge.moment(moment, moment.operation..moment.operation + 1))
}

/// Whether a disk that was full for some steps failed one; nothing else may come of it.
fn full(script: &Script, faults: Faults) -> Result<bool, String> {
    let mut run = Run::new(script, |_| false)?;
    run.disk.set_faults(faults);
    let mut first = None;
    for (at, step) in script.steps.iter().enumerate() {
        if first.is_some_and(|first| at > first + FULL_STEPS) {
            run.disk.set_faults(Faults::default());
        }
        match run.step(step).map_err(|what| format!("step {at}, {step:?}, first failure {first:?}: {what}"))? {
            Done::Yes => {}
            Done::Failed(error) => {
                if !forgivable(&error, first.is_some()) || run.disk.faults() == Faults::default() && first.is_none() {
                    return Err(format!("step {at}, {step:?}: {:?}, {error}", error.kind()));
                }
                first.get_or_insert(at);
                run.take();
            }
        }
    }
    run.disk.set_faults(Faults::default());
    run.compare()?;
    run.take();
    judge(script, &run)?;
    Ok(first.is_some())
}

/// A full disk, or SQL that builds on what a full disk refused.
fn forgivable(error: &super::world::Failed, later: bool) -> bool {
    error.kind() == Kind::Quota || later && matches!(error.kind(), Kind::Invalid | Kind::NotFound | Kind::Conflict)
}

/// Whether something failed; then the machine is switched off, or only the process ends. The latter is not tried after a
/// failed flush: what the disk has dropped is there as long as it lives, and no program can tell.
fn fatal(script: &Script, states: &[State], faults: Faults, kinds: &[Kind]) -> Result<bool, String> {
    let mut run = Run::new(script, |_| false)?;
    run.disk.set_faults(faults);
    let mut met = false;
    for (at, step) in script.steps.iter().enumerate() {
        // What must not be may come of a handle that cannot be read any more.
        let done = match run.step(step) {
            Err(_) if kinds.contains(&Kind::Closed) => {
                met = true;
                break;
            }
            done => done.map_err(|what| format!("step {at}, {step:?}: {what}"))?,
        };
        if let Done::Failed(error) = done {
            if !kinds.contains(&error.kind()) {
                return Err(format!("step {at}, {step:?}: {:?}, {error}", error.kind()));
            }
            met = true;
            break;
        }
    }
    run.disk.set_faults(Faults::default());
    run.take();
    // What was not acknowledged may be there all the same.
    let mut judge = Judge::new(script, states);
    for moment in run.moments() {
        let seeds = moment.operation..moment.operation + 1;
        if faults.fail_flush_at.is_some() {
            judge.power_off(&moment, seeds)?
        } else {
            judge.moment(&moment, seeds)?
        };
    }
    Ok(met)
}

#[test]
fn a_full_disk_fails_transactions_and_harms_none() {
    at_each_operation(
        |at| Faults { quota_at: Some(at), ..Faults::default() },
        |script, _, faults| full(script, faults),
    );
}

#[test]
fn a_short_write_is_reported_and_leaves_what_a_crash_may_leave() {
    let fault = |at| Faults { short_write_at: Some(at), ..Faults::default() };
    at_each_operation(fault, |script, states, faults| fatal(script, states, faults, &[Kind::Io]));
}

#[test]
fn a_failed_flush_is_reported_and_leaves_what_a_crash_may_leave() {
    let fault = |at| Faults { fail_flush_at: Some(at), ..Faults::default() };
    at_each_operation(fault, |script, states, faults| fatal(script, states, faults, &[Kind::Io]));
}

#[test]
fn an_invalid_handle_is_reported_and_leaves_what_a_crash_may_leave() {
    let fault = |at| Faults { invalid_handle_at: Some(at), refuse_open_at: Some(at), ..Faults::default() };
    at_each_operation(fault, |script, states, faults| fatal(script, states, faults, &[Kind::Closed]));
}
