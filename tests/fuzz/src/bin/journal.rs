//! Any bytes as a journal's files: what is recovered is what the files say under right checksums, all of it can be read,
//! recovering again gives the same, a repair keeps it and copies what it cuts, and then the journal works.
#![no_main]
#![allow(missing_docs, reason = "the fuzzer's macros make functions without")]

use std::rc::Rc;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use statik_disk::{Disk, Kind, Result, SimDisk};
use statik_fuzz::{bytes, disk, has_record, open, repair, within_memory};
use statik_store::Recover;
use statik_store::journal::{Damage, Journal, Options, Recovered};

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

fn open_to(disk: &SimDisk, recover: Recover) -> Result<Journal> {
    let options = Options { recover, ..Options::default() };
    Journal::open(Rc::new(disk.clone()), "j", options).inspect_err(|error| {
        let refused = recover == Recover::Refuse && error.kind() == Kind::Corrupt;
        assert!(refused || error.kind() == Kind::Unsupported, "{recover:?}: {error}");
    })
}

type Contents = (Option<(u64, Vec<u8>)>, Vec<(u64, Vec<u8>)>);

fn contents(journal: &Journal) -> Contents {
    let Recovered { snapshot, frames, .. } = journal.recover().expect("it recovers");
    let frames: Vec<_> = frames.map(|frame| frame.expect("what was found when it was opened")).collect();
    let base = snapshot.as_ref().map_or(0, |(base, _)| *base);
    let numbers = std::iter::once(base).chain(frames.iter().map(|(sequence, _)| *sequence));
    assert!(numbers.collect::<Vec<_>>().is_sorted_by(|a, b| a < b));
    assert_eq!(frames.last().map_or(base, |(last, _)| *last), journal.last());
    (snapshot, frames)
}

/// What a repair has cut is kept, and told.
fn check_asides(disk: &SimDisk, before: &[Vec<u8>; 4], damage: Option<&Damage>) {
    let listed = disk.list().expect("it lists");
    let mut asides = Vec::new();
    for (path, before) in FILES.iter().zip(before) {
        let aside = format!("{path}.damaged");
        if listed.contains(&aside) {
            assert!(before.ends_with(&bytes(&*open(disk, &aside))), "{aside} is the end of {path}");
            asides.push(aside);
        } else if path.contains("snapshot") {
            assert_eq!(*before, bytes(&*open(disk, path)), "{path} was not cut");
        }
    }
    match damage.and_then(|damage| damage.aside.as_ref()) {
        Some(told) => assert!(asides.contains(told), "{told} is there"),
        None => assert!(asides.is_empty(), "{asides:?} are told"),
    }
}

/// What a change gives; `None` if the files have numbers so high that there is no next one.
fn unless_used_up<T>(changed: Result<T>) -> Option<T> {
    changed.map_err(|error| assert_eq!(error.kind(), Kind::Unsupported, "{error}")).ok()
}

fn check(disk: &SimDisk) {
    let before = FILES.map(|path| bytes(&*open(disk, path)));
    let Ok(journal) = open_to(disk, Recover::ReadOnly) else { return };
    let found = contents(&journal);
    let sound = |(sequence, frame): &(u64, Vec<u8>)| before[..2].iter().any(|log| has_record(log, *sequence, frame));
    assert!(found.1.iter().all(sound));
    let oldest: Result<Vec<_>> = journal.cursor(0).expect("from the oldest").collect();
    let oldest = oldest.expect("what is kept from before the snapshot");
    assert!(oldest.iter().all(sound) && oldest.ends_with(&found.1));
    let damage = journal.damage();
    drop(journal);

    let again = open_to(disk, Recover::ReadOnly).expect("it was opened before");
    assert_eq!((contents(&again), again.damage()), (found.clone(), damage.clone()));
    drop(again);
    assert_eq!(open_to(disk, Recover::Refuse).is_err(), damage.is_some());

    let journal = open_to(disk, Recover::Truncate).expect("it was opened before");
    check_asides(disk, &before, journal.damage().as_ref());
    assert_eq!((contents(&journal), journal.damage().is_some()), (found.clone(), damage.is_some()));
    let Some(added) = unless_used_up(journal.append(b"more")) else { return };
    let mut frames = found.1;
    frames.push((added, b"more".to_vec()));
    drop(journal);
    let journal = open_to(disk, Recover::Refuse).expect("it is sound now");
    assert_eq!(contents(&journal), (found.0, frames));
    let Some(kept) = unless_used_up(journal.snapshot(b"all of it")) else { return };
    assert_eq!(kept, added);
    drop(journal);
    let journal = open_to(disk, Recover::Refuse).expect("it is sound now");
    assert_eq!(contents(&journal), (Some((added, b"all of it".to_vec())), Vec::new()));
}
