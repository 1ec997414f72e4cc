//! A journal that loses power at every moment: what is recovered is what was appended up to some frame, with all that
//! was acknowledged as durable; recovering again gives the same; and it goes on from there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use statik_bridge::pages::Durability;
use statik_disk::{Crash, SimDisk};
use statik_store::journal::{Journal, Options};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Append(usize),
    Snapshot,
    Flush,
    Reopen,
}

const STEPS: [Step; 5] = [Step::Append(10), Step::Append(9000), Step::Snapshot, Step::Flush, Step::Reopen];

/// What may be there after a crash.
#[derive(Clone, Default)]
struct Model {
    /// Every frame that was attempted.
    frames: Vec<Vec<u8>>,
    /// So many of them were acknowledged as durable.
    durable: usize,
}

impl Model {
    /// What the first frames lead to: their checksums, each over the one before.
    fn state(&self, count: usize) -> Vec<u8> {
        let sum = self.frames[..count].iter().fold(0, |sum, frame| {
            let mut hasher = crc32fast::Hasher::new_with_initial(sum);
            hasher.update(frame);
            hasher.finalize()
        });
        vec![sum as u8; sum as usize % 20_000]
    }

    /// How many frames a journal has; they must be the first ones.
    fn check(&self, journal: &Journal) -> usize {
        assert_eq!(journal.damage(), None, "a crash is no damage");
        let recovered = journal.recover().expect("it recovers");
        let base = recovered.snapshot.as_ref().map_or(0, |(base, _)| *base as usize);
        assert!(base <= self.frames.len());
        if let Some((_, state)) = recovered.snapshot {
            assert!(state == self.state(base), "the snapshot is of frame {base}");
        }
        let mut count = base;
        for frame in recovered.frames {
            let (sequence, frame) = frame.expect("a frame is read");
            assert_eq!(sequence, count as u64 + 1);
            assert!(self.frames.get(count) == Some(&frame), "frame {sequence} is what was appended");
            count += 1;
        }
        assert!(count >= self.durable, "{} frames were durable, {count} are there", self.durable);
        count
    }
}

fn open(disk: &SimDisk, durability: Durability) -> Journal {
    let options = Options { durability, ..Options::default() };
    Journal::open(Rc::new(disk.clone()), "j", options).expect("it opens")
}

/// Runs `script`, and `check` before each operation that changes something.
fn run(
    disk: &SimDisk,
    durability: Durability,
    mut model: Model,
    script: &[Step],
    check: impl Fn(&SimDisk, &Model) + 'static,
) {
    let shown = Rc::new(RefCell::new(model.clone()));
    let seen = Rc::clone(&shown);
    disk.watch(move |disk| check(disk, &seen.borrow()));
    let mut journal = open(disk, durability);
    for step in script {
        match *step {
            Step::Append(len) => {
                model.frames.push(vec![model.frames.len() as u8; len + model.frames.len()]);
                shown.replace(model.clone());
                journal.append(&model.frames[model.frames.len() - 1]).expect("it appends");
                if durability == Durability::Full {
                    model.durable = model.frames.len();
                }
            }
            Step::Snapshot => {
                journal.snapshot(&model.state(model.frames.len())).expect("it keeps a snapshot");
                model.durable = model.frames.len();
            }
            Step::Flush => {
                journal.flush().expect("it flushes");
                model.durable = model.frames.len();
            }
            Step::Reopen => {
                drop(journal);
                journal = open(disk, durability);
            }
        }
        shown.replace(model.clone());
        assert_eq!(model.check(&journal), model.frames.len());
    }
}

fn crashes(seeds: u64) -> impl Iterator<Item = Crash> {
    [Crash::LoseAll, Crash::KeepAll, Crash::Process].into_iter().chain((0..seeds).map(Crash::Seed))
}

/// Crashes the disk in many ways, and recovers. What is recovered stays so; new frames and snapshots follow it, and a
/// crash in all that, where `depth` allows, is like the first.
fn crash(disk: &SimDisk, model: &Model, durability: Durability, seeds: u64, depth: usize, points: &Cell<u64>) {
    for crash in crashes(seeds) {
        points.set(points.get() + 1);
        let disk = disk.crash(crash);
        let mut model = model.clone();
        let count = model.check(&open(&disk, durability));
        let again = model.check(&open(&disk, durability));
        assert_eq!(count, again, "recovered again, {crash:?}");
        // What was lost is no frame any more: another one will have its number.
        model.frames.truncate(count);
        let script = [Step::Append(700), Step::Snapshot, Step::Append(5), Step::Flush];
        let inner = Rc::new(Cell::new(0));
        let counted = Rc::clone(&inner);
        run(&disk, durability, model, &script, move |disk, model| {
            if depth > 0 {
                self::crash(disk, model, durability, 2, depth - 1, &counted);
            }
        });
        points.set(points.get() + inner.get());
    }
}

fn explore(script: &[Step], durability: Durability, seeds: u64, depth: usize) -> u64 {
    let points = Rc::new(Cell::new(0));
    let counted = Rc::clone(&points);
    let disk = SimDisk::new(7);
    run(&disk, durability, Model::default(), script, move |disk, model| {
        crash(disk, model, durability, seeds, depth, &counted);
    });
    points.get()
}

#[test]
fn every_short_script_survives_every_crash() {
    let mut points = 0;
    for number in 0..STEPS.len().pow(4) {
        let digit = |place: u32| STEPS[number / STEPS.len().pow(place) % STEPS.len()];
        let script = [digit(0), digit(1), digit(2), digit(3)];
        // A script that begins with nothing to flush or to read is a shorter one; the size of the first frame is all one.
        if !matches!(script[0], Step::Append(10) | Step::Snapshot) {
            continue;
        }
        // What does nothing in the middle of such a script was seen at its end.
        if script.windows(2).any(|pair| pair[0] == pair[1] && matches!(pair[0], Step::Flush | Step::Reopen)) {
            continue;
        }
        for durability in [Durability::Full, Durability::Normal] {
            points += explore(&script, durability, 1, 0);
        }
    }
    assert!(points > 10_000, "only {points} crashes");
}

#[test]
fn a_crash_in_the_recovery_is_like_any_other() {
    use Step::{Append, Flush, Reopen, Snapshot};
    let script = [
        Append(3),
        Append(3),
        Snapshot,
        Append(5000),
        Snapshot,
        Append(2),
        Append(2),
        Reopen,
        Append(9),
        Snapshot,
        Append(1),
        Flush,
        Append(8000),
        Snapshot,
        Append(1),
    ];
    let mut points = 0;
    for durability in [Durability::Full, Durability::Normal] {
        points += explore(&script, durability, 6, 1);
    }
    assert!(points > 10_000, "only {points} crashes");
}
