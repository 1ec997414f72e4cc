//! A script's run, beside a model of what the store must hold, and the moments at which it may be crashed.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::rc::Rc;

use statik_bridge::pages::{CommitId, Durability, PageStore};
use statik_disk::{Crash, Disk, Error, Kind, Open, SimDisk};
use statik_store::Options;

use super::script::{PATHS, Script, Step, bytes};
use super::subject::{Contents, Opener, Subject};

/// What all files held after a commit.
#[derive(Clone)]
pub struct State {
    pub seq: u64,
    pub contents: Rc<Contents>,
    /// The id that the commit carried.
    pub id: Option<CommitId>,
    /// Those of commits that were tried after it, and of which nothing came.
    pub refused: Vec<CommitId>,
}

/// The commits of a run: at index 0 the beginning.
pub type States = Vec<State>;

/// A disk as it was, and which states may be found on it after a crash.
pub struct Moment {
    pub disk: SimDisk,
    pub operation: u64,
    pub step: usize,
    pub allowed: RangeInclusive<usize>,
}

/// What is known at each moment: what is durable for sure, and what was attempted, as indices of states.
#[derive(Default)]
struct Trace {
    floor: usize,
    attempted: usize,
    step: usize,
    sample: Option<Box<dyn Fn(u64) -> bool>>,
    moments: Vec<Moment>,
}

fn watch(disk: &SimDisk, trace: &Rc<RefCell<Trace>>) {
    let trace = Rc::clone(trace);
    disk.watch(move |disk| {
        let trace = &mut *trace.borrow_mut();
        if trace.sample.as_ref().is_some_and(|sample| sample(disk.operations())) {
            trace.take(disk);
        }
    });
}

impl Trace {
    fn take(&mut self, disk: &SimDisk) {
        let (disk, operation) = (disk.crash(Crash::Process), disk.operations());
        self.moments.push(Moment { disk, operation, step: self.step, allowed: self.floor..=self.attempted });
    }
}

/// A store under a script.
pub struct Run {
    pub disk: SimDisk,
    pub subject: Box<dyn Subject>,
    pub states: States,
    options: Options,
    opener: Opener,
    staged: [Option<Vec<u8>>; PATHS.len()],
    held: Option<Rc<Contents>>,
    writes: u64,
    trace: Rc<RefCell<Trace>>,
}

/// What was found to be wrong, or failed.
#[derive(Debug)]
pub struct Failed {
    pub what: String,
    /// The kind of the store's own error; none if it is the oracle that complains.
    pub kind: Option<Kind>,
}

impl Failed {
    /// With what was being done.
    pub fn during(self, doing: std::fmt::Arguments<'_>) -> Failed {
        Failed { what: format!("{doing}: {}", self.what), ..self }
    }
}

impl From<String> for Failed {
    fn from(what: String) -> Failed {
        Failed { what, kind: None }
    }
}

/// The store's error, while something was done.
pub fn failed(doing: &str) -> impl FnOnce(Error) -> Failed {
    move |error| Failed { what: format!("{doing}: {error}"), kind: Some(error.kind()) }
}

impl Run {
    /// Opens a store on an empty disk. The moments for which `sample` says so, by the operation, are kept.
    pub fn new(opener: Opener, options: &Options, sample: impl Fn(u64) -> bool + 'static) -> Result<Run, Failed> {
        let disk = SimDisk::new(0);
        let trace = Rc::new(RefCell::new(Trace { sample: Some(Box::new(sample)), ..Trace::default() }));
        watch(&disk, &trace);
        let subject = opener(&disk, options).map_err(failed("opening"))?;
        let contents = Rc::new(vec![Vec::new(); PATHS.len()]);
        let empty = State { seq: 0, contents, id: None, refused: Vec::new() };
        let mut run = Run::resume(disk, subject, options, opener, vec![empty]);
        run.trace = trace;
        Ok(run)
    }

    /// Goes on with a store that was recovered, in the last of these states. Nothing is kept of its moments.
    pub fn resume(disk: SimDisk, subject: Box<dyn Subject>, options: &Options, opener: Opener, states: States) -> Run {
        let at = states.len() - 1;
        let trace = Rc::new(RefCell::new(Trace { floor: 0, attempted: at, ..Trace::default() }));
        let (options, staged) = (*options, Default::default());
        Run { disk, subject, states, options, opener, staged, held: None, writes: 1 << 20, trace }
    }

