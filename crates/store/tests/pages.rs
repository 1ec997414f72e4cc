//! Files of pages.

use std::rc::Rc;

use statik_bridge::pages::contract;
use statik_disk::{MemDisk, SimDisk};
use statik_store::{Options, Store};

#[test]
fn keeps_the_contract() {
    for (name, check) in contract::STORE {
        println!("{name}");
        check(&Store::open(Rc::new(MemDisk::new()), Options::default()).expect("an empty disk opens"));
    }
}

#[test]
fn keeps_the_contract_in_little_room() {
    let options = Options { soft_bytes: 64 << 10, hard_bytes: 1 << 20, spill_bytes: 16 << 10, ..Options::default() };
    for (name, check) in contract::STORE {
        println!("{name}");
        check(&Store::open(Rc::new(SimDisk::new(1)), options).expect("an empty disk opens"));
    }
}
