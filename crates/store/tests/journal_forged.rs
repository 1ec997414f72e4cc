//! Journals whose files contradict each other under right checksums. No crash makes such, so it is damage where it costs
//! anything: told when the journal is opened, not when what is missing is reached, and always one that can be cut off.
//! The fuzzer found most of them.

mod forge;

use std::rc::Rc;

use forge::record;
use statik_disk::{Crash, Disk, Faults, Kind, Open, SimDisk};
use statik_store::Recover;
use statik_store::journal::{Journal, Options};

/// What counts frames ends before this.
const END_OF_NUMBERS: u64 = 1 << 61;

fn path(file: &str) -> String {
    format!(".statik/journal/j/{file}")
}

fn open_to(disk: &SimDisk, recover: Recover) -> statik_disk::Result<Journal> {
    Journal::open(Rc::new(disk.clone()), "j", Options { recover, ..Options::default() })
}

fn put(disk: &SimDisk, file: &str, bytes: &[u8]) {
    let file = disk.open(&path(file), Open::Create).expect("the file opens");
    file.write_at(0, bytes).expect("write");
    file.flush().expect("flush");
}

fn exists(disk: &SimDisk, path: &str) -> bool {
    disk.open(path, Open::Existing).is_ok()
}

/// A log with these frames, each of which says that all before it was flushed.
fn log(epoch: u64, base: u64, generation: u64, frames: &[u64]) -> Vec<u8> {
    let start = [&b"JRNL\x01\0\0\0"[..], &generation.to_le_bytes()].concat();
    let mut bytes = record(epoch, base, base, base, &start);
    let mut previous = base;
    for &sequence in frames {
        bytes.extend(record(epoch, sequence, previous, previous, format!("frame {sequence}").as_bytes()));
        previous = sequence;
    }
    bytes
}

/// Makes the record wrong that begins `back` records of frames below ten before the end.
fn spoil(log: &mut [u8], back: usize) {
    let at = log.len() - back * 64 + 58;
    log[at] ^= 1;
}

fn snapshot(generation: u64, sequence: u64) -> Vec<u8> {
    let state = b"state";
    let mut bytes = b"SJRNSNAP\x01\0\0\0".to_vec();
    bytes.extend(crc32fast::hash(state).to_le_bytes());
    [generation, sequence, state.len() as u64, 0].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend([0; 12]);
    bytes.truncate(60);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(state);
    bytes
}

/// The snapshot's frame, and the numbers of the frames after it; that what is kept from before it can be read, too.
fn read(journal: &Journal) -> (Option<u64>, Vec<u64>) {
    let number = |next: statik_disk::Result<(u64, Vec<u8>)>| next.expect("a frame is read").0;
    let recovered = journal.recover().expect("it recovers");
    let base = recovered.snapshot.map(|(base, _)| base);
    let frames: Vec<u64> = recovered.frames.map(number).collect();
    assert_eq!(journal.last(), frames.last().copied().or(base).unwrap_or(0));
    let all: Vec<u64> = journal.cursor(0).expect("a cursor").map(number).collect();
    assert!(all.ends_with(&frames), "{all:?}, {frames:?}");
    (base, frames)
}

/// Repairs copies of the journal, and crashes at every moment of that: the next repair gives the same.
fn interrupt_repair(disk: &SimDisk, expected: &(Option<u64>, Vec<u64>)) {
    for crash in [Crash::KeepAll, Crash::LoseAll, Crash::Seed(1), Crash::Seed(2)] {
        for operation in 0.. {
            let disk = disk.crash(Crash::KeepAll);
            disk.set_faults(Faults { power_off_at: Some(disk.operations() + operation), ..Faults::default() });
            if open_to(&disk, Recover::Truncate).is_ok() {
                break;
            }
            let journal = open_to(&disk.crash(crash), Recover::Truncate).expect("it is repaired");
            assert_eq!(read(&journal), *expected, "{crash:?} at {operation}");
        }
    }
}

/// Opens the journal in each of the ways: it tells damage of this file, if one is named, gives this much, is repaired
/// and goes on. Where the copy of what was cut is.
fn judge(disk: &SimDisk, damaged: Option<(&str, u64)>, expected: (Option<u64>, Vec<u64>)) -> Option<String> {
    for _ in 0..2 {
        let journal = open_to(disk, Recover::ReadOnly).expect("it opens");
        assert_eq!(read(&journal), expected);
        let found = journal.damage().map(|damage| (damage.path, damage.offset));
        assert_eq!(found, damaged.map(|(file, offset)| (path(file), offset)));
    }
    interrupt_repair(disk, &expected);
    let refused = open_to(disk, Recover::Refuse).err().map(|error| error.kind());
    assert_eq!(refused, damaged.map(|_| Kind::Corrupt));
    let journal = open_to(disk, Recover::Truncate).expect("it is repaired");
    assert_eq!(read(&journal), expected);
    let aside = journal.damage().and_then(|damage| damage.aside);
    assert!(aside.iter().all(|aside| exists(disk, aside)), "{aside:?} is there");
    let (base, mut frames) = expected;
    for round in 0..3 {
        frames.push(journal.append(b"more").expect("it appends"));
        assert_eq!(read(&open_to(disk, Recover::Refuse).expect("it is sound")), (base, frames.clone()), "{round}");
    }
    for _ in 0..3 {
        let last = journal.snapshot(b"all").expect("it keeps a snapshot");
        assert_eq!(read(&open_to(disk, Recover::Refuse).expect("it is sound")), (Some(last), Vec::new()));
        let next = journal.append(b"more").expect("it appends");
        assert_eq!(read(&open_to(disk, Recover::Refuse).expect("it is sound")), (Some(last), vec![next]));
    }
    aside
}

