//! Any bytes as a journal's files: what is recovered is what the files say under right checksums, recovering again gives
//! the same, a repair keeps it, and then the journal works.
#![no_main]
#![allow(missing_docs, reason = "the fuzzer's macros make functions without")]

use std::rc::Rc;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use statik_disk::{Kind, SimDisk};
use statik_fuzz::{bytes, disk, has_record, open, repair, within_memory};
use statik_store::Recover;
use statik_store::journal::{Journal, Options, Recovered};

const FILES: [&str; 4] = [
    ".statik/journal/j/log-a",
    ".statik/journal/j/log-b",
    ".statik/journal/j/snapshot-a",
    ".statik/journal/j/snapshot-b",
];

fuzz_target!(|input: &[u8]| within_memory(input, || check(&disk(input, FILES))));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    repair::<4>(&mut data[..size], seed);
    size
});

fn open_to(disk: &SimDisk, recover: Recover) -> Option<Journal> {
    let options = Options { recover, ..Options::default() };
    match Journal::open(Rc::new(disk.clone()), "j", options) {
        Ok(journal) => Some(journal),
        Err(error) => {
            // Files that contradict each other under right checksums may be beyond repair; that is said, and nothing cut.
            let refused = recover != Recover::ReadOnly && error.kind() == Kind::Corrupt;
            assert!(refused || error.kind() == Kind::Unsupported, "{recover:?}: {error}");
            None
        }
    }
}

type Contents = (Option<(u64, Vec<u8>)>, Vec<(u64, Vec<u8>)>);

/// What is recovered. None where the files, all under right checksums, contradict each other in a way that only reading
/// finds: then it says so, as Corrupt.
fn contents(journal: &Journal) -> Option<Contents> {
    let Recovered { snapshot, frames, .. } = journal.recover().expect("it recovers");
    let frames: Vec<_> = match frames.collect() {
        Ok(frames) => frames,
        Err(error) => {
            assert_eq!(error.kind(), Kind::Corrupt, "{error}");
            return None;
        }
    };
    let base = snapshot.as_ref().map_or(0, |(base, _)| *base);
    let numbers = std::iter::once(base).chain(frames.iter().map(|(sequence, _)| *sequence));
    assert!(numbers.collect::<Vec<_>>().is_sorted_by(|a, b| a < b));
    assert_eq!(frames.last().map_or(base, |(last, _)| *last), journal.last());
    Some((snapshot, frames))
}

fn check(disk: &SimDisk) {
    let logs = [bytes(&*open(disk, FILES[0])), bytes(&*open(disk, FILES[1]))];
    let Some(journal) = open_to(disk, Recover::ReadOnly) else { return };
    let Some(found) = contents(&journal) else { return };
    let sound = |(sequence, frame): &(u64, Vec<u8>)| logs.iter().any(|log| has_record(log, *sequence, frame));
    assert!(found.1.iter().all(sound));
    // What is before the snapshot is not promised to be there, but only what is sound comes.
    let older = journal.cursor(0).expect("from the oldest").map_while(|frame| frame.ok());
    assert!(older.collect::<Vec<_>>().iter().all(sound));
    let damage = journal.damage();
    drop(journal);

    let again = open_to(disk, Recover::ReadOnly).expect("it was opened before");
    assert_eq!((contents(&again), again.damage()), (Some(found.clone()), damage.clone()));
    drop(again);
    assert_eq!(open_to(disk, Recover::Refuse).is_none(), damage.is_some());

    let Some(journal) = open_to(disk, Recover::Truncate) else { return };
    assert_eq!(contents(&journal).as_ref(), Some(&found));
    let added = journal.append(b"more").expect("it appends");
    let mut frames = found.1;
    frames.push((added, b"more".to_vec()));
    drop(journal);
    let journal = open_to(disk, Recover::Refuse).expect("it is sound now");
    // Contradicting logs may also be found out only now.
    let Some(kept) = contents(&journal) else { return };
    assert_eq!(kept, (found.0, frames));
    assert_eq!(journal.snapshot(b"all of it").expect("it keeps a snapshot"), added);
    drop(journal);
    let journal = open_to(disk, Recover::Refuse).expect("it is sound now");
    assert_eq!(contents(&journal), Some((Some((added, b"all of it".to_vec())), Vec::new())));
}
