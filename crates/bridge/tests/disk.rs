//! A client and a server in two threads keep the contract of a disk.

use statik_bridge::native::Thread;
use statik_bridge::{Client, ClientOptions, DiskHost};
use statik_disk::{Disk, File, MemDisk, Open, Result};

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

impl Disk for Served {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn File>> {
        Disk::open(&self.client, path, open)
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.client.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.client.rename(from, to)
    }

    fn list(&self) -> Result<Vec<String>> {
        self.client.list()
    }
}

#[test]
fn keeps_the_contract() {
    statik_disk::contract::disk(|| Box::new(Served::new()));
}