#[test]
fn of_two_logs_with_one_epoch_neither_is_newer() {
    // A cursor took the second for the rest of the first.
    let disk = SimDisk::new(1);
    put(&disk, "log-a", &log(1, 0, 0, &[1, 2]));
    put(&disk, "log-b", &log(1, 2, 0, &[3]));
    let aside = judge(&disk, Some(("log-b", 0)), (None, vec![1, 2]));
    assert_eq!(aside, Some(path("log-b.damaged")));

    // With a snapshot behind the end of the first, nothing of either is of use.
    let disk = SimDisk::new(1);
    put(&disk, "log-a", &log(1, 0, 0, &[1, 2]));
    put(&disk, "log-b", &log(1, 2, 1, &[3, 4]));
    put(&disk, "snapshot-a", &snapshot(1, 4));
    judge(&disk, Some(("log-a", 200)), (Some(4), vec![]));
    assert!(exists(&disk, &path("log-b.damaged")));
}

#[test]
fn a_log_from_before_the_snapshot_is_read_when_the_journal_is_opened() {
    // What a cursor from before the snapshot would have come to.
    let mut spoilt = log(1, 0, 0, &[1, 2, 3]);
    spoil(&mut spoilt, 2);
    for (older, offset) in [(spoilt, 136), (log(1, 0, 0, &[1, 2]), 200), (log(1, 0, 0, &[1, 2, 4]), 200)] {
        let disk = SimDisk::new(1);
        put(&disk, "log-a", &older);
        put(&disk, "log-b", &log(2, 3, 1, &[4, 5]));
        put(&disk, "snapshot-a", &snapshot(1, 3));
        // All of that log goes: what is left of it would end before the next one.
        let aside = judge(&disk, Some(("log-a", offset)), (Some(3), vec![4, 5]));
        assert_eq!(aside, Some(path("log-a.damaged")));
    }
}

#[test]
fn the_older_log_does_not_begin_after_the_newer() {
    let disk = SimDisk::new(1);
    put(&disk, "log-a", &log(1, 7, 0, &[8, 9]));
    put(&disk, "log-b", &log(2, 3, 1, &[4, 5]));
    put(&disk, "snapshot-a", &snapshot(1, 4));
    judge(&disk, Some(("log-a", 0)), (Some(4), vec![5]));
}

#[test]
fn what_the_older_log_has_beyond_the_newer_ones_beginning_is_of_no_account() {
    let mut spoilt = log(1, 0, 0, &[1, 2, 3, 4]);
    spoil(&mut spoilt, 2);
    for older in [spoilt, log(1, 0, 0, &[1, 2, 3, 4])] {
        let disk = SimDisk::new(1);
        put(&disk, "log-a", &older);
        put(&disk, "log-b", &log(2, 2, 0, &[3]));
        judge(&disk, None, (None, vec![1, 2, 3]));
    }
}

#[test]
fn a_log_that_is_left_may_promise_another_snapshot() {
    // Once the newer log was cut off, the older one said that the bad snapshot had been sound.
    let disk = SimDisk::new(1);
    let mut older = log(1, 0, 5, &[1, 2, 3]);
    spoil(&mut older, 2);
    put(&disk, "log-a", &older);
    put(&disk, "log-b", &log(2, 3, 0, &[4]));
    put(&disk, "snapshot-b", b"no snapshot");
    judge(&disk, Some(("log-a", 136)), (None, vec![1]));
    assert!(exists(&disk, &path("snapshot-b.damaged")));
}

#[test]
fn a_copy_is_told_only_where_there_is_one() {
    // The log that ends too early has nothing to cut; the one after it goes.
    let disk = SimDisk::new(1);
    put(&disk, "log-a", &log(1, 0, 0, &[1]));
    put(&disk, "log-b", &log(2, 2, 0, &[3]));
    let aside = judge(&disk, Some(("log-a", 136)), (None, vec![1]));
    assert_eq!(aside, Some(path("log-b.damaged")));
    assert!(!exists(&disk, &path("log-a.damaged")));
}

#[test]
fn a_number_that_none_has_makes_no_frame() {
    // The number after the snapshot's stands for none, so that a cursor steps over it.
    let base = u64::from(u32::MAX);
    let disk = SimDisk::new(1);
    put(&disk, "log-a", &log(1, base, 1, &[base + 1]));
    put(&disk, "snapshot-a", &snapshot(1, base));
    judge(&disk, None, (Some(base), vec![]));
}

#[test]
fn numbers_that_are_used_up_are_told_and_not_written() {
    let last = END_OF_NUMBERS - 1;
    for (epoch, base, generation) in [(1, last, 1), (last, 5, 1), (1, 5, last)] {
        let disk = SimDisk::new(1);
        put(&disk, "log-a", &log(epoch, base, generation, &[]));
        put(&disk, "snapshot-a", &snapshot(generation, base));
        let journal = open_to(&disk, Recover::Refuse).expect("it is sound");
        assert_eq!(read(&journal), (Some(base), vec![]));
        assert_eq!(journal.append(b"x").err().map(|error| error.kind()), Some(Kind::Unsupported));
        assert_eq!(journal.snapshot(b"x").err().map(|error| error.kind()), Some(Kind::Unsupported));
        drop(journal);
        assert_eq!(read(&open_to(&disk, Recover::Refuse).expect("it is sound")), (Some(base), vec![]));
    }
    let disk = SimDisk::new(1);
    put(&disk, "log-a", &log(1, 5, 0, &[6, END_OF_NUMBERS + 1]));
    put(&disk, "snapshot-a", &snapshot(1, 5));
    judge(&disk, Some(("log-a", 136)), (Some(5), vec![6]));
}
