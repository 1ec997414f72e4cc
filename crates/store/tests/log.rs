//! The log: what was appended is read back, and a torn tail is told from damage, whatever the bytes.

use std::rc::Rc;

use statik_disk::{Crash, Disk, File, Kind, MemDisk, Open, SimDisk};
use statik_store::log::{HEADER_BYTES, Scanned, Tail, Writer, scan, successor};

fn open(disk: &dyn Disk) -> Rc<dyn File> {
    disk.open("log", Open::Create).expect("the disk opens").into()
}

fn writer(disk: &dyn Disk) -> Writer {
    Writer::start(open(disk), "log", 1, 0, b"start").expect("the disk writes")
}

fn append(writer: &mut Writer, payload: &[u8]) -> u64 {
    writer.append(|bytes| bytes.extend_from_slice(payload)).expect("the disk writes").sequence
}

fn payload(number: u64) -> Vec<u8> {
    vec![number as u8; 100 + 7 * number as usize]
}

/// What a scan finds: the records' numbers and payloads, the start's excepted.
fn read(disk: &dyn Disk) -> (Scanned, Vec<(u64, Vec<u8>)>) {
    let mut records = Vec::new();
    let scanned = scan(&*open(disk), "log", None, &mut |record| {
        if record.offset > 0 {
            records.push((record.sequence, record.payload.to_vec()));
        }
        Ok(())
    });
    (scanned.expect("the disk reads").expect("there is a log"), records)
}

fn expected(numbers: std::ops::RangeInclusive<u64>) -> Vec<(u64, Vec<u8>)> {
    numbers.map(|number| (number, payload(number))).collect()
}

/// Records 1 to 9, flushed up to 5 before 6 was written.
fn nine(disk: &dyn Disk) -> Writer {
    let mut writer = writer(disk);
    for number in 1..=9 {
        assert_eq!(append(&mut writer, &payload(number)), number);
        if number == 5 {
            assert_eq!(writer.flush().expect("the disk flushes"), 5);
        }
    }
    writer
}

/// Where record `number` of [`nine`] begins.
fn offset(disk: &dyn Disk, number: u64) -> u64 {
    let mut found = None;
    scan(&*open(disk), "log", None, &mut |record| {
        if record.sequence == number {
            found = Some(record.offset);
        }
        Ok(())
    })
    .expect("the disk reads");
    found.expect("there is such a record")
}

#[test]
fn what_was_appended_is_read_back() {
    let disk = MemDisk::new();
    let writer = nine(&disk);
    let (scanned, records) = read(&disk);
    assert_eq!(records, expected(1..=9));
    assert_eq!((scanned.epoch, scanned.start, scanned.last, scanned.tail), (1, 0, 9, Tail::Clean));
    assert_eq!((scanned.end, scanned.flushed), (writer.end(), 5));
}

#[test]
fn a_file_without_a_log_is_told_from_a_damaged_one() {
    let disk = MemDisk::new();
    let file = open(&disk);
    let none = |file: &dyn File| scan(file, "log", None, &mut |_| panic!("no records")).expect("the disk reads");
    assert_eq!(none(&*file), None);
    file.set_len(100_000).expect("the disk grows");
    assert_eq!(none(&*file), None);
    file.write_at(3, b"x").expect("the disk writes");
    assert_eq!(none(&*file).map(|scanned| (scanned.epoch, scanned.tail)), Some((0, Tail::Damaged)));
}

