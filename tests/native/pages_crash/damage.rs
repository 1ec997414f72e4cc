//! Damage: bits that flip in a log below a mark that says it was flushed. It is told from a crash, what is before it is
//! served, and nothing is changed until somebody says so.

use statik_bridge::pages::{Durability, PAGE_BYTES, PageStore};
use statik_disk::{Crash, Disk, Kind, Open, SimDisk};
use statik_store::{Options, Recover};

use super::run::{Failed, Run, States, failed, raw};
use super::script::{Script, Step, by_hand};
use super::seed;
use super::subject::{Subject, alone};
use crate::random::Random;

const LOGS: [&str; 2] = [".statik/log-a", ".statik/log-b"];

/// A store whose logs hold commits, each of them flushed, and what may be lost.
struct Sound {
    disk: SimDisk,
    states: States,
    /// The last state that a later record says was flushed.
    marked: usize,
    options: Options,
}

/// Runs the script to the end, and one commit more.
fn sound(script: &Script) -> Sound {
    let mut run = Run::new(alone, &script.options, |_| false).expect("opening an empty disk");
    let done = script.steps.iter().chain(&[Step::Durable]).try_for_each(|step| run.step(step));
    let marked = run.states.len() - 1;
    let last = [
        Step::Write { file: 2, offset: 0, len: PAGE_BYTES },
        Step::Commit { files: vec![2], durability: Durability::Full },
    ];
    let done = done.and_then(|()| last.iter().try_for_each(|step| run.step(step)));
    done.unwrap_or_else(|failed| panic!("{}: {}", script.name, failed.what));
    Sound { disk: run.disk.crash(Crash::LoseAll), states: run.states.clone(), marked, options: script.options }
}

/// Opens the disk, damaged at this byte of a log, in each of the ways; whether damage was reported.
fn judge(sound: &Sound, disk: &SimDisk, log: &str, flipped: u64) -> Result<bool, Failed> {
    let open = |recover| {
        let disk = disk.crash(Crash::KeepAll);
        let subject = alone(&disk, &Options { recover, ..sound.options });
        (disk, subject)
    };
    let (served, subject) = open(Recover::ReadOnly);
    let mut subject = subject.map_err(failed("opening read-only"))?;
    let contents = subject.contents().map_err(failed("reading"))?;
    let state = sound.states.iter().rposition(|state| *state.contents == contents);
    let state = state.ok_or_else(|| "what is served is no state".to_owned())?;
    let Some(damage) = subject.store().damage() else {
        let marked = sound.marked;
        return if state >= marked { Ok(false) } else { Err(format!("{state} served, {marked} was flushed").into()) };
    };
    if damage.path == log && damage.offset > flipped {
        return Err(format!("{damage:?}, but byte {flipped} was damaged").into());
    }
    let aside = damage.aside.clone().map_err(failed("keeping the damaged part"))?;
    let lost = raw(disk, &damage.path).map_err(failed("reading the log"))?.split_off(damage.offset as usize);
    if raw(&served, &aside).map_err(failed("reading what is kept"))? != lost {
        return Err(format!("{aside} is not what was damaged").into());
    }
    refuses(&mut *subject)?;
    let Some(Kind::Corrupt) = open(Recover::Refuse).1.err().map(|error| error.kind()) else {
        return Err("refusing did not refuse".to_owned().into());
    };
    let (disk, subject) = open(Recover::Truncate);
    let subject = subject.map_err(failed("opening to truncate"))?;
    let mut run = Run::resume(disk, subject, &sound.options, alone, sound.states[..=state].to_vec());
    // Without its start a log does not tell which commit the files are of, nor their ids.
    run.compare_contents().map_err(|failed| failed.during(format_args!("truncated")))?;
    let newest = run.subject.store().usage().newest;
    run.states.iter_mut().for_each(|state| (state.seq, state.id) = (state.seq.min(newest), None));
    let write = Step::Write { file: 0, offset: 0, len: 2 * PAGE_BYTES };
    let commit = Step::Commit { files: vec![0], durability: Durability::Full };
    [write, commit].iter().try_for_each(|step| run.step(step))?;
    run.reopen()?;
    match run.subject.store().damage() {
        Some(damage) => Err(format!("truncated, and still {damage:?}").into()),
        None => Ok(true),
    }
}

/// A damaged store that serves what is left changes nothing.
fn refuses(subject: &mut dyn Subject) -> Result<(), Failed> {
    let staged = subject.stage(0, 0, b"x");
    let refused = staged.and_then(|()| subject.commit(&[0], Durability::Off, None).map(drop));
    match refused.err().map(|error| error.kind()) {
        Some(Kind::ReadOnly) => Ok(()),
        other => Err(format!("a change of a damaged store: {other:?}").into()),
    }
}

#[test]
fn a_flipped_bit_in_what_was_flushed_is_reported() {
    let mut random = Random(seed());
    for script in by_hand() {
        let sound = sound(&script);
        let (mut flips, mut reported) = (0, 0);
        for log in LOGS {
            let Ok(file) = sound.disk.open(log, Open::Existing) else { continue };
            let bits = file.len().expect("no faults here") * 8;
            let mut bit = random.below(40) as u64;
            while bit < bits {
                let disk = sound.disk.crash(Crash::KeepAll);
                disk.flip_bit(log, bit).expect("there is such a bit");
                let judged = judge(&sound, &disk, log, bit / 8);
                let damaged =
                    judged.unwrap_or_else(|failed| panic!("{}, {log}, bit {bit}: {}", script.name, failed.what));
                flips += 1;
                reported += usize::from(damaged);
                bit += 1 + random.below(2000) as u64;
            }
        }
        println!("{}: {reported} of {flips} flips reported", script.name);
        assert!(flips > 0, "{}: there is no log", script.name);
    }
}
