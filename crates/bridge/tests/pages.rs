//! Clients and a server in several threads keep the contract of pages.

use std::rc::Rc;

use statik_bridge::native::Thread;
use statik_bridge::pages::{CommitId, Durability, Paged, Pages, Usage, contract};
use statik_bridge::{Client, ClientOptions, DiskHost};
use statik_disk::{MemDisk, Open, Result};

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

fn serve() -> Rc<Thread<DiskHost<MemDisk>>> {
    Rc::new(Thread::spawn(|| DiskHost::in_memory(MemDisk::new())))
}

fn user(server: &Rc<Thread<DiskHost<MemDisk>>>) -> Rc<dyn Pages> {
    let client = server.client(ClientOptions::default()).expect("a client");
    Rc::new(Served { client, _server: Rc::clone(server) })
}

#[test]
fn two_clients_keep_the_contract() {
    contract::pages(|| {
        let server = serve();
        (user(&server), user(&server))
    });
}

#[test]
fn one_client_for_both_keeps_the_contract() {
    contract::pages(|| {
        let user = user(&serve());
        (Rc::clone(&user), user)
    });
}
