//! Files of pages: what the contract leaves to the store on a disk. `history.rs` has what happens by chance.

use std::cell::Cell;
use std::rc::Rc;

use statik_bridge::pages::{Change, Checkpoint, CommitId, PAGE_BYTES, PageStore, REMEMBERED_IDS, contract};
use statik_disk::{Disk, Error, Faults, File, Kind, MemDisk, Open, Result, SimDisk};
use statik_store::{Options, Recover, Store};

const PAGE: u64 = PAGE_BYTES as u64;
const LOG_A: &str = ".statik/log-a";
const LOG_B: &str = ".statik/log-b";

fn open(disk: &(impl Disk + Clone + 'static), options: Options) -> Store {
    Store::open(Rc::new(disk.clone()), options).expect("the store opens")
}

fn recovering(recover: Recover) -> Options {
    Options { recover, ..Options::default() }
}

fn write(store: &Store, file: u32, offset: u64, bytes: &[u8]) -> u64 {
    store.stage(file, offset, bytes).expect("it is staged");
    store.commit(&[file], None, &mut |_| {}).expect("it is committed")
}

/// Commits the file's beginning under an id.
fn write_as(store: &Store, file: u32, id: Option<CommitId>, bytes: &[u8]) -> u64 {
    store.stage(file, 0, bytes).expect("it is staged");
    store.commit(&[file], id, &mut |_| {}).expect("it is committed")
}

/// What the newest view sees.
fn content(store: &Store, file: u32) -> Vec<u8> {
    let view = store.newest(file).expect("a view");
    let mut bytes = vec![0; (view.len as usize).next_multiple_of(PAGE_BYTES)];
    store.read(file, view.seq, 0, &mut bytes, &mut |_, _| {}).expect("it can be read");
    bytes.truncate(view.len as usize);
    bytes
}

/// What the file holds without the log.
fn plain(disk: &dyn Disk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Existing).expect("it is there");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_at(0, &mut bytes).expect("it can be read");
    bytes
}

