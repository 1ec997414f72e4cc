//! What fails without a crash: a full disk, a short write, a flush, a handle. It is reported, it harms no commit, and a
//! full disk that has room again serves on.

use std::ops::Range;

use statik_disk::{Disk, Faults, Kind};

use super::judge::Judge;
use super::run::{Failed, Run, raw};
use super::script::{PATHS, Script, Step, by_hand, by_seed};
use super::subject::Opener;
use super::{OPENERS, seed};

/// So many of each kind are tried on each script.
const FAULTS: u64 = 25;
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

/// Runs each script on each subject with each fault; `judge` answers whether it was met, as most must be.
fn with_each(
    faults: impl Fn(&mut Run, Range<u64>) -> Vec<Faults>,
    judge: impl Fn(Opener, &Script, Faults) -> Result<bool, Failed>,
) {
    let (mut count, mut all) = (0, 0);
    for script in scripts() {
        for (name, opener) in OPENERS {
            let mut run = Run::new(opener, &script.options, |_| false).expect("opening an empty disk");
            let first = run.disk.operations();
            run.run(&script).unwrap_or_else(|failed| panic!("{:?}: {}", script.name, failed.what));
            let operations = first..run.disk.operations();
            let faults = faults(&mut run, operations);
            let met = |faults: &&Faults| {
                let judged = judge(opener, &script, **faults);
                judged.unwrap_or_else(|failed| panic!("{name}, {:?}, {faults:?}: {}", script.name, failed.what))
            };
            count += faults.iter().filter(met).count();
            all += faults.len();
        }
    }
    assert!(count * 4 > all, "{count} of {all} faults were met");
}

/// A fault at some of the operations: at each, if they are few.
fn at(operations: Range<u64>, fault: fn(u64) -> Faults) -> Vec<Faults> {
    let every = (operations.end - operations.start).div_ceil(FAULTS);
    operations.step_by(every.max(1) as usize).map(fault).collect()
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
        if first.is_some_and(|first| at == first + FULL_STEPS) {
            // What was staged while there was no room may fail later than the room is there.
            (0..PATHS.len()).try_for_each(|file| run.step(&Step::Discard { file }))?;
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
    judge(opener, script, &run, false)?;
    Ok(first.is_some())
}

fn judge(opener: Opener, script: &Script, run: &Run, flush_failed: bool) -> Result<(), Failed> {
    let mut judge = Judge::new(opener, &script.options, &run.states);
    run.moments().iter().try_for_each(|moment| {
        let seeds = moment.operation..moment.operation + 1;
        if flush_failed { judge.power_off(moment, seeds) } else { judge.moment(moment, seeds) }
    })
}

/// Whether something failed; then the machine is switched off, or only the process ends. The latter is not tried after a
/// failed flush: what the disk has dropped is there as long as it lives, and no program can tell.
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
        if faults.invalid_handle_at.is_none() {
            run.compare().map_err(doing)?;
        }
    }
    run.disk.set_faults(Faults::default());
    run.take();
    judge(opener, script, &run, faults.fail_flush_at.is_some())?;
    Ok(met)
}

#[test]
fn a_full_disk_fails_commits_and_harms_none() {
    with_each(|_, operations| at(operations, |at| Faults { quota_at: Some(at), ..Faults::default() }), full);
}

#[test]
fn a_disk_of_any_size_fails_commits_and_harms_none() {
    let sizes = |run: &mut Run, _| {
        let lengths = run.disk.list().expect("no faults here").into_iter().map(|path| raw(&run.disk, &path));
        let bytes: u64 = lengths.map(|bytes| bytes.expect("no faults here").len() as u64).sum();
        let sizes = (0..FAULTS).map(|part| bytes * part / FAULTS);
        sizes.map(|bytes| Faults { quota_bytes: Some(bytes), ..Faults::default() }).collect()
    };
    with_each(sizes, full);
}

#[test]
fn a_short_write_is_reported_and_leaves_what_a_crash_may_leave() {
    let faults =
        |_: &mut Run, operations| at(operations, |at| Faults { short_write_at: Some(at), ..Faults::default() });
    with_each(faults, |opener, script, faults| fatal(opener, script, faults, Kind::Io));
}

#[test]
fn a_failed_flush_is_reported_and_leaves_what_a_crash_may_leave() {
    let faults = |_: &mut Run, operations| at(operations, |at| Faults { fail_flush_at: Some(at), ..Faults::default() });
    with_each(faults, |opener, script, faults| fatal(opener, script, faults, Kind::Io));
}

#[test]
fn an_invalid_handle_is_reported_and_leaves_what_a_crash_may_leave() {
    let fault = |at| Faults { invalid_handle_at: Some(at), refuse_open_at: Some(at), ..Faults::default() };
    let faults = |_: &mut Run, operations| at(operations, fault);
    with_each(faults, |opener, script, faults| fatal(opener, script, faults, Kind::Closed));
}
