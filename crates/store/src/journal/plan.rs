//! What the files of a journal amount to: which snapshot, which frames after it, and what is damaged.
//!
//! A crash may leave: a snapshot half written, in the place of the older one; a log that was to begin anew, empty;
//! frames that were not flushed, in any selection, behind the last one that counts. Whatever else is not in order is
//! damage, since it had been flushed before anything was built on it; so are files that contradict each other.
//!
//! Invariants:
//! - It changes nothing on the disk.
//! - Every frame that the chain promises was read: opening says what reading would.
//! - Files that lost their cuts are without damage, and amount to the same snapshot and the same frames.

use statik_disk::Result;

use super::Damage;
use super::segment::{Head, Scan, Segment};
use super::snapshot::{Found, Slot};
use crate::log::successor;

/// What a journal has, and how it goes on.
#[derive(Debug, Default)]
pub struct Plan {
    /// The slot of the newest sound snapshot.
    pub snapshot: Option<usize>,
    /// The frame up to which that goes; 0 without one, since all begins with nothing.
    pub base: u64,
    /// The last frame, or `base` if none follows it.
    pub last: u64,
    /// The logs to read, in order; new frames go to the last of them.
    pub chain: Vec<usize>,
    /// The greatest epoch of a log.
    pub epoch: u64,
    /// The greatest number of a snapshot.
    pub generation: u64,
    /// The first thing that is wrong.
    pub damage: Option<Damage>,
    /// What must go so that nothing is.
    pub cuts: Vec<Cut>,
}

/// What does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A log from this byte on.
    Log { log: usize, offset: u64 },
    /// A snapshot.
    Slot(usize),
}

impl Plan {
    /// Finds out, and reads the logs that it needs for that.
    pub fn make(logs: &mut [Segment; 2], slots: &[Slot; 2]) -> Result<Plan> {
        let kept = |slot: usize| slots[slot].kept().map(|kept| (kept.generation, kept.sequence));
        let snapshot = (0..2).filter(|&slot| kept(slot).is_some()).max_by_key(|&slot| kept(slot));
        let (generation, base) = snapshot.and_then(kept).unwrap_or((0, 0));
        let begun = in_order(logs);
        let mut plan = Plan { snapshot, base, last: base, generation, ..Plan::default() };
        plan.follow(logs, &begun)?;
        // What a snapshot was that is not sound, only the log that was begun after it tells. Without any log it may have
        // been all there was.
        let mut promised = (1, successor(base));
        if let Some(newest) = begun.last().and_then(|&log| logs[log].begun()) {
            plan.epoch = newest.epoch;
            plan.generation = generation.max(newest.generation);
            promised = (newest.generation, newest.base);
        }
        for (log, segment) in logs.iter().enumerate() {
            if let Head::Damaged(damage) = &segment.head {
                plan.report(Damage { sequence: successor(plan.last), ..damage.clone() }, Cut::Log { log, offset: 0 });
            }
        }
        for (slot, Slot { found, .. }) in slots.iter().enumerate() {
            let Found::Damaged(damage) = found else { continue };
            if generation < promised.0 {
                plan.report(Damage { sequence: promised.1, ..damage.clone() }, Cut::Slot(slot));
            } else {
                // Once logs were cut, what is left may promise another snapshot than they did.
                plan.cuts.push(Cut::Slot(slot));
            }
        }
        Ok(plan)
    }

    /// Follows the frames after the snapshot through the logs that were begun, from the older one to the newer.
    fn follow(&mut self, logs: &mut [Segment; 2], begun: &[usize]) -> Result<()> {
        let base = |log: usize, logs: &[Segment; 2]| logs[log].begun().map_or(0, |begun| begun.base);
        let first = begun.iter().rposition(|&log| base(log, logs) <= self.base).unwrap_or(0);
        let mut broken = false;
        for (place, &log) in begun.iter().enumerate().skip(first) {
            // How far this log must go: what it was flushed up to, at the least.
            let next = begun.get(place + 1).map(|&next| base(next, logs));
            let promised = next.unwrap_or(self.base);
            if broken || base(log, logs) > self.last {
                broken = true;
                let why = format!("it begins after frame {}, and {} is the last before", base(log, logs), self.last);
                self.report(logs[log].damage_at(0, successor(self.last), &why), Cut::Log { log, offset: 0 });
                continue;
            }
            let scan = logs[log].scan(next)?;
            let early = ends_early(&logs[log], &scan, promised);
            if let Some(damage) = scan.damage.or(early) {
                broken = true;
                self.report(damage, Cut::Log { log, offset: scan.end });
            }
            if scan.last < self.base {
                // Nothing of the logs is of use beyond the snapshot.
                self.cuts = begun.iter().map(|&log| Cut::Log { log, offset: 0 }).collect();
                return Ok(());
            }
            self.last = scan.last;
            self.chain.push(log);
        }
        // The one before is there for cursors from before the snapshot, if all of it is.
        if let [older, newest] = *begun
            && self.chain == [newest]
        {
            let next = base(newest, logs);
            let scan = logs[older].scan(Some(next))?;
            let early = ends_early(&logs[older], &scan, next);
            let late = (base(older, logs) > next).then(|| {
                let why = format!("it is the older log, and begins after frame {next}, where the newer one begins");
                logs[older].damage_at(0, successor(next), &why)
            });
            match late.or(early) {
                Some(damage) => self.report(damage, Cut::Log { log: older, offset: 0 }),
                None => self.chain.insert(0, older),
            }
        }
        Ok(())
    }

    /// Notes damage; the first is what is told.
    fn report(&mut self, damage: Damage, cut: Cut) {
        self.cuts.push(cut);
        if self.damage.as_ref().is_none_or(|known| damage.sequence < known.sequence) {
            self.damage = Some(damage);
        }
    }
}

/// The logs that were begun, the older one first. Of two that have the same epoch the later frames' is damaged.
fn in_order(logs: &mut [Segment; 2]) -> Vec<usize> {
    let begun = |log: &Segment| log.begun().map(|begun| (begun.epoch, begun.base));
    let mut order: Vec<usize> = (0..2).filter(|&log| logs[log].begun().is_some()).collect();
    order.sort_by_key(|&log| begun(&logs[log]));
    if let [one, other] = *order
        && logs[one].begun().map(|one| one.epoch) == logs[other].begun().map(|other| other.epoch)
    {
        let why = "it has the epoch of the other log, so that neither is the newer one";
        logs[other].head = Head::Damaged(logs[other].damage_at(0, 0, why));
        order.pop();
    }
    order
}

/// What is wrong with a log that must go on to the frame `promised`, if it does not.
fn ends_early(log: &Segment, scan: &Scan, promised: u64) -> Option<Damage> {
    (scan.last < promised).then(|| {
        let why = format!("its frames end before {promised}, up to which they were durable");
        log.damage_at(scan.end, successor(scan.last), &why)
    })
}
