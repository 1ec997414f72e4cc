//! Scripts: what is done to a store, by hand for what is known to be delicate, by seed for what is not.

use statik_bridge::pages::{Durability, PAGE_BYTES};
use statik_store::Options;

use super::random::Random;

/// The files of every script, by their index.
pub const PATHS: [&str; 3] = ["main.db", "dir/other.db", "third"];

const PAGE: u64 = PAGE_BYTES as u64;
/// No script's file grows beyond this by much.
const MAX_PAGES: usize = 40;

/// One step. What a write writes follows from its place in the script, so that no two write the same.
#[derive(Clone, Debug)]
pub enum Step {
    Write {
        file: usize,
        offset: u64,
        len: usize,
    },
    Len {
        file: usize,
        len: u64,
    },
    Discard {
        file: usize,
    },
    Commit {
        files: Vec<usize>,
        durability: Durability,
    },
    Durable,
    /// One slice of a checkpoint.
    Slice,
    /// All of a checkpoint, as far as the held view allows.
    Checkpoint,
    /// A reader takes a view of every file, giving up the one it had.
    Hold,
    /// It gives it up.
    Release,
    /// The log forgets a file.
    Settle {
        file: usize,
    },
    /// The process ends and another goes on; nothing is flushed for that.
    Reopen,
}

/// Steps, and the limits of the log that they run with.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub steps: Vec<Step>,
    pub options: Options,
}

impl Script {
    fn of(name: &str, steps: Vec<Step>) -> Script {
        Script { name: name.to_owned(), steps, options: limits(64 << 10, 256 << 10, 1 << 20) }
    }
}

fn limits(soft_bytes: u64, hard_bytes: u64, spill_bytes: usize) -> Options {
    Options { soft_bytes, hard_bytes, spill_bytes, ..Options::default() }
}

fn write(file: usize, page: u64, pages: usize) -> Step {
    Step::Write { file, offset: page * PAGE, len: pages * PAGE_BYTES }
}

fn some(file: usize, offset: u64, len: usize) -> Step {
    Step::Write { file, offset, len }
}

fn commit(files: &[usize], durability: Durability) -> Step {
    Step::Commit { files: files.to_vec(), durability }
}

fn full(files: &[usize]) -> Step {
    commit(files, Durability::Full)
}

fn normal(files: &[usize]) -> Step {
    commit(files, Durability::Normal)
}

