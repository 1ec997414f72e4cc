//! The locks, in one thread and across two: the contract, and every step of long random runs against a model that
//! was made the way SQLite's unix VFS makes its locks, from read and write locks on three byte ranges.

use statik_bridge::locks::{Level, Lock, Locks, Table, contract};
use statik_bridge::native::Thread;
use statik_bridge::{Client, ClientOptions, DiskHost};
use statik_disk::{Kind, MemDisk, Result};

#[test]
fn the_table_keeps_the_contract() {
    contract::locks(|| Box::new(Table::new()));
}

#[test]
fn the_client_keeps_the_contract() {
    contract::locks(|| Box::new(Served::new()));
}

#[test]
fn the_table_does_what_byte_ranges_do() {
    for seed in 1..=200 {
        compare(&Table::new(), seed, 500);
    }
}

#[test]
fn the_client_does_what_byte_ranges_do() {
    compare(&Served::new(), 1, 5000);
}

/// A client together with the thread that serves it.
struct Served {
    client: Client,
    _server: Thread<DiskHost<MemDisk>>,
}

impl Served {
    fn new() -> Self {
        let server = Thread::spawn(|| DiskHost::in_memory(MemDisk::new()));
        Served { client: server.client(ClientOptions::default()).expect("a client"), _server: server }
    }
}

impl Locks for Served {
    fn open(&self, path: &str) -> Result<Box<dyn Lock>> {
        Locks::open(&self.client, path)
    }
}

/// One holder's lock on one range.
#[derive(Clone, Copy, Default, PartialEq)]
enum Range {
    #[default]
    Free,
    Read,
    Write,
}

#[derive(Clone, Copy, Default)]
struct Ranges {
    pending: Range,
    reserved: Range,
    shared: Range,
    level: Level,
}

const HOLDERS: usize = 4;

#[derive(Default)]
struct Model([Ranges; HOLDERS]);

impl Model {
    /// What fcntl would do: the range is had unless another holder's lock on it conflicts.
    fn lock(&mut self, me: usize, range: fn(&mut Ranges) -> &mut Range, want: Range) -> bool {
        let conflicts = |held: Range| held == Range::Write || held == Range::Read && want == Range::Write;
        let free = (0..HOLDERS).all(|other| other == me || !conflicts(*range(&mut self.0[other])));
        if free {
            *range(&mut self.0[me]) = want;
        }
        free
    }

    fn raise(&mut self, me: usize, to: Level) -> Option<Kind> {
        let from = self.0[me].level;
        if from >= to {
            return None;
        }
        let had = match (from, to) {
            (Level::None, Level::Shared) => {
                let pending = self.lock(me, |ranges| &mut ranges.pending, Range::Read);
                let shared = pending && self.lock(me, |ranges| &mut ranges.shared, Range::Read);
                self.0[me].pending = Range::Free;
                shared
            }
            (Level::Shared, Level::Reserved) => self.lock(me, |ranges| &mut ranges.reserved, Range::Write),
            (Level::Shared | Level::Reserved | Level::Pending, Level::Exclusive) => {
                if from == Level::Reserved && self.lock(me, |ranges| &mut ranges.pending, Range::Write) {
                    self.0[me].level = Level::Pending;
                }
                self.lock(me, |ranges| &mut ranges.shared, Range::Write)
            }
            _ => return Some(Kind::Invalid),
        };
        if !had {
            return Some(Kind::Busy);
        }
        self.0[me].level = to;
        None
    }

    fn lower(&mut self, me: usize, to: Level) {
        if self.0[me].level > to {
            let shared = if to == Level::Shared { Range::Read } else { Range::Free };
            self.0[me] = Ranges { shared, level: to, ..Ranges::default() };
        }
    }

    fn reserved(&self) -> bool {
        self.0.iter().any(|ranges| ranges.level > Level::Shared)
    }
}

/// Takes `steps` random steps with several holders and compares what each says.
fn compare(locks: &dyn Locks, seed: u64, steps: usize) {
    let mut state = seed;
    let mut random = |below: u64| {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below) as usize
    };
    let open = || locks.open("app.db").expect("a lock opens");
    let mut holders: Vec<_> = (0..HOLDERS).map(|_| open()).collect();
    let mut model = Model::default();
    for step in 0..steps {
        let me = random(HOLDERS as u64);
        match random(10) {
            0 => {
                let to = [Level::None, Level::Shared][random(2)];
                holders[me].lower(to).expect("lowering never fails");
                model.lower(me, to);
            }
            1 => {
                holders[me] = open();
                model.lower(me, Level::None);
            }
            2 => assert_eq!(holders[me].reserved(), Ok(model.reserved()), "seed {seed}, step {step}"),
            _ => {
                let to = Level::ALL[1 + random(4)];
                let from = model.0[me].level;
                let came = holders[me].raise(to).err().map(|error| error.kind());
                assert_eq!(came, model.raise(me, to), "seed {seed}, step {step}: {me} from {from:?} to {to:?}");
            }
        }
    }
}
