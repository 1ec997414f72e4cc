//! Each fault does what it says, once or for good, and by seed.

use super::*;

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

fn content(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Existing).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

/// A disk whose file "a" holds `flushed`, and the open file.
fn disk_with(flushed: &[u8]) -> (SimDisk, Box<dyn File>) {
    let disk = SimDisk::new(7);
    let file = disk.open("a", Open::Create).unwrap();
    file.write_at(0, flushed).unwrap();
    file.flush().unwrap();
    (disk, file)
}

fn outcomes(disk: &SimDisk) -> std::collections::BTreeSet<Vec<u8>> {
    (0..200).map(|seed| content(&disk.crash(Crash::Seed(seed)), "a")).collect()
}

#[test]
fn keeps_the_contract() {
    crate::contract::disk(|| Box::new(SimDisk::new(0)));
}

#[test]
fn an_unflushed_write_is_lost_by_some_crashes_and_kept_by_others() {
    let (disk, file) = disk_with(b"old");
    file.write_at(0, b"new").unwrap();
    assert_eq!(content(&disk.crash(Crash::LoseAll), "a"), b"old");
    assert_eq!(content(&disk.crash(Crash::KeepAll), "a"), b"new");
    assert_eq!(outcomes(&disk), [b"old".to_vec(), b"new".to_vec()].into());
    assert_eq!(content(&disk, "a"), b"new", "a crash leaves the disk as it is");
    file.flush().unwrap();
    assert_eq!(outcomes(&disk), [b"new".to_vec()].into(), "what was flushed survives every crash");
}

#[test]
fn any_subset_of_the_writes_survives() {
    let (disk, file) = disk_with(b"...");
    for at in 0..3 {
        file.write_at(at, b"x").unwrap();
    }
    assert_eq!(outcomes(&disk).len(), 8);
}

#[test]
fn a_lost_change_of_length_comes_back() {
    let (disk, file) = disk_with(b"abcdef");
    file.set_len(2).unwrap();
    file.set_len(4).unwrap();
    let expected = [&b"abcdef"[..], b"ab", b"abcd", b"ab\0\0"].map(<[u8]>::to_vec);
    assert_eq!(outcomes(&disk), expected.into());
}

#[test]
fn writes_tear_at_sectors_and_lost_extensions_leave_zeros() {
    let (disk, file) = disk_with(&[1; 8192]);
    file.write_at(100, &[2; 16000]).unwrap();
    let (mut small, mut large, mut zeros) = (false, false, false);
    for image in outcomes(&disk) {
        let edges: Vec<usize> = (1..image.len()).filter(|&i| image[i - 1] != image[i]).collect();
        for edge in edges.iter().filter(|edge| ![100, 8192, 16100].contains(edge)) {
            assert_eq!(edge % 512, 0, "torn at {edge}");
            small |= edge % 4096 != 0;
            large |= edge % 4096 == 0;
        }
        zeros |= image.len() == 16100 && image[8192..].iter().all(|&byte| byte == 0);
    }
    assert!(small && large && zeros, "torn at 512: {small}, at 4096: {large}, zeros left: {zeros}");
}

#[test]
fn names_are_durable_at_once() {
    let (disk, file) = disk_with(b"moved");
    drop(file);
    disk.rename("a", "b").unwrap();
    drop(disk.open("c", Open::CreateNew).unwrap());
    drop(disk.open("d", Open::CreateNew).unwrap());
    disk.remove("d").unwrap();
    let after = disk.crash(Crash::LoseAll);
    assert_eq!(after.list().unwrap(), ["b", "c"]);
    assert_eq!(content(&after, "b"), b"moved");
}

#[test]
fn a_seed_replays_exactly() {
    let run = || {
        let (disk, file) = disk_with(&[0; 5000]);
        disk.set_faults(Faults { short_write_at: Some(4), fail_flush_at: Some(9), ..Faults::default() });
        let results: Vec<_> = (0..20_u64)
            .flat_map(|i| [file.write_at(i * 700, &[i as u8; 3000]), file.flush()])
            .map(|result| result.map_err(|error| error.to_string()))
            .collect();
        (results, content(&disk, "a"), outcomes(&disk))
    };
    assert!(run() == run());
}

#[test]
fn the_power_goes_before_its_operation() {
    let (disk, file) = disk_with(b"old");
    let next = disk.operations();
    disk.set_faults(Faults { power_off_at: Some(next + 1), ..Faults::default() });
    file.write_at(0, b"new").unwrap();
    assert_eq!(kind(file.flush()), Some(Kind::Closed));
    assert_eq!(kind(file.read_at(0, &mut [0])), Some(Kind::Closed));
    assert_eq!(kind(disk.list()), Some(Kind::Closed));
    assert_eq!(kind(disk.open("a", Open::Existing)), Some(Kind::Closed));
    assert_eq!(kind(disk.remove("a")), Some(Kind::Closed));
    assert_eq!(kind(disk.rename("a", "b")), Some(Kind::Closed));
    assert_eq!(disk.operations(), next + 1, "what fails for want of power is not counted");
    assert_eq!(content(&disk.crash(Crash::LoseAll), "a"), b"old");
}

