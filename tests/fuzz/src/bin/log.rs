//! Any bytes as a log: what is read is what the file says under right checksums, reading again reads the same, and a log
//! that is not damaged can be continued.
#![no_main]
#![allow(missing_docs, reason = "the fuzzer's macros make functions without")]

use std::rc::Rc;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use statik_disk::{Kind, SimDisk};
use statik_fuzz::{bytes, disk, has_record, open, repair, within_memory};
use statik_store::log::{Cursor, Scanned, Tail, Writer, scan};

fuzz_target!(|input: &[u8]| within_memory(input, || check(&disk(input, ["log"]))));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    repair::<1>(&mut data[..size], seed);
    size
});

type Records = Vec<(u64, u64, Vec<u8>)>;

fn read(disk: &SimDisk) -> Option<(Option<Scanned>, Records)> {
    let mut records = Vec::new();
    let scanned = scan(&*open(disk, "log"), "log", None, &mut |record| {
        records.push((record.offset, record.sequence, record.payload.to_vec()));
        Ok(())
    });
    match scanned {
        Ok(scanned) => Some((scanned, records)),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            None
        }
    }
}

fn check(disk: &SimDisk) {
    let file = open(disk, "log");
    let whole = bytes(&*file);
    let Some((scanned, records)) = read(disk) else { return };
    for (offset, sequence, payload) in &records {
        assert!(has_record(&whole[*offset as usize..], *sequence, payload), "record {sequence} at {offset}");
    }
    let mut cursor = Cursor::new(Rc::clone(&file), "log");
    for (offset, sequence, payload) in &records {
        let record = cursor.next(whole.len() as u64).expect("it reads").expect("what a scan finds");
        assert_eq!((record.offset, record.sequence, record.payload), (*offset, *sequence, &payload[..]));
    }
    assert!(cursor.next(whole.len() as u64).expect("it reads").is_none());
    assert_eq!(read(disk), Some((scanned, records.clone())));
    let Some(scanned) = scanned else { return assert!(records.is_empty()) };
    // The zeros behind the last record may be missing.
    assert!(scanned.end <= (whole.len() as u64).next_multiple_of(8));
    let resumed = Writer::resume(Rc::clone(&file), "log", &scanned);
    assert_eq!(resumed.is_err(), scanned.tail == Tail::Damaged);
    let Ok(mut writer) = resumed else { return };
    let added = writer.append(|payload| payload.extend_from_slice(b"more")).expect("it appends").sequence;
    let (again, mut all) = read(disk).expect("it is of this version");
    assert_eq!(again.map(|again| (again.last, again.tail)), Some((added, Tail::Clean)));
    assert_eq!(all.pop(), Some((scanned.end, added, b"more".to_vec())));
    assert_eq!(all, records);
}
