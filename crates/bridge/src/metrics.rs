//! How often each operation ran, how often it failed, how many bytes it moved and how long it took.

use std::cell::RefCell;
use std::rc::Rc;

use statik_disk::{Disk, File, Open, Result};

/// An operation of [`Disk`] or [`File`], or one that [`Pages`](crate::pages::Pages) needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the trait method of the same name, or described in docs/ring-format.md")]
pub enum Op {
    Open,
    Read,
    Write,
    Flush,
    SetLen,
    Len,
    Close,
    Remove,
    Rename,
    List,
    Attach,
    Detach,
    ReadPages,
    ReadStaged,
    Stage,
    StageLen,
    Release,
    WaitLock,
    Commit,
    Durable,
    Checkpoint,
    Usage,
    Committed,
}

impl Op {
    /// All operations, in the order of their wire numbers.
    pub const ALL: [Op; 23] = [
        Op::Open,
        Op::Read,
        Op::Write,
        Op::Flush,
        Op::SetLen,
        Op::Len,
        Op::Close,
        Op::Remove,
        Op::Rename,
        Op::List,
        Op::Attach,
        Op::Detach,
        Op::ReadPages,
        Op::ReadStaged,
        Op::Stage,
        Op::StageLen,
        Op::Release,
        Op::WaitLock,
        Op::Commit,
        Op::Durable,
        Op::Checkpoint,
        Op::Usage,
        Op::Committed,
    ];

    /// The name in JavaScript.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Open => "open",
            Op::Read => "read",
            Op::Write => "write",
            Op::Flush => "flush",
            Op::SetLen => "setLen",
            Op::Len => "len",
            Op::Close => "close",
            Op::Remove => "remove",
            Op::Rename => "rename",
            Op::List => "list",
            Op::Attach => "attach",
            Op::Detach => "detach",
            Op::ReadPages => "readPages",
            Op::ReadStaged => "readStaged",
            Op::Stage => "stage",
            Op::StageLen => "stageLen",
            Op::Release => "release",
            Op::WaitLock => "waitLock",
            Op::Commit => "commit",
            Op::Durable => "durable",
            Op::Checkpoint => "checkpoint",
            Op::Usage => "usage",
            Op::Committed => "committed",
        }
    }
}

/// The totals of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// How often it ran.
    pub count: u64,
    /// How often it failed.
    pub errors: u64,
    /// Bytes read or written by those that succeeded.
    pub bytes: u64,
    /// The time it took in all, in milliseconds.
    pub total_ms: f64,
    /// The longest time it took, in milliseconds.
    pub max_ms: f64,
}

/// The totals of every operation. Clones share them.
#[derive(Clone, Default)]
pub struct Metrics {
    totals: Rc<RefCell<[Totals; Op::ALL.len()]>>,
}

impl Metrics {
    /// No operation yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one run of `op`: the bytes that it moved, or that it failed.
    pub fn record(&self, op: Op, took_ms: f64, bytes: Option<u64>) {
        let totals = &mut self.totals.borrow_mut()[op as usize];
        totals.count += 1;
        match bytes {
            Some(bytes) => totals.bytes += bytes,
            None => totals.errors += 1,
        }
        totals.total_ms += took_ms;
        totals.max_ms = totals.max_ms.max(took_ms);
    }

    /// The totals of one operation.
    pub fn get(&self, op: Op) -> Totals {
        self.totals.borrow()[op as usize]
    }

    /// The operations that ran, by name, always in the same order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Totals)> {
        Op::ALL.into_iter().map(|op| (op.name(), self.get(op))).filter(|(_, totals)| totals.count > 0)
    }

    fn measure<T>(
        &self,
        clock: fn() -> f64,
        op: Op,
        run: impl FnOnce() -> Result<T>,
        bytes: fn(&T) -> u64,
    ) -> Result<T> {
        let start_ms = clock();
        let result = run();
        self.record(op, clock() - start_ms, result.as_ref().ok().map(bytes));
        result
    }
}

