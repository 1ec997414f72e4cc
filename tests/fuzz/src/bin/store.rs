//! Any bytes as the logs of a store and a file of it: what is recovered is recovered again, a repair keeps it, what is
//! committed then is there after a flush, and a checkpoint brings all of it to the files.
#![no_main]
#![allow(missing_docs, reason = "the fuzzer's macros make functions without")]

use std::rc::Rc;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use statik_bridge::pages::{Checkpoint, PAGE_BYTES, PageStore, View};
use statik_disk::{Error, Kind, Open, Result, SimDisk};
use statik_fuzz::{bytes, disk, has_later_epoch, open, repair, within_memory};
use statik_store::{Options, Recover, Store};

const FILES: [&str; 3] = [".statik/log-a", ".statik/log-b", "a"];
/// A length may be anything; so many pages at the file's beginning are looked at, and the last one.
const PAGES: u64 = 8;

fuzz_target!(|input: &[u8]| within_memory(input, || check(&disk(input, FILES))));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    repair::<3>(&mut data[..size], seed);
    size
});

fn open_to(disk: &SimDisk, recover: Recover) -> Result<Store> {
    // A record that is sound and says what no version says is refused, whatever the option.
    let is_refusal = |error: &Error| matches!(error.kind(), Kind::Corrupt | Kind::Unsupported);
    Store::open(Rc::new(disk.clone()), Options { recover, ..Options::default() })
        .inspect_err(|error| assert!(is_refusal(error), "{recover:?}: {error}"))
}

/// Paths, lengths and pages, or why one cannot be read.
type Contents = Vec<(String, u64, Vec<Result<Vec<u8>, String>>)>;

fn contents(store: &Store, paths: &[String]) -> Contents {
    let read = |path: &String| {
        let file = store.attach(path, Open::Existing).ok()?;
        let view = store.newest(file).expect("it is attached");
        let last = view.len.saturating_sub(1) / PAGE_BYTES as u64;
        let read_page = |page: u64| {
            let mut buf = vec![0; PAGE_BYTES];
            // A log under right checksums may name bytes that its file has not: reading says so.
            if let Err(error) = store.read(file, view.seq, page, &mut buf, &mut |_, _| ()) {
                assert_eq!(error.kind(), Kind::Corrupt, "{error}");
                return Err(error.to_string());
            }
            buf.truncate((view.len - page * PAGE_BYTES as u64).min(PAGE_BYTES as u64) as usize);
            Ok(buf)
        };
        let pages = (0..PAGES.min(last + 1)).chain([last]).map(read_page).collect();
        store.detach(file);
        Some((path.clone(), view.len, pages))
    };
    paths.iter().filter_map(read).collect()
}

/// Whether the logs have numbers so high that the store is only read.
fn is_used_up(error: &Error) -> bool {
    error.to_string().contains("numbers are used up")
}

/// What there should be, unless the numbers are used up.
fn unless_used_up<T>(result: Result<T>, expected: &str) -> Option<T> {
    match result {
        Err(error) if is_used_up(&error) => None,
        result => Some(result.expect(expected)),
    }
}

fn check(disk: &SimDisk) {
    let Ok(mut paths) = Store::needs(disk) else { return assert!(open_to(disk, Recover::ReadOnly).is_err()) };
    paths.retain(|path| !path.starts_with(".statik/"));
    paths.push(FILES[2].to_owned());
    paths.sort();
    paths.dedup();
    let Ok(store) = open_to(disk, Recover::ReadOnly) else { return };
    let (found, usage) = (contents(&store, &paths), store.usage());
    let damaged = store.damage().is_some();
    drop(store);

    let again = open_to(disk, Recover::ReadOnly).expect("it was opened before");
    assert_eq!((contents(&again, &paths), again.usage(), again.damage().is_some()), (found.clone(), usage, damaged));
    drop(again);
    assert_eq!(open_to(disk, Recover::Refuse).is_err(), damaged);

    let Some(store) = unless_used_up(open_to(disk, Recover::Truncate), "it was opened before") else {
        return assert!(damaged, "nothing else takes higher numbers than are there");
    };
    assert_eq!(contents(&store, &paths), found);
    let Some(file) = unless_used_up(store.attach("new", Open::Create), "a new file") else { return };
    store.stage(file, 0, b"more").expect("it stages");
    let number = store.commit(&[file], None, &mut |_| ()).expect("it commits");
    assert!(number > usage.newest);
    store.flush().expect("it flushes");
    drop(store);
    let store = open_to(disk, Recover::Refuse).expect("it is sound now");
    assert_eq!(contents(&store, &paths), found);
    let file = store.attach("new", Open::Existing).expect("it is there");
    assert_eq!(store.newest(file).expect("it is attached"), View { seq: number, len: 4 });
    drop(store);
    check_checkpoint(disk, &paths, &found);
}

/// What the logs hold is copied to the files, where the same is read then.
fn check_checkpoint(disk: &SimDisk, paths: &[String], found: &Contents) {
    let store = open_to(disk, Recover::Refuse).expect("it is sound now");
    // The log that is recycled would get the epoch of what lies behind its end: no writer leaves such.
    if has_later_epoch(&[0, 1].map(|log| bytes(&*open(disk, FILES[log])))) {
        return;
    }
    loop {
        match store.checkpoint(None) {
            Ok(Checkpoint::Idle) => break,
            Ok(_) => {}
            Err(error) => {
                // A log may name pages that it has not, and lengths for which no disk has room.
                let is_expected = matches!(error.kind(), Kind::Corrupt | Kind::Quota) || is_used_up(&error);
                return assert!(is_expected, "{error}");
            }
        }
    }
    for store in [store, open_to(disk, Recover::Refuse).expect("it is sound still")] {
        let copied = contents(&store, paths);
        assert_eq!(copied.len(), found.len());
        for ((path, len, pages), (new_path, new_len, new_pages)) in found.iter().zip(&copied) {
            assert_eq!((path, len), (new_path, new_len));
            assert!(pages.iter().zip(new_pages).all(|(old, new)| old.is_err() || old == new), "{path}");
        }
    }
}
