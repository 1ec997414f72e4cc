//! The journal: what was appended is recovered, compaction drops nothing that is needed, damage is told and cut off.

use std::rc::Rc;

use statik_bridge::pages::Durability;
use statik_disk::{Disk, Faults, Kind, MemDisk, Open, Result, SimDisk};
use statik_store::Recover;
use statik_store::journal::{Damage, Journal, MAX_FRAME_BYTES, Options, files};

const NORMAL: Options = Options { durability: Durability::Normal, recover: Recover::ReadOnly };

fn open(disk: &SimDisk) -> Journal {
    Journal::open(Rc::new(disk.clone()), "j", Options::default()).expect("the journal opens")
}

fn open_to(disk: &SimDisk, recover: Recover) -> Result<Journal> {
    Journal::open(Rc::new(disk.clone()), "j", Options { recover, ..Options::default() })
}

fn path(file: &str) -> String {
    format!(".statik/journal/j/{file}")
}

fn frame(sequence: u64) -> Vec<u8> {
    format!("frame {sequence};").into_bytes()
}

/// What the frames up to this one lead to.
fn state(sequence: u64) -> Vec<u8> {
    (1..=sequence).flat_map(frame).collect()
}

fn append_to(journal: &Journal, sequence: u64) {
    while journal.last() < sequence {
        let next = journal.last() + 1;
        assert_eq!(journal.append(&frame(next)).expect("a frame is appended"), next);
    }
}

fn snapshot(journal: &Journal) {
    let last = journal.last();
    assert_eq!(journal.snapshot(&state(last)).expect("a snapshot is kept"), last);
}

/// The snapshot's number and the last frame's; asserts that the state is that of all these frames.
fn recovered(journal: &Journal) -> (Option<u64>, u64) {
    let recovered = journal.recover().expect("it recovers");
    let (base, mut found) = recovered.snapshot.map_or((None, Vec::new()), |(base, state)| (Some(base), state));
    let mut last = base.unwrap_or(0);
    for next in recovered.frames {
        let (sequence, frame) = next.expect("a frame is read");
        assert_eq!(sequence, last + 1);
        found.extend(frame);
        last = sequence;
    }
    assert_eq!(String::from_utf8(found), String::from_utf8(state(last)));
    assert_eq!(last, journal.last());
    (base, last)
}

fn numbers(journal: &Journal, from: u64) -> Vec<u64> {
    let cursor = journal.cursor(from).expect("a cursor");
    let check = |next: Result<(u64, Vec<u8>)>| {
        let (sequence, bytes) = next.expect("a frame is read");
        assert_eq!(bytes, frame(sequence));
        sequence
    };
    cursor.map(check).collect()
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

fn bytes(disk: &dyn Disk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Existing).expect("the file is there");
    let mut bytes = vec![0; file.len().expect("len") as usize];
    assert_eq!(file.read_at(0, &mut bytes).expect("read"), bytes.len());
    bytes
}

fn replace(disk: &dyn Disk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, Open::Create).expect("the file opens");
    file.set_len(0).expect("cut");
    file.write_at(0, bytes).expect("write");
    file.flush().expect("flush");
}

/// A journal of 9 frames with snapshots after 3 and 6.
fn nine(disk: &SimDisk) -> Journal {
    let journal = open(disk);
    for last in [3, 6, 9] {
        append_to(&journal, last);
        if last < 9 {
            snapshot(&journal);
        }
    }
    journal
}

#[test]
fn what_was_appended_is_recovered() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    assert_eq!(recovered(&journal), (None, 0));
    append_to(&journal, 5);
    assert_eq!(recovered(&journal), (None, 5));
    drop(journal);
    let journal = open(&disk);
    append_to(&journal, 7);
    assert_eq!(numbers(&journal, 0), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(&journal, 6), [6, 7]);
    assert!(numbers(&journal, 8).is_empty());
}

#[test]
fn a_snapshot_stands_for_the_frames_before_it() {
    let disk = SimDisk::new(1);
    let journal = nine(&disk);
    assert_eq!(recovered(&journal), (Some(6), 9));
    drop(journal);
    let journal = open(&disk);
    assert_eq!(recovered(&journal), (Some(6), 9));
    assert_eq!(numbers(&journal, 0), [4, 5, 6, 7, 8, 9], "what the older snapshot needs is kept");
    assert_eq!(kind(journal.cursor(3)), Some(Kind::NotFound));
    snapshot(&journal);
    assert_eq!(recovered(&journal), (Some(9), 9));
    assert_eq!(numbers(&journal, 0), [7, 8, 9]);
}