/// Scripts of at most 40 operations of the disk, each for one thing that may go wrong.
pub fn by_hand() -> Vec<Script> {
    use Step::{Checkpoint, Discard, Durable, Hold, Len, Release, Reopen, Settle, Slice};
    let one =
        vec![write(0, 0, 1), full(&[0]), write(0, 0, 1), full(&[0]), write(0, 0, 2), normal(&[0]), write(0, 1, 1)];
    let atomic = vec![
        write(0, 0, 1),
        write(1, 0, 2),
        full(&[0, 1]),
        some(0, 10, 50),
        some(1, 4000, 200),
        normal(&[0, 1]),
        Len { file: 1, len: 100 },
        write(0, 0, 1),
        normal(&[1, 0]),
        Durable,
        write(0, 0, 1),
        write(1, 0, 1),
        commit(&[0, 1], Durability::Off),
        write(2, 0, 1),
        full(&[2]),
    ];
    // The same records again and again: an old tail ends where a new record does.
    let mut recycled = vec![write(0, 0, 3), full(&[0])];
    for _ in 0..3 {
        recycled.extend([
            write(0, 0, 1),
            normal(&[0]),
            write(0, 1, 1),
            normal(&[0]),
            write(0, 2, 1),
            full(&[0]),
            Checkpoint,
        ]);
    }
    recycled.extend([write(0, 1, 1), full(&[0])]);
    let direct = vec![
        write(0, 0, 1),
        full(&[0]),
        write(0, 1, 20),
        full(&[0]),
        write(1, 0, 9),
        write(0, 21, 6),
        full(&[0, 1]),
        write(0, 27, 8),
        Discard { file: 0 },
        write(0, 27, 1),
        full(&[0]),
        Checkpoint,
    ];
    let cut = vec![
        write(0, 0, 6),
        full(&[0]),
        Checkpoint,
        Len { file: 0, len: 5000 },
        full(&[0]),
        some(0, 9000, 100),
        full(&[0]),
        Len { file: 0, len: 0 },
        write(0, 0, 4),
        normal(&[0]),
        Len { file: 0, len: 8192 },
        normal(&[0]),
        write(0, 2, 5),
        full(&[0]),
        Checkpoint,
    ];
    let slices = vec![
        write(0, 0, 4),
        write(1, 0, 4),
        full(&[0, 1]),
        write(0, 1, 2),
        normal(&[0]),
        Slice,
        write(0, 1, 1),
        normal(&[0]),
        Slice,
        write(1, 0, 1),
        write(0, 3, 1),
        full(&[0, 1]),
        Slice,
        Slice,
        Slice,
        write(0, 0, 1),
        normal(&[0]),
        Slice,
    ];
    let held = vec![
        write(0, 0, 3),
        normal(&[0]),
        Hold,
        write(0, 1, 1),
        write(1, 0, 1),
        full(&[0, 1]),
        Checkpoint,
        Slice,
        Release,
        Hold,
        Checkpoint,
        write(0, 0, 1),
        normal(&[0]),
        Slice,
        Release,
        Slice,
    ];
    let settled = vec![
        write(0, 0, 2),
        write(1, 0, 2),
        full(&[0, 1]),
        write(0, 0, 1),
        normal(&[0]),
        Settle { file: 0 },
        write(0, 1, 1),
        normal(&[0]),
        Settle { file: 1 },
        write(1, 0, 1),
        full(&[1]),
    ];
    let reopened = vec![
        write(0, 0, 2),
        normal(&[0]),
        Reopen,
        write(0, 1, 1),
        normal(&[0]),
        Checkpoint,
        write(0, 0, 1),
        normal(&[0]),
        Reopen,
        write(0, 2, 10),
        full(&[0]),
        Reopen,
        write(1, 0, 1),
        normal(&[1]),
        Durable,
    ];
    let spilled = vec![
        write(0, 0, 6),
        full(&[0]),
        write(0, 0, 3),
        write(1, 0, 1),
        full(&[0, 1]),
        write(0, 1, 4),
        Discard { file: 0 },
        write(0, 4, 1),
        full(&[0]),
    ];
    let spilled_amid = vec![
        write(0, 0, 4),
        normal(&[0]),
        write(0, 0, 3),
        Slice,
        write(1, 0, 1),
        normal(&[1]),
        Slice,
        Len { file: 0, len: 5000 },
        write(0, 1, 2),
        normal(&[0]),
        Durable,
    ];
    let scripts = [
        ("one file", one),
        ("atomic over files", atomic),
        ("recycled log", recycled),
        ("direct", direct),
        ("cut", cut),
        ("slices", slices),
        ("held", held),
        ("settled", settled),
        ("reopened", reopened),
        ("spilled", spilled),
        ("spilled amid a checkpoint", spilled_amid),
    ];
    let script = |(name, steps): (&str, Vec<Step>)| {
        let mut script = Script::of(name, steps);
        if name.starts_with("spilled") {
            script.options.spill_bytes = 2 * PAGE_BYTES;
        }
        script
    };
    scripts.into_iter().map(script).collect()
}

/// A script by seed.
pub fn by_seed(seed: u64, steps: usize) -> Script {
    let mut random = Random(seed);
    let mut script = Script::of(&format!("seed {seed}"), Vec::new());
    let soft_bytes = [16 << 10, 64 << 10, 1 << 20][random.below(3)];
    script.options =
        limits(soft_bytes, soft_bytes * [2, 4][random.below(2)], [8 << 10, 64 << 10, 1 << 20][random.below(3)]);
    while script.steps.len() < steps {
        let file = random.below(PATHS.len());
        let step = match random.below(40) {
            0..14 => random_write(&mut random, file),
            14..16 => Step::Len { file, len: random_offset(&mut random) },
            16 => Step::Discard { file },
            17..30 => Step::Commit {
                files: [&[file][..], &[file, (file + 1) % 3], &[2, 0, 1]][random.below(3)].to_vec(),
                durability: [Durability::Off, Durability::Normal, Durability::Full][random.below(3)],
            },
            30 => Step::Durable,
            31..34 => Step::Slice,
            34 => Step::Checkpoint,
            35 => Step::Hold,
            36 | 37 => Step::Release,
            38 => Step::Settle { file },
            _ => Step::Reopen,
        };
        script.steps.push(step);
    }
    script
}

fn random_offset(random: &mut Random) -> u64 {
    let page = if random.below(2) == 0 { random.below(4) } else { random.below(MAX_PAGES) } as u64;
    page * PAGE + if random.below(3) == 0 { random.below(PAGE_BYTES) as u64 } else { 0 }
}

fn random_write(random: &mut Random, file: usize) -> Step {
    let len = match random.below(8) {
        0..5 => PAGE_BYTES,
        5 => 1 + random.below(3 * PAGE_BYTES),
        6 => PAGE_BYTES * (1 + random.below(4)),
        _ => PAGE_BYTES * (1 + random.below(24)),
    };
    Step::Write { file, offset: random_offset(random), len }
}

/// The bytes of the write with this number: no other's, at any place.
pub fn bytes(write: u64, len: usize) -> Vec<u8> {
    (0..len.div_ceil(8) as u64).flat_map(|at| ((write << 20) | (at + 1)).to_le_bytes()).take(len).collect()
}
