//! A store against a model, by seed: any mixture of what a store can be asked for, crashes, and reopening.
//!
//! The model keeps what the files held after each commit. What a store gives after a crash must be one of these, and not
//! older than the last one known to be durable.

use std::collections::BTreeMap;
use std::rc::Rc;

use statik_bridge::pages::{Checkpoint, PAGE_BYTES, PageStore};
use statik_disk::{Crash, Disk, Faults, Kind, Open, Result, SimDisk};
use statik_store::{Options, Store};

const PAGE: u64 = PAGE_BYTES as u64;
const PATHS: [&str; 3] = ["a", "dir/b", "c"];

fn options() -> Options {
    Options {
        soft_bytes: 256 << 10,
        hard_bytes: 4 << 20,
        spill_bytes: 160 << 10,
        direct_bytes: 160 << 10,
        ..Options::default()
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

type Contents = [Vec<u8>; PATHS.len()];

/// What was committed, by its number, and what is known to be durable of it.
struct Model {
    committed: BTreeMap<u64, Contents>,
    staged: Contents,
    durable: u64,
    /// What a failed commit would have made of it: it may be found after a crash.
    attempted: Option<Contents>,
}

struct Run {
    seed: u64,
    random: Random,
    disk: SimDisk,
    model: Model,
    log: Vec<String>,
}

struct Opened {
    store: Store,
    files: [u32; PATHS.len()],
}

fn open(disk: &SimDisk) -> Result<Opened> {
    let store = Store::open(Rc::new(disk.clone()), options())?;
    let mut files = [0; PATHS.len()];
    for (file, path) in files.iter_mut().zip(PATHS) {
        *file = store.attach(path, Open::Create)?;
    }
    Ok(Opened { store, files })
}

fn content(opened: &Opened, index: usize, seq: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0xee; len.next_multiple_of(PAGE_BYTES) + PAGE_BYTES];
    opened.store.read(opened.files[index], seq, 0, &mut bytes, &mut |_, version| {
        assert!(version.from <= seq && version.until.is_none_or(|until| until > seq), "{version:?} at {seq}");
    })?;
    let beyond = bytes[len..].iter().position(|byte| *byte != 0);
    assert_eq!(beyond, None, "{} at {seq}: zeros beyond the end, {len}", PATHS[index]);
    bytes.truncate(len);
    Ok(bytes)
}

/// The first page that differs.
fn differs(one: &[u8], two: &[u8]) -> Option<u64> {
    one.iter().zip(two).position(|(one, two)| one != two).map(|at| at as u64 / PAGE)
}

impl Run {
    fn say(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    fn fill(&mut self, count: u64) -> Vec<u8> {
        let mut fill = Random(self.random.next());
        (0..count.div_ceil(8)).flat_map(|_| fill.next().to_le_bytes()).take(count as usize).collect()
    }

    fn stage(&mut self, opened: &Opened) -> Result<()> {
        let index = self.random.below(PATHS.len() as u64) as usize;
        let file = opened.files[index];
        let len = self.model.staged[index].len() as u64;
        let (offset, count) = match self.random.below(12) {
            0..=3 => (self.random.below(len / PAGE + 3) * PAGE, PAGE * (1 + self.random.below(3))),
            4 | 5 => (self.random.below(len + 9000), 1 + self.random.below(9000)),
            // A run that goes to the file, if it may.
            6 | 7 => (len.next_multiple_of(PAGE), PAGE * (14 + self.random.below(40))),
            8 => (self.random.below(len / PAGE + 30) * PAGE, PAGE * (14 + self.random.below(60))),
            _ => {
                let len = match self.random.below(4) {
                    0 => 0,
                    1 => len.saturating_sub(self.random.below(20 * PAGE)),
                    2 => len + self.random.below(5 * PAGE),
                    _ => self.random.below(len + PAGE),
                };
                self.say(format!("  {}: length {len}", PATHS[index]));
                opened.store.stage_len(file, len)?;
                self.model.staged[index].resize(len as usize, 0);
                return Ok(());
            }
        };
        let bytes = self.fill(count);
        self.say(format!(
            "  {}: {count} bytes at {offset} (pages {} to {})",
            PATHS[index],
            offset / PAGE,
            (offset + count) / PAGE
        ));
        opened.store.stage(file, offset, &bytes)?;
        let staged = &mut self.model.staged[index];
        let end = (offset + count) as usize;
        staged.resize(staged.len().max(end), 0);
        staged[offset as usize..end].copy_from_slice(&bytes);
        Ok(())
    }

    fn step(&mut self, opened: &Opened) -> Result<()> {
        let store = &opened.store;
        match self.random.below(20) {
            0..=8 => self.stage(opened)?,
            9..=12 => {
                self.say("commit");
                self.model.attempted = Some(self.model.staged.clone());
                let seq = store.commit(&opened.files, None, &mut |_| {})?;
                self.say(format!("  is {seq}"));
                self.model.committed.insert(seq, self.model.staged.clone());
                self.model.attempted = None;
            }
            13 => {
                self.say("discard");
                opened.files.iter().for_each(|file| store.discard(*file));
                self.model.staged = self.newest().clone();
            }
            14 => {
                self.say("flush");
                let durable = store.flush()?;
                self.model.durable = durable;
            }
            15 | 16 => {
                self.say("checkpoint");
                for _ in 0..self.random.below(12) {
                    if store.checkpoint(None)? == Checkpoint::Idle {
                        break;
                    }
                }
                self.model.durable = store.flushed();
            }
            17 => {
                self.say("checkpoint all");
                while store.checkpoint_target()?.is_some() {
                    store.checkpoint(None)?;
                }
                self.model.durable = store.flushed();
            }
            _ => self.check(opened)?,
        }
        Ok(())
    }

    fn newest(&self) -> &Contents {
        self.model.committed.last_key_value().expect("there is a first").1
    }

    fn check(&mut self, opened: &Opened) -> Result<()> {
        self.say("check");
        for index in 0..PATHS.len() {
            let (&seq, contents) = self.model.committed.last_key_value().expect("there is a first");
            let view = opened.store.newest(opened.files[index])?;
            assert_eq!((view.seq, view.len), (seq, contents[index].len() as u64), "{}", PATHS[index]);
            let bytes = content(opened, index, seq, contents[index].len())?;
            assert_eq!(differs(&bytes, &contents[index]), None, "{} at {seq}: this page differs", PATHS[index]);
            let mut staged = vec![0; self.model.staged[index].len()];
            assert_eq!(opened.store.read_staged(opened.files[index], 0, &mut staged)?, staged.len());
            assert_eq!(differs(&staged, &self.model.staged[index]), None, "{} as staged", PATHS[index]);
            // A view that is older is seen as it was, or refused.
            let old = self.random.below(seq + 1);
            let Some((_, contents)) = self.model.committed.range(..=old).next_back() else { continue };
            match content(opened, index, old, contents[index].len()) {
                Err(error) if error.kind() == Kind::Conflict => {}
                read => assert_eq!(differs(&read?, &contents[index]), None, "{} at {old}", PATHS[index]),
            }
        }
        Ok(())
    }

    /// Compares a store that was just opened with the model, which then starts from there.
    fn recovered(&mut self, opened: &Opened) -> Result<()> {
        let newest = opened.store.usage().newest;
        self.say(format!("recovered {newest}, durable {}", self.model.durable));
        assert!(newest >= self.model.durable, "commit {} was durable", self.model.durable);
        let last = *self.model.committed.last_key_value().expect("there is a first").0;
        let found = match self.model.committed.get(&newest) {
            Some(found) => found.clone(),
            None if newest > last => self.model.attempted.clone().expect("a commit that nobody tried"),
            None => panic!("there was no commit {newest}"),
        };
        for index in 0..PATHS.len() {
            let len = opened.store.newest(opened.files[index])?.len as usize;
            assert_eq!(len, found[index].len(), "{} has another length", PATHS[index]);
            let bytes = content(opened, index, newest, len)?;
            assert_eq!(differs(&bytes, &found[index]), None, "{}: this page differs", PATHS[index]);
        }
        self.model.staged = found.clone();
        self.model.committed = BTreeMap::from([(newest, found)]);
        (self.model.durable, self.model.attempted) = (newest, None);
        Ok(())
    }

    /// Runs until the power goes, or for so many steps.
    fn until_crash(&mut self, steps: u64) -> Result<()> {
        let opened = open(&self.disk)?;
        self.recovered(&opened)?;
        for _ in 0..steps {
            self.step(&opened)?;
        }
        Ok(())
    }

    fn crash(&mut self, steps: u64) {
        let at = self.disk.operations() + self.random.below(400);
        self.disk.set_faults(Faults { power_off_at: Some(at), ..Faults::default() });
        match self.until_crash(steps) {
            Err(error) if error.kind() == Kind::Closed => self.say("the power went"),
            ended => ended.unwrap_or_else(|error| panic!("{error}")),
        }
        let crash = match self.random.below(6) {
            0 => Crash::Process,
            1 => Crash::KeepAll,
            2 => Crash::LoseAll,
            _ => Crash::Seed(self.random.next()),
        };
        self.say(format!("{crash:?}"));
        self.disk = self.disk.crash(crash);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}:\n{}", self.seed, self.log.join("\n"));
        }
    }
}

