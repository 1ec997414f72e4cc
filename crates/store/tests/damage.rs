//! A log that is damaged while a checkpoint of it is under way, or after: whether the files may have more than the log,
//! which recovery tells, and what is served then. That damage is told at all `pages.rs` sees to.

use std::rc::Rc;

use statik_bridge::pages::{Checkpoint, PAGE_BYTES, PageStore};
use statik_disk::{Crash, Disk, Faults, Kind, Open, SimDisk};
use statik_store::{Damage, Options, Recover, Store};

const PAGE: u64 = PAGE_BYTES as u64;
/// The log that is copied in these tests, and the one that commits go to meanwhile.
const COPIED: &str = ".statik/log-b";
const CONTINUED: &str = ".statik/log-a";
const PAGES: u64 = 40;

fn open(disk: &SimDisk, recover: Recover) -> Store {
    let options = Options { recover, ..Options::default() };
    Store::open(Rc::new(disk.clone()), options).expect("the store opens")
}

fn attach(store: &Store, path: &str) -> u32 {
    store.attach(path, Open::Create).expect("it attaches")
}

/// Fills pages with a byte, commits and flushes.
fn write(store: &Store, file: u32, pages: impl Iterator<Item = u64>, byte: u8) {
    pages.for_each(|page| store.stage(file, page * PAGE, &[byte; PAGE_BYTES]).expect("it is staged"));
    store.commit(&[file], None, &mut |_| {}).expect("it is committed");
    store.flush().expect("it is flushed");
}

/// The byte that each page is filled with, as the newest view sees it.
fn content(store: &Store, file: u32) -> Vec<u8> {
    let view = store.newest(file).expect("a view");
    let mut bytes = vec![0; view.len as usize];
    store.read(file, view.seq, 0, &mut bytes, &mut |_, _| {}).expect("it can be read");
    bytes.chunks(PAGE_BYTES).map(|page| page[0]).collect()
}

fn plain(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Existing).expect("it is there");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_at(0, &mut bytes).expect("it can be read");
    bytes
}

/// Flips a bit in the first page of the log that is filled with this byte, so many bytes before its middle.
fn damage(disk: &SimDisk, log: &str, byte: u8, before: u64) {
    let bytes = plain(disk, log);
    let at = bytes.windows(PAGE_BYTES).position(|page| page.iter().all(|other| *other == byte));
    let at = at.expect("the log has that page") as u64 + PAGE / 2 - before;
    disk.flip_bit(log, at * 8).expect("a bit flips");
}

fn found(store: &Store) -> Damage {
    store.damage().expect("it is told")
}

/// Pages of 1 in the file, and in a log of which a checkpoint has copied a part: 2 and 3, in turns, then 4 in the last
/// page.
fn half_copied(disk: &SimDisk) -> Store {
    let store = open(disk, Recover::ReadOnly);
    let file = attach(&store, "a");
    write(&store, file, 0..PAGES, 1);
    while store.checkpoint_target().expect("a target").is_some() {
        store.checkpoint(None).expect("it is copied");
    }
    write(&store, file, (0..PAGES).step_by(4), 2);
    write(&store, file, (2..PAGES).step_by(4), 3);
    write(&store, file, PAGES - 1..PAGES, 4);
    assert_eq!(store.checkpoint(None), Ok(Checkpoint::More));
    store
}

#[test]
fn files_may_be_ahead_of_the_damaged_log_that_was_being_copied_to_them() {
    let disk = SimDisk::new(1);
    drop(half_copied(&disk));
    damage(&disk, COPIED, 3, 0);
    let refused = Store::open(Rc::new(disk.clone()), Options { recover: Recover::Refuse, ..Options::default() });
    let error = refused.err().expect("it is refused");
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains("may be a mix"), "{error}");
    let mut served = Vec::new();
    for recover in [Recover::ReadOnly, Recover::Truncate] {
        let store = open(&disk, recover);
        let damage = found(&store);
        assert!(damage.path == COPIED && damage.files_ahead && damage.to_string().contains("may be a mix"));
        let file = attach(&store, "a");
        served.push(content(&store, file));
        let refused = store.stage(file, 0, b"x").err();
        assert!(refused.is_none_or(|error| error.to_string().contains("may be a mix")));
    }
    // Where the intact part of the log has a page, that is served; else what the file has, which the checkpoint came to
    // in the order of the pages.
    let lost: Vec<u8> = served[0].iter().skip(2).step_by(4).copied().collect();
    assert!(lost.starts_with(&[3, 3]) && lost.ends_with(&[1, 1]), "{lost:?}");
    let kept = served[0].iter().enumerate().filter(|(page, _)| page % 4 != 2);
    assert!(kept.clone().all(|(page, byte)| *byte == if page % 4 == 0 { 2 } else { 1 }));
    assert_eq!(served[0], served[1]);
    let store = open(&disk, Recover::Refuse);
    let file = attach(&store, "a");
    assert_eq!((content(&store, file), store.damage()), (served.remove(0), None), "it stays so");
}

