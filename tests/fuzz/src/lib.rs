//! What the fuzz targets share: several files in one input, checksums made right again after a mutation, and a bound on
//! memory.
//!
//! An input is `N` lengths (u32, little-endian), then the files one behind the other. Lengths are cut to what is there,
//! so that every input is some files; the last one takes the rest.

use std::alloc::System;
use std::rc::Rc;

use cap::Cap;
use statik_disk::{Disk, Faults, File, Open, SimDisk};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What may be allocated whatever the input, besides a multiple of its length: buffers of a fixed size.
const FIXED_BYTES: usize = 48 << 20;
const TIMES_INPUT: usize = 64;
/// No disk of a test grows beyond this: a length that an input claims is no reason to write so much.
const DISK_BYTES: u64 = 4 << 20;

/// What every record of a log begins with, and how long its header is.
const RECORD: &[u8] = b"SLOG";
const RECORD_HEADER: usize = 56;
/// What a snapshot begins with, and how long its header is.
const SNAPSHOT: &[u8] = b"SJRNSNAP";
const SNAPSHOT_HEADER: usize = 64;

/// Runs `check`, which may not allocate much more than the input's length.
pub fn within_memory(input: &[u8], check: impl FnOnce()) {
    let limit = ALLOCATOR.allocated() + FIXED_BYTES + TIMES_INPUT * input.len();
    ALLOCATOR.set_limit(limit).expect("the limit is above what is allocated");
    check();
    ALLOCATOR.set_limit(usize::MAX).expect("there is no limit");
}

/// The ranges of an input's files.
fn ranges<const N: usize>(input: &[u8]) -> [std::ops::Range<usize>; N] {
    let mut at = input.len().min(4 * N);
    std::array::from_fn(|index| {
        let start = at;
        let length = input.get(4 * index..4 * index + 4).map(|word| u32::from_le_bytes(word.try_into().expect("four")));
        let left = input.len() - start;
        at += if index + 1 == N { left } else { length.map_or(0, |length| length as usize).min(left) };
        start..at
    })
}

/// A disk that has the input's files under these names.
pub fn disk<const N: usize>(input: &[u8], names: [&str; N]) -> SimDisk {
    let disk = SimDisk::new(1);
    for (name, range) in names.iter().zip(ranges::<N>(input)) {
        let file = disk.open(name, Open::Create).expect("a new file");
        file.write_at(0, &input[range]).expect("a small write");
        file.flush().expect("a flush");
    }
    disk.set_faults(Faults { quota_bytes: Some(DISK_BYTES), ..Faults::default() });
    disk
}

/// An input of these files.
pub fn input(files: &[Vec<u8>]) -> Vec<u8> {
    let lengths = files.iter().flat_map(|file| (file.len() as u32).to_le_bytes());
    lengths.chain(files.iter().flatten().copied()).collect()
}

/// All bytes of a file.
pub fn bytes(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    let read = file.read_at(0, &mut bytes).expect("a read");
    assert_eq!(read, bytes.len());
    bytes
}

/// Opens a file that is there.
pub fn open(disk: &SimDisk, path: &str) -> Rc<dyn File> {
    disk.open(path, Open::Existing).expect("the file is there").into()
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What of a log's bytes begins with a header whose checksum is right: found without the code under test.
fn records(log: &[u8]) -> impl Iterator<Item = &[u8]> {
    let behind = (0..log.len()).step_by(8).map(|at| &log[at..]);
    behind.filter(|record| {
        record.starts_with(RECORD)
            && record.len() >= RECORD_HEADER
            && number(record, 52, 4) == u64::from(crc32fast::hash(&record[..52]))
    })
}

/// Whether a log's bytes have this record, its checksums right.
pub fn has_record(log: &[u8], sequence: u64, payload: &[u8]) -> bool {
    records(log).any(|record| {
        number(record, 16, 8) == sequence
            && number(record, 40, 4) == payload.len() as u64
            && number(record, 44, 4) == u64::from(crc32fast::hash(payload))
            && record[RECORD_HEADER..].starts_with(payload)
    })
}

/// Whether a header in these logs has an epoch above those that the logs are in.
pub fn has_later_epoch(logs: &[Vec<u8>]) -> bool {
    let epochs = |log| records(log).map(|record| number(record, 8, 8));
    let newest = logs.iter().filter_map(|log| epochs(log).next()).max();
    logs.iter().flat_map(|log| epochs(log)).max() > newest
}

/// Makes the checksums of an input's files right, most of the time: what lies behind them would be reached by no
/// mutation otherwise.
pub fn repair<const N: usize>(input: &mut [u8], seed: u32) {
    if seed.is_multiple_of(8) {
        return;
    }
    for range in ranges::<N>(input) {
        let file = &mut input[range];
        if file.starts_with(SNAPSHOT) {
            repair_snapshot(file);
        } else {
            repair_log(file);
        }
    }
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

fn repair_snapshot(file: &mut [u8]) {
    if file.len() < SNAPSHOT_HEADER {
        return;
    }
    let length = u64::from_le_bytes(file[32..40].try_into().expect("eight")) as usize;
    if let Some(state) = file[SNAPSHOT_HEADER..].get(..length) {
        let sum = crc32fast::hash(state);
        put(file, 12, sum);
    }
    let sum = crc32fast::hash(&file[..60]);
    put(file, 60, sum);
}

fn repair_log(file: &mut [u8]) {
    let mut at = 0;
    while at + RECORD_HEADER <= file.len() {
        let record = &mut file[at..];
        if !record.starts_with(RECORD) {
            at += 8;
            continue;
        }
        let length = u32::from_le_bytes(record[40..44].try_into().expect("four")) as usize;
        let whole = record[RECORD_HEADER..].get(..length).map(crc32fast::hash);
        if let Some(sum) = whole {
            put(record, 44, sum);
        }
        let sum = crc32fast::hash(&record[..52]);
        put(record, 52, sum);
        // A length that leads nowhere hides nothing that lies behind.
        at += if whole.is_some() { (RECORD_HEADER + length).next_multiple_of(8) } else { 8 };
    }
}
