//! Writes the inputs that fuzzing begins with: `seeds <target> <folder>`. They are sound, made by the code itself, and the
//! same every time.

// The instrumentation calls into it.
use libfuzzer_sys as _;

use std::path::Path;
use std::rc::Rc;

use statik_bridge::pages::{CommitId, PAGE_BYTES, PageStore};
use statik_disk::{Disk, Open, SimDisk};
use statik_fuzz::{bytes, input, open};
use statik_store::journal::{Journal, Options};
use statik_store::log::Writer;
use statik_store::{Options as StoreOptions, Store};

fn files(disk: &SimDisk, paths: &[&str]) -> Vec<u8> {
    let trimmed = |path: &&str| {
        let mut bytes = bytes(&*open(disk, path));
        // A log that grows in steps ends in zeros.
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8));
        bytes.truncate(used);
        bytes
    };
    input(&paths.iter().map(trimmed).collect::<Vec<_>>())
}

/// Logs of 0 to 5 records, with marks in between, and a recycled one.
fn logs() -> Vec<Vec<u8>> {
    let log = |records: u64, restarts: bool| {
        let disk = SimDisk::new(1);
        let file = disk.open("log", Open::Create).expect("a new file").into();
        let mut writer = Writer::start(file, "log", 1, 0, b"start").expect("it starts");
        for number in 0..records {
            writer.append(|payload| payload.extend(vec![b'x'; number as usize * 9])).expect("it appends");
            if number % 2 == 1 {
                writer.flush().expect("it flushes");
            }
        }
        if restarts {
            writer.restart(2, records, b"again").expect("it starts");
            writer.append(|payload| payload.extend_from_slice(b"more")).expect("it appends");
        }
        files(&disk, &["log"])
    };
    (0..6).map(|records| log(records, false)).chain([log(5, true)]).collect()
}

/// A journal after each step of a script.
fn journals() -> Vec<Vec<u8>> {
    let names = ["log-a", "log-b", "snapshot-a", "snapshot-b"].map(|file| format!(".statik/journal/j/{file}"));
    let disk = SimDisk::new(1);
    let journal = Journal::open(Rc::new(disk.clone()), "j", Options::default()).expect("it opens");
    let step = |step: usize| {
        if step % 3 == 2 {
            journal.snapshot(&[b's'; 20]).expect("it keeps a snapshot");
        } else {
            journal.append(&[b'f'; 10]).expect("it appends");
        }
        files(&disk, &names.each_ref().map(String::as_str))
    };
    (0..12).map(step).collect()
}

/// A store after each commit of a script: small and large changes, a cut, a second file, ids, a checkpoint.
fn stores() -> Vec<Vec<u8>> {
    let disk = SimDisk::new(1);
    let store = Store::open(Rc::new(disk.clone()), StoreOptions::default()).expect("it opens");
    let (a, b) = (store.attach("a", Open::Create).expect("a file"), store.attach("b", Open::Create).expect("a file"));
    let step = |step: u64| {
        store.stage(a, step * 3000, &vec![step as u8; 100 + 4000 * (step as usize % 2)]).expect("it stages");
        if step % 3 == 1 {
            store.stage(b, 0, &[1; PAGE_BYTES]).expect("it stages");
        }
        if step == 4 {
            store.stage_len(a, 5000).expect("it stages");
        }
        let id = (step % 3 != 2).then_some(CommitId(step.into()));
        store.commit(&[a, b], id, &mut |_| ()).expect("it commits");
        if step % 2 == 1 {
            store.flush().expect("it flushes");
        }
        if step == 5 {
            while store.checkpoint_target().expect("it tells").is_some() {
                store.checkpoint(None).expect("it checkpoints");
            }
        }
        files(&disk, &[".statik/log-a", ".statik/log-b", "a"])
    };
    (0..8).map(step).collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(target), Some(folder)) = (arguments.next(), arguments.next()) else {
        panic!("usage: seeds <log | journal | store> <folder>")
    };
    let inputs = match target.as_str() {
        "log" => logs(),
        "journal" => journals(),
        "store" => stores(),
        _ => panic!("there is no target {target}"),
    };
    for (number, input) in inputs.iter().enumerate() {
        std::fs::write(Path::new(&folder).join(format!("{target}-{number}")), input).expect("the folder takes files");
    }
}
