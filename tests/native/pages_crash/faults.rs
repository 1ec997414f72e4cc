//! What fails without a crash: a full disk, a short write, a flush, a handle. It is reported, it harms no commit, and a
//! full disk that has room again serves on.

use statik_disk::{Faults, Kind};

use super::judge::Judge;
use super::run::{Failed, Run};
use super::script::{Script, Step, by_hand, by_seed};
use super::subject::Opener;
use super::{OPENERS, seed};

/// For so many steps after the first failure a full disk stays full.
const FULL_STEPS: usize = 3;

fn scripts() -> Vec<Script> {
    let seed = seed();
    let mut scripts = by_hand();
    scripts.extend((seed..seed + 4).map(|seed| by_seed(seed, 25)));
    // Whoever fails to open cannot go on.
    for script in &mut scripts {
        script.steps.retain(|step| !matches!(step, Step::Settle { .. } | Step::Reopen));
    }
    scripts
}

/// Runs each script on each subject with a fault from each operation on; `judge` answers whether it was met.
fn at_each_operation(fault: fn(u64) -> Faults, judge: impl Fn(Opener, &Script, Faults) -> Result<bool, Failed>) {
    for script in scripts() {
        for (name, opener) in OPENERS {
            let (first, last) = operations(opener, &script);
            let met = |at: &u64| {
                let judged = judge(opener, &script, fault(*at));
                judged.unwrap_or_else(|failed| panic!("{name}, {:?}, {:?}: {}", script.name, fault(*at), failed.what))
            };
            let count = (first..last).filter(met).count() as u64;
            assert!(count * 8 > last - first, "{name}, {:?}: {count} of {}..{last} met it", script.name, first);
        }
    }
}

/// The numbers of the script's first operation, after opening, and of the one after its last.
fn operations(opener: Opener, script: &Script) -> (u64, u64) {
    let mut run = Run::new(opener, &script.options, |_| false).expect("opening an empty disk");
    let first = run.disk.operations();
    run.run(script).unwrap_or_else(|failed| panic!("{:?}: {}", script.name, failed.what));
    (first, run.disk.operations())
}

/// What the user does after a failure: forgets what was staged.
fn give_up(run: &mut Run, step: &Step) -> Result<(), Failed> {
    match step {
        Step::Write { file, .. } | Step::Len { file, .. } => run.step(&Step::Discard { file: *file }),
        _ => Ok(()),
    }
}

/// Whether a disk that was full for some steps failed one; nothing else may come of it.
fn full(opener: Opener, script: &Script, faults: Faults) -> Result<bool, Failed> {
    let mut run = Run::new(opener, &script.options, |_| false)?;
    run.disk.set_faults(faults);
    let mut first = None;
    for (at, step) in script.steps.iter().enumerate() {
        if first.is_some_and(|first| at > first + FULL_STEPS) {
            run.disk.set_faults(Faults::default());
        }
        if let Err(failed) = run.step(step) {
            if failed.kind != Some(Kind::Quota) || run.disk.faults() == Faults::default() {
                return Err(failed.during(format_args!("step {at}, {step:?}, first failure {first:?}")));
            }
            first.get_or_insert(at);
            give_up(&mut run, step)?;
            run.take();
        }
        run.compare().map_err(|failed| failed.during(format_args!("after step {at}, first failure {first:?}")))?;
    }
    run.disk.set_faults(Faults::default());
    run.take();
    judge(opener, script, &run)?;
    Ok(first.is_some())
}

fn judge(opener: Opener, script: &Script, run: &Run) -> Result<(), Failed> {
    let mut judge = Judge::new(opener, &script.options, &run.states);
    run.moments().iter().try_for_each(|moment| judge.moment(moment, moment.operation..moment.operation + 1))
}

/// Whether something failed; then the process ends.
fn fatal(opener: Opener, script: &Script, faults: Faults, kind: Kind) -> Result<bool, Failed> {
    let mut run = Run::new(opener, &script.options, |_| false)?;
    run.disk.set_faults(faults);
    let mut met = false;
    for (at, step) in script.steps.iter().enumerate() {
        let doing = |failed: Failed| failed.during(format_args!("step {at}, {step:?}"));
        match run.step(step) {
            // Afterwards it may refuse whatever it likes, with what reason it likes.
            Err(failed) if failed.kind == Some(kind) || met && failed.kind.is_some() => {
                met = true;
                if let Err(failed) = give_up(&mut run, step)
                    && failed.kind.is_none()
                {
                    return Err(doing(failed));
                }
            }
            done => done.map_err(doing)?,
        }
        if run.disk.faults().invalid_handle_at == faults.invalid_handle_at && faults.invalid_handle_at.is_none() {
            run.compare().map_err(doing)?;
        }
    }
    run.disk.set_faults(Faults::default());
    run.take();
    judge(opener, script, &run)?;
    Ok(met)
}

#[test]
fn a_full_disk_fails_commits_and_harms_none() {
    at_each_operation(|at| Faults { quota_at: Some(at), ..Faults::default() }, full);
}

#[test]
fn a_disk_of_any_size_fails_commits_and_harms_none() {
    at_each_operation(|at| Faults { quota_bytes: Some(at * 5003), ..Faults::default() }, full);
}

#[test]
fn a_short_write_is_reported_and_leaves_what_a_crash_may_leave() {
    let fault = |at| Faults { short_write_at: Some(at), ..Faults::default() };
    at_each_operation(fault, |opener, script, faults| fatal(opener, script, faults, Kind::Io));
}

#[test]
fn a_failed_flush_is_reported_and_leaves_what_a_crash_may_leave() {
    let fault = |at| Faults { fail_flush_at: Some(at), ..Faults::default() };
    at_each_operation(fault, |opener, script, faults| fatal(opener, script, faults, Kind::Io));
}

#[test]
fn an_invalid_handle_is_reported_and_leaves_what_a_crash_may_leave() {
    let fault = |at| Faults { invalid_handle_at: Some(at), refuse_open_at: Some(at), ..Faults::default() };
    at_each_operation(fault, |opener, script, faults| fatal(opener, script, faults, Kind::Closed));
}