#[test]
fn another_version_is_refused_by_name() {
    let disk = MemDisk::new();
    drop(writer(&disk));
    let file = open(&disk);
    let mut header = [0; HEADER_BYTES];
    file.read_at(0, &mut header).expect("the disk reads");
    header[4] = 9;
    let crc = crc32fast::hash(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    file.write_at(0, &header).expect("the disk writes");
    let error = scan(&*file, "log", None, &mut |_| Ok(())).expect_err("version 9");
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn a_record_that_is_gone_below_a_mark_is_damage_and_above_it_a_crash() {
    for number in 1..=9 {
        let disk = MemDisk::new();
        drop(nine(&disk));
        let at = offset(&disk, number);
        // A bit of the payload, or the whole header.
        for (place, bytes) in [(at + HEADER_BYTES as u64 + 50, &[0xff; 1][..]), (at, &[0; HEADER_BYTES][..])] {
            open(&disk).write_at(place, bytes).expect("the disk writes");
            let (scanned, records) = read(&disk);
            assert_eq!(records, expected(1..=number - 1));
            assert_eq!((scanned.last, scanned.end), (number - 1, at));
            let tail = match number {
                1..=5 => Tail::Damaged,
                _ if number < 9 || place != at => Tail::Torn,
                _ => Tail::Clean,
            };
            assert_eq!(scanned.tail, tail, "record {number}");
        }
    }
}

#[test]
fn after_a_crash_there_is_a_prefix_with_all_that_was_flushed() {
    for seed in 0..500 {
        let disk = SimDisk::new(seed);
        drop(nine(&disk));
        let disk = disk.crash(Crash::Seed(seed));
        let (scanned, records) = read(&disk);
        assert!((5..=9).contains(&scanned.last), "seed {seed}");
        assert_eq!(records, expected(1..=scanned.last), "seed {seed}");
        assert_ne!(scanned.tail, Tail::Damaged, "seed {seed}");
        // What was left of the torn records must not come back behind new ones of their size.
        let mut writer = Writer::resume(open(&disk), "log", &scanned).expect("the disk writes");
        append(&mut writer, &payload(scanned.last + 1));
        drop(writer);
        let (again, records) = read(&disk);
        assert_eq!(records, expected(1..=scanned.last + 1), "seed {seed}");
        assert_eq!(again.tail, Tail::Clean, "seed {seed}");
    }
}

#[test]
fn a_recycled_log_does_not_replay_its_old_records() {
    let disk = MemDisk::new();
    let mut writer = nine(&disk);
    writer.restart(2, 9, b"start").expect("the disk writes");
    assert_eq!(read(&disk).1, []);
    // As long as record 1, so that the old record 2 follows it.
    let again = append(&mut writer, &payload(1));
    let (scanned, records) = read(&disk);
    assert_eq!(records, [(again, payload(1))]);
    assert_eq!((scanned.epoch, scanned.start, scanned.last, scanned.tail), (2, 9, 10, Tail::Clean));
}

#[test]
fn a_log_may_follow_another() {
    let disk = MemDisk::new();
    let mut writer = writer(&disk);
    writer.follow(41);
    assert_eq!(append(&mut writer, b"x"), 42);
    let records = |after| {
        let mut count = 0;
        let scanned = scan(&*open(&disk), "log", after, &mut |_| {
            count += 1;
            Ok(())
        });
        let scanned = scanned.expect("the disk reads").expect("there is a log");
        assert_eq!(scanned.first_previous, Some(41));
        (count, scanned.tail)
    };
    assert_eq!(records(Some(41)), (2, Tail::Clean));
    assert_eq!(records(Some(40)), (1, Tail::Damaged), "41 was flushed, and is not there");
}

#[test]
fn a_failed_append_leaves_no_trace() {
    let disk = SimDisk::new(1);
    let mut writer = writer(&disk);
    append(&mut writer, b"one");
    disk.set_faults(statik_disk::Faults { quota_at: Some(0), ..Default::default() });
    let error = writer.append(|bytes| bytes.resize(5000, 1)).expect_err("the disk is full");
    assert_eq!(error.kind(), Kind::Quota);
    disk.set_faults(statik_disk::Faults::default());
    assert_eq!(append(&mut writer, b"three"), 3);
    assert_eq!(read(&disk).1, [(1, b"one".to_vec()), (3, b"three".to_vec())]);
}

/// The next record may be as long and end alike, and a crash may leave no more of it than that end.
#[test]
fn a_failed_append_is_not_completed_by_the_next() {
    for seed in 0..1000 {
        let disk = SimDisk::new(1);
        let mut writer = writer(&disk);
        let quota_bytes = Some(writer.end() + 2900);
        disk.set_faults(statik_disk::Faults { quota_bytes, ..Default::default() });
        let record = |first: u8| [vec![first; 100], vec![0xee; 2900]].concat();
        writer.append(|bytes| bytes.extend(record(2))).expect_err("the disk is full");
        disk.set_faults(statik_disk::Faults::default());
        append(&mut writer, &record(3));
        let (_, records) = read(&disk.crash(Crash::Seed(seed)));
        assert!(records.iter().all(|(_, payload)| payload[0] != 2), "seed {seed}: what failed is there");
    }
}

#[test]
fn a_failed_flush_is_the_end() {
    let disk = SimDisk::new(1);
    let mut writer = writer(&disk);
    append(&mut writer, b"one");
    disk.set_faults(statik_disk::Faults { fail_flush_at: Some(0), ..Default::default() });
    writer.flush().expect_err("the flush fails");
    let error = writer.append(|bytes| bytes.push(1)).expect_err("nobody knows what the log holds");
    assert!(error.to_string().contains("an earlier flush"), "{error}");
}

#[test]
fn what_is_kept_is_what_the_file_holds() {
    for keep_bytes in [0, 300, 1 << 20] {
        let disk = MemDisk::new();
        let mut writer = writer(&disk);
        writer.keep(keep_bytes).expect("the disk reads");
        writer.grow_by(4096);
        let places: Vec<_> = (1..=9)
            .map(|number| writer.append(|bytes| bytes.extend(payload(number))).expect("the disk writes"))
            .collect();
        assert_eq!(open(&disk).len().expect("a length") % 4096, 0);
        assert_eq!(writer.kept_at(places[8].payload_offset, 1).is_some(), keep_bytes == 1 << 20);
        for (number, place) in (1..=9).zip(places) {
            let mut bytes = vec![0; payload(number).len()];
            writer.read_at(place.payload_offset, &mut bytes).expect("the disk reads");
            assert_eq!(bytes, payload(number));
        }
        assert_eq!(read(&disk).1, expected(1..=9));
    }
}

#[test]
fn any_bytes_can_be_read() {
    let disk = MemDisk::new();
    drop(nine(&disk));
    let file = open(&disk);
    let mut whole = vec![0; file.len().expect("a length") as usize];
    file.read_at(0, &mut whole).expect("the disk reads");
    for at in 0..whole.len() {
        file.write_at(at as u64, &[whole[at] ^ (1 << (at % 8))]).expect("the disk writes");
        let mut last = 0;
        let scanned = scan(&*file, "log", None, &mut |record| {
            assert!(record.offset == 0 || record.payload == payload(record.sequence));
            last = record.sequence;
            Ok(())
        });
        let scanned = scanned.expect("damage is no error").expect("there is a log");
        assert!(scanned.tail == Tail::Damaged || last >= 5, "byte {at}: what was flushed is there, or missed");
        file.write_at(at as u64, &whole[at..=at]).expect("the disk writes");
    }
    for len in (0..whole.len()).rev() {
        file.set_len(len as u64).expect("the disk cuts");
        let scanned = scan(&*file, "log", None, &mut |_| Ok(())).expect("a short file is no error");
        assert_eq!(scanned.is_none(), len == 0);
    }
}

#[test]
fn numbers_step_over_those_that_stand_for_none() {
    assert_eq!(successor(0), 1);
    assert_eq!(successor(u64::from(u32::MAX)), (1 << 32) + 1);
}