#[test]
fn the_quota_stops_what_grows_until_it_is_lifted() {
    let (disk, file) = disk_with(b"four");
    disk.set_faults(Faults { quota_at: Some(disk.operations() + 1), ..Faults::default() });
    file.write_at(4, b"+").unwrap();
    for _ in 0..2 {
        assert_eq!(kind(file.write_at(3, b"xyz")), Some(Kind::Quota));
        assert_eq!(kind(file.set_len(9)), Some(Kind::Quota));
    }
    assert_eq!(content(&disk, "a"), b"fouxy", "what fits was written");
    file.write_at(0, b"F").unwrap();
    file.set_len(2).unwrap();
    disk.set_faults(Faults::default());
    file.write_at(2, b"und").unwrap();
    assert_eq!(content(&disk, "a"), b"Found");
}

#[test]
fn the_quota_in_bytes_counts_all_files() {
    let (disk, file) = disk_with(b"four");
    disk.set_faults(Faults { quota_bytes: Some(10), ..Faults::default() });
    let other = disk.open("b", Open::Create).unwrap();
    other.write_at(0, b"12345").unwrap();
    assert_eq!(kind(file.write_at(4, b"67")), Some(Kind::Quota));
    assert_eq!(content(&disk, "a"), b"four6");
    other.set_len(0).unwrap();
    file.write_at(5, b"7").unwrap();
    assert_eq!(kind(other.write_at(u64::MAX, b"x")), Some(Kind::Quota));
    disk.set_faults(Faults::default());
    assert_eq!(kind(other.set_len(u64::MAX)), Some(Kind::Quota), "no file is longer than the simulation allows");
}

#[test]
fn a_short_write_leaves_a_part_and_fails_once() {
    let lengths: std::collections::BTreeSet<u64> = (0..50)
        .map(|seed| {
            let disk = SimDisk::new(seed);
            let file = disk.open("a", Open::Create).unwrap();
            disk.set_faults(Faults { short_write_at: Some(0), ..Faults::default() });
            assert_eq!(kind(file.write_at(0, b"123")), Some(Kind::Io));
            assert_eq!(disk.faults(), Faults::default());
            let part = file.len().unwrap();
            file.write_at(0, b"123").unwrap();
            part
        })
        .collect();
    assert_eq!(lengths, [0, 1, 2].into());
}

#[test]
fn a_failed_flush_poisons_the_file_and_loses_what_it_likes() {
    let mut kept = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let file = disk.open("a", Open::Create).unwrap();
        let other = disk.open("a", Open::Create).unwrap();
        file.write_at(0, b"x").unwrap();
        disk.set_faults(Faults { fail_flush_at: Some(0), ..Faults::default() });
        assert_eq!(kind(file.flush()), Some(Kind::Io));
        assert_eq!(kind(file.flush()), Some(Kind::Io));
        assert_eq!(kind(other.write_at(0, b"y")), Some(Kind::Io));
        assert_eq!(kind(other.set_len(0)), Some(Kind::Io));
        drop((file, other));
        let again = disk.open("a", Open::Existing).unwrap();
        again.flush().unwrap();
        assert_eq!(content(&disk, "a"), b"x", "reads cannot tell what the flush lost");
        kept.insert(content(&disk.crash(Crash::KeepAll), "a"));
    }
    assert!(kept.contains(&b"x"[..]) && kept.len() > 1, "kept and lost: {kept:?}");
}

#[test]
fn an_invalid_handle_stays_invalid_and_may_not_be_replaced() {
    let (disk, file) = disk_with(b"kept");
    let other = disk.open("a", Open::Existing).unwrap();
    let now = Some(disk.operations());
    disk.set_faults(Faults { invalid_handle_at: now, refuse_open_at: now, ..Faults::default() });
    assert_eq!(kind(file.read_at(0, &mut [0])), Some(Kind::Closed));
    assert_eq!(kind(file.len()), Some(Kind::Closed));
    assert_eq!(kind(file.write_at(0, b"x")), Some(Kind::Closed));
    assert_eq!(kind(file.write_at(0, b"")), Some(Kind::Closed));
    assert_eq!(kind(file.set_len(0)), Some(Kind::Closed));
    assert_eq!(kind(file.flush()), Some(Kind::Closed));
    assert_eq!(other.len().unwrap(), 4, "another handle works on");
    assert_eq!(kind(disk.open("a", Open::Existing)), Some(Kind::Busy));
    assert_eq!(kind(disk.open("b", Open::Create)), Some(Kind::Busy));
    disk.set_faults(Faults::default());
    assert_eq!(kind(file.len()), Some(Kind::Closed));
    assert_eq!(content(&disk, "a"), b"kept");
}