/// A disk whose operations are counted and timed.
///
/// ```
/// use statik_bridge::metrics::{Measured, Op};
/// use statik_disk::{Disk, MemDisk, Open};
///
/// let disk = Measured::new(MemDisk::new(), || 0.0);
/// disk.open("a", Open::Create)?.write_at(0, b"four")?;
/// assert_eq!(disk.metrics().get(Op::Write).bytes, 4);
/// # Ok::<(), statik_disk::Error>(())
/// ```
pub struct Measured<D> {
    disk: D,
    metrics: Metrics,
    clock: fn() -> f64,
}

impl<D> Measured<D> {
    /// Measures `disk` by `clock`, which tells milliseconds and never goes back.
    pub fn new(disk: D, clock: fn() -> f64) -> Self {
        Measured { disk, metrics: Metrics::new(), clock }
    }

    /// What is measured.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The totals so far, and from now on.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn measure<T>(&self, op: Op, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.metrics.measure(self.clock, op, run, |_| 0)
    }
}

impl<D: Disk> Disk for Measured<D> {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn File>> {
        let file = self.measure(Op::Open, || self.disk.open(path, open))?;
        Ok(Box::new(MeasuredFile { file, metrics: self.metrics.clone(), clock: self.clock }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.measure(Op::Remove, || self.disk.remove(path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.measure(Op::Rename, || self.disk.rename(from, to))
    }

    fn list(&self) -> Result<Vec<String>> {
        self.measure(Op::List, || self.disk.list())
    }
}

struct MeasuredFile {
    file: Box<dyn File>,
    metrics: Metrics,
    clock: fn() -> f64,
}

impl MeasuredFile {
    fn measure<T>(&self, op: Op, run: impl FnOnce(&dyn File) -> Result<T>, bytes: fn(&T) -> u64) -> Result<T> {
        self.metrics.measure(self.clock, op, || run(&*self.file), bytes)
    }
}

impl File for MeasuredFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.measure(Op::Read, |file| file.read_at(offset, buf), |count| *count as u64)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let length = bytes.len() as u64;
        self.measure(Op::Write, |file| file.write_at(offset, bytes).map(|()| length), |length| *length).map(|_| ())
    }

    fn len(&self) -> Result<u64> {
        self.measure(Op::Len, |file| file.len(), |_| 0)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.measure(Op::SetLen, |file| file.set_len(len), |()| 0)
    }

    fn flush(&self) -> Result<()> {
        self.measure(Op::Flush, |file| file.flush(), |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statik_disk::{Kind, MemDisk};

    #[test]
    fn all_lists_each_operation_once_at_its_number() {
        for (number, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, number);
        }
    }

    #[test]
    fn a_measured_disk_keeps_the_contract() {
        statik_disk::contract::disk(|| Box::new(Measured::new(MemDisk::new(), || 0.0)));
    }

    #[test]
    fn counts_errors_bytes_and_times() {
        thread_local!(static NOW: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) });
        // Each operation reads the clock twice, so takes one more millisecond than the one before.
        let clock = || NOW.with(|now| now.replace(now.get() * 2.0 + 1.0));
        let disk = Measured::new(MemDisk::new(), clock);
        assert_eq!(disk.open("a", Open::Existing).err().map(|error| error.kind()), Some(Kind::NotFound));
        let file = disk.open("a", Open::Create).unwrap();
        file.write_at(0, b"abc").unwrap();
        file.read_at(1, &mut [0; 10]).unwrap();
        let open = disk.metrics().get(Op::Open);
        assert_eq!((open.count, open.errors, open.bytes), (2, 1, 0));
        assert_eq!((open.total_ms, open.max_ms), (1.0 + 4.0, 4.0));
        let names: Vec<_> = disk.metrics().iter().map(|(name, totals)| (name, totals.bytes)).collect();
        assert_eq!(names, [("open", 0), ("read", 2), ("write", 3)]);
    }
}