/// What the file holds without any log.
fn plain(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Existing).expect("it is there");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_at(0, &mut bytes).expect("it can be read");
    bytes
}

#[test]
fn any_history_is_the_models() {
    let first = std::env::var("STATIK_SEED").map_or(1, |seed| seed.parse().expect("STATIK_SEED is a number"));
    let count = std::env::var("STATIK_SEEDS").map_or(6, |count| count.parse().expect("STATIK_SEEDS is a number"));
    for seed in first..first + count {
        let model = Model {
            committed: BTreeMap::from([(0, Contents::default())]),
            staged: Contents::default(),
            durable: 0,
            attempted: None,
        };
        let mut run = Run { seed, random: Random(seed), disk: SimDisk::new(seed), model, log: Vec::new() };
        for _ in 0..8 {
            let steps = run.random.below(120);
            run.crash(steps);
        }
        // Whatever happened, a checkpoint leaves plain files and an empty log.
        let opened = open(&run.disk).expect("it opens");
        run.recovered(&opened).unwrap_or_else(|error| panic!("{error}"));
        while opened.store.checkpoint_target().expect("a target").is_some() {
            opened.store.checkpoint(None).expect("it is copied");
        }
        for (path, content) in PATHS.iter().zip(run.newest()) {
            assert!(plain(&run.disk, path) == *content, "{path} is plain");
        }
        assert_eq!(Store::needs(&run.disk), Ok(Vec::new()));
    }
}