fn checkpoint(store: &Store) {
    while store.checkpoint_target().expect("a target").is_some() {
        store.checkpoint(None).expect("it is copied");
    }
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

#[test]
fn keeps_the_contract() {
    contract::store(|| Rc::new(open(&MemDisk::new(), Options::default())));
}

#[test]
fn keeps_the_contract_in_little_room() {
    let options = Options {
        soft_bytes: 64 << 10,
        hard_bytes: 1 << 20,
        spill_bytes: 16 << 10,
        direct_bytes: 0,
        ..Options::default()
    };
    contract::store(|| Rc::new(open(&SimDisk::new(1), options)));
}

#[test]
fn its_own_names_are_nobody_elses() {
    let store = open(&MemDisk::new(), Options::default());
    for path in [LOG_A, ".statik/x", "", "a/../b"] {
        assert_eq!(kind(store.attach(path, Open::Create)), Some(Kind::Invalid), "{path}");
    }
}

/// Counts the calls that change something, by file.
#[derive(Clone)]
struct Counting {
    disk: MemDisk,
    writes: Rc<Cell<u64>>,
    flushes: Rc<Cell<u64>>,
    reads: Rc<Cell<u64>>,
}

struct CountingFile {
    file: Box<dyn File>,
    counts: Counting,
}

impl Counting {
    fn new() -> Self {
        Counting { disk: MemDisk::new(), writes: Rc::default(), flushes: Rc::default(), reads: Rc::default() }
    }

    /// Writes, flushes and reads since the last call.
    fn take(&self) -> [u64; 3] {
        [&self.writes, &self.flushes, &self.reads].map(|count| count.replace(0))
    }
}

impl Disk for Counting {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn File>> {
        Ok(Box::new(CountingFile { file: self.disk.open(path, open)?, counts: self.clone() }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.disk.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.disk.rename(from, to)
    }

    fn list(&self) -> Result<Vec<String>> {
        self.disk.list()
    }
}

impl File for CountingFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.counts.reads.update(|count| count + 1);
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.counts.writes.update(|count| count + 1);
        self.file.write_at(offset, bytes)
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.counts.writes.update(|count| count + 1);
        self.file.set_len(len)
    }

    fn flush(&self) -> Result<()> {
        self.counts.flushes.update(|count| count + 1);
        self.file.flush()
    }
}

#[test]
fn calls_of_the_disk_are_few() {
    let disk = Counting::new();
    let options = Options { spill_bytes: 4 << 20, direct_bytes: 0, ..Options::default() };
    let store = open(&disk, options);
    let file = store.attach("a", Open::Create).expect("it attaches");
    let other = store.attach("b", Open::Create).expect("it attaches");
    write(&store, file, 0, &[1; 10 * PAGE_BYTES]);
    disk.take();
    for page in 0..3 {
        store.stage(file, page * PAGE, &[2; PAGE_BYTES]).expect("it is staged");
        store.stage(other, page * PAGE, &[2; PAGE_BYTES]).expect("it is staged");
    }
    store.commit(&[file, other], None, &mut |_| {}).expect("it is committed");
    assert_eq!(disk.take(), [1, 0, 0], "a commit is one write");
    store.flush().expect("it is flushed");
    store.flush().expect("it is flushed already");
    assert_eq!(disk.take(), [0, 1, 0], "and one flush");
    content(&store, file);
    assert_eq!(disk.take(), [0, 0, 0], "what was just written is not read back");
    checkpoint(&store);
    // One write for each file; each one's flush; the log's new start and its flush.
    assert_eq!(disk.take(), [3, 3, 0], "pages behind each other are copied together");
    content(&store, file);
    assert_eq!(disk.take(), [0, 0, 1], "and read together");
    // The name is durable before pages are written to the file; they are before their commit.
    write(&store, other, 0, &[2; PAGE_BYTES]);
    disk.take();
    write(&store, file, 10 * PAGE, &[3; 512 * PAGE_BYTES]);
    assert_eq!(disk.take(), [1 + 2 + 1, 2, 0], "a large run is written to the file, 1 MiB at a time");
    store.flush().expect("it is flushed");
    write(&store, file, 522 * PAGE, &[4; 64 * PAGE_BYTES]);
    assert_eq!(disk.take(), [1 + 1, 1 + 1, 0], "the next one has a name");
    assert!(store.usage().log_bytes < 2 * PAGE);
    checkpoint(&store);
    // The other file's page and flush; the log's flush before it is copied; its new start.
    assert_eq!(disk.take(), [1 + 1, 1 + 1 + 1, 0], "and does not pay twice");
    assert_eq!(plain(&disk, "a").len(), 586 * PAGE_BYTES);
}

#[test]
fn a_large_commit_is_written_while_it_is_staged() {
    let disk = Counting::new();
    let store = open(&disk, Options::default());
    let file = store.attach("a", Open::Create).expect("it attaches");
    let stage = |page: u64, pages: u64| {
        (page..page + pages).for_each(|page| store.stage(file, page * PAGE, &[1; PAGE_BYTES]).expect("it is staged"));
    };
    disk.take();
    stage(0, 256);
    assert_eq!(disk.take(), [2, 0, 0], "half a MiB at a time");
    store.commit(&[file], None, &mut |_| {}).expect("it is committed");
    store.flush().expect("it is flushed");
    assert_eq!(disk.take(), [1 + 1, 1, 0], "only the commit itself is left, for which the log grows by a step");
    stage(256, 4096);
    store.commit(&[file], None, &mut |_| {}).expect("it is committed");
    assert!(store.usage().log_bytes < 6 << 20, "most of 16 MiB is in the file itself");
    checkpoint(&store);
    assert!(content(&store, file) == vec![1; 4352 * PAGE_BYTES]);
}

#[test]
fn what_is_too_large_for_memory_waits_in_the_log() {
    let disk = MemDisk::new();
    let options = Options { spill_bytes: 16 * PAGE_BYTES, direct_bytes: 0, soft_bytes: 1 << 20, ..Options::default() };
    let mut expected = vec![0; 300 * PAGE_BYTES];
    let store = open(&disk, options);
    let file = store.attach("a", Open::Create).expect("it attaches");
    write(&store, file, 0, &expected);
    store.flush().expect("it is flushed");
    let stage = |page: usize, byte: u8| {
        store.stage(file, page as u64 * PAGE, &[byte; PAGE_BYTES]).expect("it is staged");
    };
    (0..300).step_by(2).for_each(|page| stage(page, 1));
    assert!(store.usage().log_bytes > 100 * PAGE, "most of it is in the log");
    store.discard(file);
    assert_eq!(store.commit(&[file], None, &mut |_| panic!("nothing is staged")), Ok(store.usage().newest));
    (0..300).rev().step_by(3).for_each(|page| stage(page, 2));
    store.stage_len(file, 200 * PAGE).expect("it is cut");
    store.stage_len(file, 300 * PAGE).expect("it grows");
    (0..300).step_by(7).for_each(|page| stage(page, 3));
    // A checkpoint takes along what is staged.
    while store.checkpoint(None).expect("it is copied") == Checkpoint::More {}
    let mut told = Vec::new();
    let tell = &mut |change: Change| match change {
        Change::Page { page, .. } => told.push(page),
        Change::Pages { page, count, .. } => told.extend(page..page + count),
        Change::Cut { len, .. } => assert_eq!(len, 200 * PAGE),
    };
    store.commit(&[file], None, tell).expect("it is committed");
    for page in 0..300 {
        let byte = if page % 7 == 0 { 3 } else { 2 * u8::from(page % 3 == 2 && page < 200) };
        expected[page * PAGE_BYTES..][..PAGE_BYTES].fill(byte);
        assert_eq!(told.contains(&(page as u64)), byte > 0, "page {page}");
    }
    assert!(content(&store, file) == expected);
    store.flush().expect("it is flushed");
    drop(store);
    let store = open(&disk, options);
    let file = store.attach("a", Open::Existing).expect("it attaches");
    assert!(content(&store, file) == expected, "recovered");
    checkpoint(&store);
    assert!(plain(&disk, "a") == expected);
}

#[test]
fn a_settled_file_can_be_replaced() {
    let disk = SimDisk::new(1);
    let store = open(&disk, Options::default());
    let (a, b) = (store.attach("a", Open::Create).unwrap(), store.attach("b", Open::Create).unwrap());
    write(&store, a, 0, &[1; 9000]);
    write(&store, b, 0, b"of b");
    store.detach(a);
    assert_eq!(Store::needs(&disk), Ok(vec!["a".to_owned(), "b".to_owned()]));
    store.settle("a").expect("nobody has it");
    assert_eq!(plain(&disk, "a"), [1; 9000]);
    assert_eq!(Store::needs(&disk), Ok(vec!["b".to_owned()]));
    disk.remove("a").expect("its handle is closed");
    disk.open("new", Open::Create).unwrap().write_at(0, b"another").unwrap();
    disk.rename("new", "a").expect("its name is free");
    drop(store);
    let store = open(&disk, Options::default());
    let a = store.attach("a", Open::Existing).expect("it attaches");
    assert_eq!(content(&store, a), b"another", "what the log says of the old one is forgotten");
    write(&store, a, 0, b"A");
    checkpoint(&store);
    assert_eq!(plain(&disk, "a"), b"Another");
    assert_eq!(plain(&disk, "b"), b"of b");
}

#[test]
fn a_full_disk_fails_a_commit_and_no_more() {
    let disk = SimDisk::new(1);
    let options = Options { soft_bytes: 16 << 10, ..Options::default() };
    let store = open(&disk, options);
    let file = store.attach("a", Open::Create).expect("it attaches");
    write(&store, file, 0, b"before");
    for pages in [1, 100] {
        let quota_at = Some(disk.operations());
        disk.set_faults(Faults { quota_at, ..Faults::default() });
        let newest = store.usage().newest;
        let mut failed = 0;
        // The log may still have room in what it has allocated.
        for _ in 0..20 {
            store.stage(file, 10 * PAGE, &vec![9; pages * PAGE_BYTES]).expect("it is staged");
            let commit = store.commit(&[file], None, &mut |_| {});
            failed += usize::from(kind(commit) == Some(Kind::Quota));
            assert!(store.usage().newest <= newest + 20);
        }
        assert!(failed > 10, "the disk is full");
        disk.set_faults(Faults::default());
        write(&store, file, 0, b"after!");
        assert_eq!(&content(&store, file)[..6], b"after!");
    }
    checkpoint(&store);
    let expected = content(&store, file);
    assert_eq!(plain(&disk, "a"), expected);
    drop(store);
    let store = open(&disk, options);
    let file = store.attach("a", Open::Existing).expect("it attaches");
    assert_eq!(content(&store, file), expected);
}

#[test]
fn after_a_failed_flush_nothing_changes() {
    let disk = SimDisk::new(1);
    let store = open(&disk, Options::default());
    let file = store.attach("a", Open::Create).expect("it attaches");
    write(&store, file, 0, b"durable");
    store.flush().expect("it is flushed");
    write(&store, file, 0, b"visible");
    disk.set_faults(Faults { fail_flush_at: Some(0), ..Faults::default() });
    assert_eq!(kind(store.flush()), Some(Kind::Io));
    assert_eq!(content(&store, file), b"visible");
    let refused: [Result<()>; 4] = [
        store.stage(file, 0, b"x"),
        store.flush().map(drop),
        store.checkpoint(None).map(drop),
        store.commit(&[file], None, &mut |_| {}).map(drop),
    ];
    for result in refused {
        assert!(result.is_err_and(|error| error.to_string().contains("since a flush failed")));
    }
}

/// Three commits, of which the first two are durable and told to be; answers where the second one's record begins.
fn three(disk: &SimDisk) -> u64 {
    let store = open(disk, Options::default());
    let file = store.attach("a", Open::Create).expect("it attaches");
    write(&store, file, 0, b"one");
    let at = store.usage().log_bytes;
    write(&store, file, 0, b"two");
    store.flush().expect("it is flushed");
    write(&store, file, 0, b"end");
    // Where the log begins.
    at + 72
}

fn damage(disk: &SimDisk, path: &str, offset: u64) {
    let file = disk.open(path, Open::Existing).expect("the log is there");
    let mut byte = [0];
    file.read_at(offset, &mut byte).expect("it can be read");
    file.write_at(offset, &[byte[0] ^ 4]).expect("it can be written");
}

#[test]
fn damage_is_reported_and_what_is_before_it_only_read() {
    let disk = SimDisk::new(1);
    let at = three(&disk);
    damage(&disk, LOG_A, at + 200);
    let log = plain(&disk, LOG_A);
    let error = Store::open(Rc::new(disk.clone()), recovering(Recover::Refuse)).err().expect("it is refused");
    assert_eq!((error.kind(), error.path()), (Kind::Corrupt, Some(LOG_A)));
    assert!(error.to_string().contains(&format!("byte {at}: record 2")), "{error}");
    let aside = ".statik/damaged-1-2".to_owned();
    assert_eq!(Store::needs(&disk), Ok(vec![aside.clone(), ".statik/damaged-2-2".to_owned(), "a".to_owned()]));
    for _ in 0..2 {
        let store = open(&disk, Options::default());
        let damage = store.damage().expect("it is told");
        assert_eq!((&*damage.path, damage.offset, damage.epoch, damage.sequence), (LOG_A, at, 1, 2));
        assert_eq!(damage.aside.as_ref(), Ok(&aside));
        assert!(plain(&disk, &aside) == log[at as usize..]);
        let file = store.attach("a", Open::Create).expect("it is there");
        assert_eq!(content(&store, file), b"one");
        assert_eq!(kind(store.stage(file, 0, b"x")), Some(Kind::ReadOnly));
        assert_eq!(kind(store.attach("b", Open::Create)), Some(Kind::ReadOnly));
        assert_eq!(kind(store.attach("b", Open::Existing)), Some(Kind::NotFound));
        assert!(!store.wants_checkpoint() && plain(&disk, LOG_A) == log, "nothing is changed");
    }
    let store = open(&disk, recovering(Recover::Truncate));
    assert_eq!(store.damage().map(|damage| damage.offset), Some(at));
    let file = store.attach("a", Open::Create).expect("it is there");
    assert_eq!(content(&store, file), b"one");
    write(&store, file, 3, b"+");
    drop(store);
    let store = open(&disk, Options::default());
    assert_eq!(store.damage(), None);
    let file = store.attach("a", Open::Create).expect("it is there");
    assert_eq!(content(&store, file), b"one+");
}

#[test]
fn a_store_with_any_damage_opens_and_says_so() {
    for place in [0, 30, 60, 80, 400] {
        for log in [LOG_A, LOG_B] {
            for recover in [Recover::ReadOnly, Recover::Truncate] {
                let disk = SimDisk::new(1);
                let store = open(&disk, Options::default());
                let file = store.attach("a", Open::Create).expect("it attaches");
                for round in 0..4 {
                    for byte in 0..5 {
                        write(&store, file, 0, &[round * 5 + byte; 100]);
                        store.flush().expect("it is flushed");
                    }
                    if round < 3 {
                        // The last one does not come to its end.
                        while store.checkpoint(None).expect("it is copied") == Checkpoint::More && round < 2 {}
                    }
                }
                drop(store);
                damage(&disk, log, place);
                let store = open(&disk, recovering(recover));
                let found = store.damage().unwrap_or_else(|| panic!("byte {place} of {log}"));
                assert!(found.offset <= place && found.aside.is_ok(), "byte {place} of {log}: {found:?}");
                let file = store.attach("a", Open::Existing).expect("it attaches");
                let bytes = content(&store, file);
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "one of the versions");
                drop(store);
                if recover == Recover::Truncate {
                    let store = open(&disk, Options::default());
                    assert_eq!(store.damage(), None);
                    let file = store.attach("a", Open::Existing).expect("it attaches");
                    assert_eq!(content(&store, file), bytes);
                    write(&store, file, 0, &[99; 100]);
                    checkpoint(&store);
                    assert_eq!(plain(&disk, "a"), [99; 100]);
                }
            }
        }
    }
}

