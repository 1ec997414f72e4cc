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
    Options { soft_bytes, hard_bytes, spill_bytes, direct_bytes: 0, ..Options::default() }
}

/// Scripts of at most 50 operations of the disk, each for one thing that may go wrong. [`parse`] has the notation.
const BY_HAND: [(&str, &str); 14] = [
    ("one file", "w0:0+1 F0 w0:0+1 F0 w0:0+2 N0 w0:1+1"),
    (
        "atomic over files",
        "w0:0+1 w1:0+2 F01 b0:10+50 b1:4000+200 N01 l1:100 w0:0+1 N10 durable w0:0+1 w1:0+1 O01 w2:0+1 F2",
    ),
    // The same records again and again: an old tail ends where a new record does.
    (
        "recycled log",
        "w0:0+3 F0 w0:0+1 N0 w0:1+1 N0 w0:2+1 F0 checkpoint w0:0+1 N0 w0:1+1 N0 w0:2+1 F0 checkpoint \
         w0:0+1 N0 w0:1+1 N0 w0:2+1 F0 checkpoint w0:1+1 F0",
    ),
    ("direct", "w0:0+1 F0 w0:1+20 F0 w1:0+9 w0:21+6 F01 w0:27+8 d0 w0:27+1 F0 checkpoint"),
    ("discarded direct", "w0:0+1 F0 w0:1+20 w1:0+1 F1 d0 w0:1+1 F0 w0:2+18 reopen w0:2+1 F0 checkpoint"),
    ("cut", "w0:0+6 F0 checkpoint l0:5000 F0 b0:9000+100 F0 l0:0 w0:0+4 N0 l0:8192 N0 w0:2+5 F0 checkpoint"),
    ("slices", "w0:0+4 w1:0+4 F01 w0:1+2 N0 slice w0:1+1 N0 slice w1:0+1 w0:3+1 F01 slice slice slice w0:0+1 N0 slice"),
    ("held", "w0:0+3 N0 hold w0:1+1 w1:0+1 F01 checkpoint slice release hold checkpoint w0:0+1 N0 slice release slice"),
    ("settled", "w0:0+2 w1:0+2 F01 w0:0+1 N0 s0 w0:1+1 N0 s1 w1:0+1 F1"),
    ("reopened", "w0:0+2 N0 reopen w0:1+1 N0 checkpoint w0:0+1 N0 reopen w0:2+10 F0 reopen w1:0+1 N1 durable"),
    // What the other log has to take over is durable there only because it is recycled for nothing else.
    (
        "ids, recycled",
        "w0:0+1 F0 w0:0+1 N0 checkpoint checkpoint w0:0+1 O0 w1:0+1 N1 checkpoint reopen w0:1+1 O0 checkpoint",
    ),
    (
        "ids, amid a checkpoint",
        "w0:0+1 w1:0+1 N01 slice w0:1+1 O0 slice slice w0:0+1 N0 slice w1:0+1 F1 slice reopen w0:0+1 O0 slice slice",
    ),
    ("spilled", "w0:0+6 F0 w0:0+3 w1:0+1 F01 w0:1+4 d0 w0:4+1 F0"),
    ("spilled amid a checkpoint", "w0:0+4 N0 w0:0+3 slice w1:0+1 N1 slice l0:5000 w0:1+2 N0 durable"),
];

/// All of them.
pub fn by_hand() -> Vec<Script> {
    let script = |(name, steps): (&str, &str)| {
        let mut script = Script::of(name, steps.split_whitespace().map(parse).collect());
        if name.starts_with("spilled") {
            script.options.spill_bytes = 2 * PAGE_BYTES;
        }
        script
    };
    BY_HAND.into_iter().map(script).collect()
}

/// A step: `w0:1+2` writes two pages of file 0 from page 1 on, `b0:1+2` bytes, `l0:5` sets the length, `d0` discards, `s0`
/// settles; `F01`, `N01` and `O01` commit files 0 and 1 at Full, Normal and Off; the others are words.
fn parse(step: &str) -> Step {
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{step}"));
    let (head, place) = step.split_once(':').unwrap_or((step, "0"));
    let (place, count) = place.split_once('+').unwrap_or((place, "0"));
    let (place, count) = (number(place), number(count) as usize);
    let (kind, files) = head.split_at(1);
    let files = || files.bytes().map(|file| usize::from(file - b'0')).collect::<Vec<_>>();
    let file = || files()[0];
    let commit = |durability| Step::Commit { files: files(), durability };
    match (kind, step) {
        (_, "durable") => Step::Durable,
        (_, "slice") => Step::Slice,
        (_, "checkpoint") => Step::Checkpoint,
        (_, "hold") => Step::Hold,
        (_, "release") => Step::Release,
        (_, "reopen") => Step::Reopen,
        ("w", _) => Step::Write { file: file(), offset: place * PAGE, len: count * PAGE_BYTES },
        ("b", _) => Step::Write { file: file(), offset: place, len: count },
        ("l", _) => Step::Len { file: file(), len: place },
        ("d", _) => Step::Discard { file: file() },
        ("s", _) => Step::Settle { file: file() },
        ("F", _) => commit(Durability::Full),
        ("N", _) => commit(Durability::Normal),
        ("O", _) => commit(Durability::Off),
        _ => panic!("{step}"),
    }
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
