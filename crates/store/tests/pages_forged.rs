//! Logs of pages that say under right checksums what no store writes: they are refused, or can be cut and gone on from.
//! The fuzzer found most of them.

mod forge;

use std::rc::Rc;

use forge::record;
use statik_bridge::pages::PageStore;
use statik_disk::{Disk, Kind, Open, Result, SimDisk};
use statik_store::{Options, Recover, Store};

const LOG_A: &str = ".statik/log-a";
const LOG_B: &str = ".statik/log-b";
const WAYS: [Recover; 3] = [Recover::ReadOnly, Recover::Refuse, Recover::Truncate];
/// Numbers end before this, and from the other on a store is only read.
const END_OF_NUMBERS: u64 = 1 << 61;
const USED_UP: u64 = 1 << 60;

fn open_to(disk: &SimDisk, recover: Recover) -> Result<Store> {
    Store::open(Rc::new(disk.clone()), Options { recover, ..Options::default() })
}

/// Why it is refused.
fn refused(disk: &SimDisk, recover: Recover) -> (Kind, String) {
    let error = open_to(disk, recover).err().unwrap_or_else(|| panic!("it is refused to {recover:?}"));
    (error.kind(), error.to_string())
}

fn put(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, Open::Create).expect("the file opens");
    file.write_at(0, bytes).expect("a write");
    file.flush().expect("a flush");
}

fn bytes(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Existing).expect("it is there");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_at(0, &mut bytes).expect("a read");
    bytes
}

/// The payload of a record.
fn payload(kind: u32, number: u64, entries: &[Vec<u8>]) -> Vec<u8> {
    let page_bytes: u32 = if kind == 0 { 4096 } else { 0 };
    let head = [kind.to_le_bytes(), page_bytes.to_le_bytes()].concat();
    [head, number.to_le_bytes().to_vec(), entries.concat()].concat()
}

fn entry(tag: u32, file: u32, one: u64, two: u64) -> Vec<u8> {
    [[tag.to_le_bytes(), file.to_le_bytes()].concat(), [one.to_le_bytes(), two.to_le_bytes()].concat()].concat()
}

/// The record that starts a log.
fn start(epoch: u64, sequence: u64, checkpointed: u64) -> Vec<u8> {
    record(epoch, sequence, sequence, sequence, &payload(0, checkpointed, &[]))
}

/// A file's name, and its length at a commit.
fn named(number: u32, path: &str) -> [Vec<u8>; 2] {
    let mut name = entry(1, number, path.len() as u64, 0);
    name.extend(path.bytes());
    name.resize(name.len().next_multiple_of(8), 0);
    [name, entry(7, number, 0, 0)]
}

/// A log of one commit.
fn one(epoch: u64, sequence: u64, commit: u64, entries: &[Vec<u8>]) -> Vec<u8> {
    [start(epoch, 0, 0), record(epoch, sequence, 0, 0, &payload(1, commit, entries))].concat()
}

/// Makes a record bad, and a later one say that it was durable.
fn damaged(epoch: u64, sequence: u64) -> Vec<u8> {
    let mut bad = record(epoch, sequence, 0, 0, b"not as it was");
    bad[56] ^= 1;
    [bad, record(epoch, sequence + 1, sequence, sequence, b"later")].concat()
}

fn logs(a: &[u8], b: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    put(&disk, LOG_A, a);
    put(&disk, LOG_B, b);
    disk
}

/// Commits to a new file, and finds that after another start.
fn goes_on(disk: &SimDisk, store: Store) {
    let file = store.attach("new", Open::Create).expect("a new file");
    store.stage(file, 0, b"more").expect("it is staged");
    store.commit(&[file], None, &mut |_| ()).expect("it is committed");
    store.flush().expect("it is flushed");
    drop(store);
    let store = open_to(disk, Recover::Refuse).expect("it is sound");
    let file = store.attach("new", Open::Existing).expect("it is there");
    assert_eq!(store.newest(file).expect("it is attached").len, 4);
}

#[test]
fn a_log_of_another_version_is_not_cut_for_the_others_damage() {
    // Of the older log alone the damage was found, so that the other one was never read, and lost.
    for numbers in [1 << 60, u64::MAX] {
        let mut other = record(numbers, numbers, numbers, numbers, b"who knows");
        other[4] = 2;
        let sum = crc32fast::hash(&other[..52]);
        other[52..56].copy_from_slice(&sum.to_le_bytes());
        let disk = logs(&other, &[start(1, 0, 0), damaged(1, 1)].concat());
        for recover in WAYS {
            let (kind, why) = refused(&disk, recover);
            assert!(kind == Kind::Unsupported && why.contains("version 2"), "{why}");
        }
        assert_eq!(bytes(&disk, LOG_A), other);
    }
}