/// A store whose log has every kind of record and entry, but for ids.
fn sample(disk: &SimDisk) -> Vec<u8> {
    let options = Options { spill_bytes: 17 * PAGE_BYTES, direct_bytes: 0, ..Options::default() };
    let store = open(disk, options);
    let (a, b) = (store.attach("a.db", Open::Create).unwrap(), store.attach("b", Open::Create).unwrap());
    write(&store, a, 0, &[1; 6 * PAGE_BYTES]);
    checkpoint(&store);
    write(&store, a, 6 * PAGE, &[2; 16 * PAGE_BYTES]);
    store.stage_len(a, 20 * PAGE + 100).unwrap();
    store.stage(b, 0, b"b").unwrap();
    store.commit(&[a, b], None, &mut |_| {}).unwrap();
    for page in (0..40).step_by(2) {
        store.stage(a, page * PAGE, &[page as u8; PAGE_BYTES]).unwrap();
    }
    store.stage_len(a, 30 * PAGE).unwrap();
    store.commit(&[a], None, &mut |_| {}).unwrap();
    store.detach(b);
    store.settle("b").unwrap();
    content(&store, a)
}

fn hex(bytes: &[u8]) -> String {
    // Zeros, of which there are many, in short.
    let mut text = String::new();
    for run in bytes.chunk_by(|one, two| one == two) {
        match run.len() {
            count @ 8.. => text += &format!("{:02x}*{count}\n", run[0]),
            _ => text.extend(run.iter().map(|byte| format!("{byte:02x}\n"))),
        }
    }
    text
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

fn unhex(text: &str) -> Vec<u8> {
    let bytes = |line: &str| {
        let (byte, count) = line.split_once('*').unwrap_or((line, "1"));
        let byte = u8::from_str_radix(byte, 16).expect("a byte");
        vec![byte; count.parse().expect("a count")]
    };
    text.lines().flat_map(bytes).collect()
}

/// The sample of this kind, as it was once written, which must be what is written today. After a change of version,
/// `STATIK_BLESS=1` writes the next one's.
fn frozen(written: &SimDisk, kind: &str) -> MemDisk {
    let frozen = MemDisk::new();
    for path in [LOG_A, LOG_B, "a.db"] {
        let name = path.rsplit('/').next().expect("a name");
        let place = format!("{}/tests/pages-v1-{kind}{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var("STATIK_BLESS").is_ok() {
            std::fs::write(&place, hex(&plain(written, path))).expect("the checkout can be written");
        }
        let bytes = unhex(&std::fs::read_to_string(place).expect("the sample is in the checkout"));
        // How much is allocated beyond the records is not of the format.
        assert!(trimmed(&bytes) == trimmed(&plain(written, path)), "{path} is written as it was");
        frozen.open(path, Open::Create).unwrap().write_at(0, &bytes).unwrap();
    }
    frozen
}

#[test]
fn the_frozen_sample_is_read() {
    let written = SimDisk::new(1);
    let expected = sample(&written);
    let frozen = frozen(&written, "");
    let store = open(&frozen, recovering(Recover::Refuse));
    let file = store.attach("a.db", Open::Existing).expect("it attaches");
    assert!(content(&store, file) == expected);
    assert_eq!(store.usage().newest, 4);
    assert_eq!(Store::needs(&frozen), Ok(vec!["a.db".to_owned()]));
    checkpoint(&store);
    assert!(plain(&frozen, "a.db") == expected);
}

#[test]
fn the_frozen_sample_with_ids_is_read() {
    let written = SimDisk::new(1);
    let store = open(&written, Options::default());
    let file = store.attach("a.db", Open::Create).expect("it attaches");
    let ids = [0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100, 1, u128::MAX].map(CommitId);
    for (byte, id) in [(1, Some(ids[0])), (2, None), (3, Some(ids[1])), (4, Some(ids[2]))] {
        write_as(&store, file, id, &[byte; 10]);
        if byte == 3 {
            checkpoint(&store);
        }
    }
    let frozen = frozen(&written, "ids-");
    let store = open(&frozen, recovering(Recover::Refuse));
    for _ in 0..2 {
        assert_eq!(ids.map(|id| store.committed(id)), [Some(1), Some(3), Some(4)]);
        assert_eq!(store.committed(CommitId(0)), None);
        checkpoint(&store);
    }
    assert_eq!(plain(&frozen, "a.db"), [4; 10]);
}

#[test]
fn the_newest_ids_outlive_checkpoints_and_processes() {
    let disk = MemDisk::new();
    let mut commits = Vec::new();
    for process in 0..8_u128 {
        let store = open(&disk, Options::default());
        let file = store.attach("a", Open::Create).expect("it attaches");
        for round in 0..200 {
            let id = CommitId(process << 64 | round);
            commits.push((id, write_as(&store, file, Some(id), &[process as u8; 10])));
        }
        match process % 3 {
            0 => checkpoint(&store),
            // The log is closed, and not recycled.
            1 => drop(store.checkpoint_target().expect("a target")),
            _ => {}
        }
        drop(store);
        let store = open(&disk, Options::default());
        for (ago, (id, commit)) in commits.iter().rev().enumerate() {
            assert_eq!(store.committed(*id), Some(*commit).filter(|_| ago < REMEMBERED_IDS), "{ago} before the last");
        }
        checkpoint(&store);
        drop(store);
        let store = open(&disk, Options::default());
        assert_eq!((store.usage().log_bytes, store.checkpoint_target()), (0, Ok(None)), "ids are nothing to copy");
        assert_eq!(Store::needs(&disk), Ok(Vec::new()));
    }
}

#[test]
fn an_id_costs_its_commit_no_call_of_the_disk() {
    let disk = Counting::new();
    let store = open(&disk, Options::default());
    let file = store.attach("a", Open::Create).expect("it attaches");
    // Both logs have room.
    for byte in 0..2 {
        write(&store, file, 0, &[byte; PAGE_BYTES]);
        checkpoint(&store);
    }
    disk.take();
    write_as(&store, file, Some(CommitId(1)), &[2; PAGE_BYTES]);
    store.flush().expect("it is flushed");
    assert_eq!(disk.take(), [1, 1, 0]);
    checkpoint(&store);
    assert_eq!(disk.take(), [3, 3, 0], "the file's page, the ids, and the log's new start");
    write_as(&store, file, Some(CommitId(2)), &[3; PAGE_BYTES]);
    store.flush().expect("it is flushed");
    store.checkpoint_target().expect("the log is closed");
    write(&store, file, 0, &[4; PAGE_BYTES]);
    store.flush().expect("it is flushed");
    disk.take();
    while store.checkpoint(None).expect("it is copied") == Checkpoint::More {}
    assert_eq!(disk.take(), [2, 2, 0], "the ids were flushed with a commit");
}

#[test]
fn a_disk_that_refuses_is_told() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { refuse_open_at: Some(0), ..Faults::default() });
    let refused: Result<Store, Error> = Store::open(Rc::new(disk), Options::default());
    assert_eq!(kind(refused.map(drop)), Some(Kind::Busy));
}
