//! The oracle: what a crash may leave, and what a store must make of it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::rc::Rc;

use statik_bridge::pages::{Durability, PAGE_BYTES, PageStore};
use statik_disk::{Crash, Disk, SimDisk};
use statik_store::Options;

use super::run::{Failed, Moment, Run, States, compare_ids, differ, failed, raw};
use super::script::{PATHS, Step};
use super::subject::{Opener, Subject};

/// One survivor in so many is also worked on after its recovery.
const WORKED_ON: u64 = 8;

/// Judges the survivors of one run.
pub struct Judge<'a> {
    pub opener: Opener,
    pub options: &'a Options,
    pub states: &'a States,
    /// Crashes judged: moments times ways, those during recovery included.
    pub points: u64,
    /// Survivors that were judged already, with what they may hold, and whether their recovery was crashed too: many
    /// crashes leave the same bytes.
    known: HashSet<(u64, RangeInclusive<usize>, bool)>,
}

impl<'a> Judge<'a> {
    pub fn new(opener: Opener, options: &'a Options, states: &'a States) -> Self {
        Judge { opener, options, states, points: 0, known: HashSet::new() }
    }

    /// Crashes a moment in all simple ways and by these seeds.
    pub fn moment(&mut self, moment: &Moment, seeds: std::ops::Range<u64>) -> Result<(), Failed> {
        self.crash(moment, &[Crash::Process])?;
        self.power_off(moment, seeds)
    }

    /// As [`Judge::moment`], without the death of the process alone.
    pub fn power_off(&mut self, moment: &Moment, seeds: std::ops::Range<u64>) -> Result<(), Failed> {
        let crashes: Vec<Crash> = [Crash::LoseAll, Crash::KeepAll].into_iter().chain(seeds.map(Crash::Seed)).collect();
        self.crash(moment, &crashes)
    }

    fn crash(&mut self, moment: &Moment, crashes: &[Crash]) -> Result<(), Failed> {
        for &crash in crashes {
            let disk = moment.disk.crash(crash);
            self.survivor(&disk, crash == Crash::Process, &moment.allowed).map_err(|failed| {
                let Moment { operation, step, allowed, .. } = moment;
                failed
                    .during(format_args!("{crash:?} before operation {operation}, in step {step}, allowed {allowed:?}"))
            })?;
        }
        Ok(())
    }

    /// Recovers a survivor, and crashes the recovery at each of its operations; `pending` if not all is durable on it.
    fn survivor(&mut self, disk: &SimDisk, pending: bool, allowed: &RangeInclusive<usize>) -> Result<(), Failed> {
        self.points += 1;
        let print = fingerprint(disk);
        if !pending && !self.known.insert((print, allowed.clone(), true)) {
            return Ok(());
        }
        let moments = Rc::new(RefCell::new(Vec::new()));
        let record = Rc::clone(&moments);
        let recovering = disk.crash(Crash::Process);
        recovering.watch(move |disk| record.borrow_mut().push(disk.crash(Crash::Process)));
        let (subject, found) = self.recover(&recovering, allowed)?;
        for (at, moment) in moments.take().iter().enumerate() {
            let allowed = if pending { allowed.clone() } else { found..=found };
            for crash in [Crash::LoseAll, Crash::KeepAll, Crash::Seed(print ^ at as u64)] {
                let judge = self.nested(&moment.crash(crash), &allowed);
                judge
                    .map_err(|failed| failed.during(format_args!("{crash:?} before operation {at} of the recovery")))?;
            }
        }
        let durable = subject.store().usage().durable;
        let durable = self.states.iter().rposition(|state| state.seq <= durable).expect("the beginning is 0");
        let floor = if pending { durable.max(*allowed.start()) } else { found };
        self.nested(&recovering.crash(Crash::LoseAll), &(floor..=found)).map_err(|failed| {
            failed.during(format_args!("{durable} said to be durable after the recovery of {found}"))
        })?;
        drop(subject);
        // As a new process finds it: with what was not durable, but without the watch.
        let again = recovering.crash(Crash::Process);
        let (subject, _) = self
            .recover(&again, &(found..=found))
            .map_err(|failed| failed.during(format_args!("recovered a second time")))?;
        if print.is_multiple_of(WORKED_ON) {
            self.work_on(again, subject, found).map_err(|failed| failed.during(format_args!("after the recovery")))?;
        }
        Ok(())
    }