#[test]
fn compaction_bounds_the_files() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    for last in 1..=100 {
        append_to(&journal, last * 10);
        journal.snapshot(&state(3)).expect("a snapshot is kept");
    }
    let total: usize = files("j", Recover::ReadOnly).expect("files").iter().map(|path| bytes(&disk, path).len()).sum();
    assert!(total < 4096, "{total} bytes");
}

#[test]
fn a_cursor_goes_on_and_is_told_when_it_was_overtaken() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    append_to(&journal, 2);
    let mut cursor = journal.cursor(0).expect("a cursor");
    let mut slow = journal.cursor(0).expect("a cursor");
    assert_eq!(slow.next().expect("there is one").expect("it reads").0, 1);
    assert_eq!(cursor.by_ref().count(), 2);
    assert!(cursor.next().is_none());
    append_to(&journal, 3);
    assert_eq!(cursor.next().expect("there is one more").expect("it reads"), (3, frame(3)));
    append_to(&journal, 5);
    snapshot(&journal);
    append_to(&journal, 6);
    let rest: Vec<u64> = cursor.map(|next| next.expect("it reads").0).collect();
    assert_eq!(rest, [4, 5, 6]);
    snapshot(&journal);
    assert_eq!(numbers(&journal, 0), [6]);
    assert_eq!(kind(slow.next().expect("it fails")), Some(Kind::Conflict));
    assert!(slow.next().is_none());
}

#[test]
fn frames_of_any_size() {
    let disk: Rc<dyn Disk> = Rc::new(MemDisk::new());
    let journal = Journal::open(disk.clone(), "j", NORMAL).expect("the journal opens");
    let sizes = [0, 1, 7, 8, 4096, (1 << 20) - 56, 1 << 20, (3 << 20) + 5, 0];
    for size in sizes {
        journal.append(&vec![size as u8; size]).expect("a frame is appended");
    }
    assert_eq!(kind(journal.append(&vec![0; MAX_FRAME_BYTES + 1])), Some(Kind::Invalid));
    journal.append(b"still works").expect("a frame that was refused is no failure");
    drop(journal);
    let journal = Journal::open(disk, "j", NORMAL).expect("the journal opens");
    let found: Vec<usize> = journal.cursor(0).expect("a cursor").map(|next| next.expect("it reads").1.len()).collect();
    assert_eq!(found[..sizes.len()], sizes);
    assert_eq!(found[sizes.len()..], [11]);
}

#[test]
fn names_are_checked() {
    for name in ["", "a/b", "..", "a\0", &"x".repeat(101)] {
        let disk: Rc<dyn Disk> = Rc::new(MemDisk::new());
        assert_eq!(kind(Journal::open(disk, name, NORMAL)), Some(Kind::Invalid), "{name:?}");
    }
    assert_eq!(files("a", Recover::ReadOnly).expect("a name").len(), 4);
    assert_eq!(files("a", Recover::Truncate).expect("a name").len(), 8);
}

/// Opens nothing that `files` did not say: in direct mode nothing else can be opened.
#[test]
fn the_files_are_those_that_are_told() {
    for recover in [Recover::ReadOnly, Recover::Truncate, Recover::Refuse] {
        let disk = SimDisk::new(1);
        drop(nine(&disk));
        if recover == Recover::Truncate {
            disk.flip_bits(&path("log-a"), 1, 1000).expect("bits flip");
            disk.flip_bits(&path("snapshot-b"), 1, 300).expect("bits flip");
        }
        drop(open_to(&disk, recover).expect("it opens"));
        let told = files("j", recover).expect("files");
        for path in disk.list().expect("list") {
            assert!(told.contains(&path), "{recover:?}: {path}");
        }
    }
}