    /// Runs the script, and compares the store with the model after each step.
    pub fn run(&mut self, script: &Script) -> Result<(), Failed> {
        for (at, step) in script.steps.iter().enumerate() {
            self.trace.borrow_mut().step = at;
            let done = self.step(step).and_then(|()| self.compare());
            done.map_err(|failed| failed.during(format_args!("step {at}, {step:?}")))?;
        }
        self.take();
        Ok(())
    }

    /// Keeps this moment.
    pub fn take(&self) {
        self.trace.borrow_mut().take(&self.disk);
    }

    /// The moments so far.
    pub fn moments(&self) -> Vec<Moment> {
        std::mem::take(&mut self.trace.borrow_mut().moments)
    }

    /// The states that a crash may leave now.
    pub fn allowed(&self) -> RangeInclusive<usize> {
        let trace = self.trace.borrow();
        trace.floor..=trace.attempted
    }

    fn newest(&self) -> &State {
        self.states.last().expect("there is a beginning")
    }

    fn staged(&mut self, file: usize) -> &mut Vec<u8> {
        let committed = Rc::clone(&self.newest().contents);
        self.staged[file].get_or_insert_with(|| committed[file].clone())
    }

    pub fn step(&mut self, step: &Step) -> Result<(), Failed> {
        match step {
            Step::Write { file, offset, len } => {
                self.writes += 1;
                let bytes = bytes(self.writes, *len);
                self.subject.stage(*file, *offset, &bytes).map_err(failed("staging"))?;
                let (staged, start) = (self.staged(*file), *offset as usize);
                staged.resize(staged.len().max(start + len), 0);
                staged[start..start + len].copy_from_slice(&bytes);
            }
            Step::Len { file, len } => {
                self.subject.stage_len(*file, *len).map_err(failed("staging a length"))?;
                self.staged(*file).resize(*len as usize, 0);
            }
            Step::Discard { file } => {
                self.staged[*file] = None;
                self.subject.discard(*file).map_err(failed("discarding"))?;
            }
            Step::Commit { files, durability } => self.commit(files, *durability)?,
            Step::Durable => {
                let seq = self.subject.durable().map_err(failed("making durable"))?;
                self.durable_to(seq);
            }
            Step::Slice => self.subject.slice().map_err(failed("checkpointing a slice"))?,
            Step::Checkpoint => {
                if self.subject.checkpoint().map_err(failed("checkpointing"))? {
                    (0..PATHS.len()).try_for_each(|file| self.compare_raw(file))?;
                }
            }
            Step::Hold => {
                self.subject.hold().map_err(failed("taking a view"))?;
                self.held = Some(Rc::clone(&self.newest().contents));
            }
            Step::Release => {
                self.held = None;
                self.subject.release().map_err(failed("giving up a view"))?;
            }
            Step::Settle { file } => {
                for step in [Step::Release, Step::Discard { file: *file }] {
                    self.step(&step)?;
                }
                self.subject.settle(*file).map_err(failed("settling"))?;
                self.compare_raw(*file)?;
            }
            Step::Reopen => self.reopen()?,
        }
        let seq = self.subject.store().usage().durable;
        self.durable_to(seq);
        Ok(())
    }

    fn commit(&mut self, files: &[usize], durability: Durability) -> Result<(), Failed> {
        let staged = files.iter().any(|file| self.staged[*file].is_some());
        let mut contents = Contents::clone(&self.newest().contents);
        for file in files {
            if let Some(staged) = self.staged[*file].take() {
                contents[*file] = staged;
            }
        }
        // What is staged may be what is there; whether that makes a commit is the store's to say.
        let differs = contents != *self.newest().contents;
        self.trace.borrow_mut().attempted += usize::from(staged);
        let last = self.newest().seq;
        let id = self.next_id();
        let committed = self.subject.commit(files, durability, id);
        let newest = self.subject.store().usage().newest;
        if staged && newest > last {
            self.states.push(State { seq: newest, contents: Rc::new(contents), id, refused: Vec::new() });
        } else {
            self.trace.borrow_mut().attempted = self.states.len() - 1;
            self.states.last_mut().expect("there is a beginning").refused.extend(id);
        }
        let seq = committed.map_err(failed("committing"))?;
        if seq != self.newest().seq || differs && seq <= last {
            return Err(format!("commit {seq} follows {last}, and {newest} is said to be the newest").into());
        }
        if durability == Durability::Full && staged {
            self.durable_to(seq);
        }
        Ok(())
    }