    /// A crash during a recovery.
    fn nested(&mut self, disk: &SimDisk, allowed: &RangeInclusive<usize>) -> Result<(), Failed> {
        self.points += 1;
        let print = fingerprint(disk);
        if !self.known.insert((print, allowed.clone(), false)) {
            return Ok(());
        }
        let (subject, found) = self.recover(disk, allowed)?;
        if print.is_multiple_of(WORKED_ON) {
            self.work_on(disk.clone(), subject, found)
                .map_err(|failed| failed.during(format_args!("after the recovery")))?;
        }
        Ok(())
    }

    /// The store on a survivor, and the index of the state that it found.
    fn recover(&self, disk: &SimDisk, allowed: &RangeInclusive<usize>) -> Result<(Box<dyn Subject>, usize), Failed> {
        let subject = (self.opener)(disk, self.options).map_err(failed("recovering"))?;
        if let Some(damage) = subject.store().damage() {
            return Err(format!("a crash is taken for damage: {damage:?}").into());
        }
        let contents = subject.contents().map_err(failed("reading what was recovered"))?;
        let newest = subject.store().usage().newest;
        let matching = |at: &usize| *self.states[*at].contents == contents;
        let candidates: Vec<usize> = allowed.clone().filter(matching).collect();
        if let Some(found) = candidates.iter().find(|at| self.states[**at].seq == newest) {
            compare_ids(&*subject, self.states, *found)?;
            return Ok((subject, *found));
        }
        if let Some(at) = candidates.first() {
            return Err(format!("state {at} was recovered as commit {newest}, not {}", self.states[*at].seq).into());
        }
        let elsewhere: Vec<usize> = (0..self.states.len()).filter(matching).collect();
        let files = PATHS.iter().enumerate().map(|(file, path)| {
            let same = |at: &usize| self.states[*at].contents[file] == contents[file];
            format!("{path} is as in {:?}", (0..self.states.len()).filter(same).collect::<Vec<_>>())
        });
        let files: Vec<String> = files.collect();
        let last = differ(&contents, &self.states[*allowed.end()].contents).unwrap_or_default();
        let files = files.join("; ");
        Err(format!("recovered commit {newest}, as states {elsewhere:?}; {files}; the last differs: {last}").into())
    }

    /// A recovered store takes commits, keeps them, and checkpoints.
    fn work_on(&self, disk: SimDisk, subject: Box<dyn Subject>, found: usize) -> Result<(), Failed> {
        let states = self.states[..=found].to_vec();
        let mut run = Run::resume(disk, subject, self.options, self.opener, states);
        let write = |file, page: u64| Step::Write { file, offset: page * PAGE_BYTES as u64, len: PAGE_BYTES };
        let both = Step::Commit { files: vec![0, 1], durability: Durability::Full };
        let one = Step::Commit { files: vec![0], durability: Durability::Normal };
        let steps = [write(0, 0), write(1, 1), both, write(0, 1), one];
        for step in &steps {
            run.step(step).map_err(|failed| failed.during(format_args!("{step:?}")))?;
        }
        run.compare()?;
        let survivor = run.disk.crash(Crash::LoseAll);
        let judge = Judge::new(self.opener, self.options, &run.states);
        judge
            .recover(&survivor, &run.allowed())
            .map_err(|failed| failed.during(format_args!("crashed after new commits")))?;
        run.step(&Step::Checkpoint)?;
        run.reopen()
    }
}

/// Tells survivors apart by what reads see of them.
fn fingerprint(disk: &SimDisk) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in disk.list().expect("no faults here") {
        path.hash(&mut hasher);
        raw(disk, &path).expect("no faults here").hash(&mut hasher);
    }
    hasher.finish()
}