#[test]
fn after_a_failure_nothing_is_changed_until_it_is_opened_again() {
    for faults in [
        |at| Faults { quota_at: Some(at), ..Faults::default() },
        |at| Faults { fail_flush_at: Some(at), ..Faults::default() },
        |at| Faults { short_write_at: Some(at), ..Faults::default() },
    ] {
        for snapshots in [false, true] {
            let disk = SimDisk::new(1);
            let journal = nine(&disk);
            disk.set_faults(faults(disk.operations()));
            let failed = if snapshots { journal.snapshot(&state(900)) } else { journal.append(&frame(10)) };
            assert!(matches!(kind(failed), Some(Kind::Quota | Kind::Io)));
            disk.set_faults(Faults::default());
            assert_eq!(kind(journal.append(b"x")), Some(Kind::Closed));
            assert_eq!(kind(journal.snapshot(b"x")), Some(Kind::Closed));
            assert_eq!(recovered(&journal).1, 9, "it can be read");
            drop(journal);
            let journal = open(&disk);
            assert!(journal.last() >= 9);
            append_to(&journal, 12);
            snapshot(&journal);
            assert_eq!(recovered(&journal), (Some(12), 12));
        }
    }
}

#[test]
fn a_damaged_snapshot_costs_nothing() {
    let disk = SimDisk::new(1);
    drop(nine(&disk));
    // The first went to a, the second to b.
    disk.flip_bits(&path("snapshot-b"), 3, 1).expect("a bit flips");
    let journal = open(&disk);
    assert_eq!(recovered(&journal), (Some(3), 9));
    let Damage { path: damaged, sequence, .. } = journal.damage().expect("it is told");
    assert_eq!((damaged, sequence), (path("snapshot-b"), 6));
    assert_eq!(kind(journal.append(b"x")), Some(Kind::ReadOnly));
    assert_eq!(kind(journal.flush()), Some(Kind::ReadOnly));
    assert_eq!(kind(journal.snapshot(b"x")), Some(Kind::ReadOnly));
    drop(journal);
    assert_eq!(kind(open_to(&disk, Recover::Refuse)), Some(Kind::Corrupt));

    let before = bytes(&disk, &path("snapshot-b"));
    let journal = open_to(&disk, Recover::Truncate).expect("it is repaired");
    assert_eq!(journal.damage().expect("it is told").aside, Some(path("snapshot-b.damaged")));
    assert_eq!(bytes(&disk, &path("snapshot-b.damaged")), before);
    assert_eq!(recovered(&journal), (Some(3), 9));
    append_to(&journal, 10);
    // With one snapshot and two logs: the next snapshot must not cost the frames since the only one.
    snapshot(&journal);
    append_to(&journal, 11);
    drop(journal);
    let journal = open(&disk);
    assert_eq!((recovered(&journal), journal.damage()), ((Some(10), 11), None));
    assert_eq!(numbers(&journal, 0), [4, 5, 6, 7, 8, 9, 10, 11], "the older snapshot is still of use");
    snapshot(&journal);
    append_to(&journal, 12);
    snapshot(&journal);
    assert_eq!(numbers(&journal, 0), [12]);
}

#[test]
fn damage_between_durable_frames_is_told_and_cut_off() {
    let disk = SimDisk::new(1);
    drop(nine(&disk));
    // Frames 7, 8 and 9 are in log a, behind its start of 72 bytes; each takes 64.
    let file = path("log-a");
    let bad = 72 + 64 + 60;
    disk.flip_bit(&file, bad * 8).expect("a bit flips");
    let journal = open(&disk);
    assert_eq!(recovered(&journal), (Some(6), 7));
    let damage = journal.damage().expect("it is told");
    assert_eq!((damage.path.as_str(), damage.offset, damage.sequence), (file.as_str(), 72 + 64, 8));
    assert_eq!(kind(journal.append(b"x")), Some(Kind::ReadOnly));
    drop(journal);

    let before = bytes(&disk, &file);
    let journal = open_to(&disk, Recover::Truncate).expect("it is repaired");
    assert_eq!(bytes(&disk, &path("log-a.damaged")), before[72 + 64..]);
    assert_eq!(recovered(&journal), (Some(6), 7));
    append_to(&journal, 8);
    drop(journal);
    let journal = open(&disk);
    assert_eq!((recovered(&journal), journal.damage()), ((Some(6), 8), None));
}