    /// An id that no commit before it has had; some have none.
    fn next_id(&self) -> Option<CommitId> {
        let tried = self.newest().refused.len() as u128;
        (self.states.len() % 4 != 0).then_some(CommitId((self.states.len() as u128) << 64 | tried))
    }

    fn durable_to(&mut self, seq: u64) {
        let durable = self.states.iter().rposition(|state| state.seq <= seq).expect("the beginning is 0");
        let mut trace = self.trace.borrow_mut();
        trace.floor = trace.floor.max(durable);
    }

    /// Ends the process. What the new one finds is what the old one saw.
    pub fn reopen(&mut self) -> Result<(), Failed> {
        self.staged = Default::default();
        self.held = None;
        // What a store does when it is dropped must not be needed.
        let disk = self.disk.crash(Crash::Process);
        watch(&disk, &self.trace);
        self.subject = (self.opener)(&disk, &self.options).map_err(failed("reopening"))?;
        self.disk = disk;
        self.compare()
    }

    /// The store holds what the model holds, and a held view what it held.
    pub fn compare(&self) -> Result<(), Failed> {
        self.compare_contents()?;
        compare_ids(&*self.subject, &self.states, self.states.len() - 1)?;
        match self.subject.store().usage().newest {
            seq if seq == self.newest().seq => Ok(()),
            seq => Err(format!("the newest commit is said to be {seq}, but is {}", self.newest().seq).into()),
        }
    }

    /// As [`Run::compare`], whatever the commits' numbers.
    pub fn compare_contents(&self) -> Result<(), Failed> {
        let found = self.subject.contents().map_err(failed("reading"))?;
        same(differ(&found, &self.newest().contents), "newest")?;
        if let Some(held) = &self.held {
            let found = self.subject.held().map_err(failed("reading a held view"))?;
            let found = found.ok_or_else(|| "the view is lost".to_owned())?;
            same(differ(&found, held), "held view")?;
        }
        Ok(())
    }

    /// After a checkpoint a file is plain and durable.
    fn compare_raw(&self, file: usize) -> Result<(), Failed> {
        let survivor = self.disk.crash(Crash::LoseAll);
        let found = raw(&survivor, PATHS[file]).map_err(failed("reading the raw file"))?;
        let expected = &self.newest().contents[file];
        // What is staged may lie beyond the committed end.
        let found = if self.staged[file].is_some() { &found[..expected.len().min(found.len())] } else { &found[..] };
        same(describe(found, expected), &format!("{} after a checkpoint", PATHS[file]))
    }
}

/// Each id is that of the commit that carried it, if that is up to the state `newest`, and otherwise of none.
pub fn compare_ids(subject: &dyn Subject, states: &[State], newest: usize) -> Result<(), Failed> {
    for (at, state) in states.iter().enumerate() {
        let made = state.id.map(|id| (id, (at <= newest).then_some(state.seq)));
        for (id, expected) in made.into_iter().chain(state.refused.iter().map(|id| (*id, None))) {
            let found = subject.committed(id).map_err(failed("asking for an id"))?;
            if found != expected {
                return Err(format!("{id:x?} is said to be of commit {found:?}, not {expected:?}").into());
            }
        }
    }
    Ok(())
}

/// Complains of a difference.
fn same(difference: Option<String>, of: &str) -> Result<(), Failed> {
    match difference {
        None => Ok(()),
        Some(what) => Err(format!("{of}: {what}").into()),
    }
}

/// A file's bytes, without any store.
pub fn raw(disk: &SimDisk, path: &str) -> statik_disk::Result<Vec<u8>> {
    let file = disk.open(path, Open::Existing)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Where two contents differ, if they do.
pub fn differ(found: &Contents, expected: &Contents) -> Option<String> {
    let differ = |(file, path): (usize, &&str)| Some(format!("{path}: {}", describe(&found[file], &expected[file])?));
    PATHS.iter().enumerate().find_map(differ)
}

fn describe(found: &[u8], expected: &[u8]) -> Option<String> {
    if found == expected {
        return None;
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    let some = |bytes: &[u8]| format!("{:02x?}", bytes.get(at..bytes.len().min(at + 16)).unwrap_or_default());
    let (found_some, expected_some) = (some(found), some(expected));
    Some(format!("{} bytes, not {}, from {at} {found_some}, not {expected_some}", found.len(), expected.len()))
}
