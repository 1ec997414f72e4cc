//! The store behind the tables of one thread, and behind a bridge, keeps the contract of pages.

use std::rc::Rc;

use statik_bridge::native::Thread;
use statik_bridge::pages::local::Local;
use statik_bridge::pages::{CommitId, Durability, Paged, Pages, Usage, contract};
use statik_bridge::{Client, ClientOptions, DiskHost};
use statik_disk::{MemDisk, Open, Result};
use statik_store::{Options, Store};

/// Logs that are full after a few commits, so that checkpoints come amid everything else.
fn small() -> Options {
    Options { soft_bytes: 16 << 10, hard_bytes: 1 << 20, spill_bytes: 64 << 10, direct_bytes: 0, ..Options::default() }
}

fn store(disk: &MemDisk, options: Options) -> Rc<Store> {
    Rc::new(Store::open(Rc::new(disk.clone()), options).expect("a new store"))
}

#[test]
fn in_one_thread() {
    for options in [Options::default(), small()] {
        contract::pages(|| {
            let pages: Rc<dyn Pages> = Rc::new(Local::new(store(&MemDisk::new(), options), || 0.0));
            (Rc::clone(&pages), pages)
        });
    }
}

/// A client together with the thread that serves it.
struct Served {
    client: Client,
    _server: Rc<Thread<DiskHost<MemDisk>>>,
}

impl Pages for Served {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn Paged>> {
        Pages::open(&self.client, path, open)
    }

    fn commit(&self, files: &[u32], durability: Durability, id: Option<CommitId>) -> Result<u64> {
        self.client.commit(files, durability, id)
    }

    fn committed(&self, id: CommitId) -> Result<Option<u64>> {
        self.client.committed(id)
    }

    fn durable(&self) -> Result<u64> {
        self.client.durable()
    }

    fn checkpoint(&self) -> Result<()> {
        self.client.checkpoint()
    }

    fn usage(&self) -> Result<Usage> {
        self.client.usage()
    }
}

#[test]
fn over_the_bridge() {
    for options in [Options::default(), small()] {
        contract::pages(|| {
            let server = Rc::new(Thread::spawn(move || {
                let disk = MemDisk::new();
                DiskHost(disk.clone(), store(&disk, options))
            }));
            let user = || {
                let client = server.client(ClientOptions::default()).expect("a client");
                Rc::new(Served { client, _server: Rc::clone(&server) }) as Rc<dyn Pages>
            };
            (user(), user())
        });
    }
}