#[test]
fn a_stall_takes_its_time_once() {
    let (disk, file) = disk_with(b"slow");
    let clock = Rc::new(Cell::new(5.0));
    disk.set_clock(Rc::clone(&clock));
    disk.set_faults(Faults { stall_at: Some(disk.operations() + 1), stall_ms: 700, ..Faults::default() });
    file.write_at(0, b"S").unwrap();
    assert_eq!(clock.get(), 5.0, "not yet");
    file.read_at(0, &mut [0]).unwrap();
    file.flush().unwrap();
    assert_eq!((clock.get(), disk.faults().stall_at), (705.0, None));
}

#[test]
fn who_watches_is_told_of_each_moment_before_it() {
    let disk = SimDisk::new(7);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&seen);
    disk.watch(move |disk| {
        let survivor = disk.crash(Crash::KeepAll);
        let names = survivor.list().unwrap().join(" ");
        let bytes = survivor.open("a", Open::Existing).map_or(0, |file| file.len().unwrap());
        record.borrow_mut().push((disk.operations(), names, bytes));
    });
    let file = disk.open("a", Open::Create).unwrap();
    file.write_at(0, b"12").unwrap();
    file.set_len(1).unwrap();
    file.flush().unwrap();
    file.read_at(0, &mut [0]).unwrap();
    drop((file, disk.open("a", Open::Create).unwrap()));
    disk.rename("a", "b").unwrap();
    disk.remove("b").unwrap();
    disk.set_faults(Faults { power_off_at: Some(6), ..Faults::default() });
    assert_eq!(kind(disk.open("a", Open::Create)), Some(Kind::Closed));
    let moments = [(0, "", 0), (1, "a", 0), (2, "a", 2), (3, "a", 1), (4, "a", 1), (5, "b", 0)];
    assert_eq!(*seen.borrow(), moments.map(|(at, names, bytes)| (at, names.to_owned(), bytes)));
}

#[test]
fn when_the_process_dies_the_disk_is_as_it_was() {
    let (disk, file) = disk_with(b"old");
    file.write_at(0, b"new").unwrap();
    let after = disk.crash(Crash::Process);
    assert_eq!(content(&after, "a"), b"new");
    assert_eq!(outcomes(&after), [b"old".to_vec(), b"new".to_vec()].into(), "and still not durable");
    after.open("a", Open::Existing).unwrap().flush().unwrap();
    assert_eq!(outcomes(&after), [b"new".to_vec()].into());
    after.remove("a").expect("its handles are gone");
    assert_eq!(outcomes(&disk).len(), 2, "the disk that died is left alone");
}

#[test]
fn one_file_may_survive_where_another_does_not() {
    let (disk, a) = disk_with(b"a");
    let b = disk.open("b", Open::Create).unwrap();
    let untouched = (vec![b'a'; 9], vec![b'b'; 9]);
    for (file, bytes) in [(&a, &untouched.0), (&b, &untouched.1)] {
        file.write_at(0, bytes).and_then(|()| file.flush()).unwrap();
    }
    for at in 0..9 {
        a.write_at(at, b"A").and_then(|()| b.write_at(at, b"B")).unwrap();
    }
    let found: std::collections::BTreeSet<_> = (0..500)
        .map(|seed| disk.crash(Crash::Seed(seed)))
        .map(|disk| (content(&disk, "a"), content(&disk, "b")))
        .collect();
    assert!(found.contains(&(vec![b'A'; 9], untouched.1)) && found.contains(&(untouched.0, vec![b'B'; 9])));
}

#[test]
fn bits_flip_where_asked() {
    let (disk, _file) = disk_with(&[0; 100]);
    disk.flip_bit("a", 799).unwrap();
    assert_eq!(content(&disk, "a")[99], 0x80);
    assert_eq!(content(&disk.crash(Crash::LoseAll), "a")[99], 0x80);
    disk.flip_bit("a", 799).unwrap();
    assert_eq!(kind(disk.flip_bit("a", 800)), Some(Kind::Invalid));
    assert_eq!(kind(disk.flip_bit("b", 0)), Some(Kind::NotFound));
    disk.flip_bits("a", 1, 5).unwrap();
    for image in [content(&disk, "a"), content(&disk.crash(Crash::LoseAll), "a")] {
        assert_eq!(image.iter().map(|byte| byte.count_ones()).sum::<u32>(), 5);
    }
    assert_eq!(kind(disk.flip_bits("a", 1, 801)), Some(Kind::Invalid));
    assert_eq!(kind(disk.flip_bits("b", 1, 1)), Some(Kind::NotFound));
}