#[test]
fn garbage_is_refused_in_words_and_a_later_version_is_left_alone() {
    for file in ["log-a", "log-b", "snapshot-a"] {
        let disk = SimDisk::new(1);
        replace(&disk, &path(file), &[b'x'; 5000]);
        let error = open_to(&disk, Recover::Refuse).err().expect("it is refused");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains(file), "{error}");
        let journal = open(&disk);
        assert_eq!((recovered(&journal), kind(journal.append(b"x"))), ((None, 0), Some(Kind::ReadOnly)));
        drop(journal);
        let journal = open_to(&disk, Recover::Truncate).expect("it is repaired");
        assert_eq!(bytes(&disk, &path(&format!("{file}.damaged"))), [b'x'; 5000]);
        append_to(&journal, 3);
        snapshot(&journal);
        drop(journal);
        assert_eq!(recovered(&open(&disk)), (Some(3), 3));
    }
    for (file, at, sum) in [("snapshot-b", 8, 60), ("log-a", 60, 72)] {
        let disk = SimDisk::new(1);
        drop(nine(&disk));
        let mut changed = bytes(&disk, &path(file));
        changed[at] = 2;
        // Either the header's checksum is right again, or the payload's and with it the header's.
        if file == "log-a" {
            let crc = crc32fast::hash(&changed[56..sum]);
            changed[44..48].copy_from_slice(&crc.to_le_bytes());
            let crc = crc32fast::hash(&changed[..52]);
            changed[52..56].copy_from_slice(&crc.to_le_bytes());
        } else {
            let crc = crc32fast::hash(&changed[..sum]);
            changed[sum..sum + 4].copy_from_slice(&crc.to_le_bytes());
        }
        replace(&disk, &path(file), &changed);
        for recover in [Recover::ReadOnly, Recover::Truncate, Recover::Refuse] {
            let error = open_to(&disk, recover).err().expect("it is refused");
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert!(error.to_string().contains("version 2"), "{error}");
        }
        assert_eq!(bytes(&disk, &path(file)), changed);
    }
}

/// Whatever single bit flips, wherever: what is recovered is true, and a repair ends in a journal that works.
#[test]
fn any_bit_may_flip() {
    let names = ["log-a", "log-b", "snapshot-a", "snapshot-b"];
    for file in names {
        for bit in 0..u64::MAX {
            let disk = SimDisk::new(1);
            drop(nine(&disk));
            if bit >= bytes(&disk, &path(file)).len() as u64 * 8 {
                break;
            }
            disk.flip_bit(&path(file), bit).expect("a bit flips");
            let journal = match Journal::open(Rc::new(disk.clone()), "j", Options::default()) {
                Err(error) => panic!("{file}, bit {bit}: {error}"),
                Ok(journal) => journal,
            };
            let (base, last) = recovered(&journal);
            assert!(last >= 6, "{file}, bit {bit}: {base:?} {last}");
            // A frame that nothing behind it vouches for looks like one that was never durable.
            assert!(last >= 8 || journal.damage().is_some(), "{file}, bit {bit}: {last} without a word");
            if file.starts_with("snapshot") {
                assert_eq!(last, 9, "{file}, bit {bit}");
            }
            drop(journal);
            let journal = open_to(&disk, Recover::Truncate).expect("it is repaired");
            assert_eq!(recovered(&journal), (base, last), "{file}, bit {bit}: a repair drops no more");
            append_to(&journal, last + 1);
            snapshot(&journal);
            append_to(&journal, last + 2);
            drop(journal);
            let journal = open(&disk);
            assert_eq!(
                (recovered(&journal), journal.damage()),
                ((Some(last + 1), last + 2), None),
                "{file}, bit {bit}"
            );
        }
    }
}

const SAMPLE: &str = include_str!("journal-v1.hex");

/// The sample's files: a line with the name, then lines of bytes.
fn sample() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for line in SAMPLE.lines() {
        match line.strip_prefix("# ") {
            Some(name) => files.push((path(name), Vec::new())),
            None => {
                let (_, bytes) = files.last_mut().expect("a name comes first");
                let byte = |pair: &str| u8::from_str_radix(pair, 16).expect("two digits");
                bytes.extend(line.split_whitespace().map(byte));
            }
        }
    }
    files
}

/// The bytes of version 1 are read for ever; and this version writes them.
#[test]
fn the_frozen_sample() {
    let written = SimDisk::new(1);
    drop(nine(&written));
    let disk = SimDisk::new(1);
    for (path, content) in sample() {
        assert_eq!(bytes(&written, &path), content, "{path}");
        replace(&disk, &path, &content);
    }
    let journal = open(&disk);
    assert_eq!((recovered(&journal), journal.damage()), ((Some(6), 9), None));
    assert_eq!(numbers(&journal, 0), [4, 5, 6, 7, 8, 9]);
}
