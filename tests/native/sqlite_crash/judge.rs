//! The oracle: what a crash may leave of the databases, and what opening them must make of it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::rc::Rc;

use statik_bridge::pages::Pages;
use statik_disk::{Crash, Disk, Open, SimDisk};

use super::script::Script;
use super::world::{Moment, PATHS, State, World};

/// One survivor in so many is also worked on.
const WORKED_ON: u64 = 8;

/// Judges the survivors of one run.
pub struct Judge<'a> {
    script: &'a Script,
    states: &'a [State],
    /// Crashes judged: moments times ways, those during recovery included.
    pub points: u64,
    /// Survivors that were judged already, with what they may hold: many crashes leave the same bytes.
    known: HashSet<(u64, RangeInclusive<usize>)>,
}

impl<'a> Judge<'a> {
    pub fn new(script: &'a Script, states: &'a [State]) -> Self {
        Judge { script, states, points: 0, known: HashSet::new() }
    }

    /// Crashes a moment in all simple ways and by these seeds.
    pub fn moment(&mut self, moment: &Moment, seeds: std::ops::Range<u64>) -> Result<(), String> {
        self.crash(moment, &[Crash::Process])?;
        self.power_off(moment, seeds)
    }

    /// As [`Judge::moment`], without the death of the process alone.
    pub fn power_off(&mut self, moment: &Moment, seeds: std::ops::Range<u64>) -> Result<(), String> {
        let crashes: Vec<Crash> = [Crash::LoseAll, Crash::KeepAll].into_iter().chain(seeds.map(Crash::Seed)).collect();
        self.crash(moment, &crashes)
    }

    fn crash(&mut self, moment: &Moment, crashes: &[Crash]) -> Result<(), String> {
        for &crash in crashes {
            let Moment { disk, operation, allowed } = moment;
            let judged = self.survivor(&disk.crash(crash), crash == Crash::Process, allowed);
            judged.map_err(|what| format!("{crash:?} before operation {operation}, allowed {allowed:?}: {what}"))?;
        }
        Ok(())
    }

    /// Opens a survivor, again, and again after a crash of the first time; `pending` if not all is durable on it.
    fn survivor(&mut self, disk: &SimDisk, pending: bool, allowed: &RangeInclusive<usize>) -> Result<(), String> {
        self.points += 1;
        let print = fingerprint(disk);
        if !pending && !self.known.insert((print, allowed.clone())) {
            return Ok(());
        }
        let moments = Rc::new(RefCell::new(Vec::new()));
        let record = Rc::clone(&moments);
        let opening = disk.crash(Crash::Process);
        opening.watch(move |disk| record.borrow_mut().push(disk.crash(Crash::Process)));
        let (world, found) = self.sound(&opening, allowed)?;
        let moments = moments.take();
        // Each survivor tries one operation of the recovery; there are many survivors.
        if let Some(moment) = moments.get(print as usize % moments.len().max(1)) {
            self.points += 1;
            let allowed = if pending { allowed.clone() } else { found..=found };
            let again = self.sound(&moment.crash(Crash::Seed(print)), &allowed);
            again.map_err(|what| format!("a crash of the recovery of {found}: {what}"))?;
        }
        drop(world);
        let again = opening.crash(Crash::Process);
        let (world, _) = self.recover(&again, &(found..=found)).map_err(|what| format!("opened again: {what}"))?;
        if print.is_multiple_of(WORKED_ON) {
            self.work_on(&again, world).map_err(|what| format!("after the recovery: {what}"))?;
        }
        Ok(())
    }

    /// The databases on a survivor, if they are sound, and the index of their state.
    fn sound(&self, disk: &SimDisk, allowed: &RangeInclusive<usize>) -> Result<(World, usize), String> {
        let (world, found) = self.recover(disk, allowed)?;
        let findings = world.findings().map_err(|error| format!("checking: {error}"))?;
        if findings.is_empty() { Ok((world, found)) } else { Err(format!("not sound: {}", findings.join("; "))) }
    }

    /// The databases on a survivor, and the index of their state.
    fn recover(&self, disk: &SimDisk, allowed: &RangeInclusive<usize>) -> Result<(World, usize), String> {
        let open = || {
            let world = World::open(disk, &self.script.options, self.script.attach)?;
            let state = world.state()?;
            Ok((world, state))
        };
        let (world, state) = open().map_err(|error: super::world::Failed| format!("reopening: {error}"))?;
        if let Some(damage) = world.store.damage() {
            return Err(format!("a crash is taken for damage: {damage:?}"));
        }
        match allowed.clone().rev().find(|at| self.states[*at] == state) {
            Some(found) => Ok((world, found)),
            None => {
                let found: Vec<usize> = (0..self.states.len()).filter(|at| self.states[*at] == state).collect();
                Err(format!("recovered {state:?}, which is state {found:?}"))
            }
        }
    }

    /// Recovered databases take a transaction, and after a checkpoint are plain files.
    fn work_on(&self, disk: &SimDisk, world: World) -> Result<(), String> {
        let sql = "CREATE TABLE IF NOT EXISTS worked(x); INSERT INTO worked VALUES (zeroblob(5000))";
        world.by[0].exec(sql).map_err(|error| format!("writing: {error}"))?;
        let state = world.state().map_err(|error| format!("reading: {error}"))?;
        let own = [state.clone()];
        let judge = Judge::new(self.script, &own);
        judge.sound(&disk.crash(Crash::LoseAll), &(0..=0)).map_err(|what| format!("crashed again: {what}"))?;
        world.local.checkpoint().map_err(|error| format!("checkpointing: {error}"))?;
        judge
            .recover(&plain(&disk.crash(Crash::LoseAll)), &(0..=0))
            .map_err(|what| format!("the files alone: {what}"))?;
        Ok(())
    }
}

fn bytes(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Existing).expect("it is there");
    let mut bytes = vec![0; file.len().expect("no faults here") as usize];
    file.read_at(0, &mut bytes).expect("no faults here");
    bytes
}

/// A disk with the databases' files, without a log.
fn plain(disk: &SimDisk) -> SimDisk {
    let plain = SimDisk::new(0);
    let there = disk.list().expect("no faults here");
    for path in PATHS.into_iter().filter(|path| there.iter().any(|there| there == path)) {
        let file = plain.open(path, Open::CreateNew).expect("a new disk");
        file.write_at(0, &bytes(disk, path)).expect("no faults here");
    }
    plain.crash(Crash::KeepAll)
}

/// Tells survivors apart by what reads see of them.
fn fingerprint(disk: &SimDisk) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in disk.list().expect("no faults here") {
        path.hash(&mut hasher);
        bytes(disk, &path).hash(&mut hasher);
    }
    hasher.finish()
}