#[test]
fn numbers_that_none_reaches_are_refused_however_a_store_is_opened() {
    let last = END_OF_NUMBERS - 1;
    let sound = start(1, 0, 0);
    let commit = |sequence, commit| one(1, sequence, commit, &named(1, "a"));
    assert!(open_to(&logs(&commit(last, last), &start(2, 0, 0)), Recover::Refuse).is_ok());
    for (a, b) in [
        (start(last + 1, 0, 0), start(2, 0, 0)),
        (sound.clone(), start(2, last + 1, 0)),
        (sound.clone(), start(2, 0, last + 1)),
        (commit(last + 2, 1), start(2, 0, 0)),
        (commit(1, last + 1), start(2, 0, 0)),
        // Where the other log is damaged, too.
        ([sound.clone(), damaged(1, 1)].concat(), start(2, last + 1, 0)),
        ([sound, record(1, last + 3, last + 1, 0, b"unlike the start")].concat(), start(2, 0, 0)),
    ] {
        for recover in WAYS {
            let (kind, why) = refused(&logs(&a, &b), recover);
            assert!(kind == Kind::Corrupt && why.contains("reaches"), "{recover:?}: {why}");
        }
    }
}

#[test]
fn a_store_whose_numbers_are_used_up_is_only_read() {
    let commit = |sequence, commit| one(1, sequence, commit, &named(1, "a"));
    let disk = logs(&commit(USED_UP - 1, USED_UP - 1), &start(2, 0, 0));
    goes_on(&disk, open_to(&disk, Recover::Refuse).expect("it is sound"));
    for (a, b) in [
        (commit(1, 1), start(USED_UP, 0, 0)),
        (commit(USED_UP + 1, 1), start(2, 0, 0)),
        (commit(1, USED_UP), start(2, 0, 0)),
    ] {
        for recover in WAYS {
            let store = open_to(&logs(&a, &b), recover).expect("it can be read");
            let file = store.attach("a", Open::Existing).expect("it is there");
            let error = store.stage(file, 0, b"x").expect_err("it is only read");
            assert!(error.kind() == Kind::ReadOnly && error.to_string().contains("used up"), "{error}");
            assert!(!store.wants_checkpoint() && store.checkpoint(None).is_err());
        }
        // Without the other log it would have to be started.
        let (kind, why) = refused(&logs(&start(USED_UP, 0, 0), &[]), Recover::ReadOnly);
        assert!(kind == Kind::Unsupported && why.contains("used up"), "{why}");
    }
}

#[test]
fn damage_is_not_cut_where_that_takes_numbers_that_are_used_up() {
    // The start is lost, and what lies behind may be anything.
    let lost = |epoch: u64| {
        let mut start = start(1, 0, 0);
        start[60] ^= 1;
        [start, record(epoch, 1, 0, 0, b"left")].concat()
    };
    for (epoch, is_cut) in [(USED_UP - 3, true), (USED_UP, false), (2 * END_OF_NUMBERS - 1, false)] {
        let disk = logs(&lost(epoch), &start(2, 0, 0));
        let store = open_to(&disk, Recover::ReadOnly).expect("it can be read");
        assert!(store.damage().is_some());
        drop(store);
        if is_cut {
            goes_on(&disk, open_to(&disk, Recover::Truncate).expect("it is cut"));
        } else {
            let (kind, why) = refused(&disk, Recover::Truncate);
            assert!(kind == Kind::Unsupported && why.contains("used up"), "{why}");
            assert_eq!(bytes(&disk, LOG_A), lost(epoch));
        }
    }
}

#[test]
fn a_record_that_was_not_read_is_not_read_once_the_other_log_was_cut() {
    // The other log's start is bad, but its header says that the record follows on nothing.
    let mut bad = start(2, 5, 0);
    bad[60] ^= 1;
    let unlike = entry(99, 1, 0, 0);
    for entries in [named(1, "a").to_vec(), vec![unlike]] {
        let disk = logs(&one(1, 1, 1, &entries), &bad);
        for recover in [Recover::ReadOnly, Recover::Truncate, Recover::Refuse] {
            let store = open_to(&disk, recover).expect("it can be read");
            assert_eq!(
                store.damage().map(|damage| damage.path),
                (recover != Recover::Refuse).then(|| LOG_B.to_owned())
            );
            assert_eq!(store.attach("a", Open::Existing).err().map(|error| error.kind()), Some(Kind::NotFound));
        }
        goes_on(&disk, open_to(&disk, Recover::Refuse).expect("it is sound"));
    }
}

#[test]
fn files_numbers_begin_anew_where_they_end() {
    let files = [named(u32::MAX - 1, "last"), named(0, "first")].concat();
    let disk = logs(&one(1, 1, 1, &files), &start(2, 0, 0));
    let store = open_to(&disk, Recover::Refuse).expect("it is sound");
    let numbers = ["last", "first", "second"].map(|path| store.attach(path, Open::Create).expect("it attaches"));
    assert_eq!(numbers, [u32::MAX - 1, 0, 1]);
    goes_on(&disk, store);
}

#[test]
fn no_log_names_what_is_the_stores_own() {
    for path in [LOG_A, ".statik/damaged-1-1"] {
        let disk = logs(&one(1, 1, 1, &named(1, path)), &start(2, 0, 0));
        for recover in WAYS {
            let (kind, why) = refused(&disk, recover);
            assert!(kind == Kind::Corrupt && why.contains("the store's own"), "{why}");
        }
    }
}