#[test]
fn a_checkpoint_that_began_leaves_nothing_else_so_that_it_is_assumed() {
    // As far as the disk tells, this one may have begun.
    let disk = SimDisk::new(1);
    let store = open(&disk, Recover::ReadOnly);
    let file = attach(&store, "a");
    (1..4).for_each(|byte| write(&store, file, 0..2, byte));
    drop(store);
    damage(&disk, CONTINUED, 2, 0);
    let store = open(&disk, Recover::ReadOnly);
    assert!(found(&store).files_ahead);
    let file = attach(&store, "a");
    assert_eq!(content(&store, file), [1, 1]);
}

#[test]
fn files_are_not_ahead_of_the_log_that_continues() {
    let disk = SimDisk::new(1);
    let store = half_copied(&disk);
    let file = attach(&store, "a");
    let before = content(&store, file);
    (5..8).for_each(|byte| write(&store, file, 0..PAGES, byte));
    drop(store);
    damage(&disk, CONTINUED, 5, 0);
    for recover in [Recover::ReadOnly, Recover::Truncate] {
        let store = open(&disk, recover);
        let damage = found(&store);
        assert!(damage.path == CONTINUED && !damage.files_ahead, "{damage:?}");
        let file = attach(&store, "a");
        assert_eq!(content(&store, file), before, "what was committed before the damage, and no more");
    }
}

#[test]
fn what_cannot_be_told_apart_from_a_note_may_be_one() {
    // A header that is bad, or a record too short for a page: it may have told of a file that was settled.
    for is_short in [false, true] {
        let disk = SimDisk::new(1);
        let store = half_copied(&disk);
        let file = attach(&store, "a");
        write(&store, file, 0..1, 5);
        if is_short {
            store.stage_len(file, PAGES * PAGE - 7 * PAGE).expect("it is staged");
            store.commit(&[file], None, &mut |_| {}).expect("it is committed");
        }
        (6..8).for_each(|byte| write(&store, file, 0..1, byte));
        drop(store);
        // Before the page lie the record's header, the payload's, and entries.
        damage(&disk, CONTINUED, 5, if is_short { 0 } else { PAGE / 2 + 160 });
        let damage = found(&open(&disk, Recover::ReadOnly));
        assert!(damage.path == CONTINUED && damage.files_ahead, "{damage:?}");
    }
}

#[test]
fn a_file_that_was_settled_may_be_ahead_wherever_that_ended() {
    for crash in [Crash::KeepAll, Crash::LoseAll, Crash::Process] {
        let mut changed = 0;
        for operation in 0.. {
            let disk = SimDisk::new(1);
            let store = half_copied(&disk);
            let file = attach(&store, "b");
            (5..8).for_each(|byte| write(&store, file, 0..3, byte));
            store.detach(file);
            disk.set_faults(Faults { power_off_at: Some(disk.operations() + operation), ..Faults::default() });
            let settled = store.settle("b").is_ok();
            drop(store);
            let disk = disk.crash(crash);
            damage(&disk, CONTINUED, 5, 0);
            let is_changed = !plain(&disk, "b").is_empty();
            let damage = found(&open(&disk, Recover::ReadOnly));
            assert!(damage.path == CONTINUED && (damage.files_ahead || !is_changed), "{crash:?} at {operation}");
            changed += usize::from(is_changed);
            if settled {
                break;
            }
        }
        assert!(changed > 0, "{crash:?}");
    }
}
