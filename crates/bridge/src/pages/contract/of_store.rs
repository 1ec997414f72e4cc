//! The contract of [`PageStore`].

use std::collections::BTreeMap;
use std::rc::Rc;

use statik_disk::{Kind, Open};

use super::kind;
use crate::pages::{Change, Checkpoint, CommitId, PAGE_BYTES, PageStore, REMEMBERED_IDS, Version, View};

/// One named check of a store.
pub type Check = (&'static str, fn(&dyn PageStore));

/// The checks that [`store`] runs, each on a fresh store.
pub const STORE: &[Check] = &[
    ("attaching", attaching),
    ("staging", staging),
    ("partial pages", partial_pages),
    ("places that are none", places_that_are_none),
    ("snapshots", snapshots),
    ("cuts and growth", cuts_and_growth),
    ("several files", several_files),
    ("discarding", discarding),
    ("nothing staged", nothing_staged),
    ("ids of commits", ids),
    ("as many ids as are remembered", remembered_ids),
    ("flushing", flushing),
    ("a cache kept by what is told", cache),
    ("a large commit", large_commit),
    ("checkpoints", checkpoints),
    ("views before checkpoints", blocked_checkpoints),
    ("settling", settling),
    ("a history by chance", history),
];

const PAGE: u64 = PAGE_BYTES as u64;

/// Runs every check, each on a new, empty store from `make`.
pub fn store(make: impl Fn() -> Rc<dyn PageStore>) {
    for (_, check) in STORE {
        check(&*make());
    }
}

fn attach(store: &dyn PageStore, path: &str) -> u32 {
    store.attach(path, Open::Create).expect("a file attaches")
}

fn commit(store: &dyn PageStore, files: &[u32]) -> u64 {
    store.commit(files, None, &mut |_| {}).expect("commit")
}

/// Stages and commits one write.
fn write(store: &dyn PageStore, file: u32, offset: u64, bytes: &[u8]) -> u64 {
    store.stage(file, offset, bytes).expect("stage");
    commit(store, &[file])
}

fn newest_len(store: &dyn PageStore, file: u32) -> u64 {
    store.newest(file).expect("the newest view").len
}

/// What the view `seq` sees of the file's first `len` bytes.
fn content(store: &dyn PageStore, file: u32, view: View) -> Vec<u8> {
    let mut bytes = vec![0xEE; (view.len as usize).next_multiple_of(PAGE_BYTES)];
    let mut told = Vec::new();
    let tell = &mut |index, version: Version| {
        assert!(
            version.from <= view.seq && version.until.is_none_or(|until| view.seq < until),
            "{version:?} at {view:?}"
        );
        told.push(index);
    };
    store.read(file, view.seq, 0, &mut bytes, tell).expect("read");
    assert_eq!(told, (0..bytes.len() / PAGE_BYTES).collect::<Vec<_>>(), "each page's version is told, in order");
    assert!(bytes[view.len as usize..].iter().all(|byte| *byte == 0), "zeros beyond the file's end");
    bytes.truncate(view.len as usize);
    bytes
}

fn staged(store: &dyn PageStore, file: u32) -> Vec<u8> {
    let mut bytes = vec![0; store.staged_len(file).expect("the staged length") as usize];
    assert_eq!(store.read_staged(file, 0, &mut bytes), Ok(bytes.len()));
    bytes
}

fn attaching(store: &dyn PageStore) {
    assert_eq!(kind(store.attach("a", Open::Existing)), Some(Kind::NotFound));
    let one = store.attach("a", Open::CreateNew).expect("a new file");
    assert_eq!(store.attach("a", Open::Existing), Ok(one), "all users of a path get one number");
    assert_eq!(store.attach("a", Open::Create), Ok(one));
    assert_eq!(kind(store.attach("a", Open::CreateNew)), Some(Kind::Exists));
    let two = attach(store, "dir/b");
    assert_ne!(one, two);
    write(store, one, 0, b"kept");
    (0..3).for_each(|_| store.detach(one));
    let three = attach(store, "c");
    assert_ne!(three, two, "a number is not given twice");
    let one = store.attach("a", Open::Existing).expect("it is still there");
    assert_eq!(content(store, one, store.newest(one).expect("newest")), b"kept");
}

fn staging(store: &dyn PageStore) {
    let file = attach(store, "a");
    assert_eq!((newest_len(store, file), store.staged_len(file)), (0, Ok(0)));
    let before = store.newest(file).expect("newest");
    store.stage(file, 0, b"0123456789").expect("stage");
    store.stage(file, 3, b"abc").expect("stage over it");
    assert_eq!(staged(store, file), b"012abc6789");
    assert_eq!(store.newest(file), Ok(before), "what is staged is nobody else's");
    assert_eq!(content(store, file, View { seq: before.seq, len: 10 }), [0; 10]);
    let mut bytes = [7; 4];
    assert_eq!(store.read_staged(file, 8, &mut bytes), Ok(2));
    assert_eq!(&bytes, b"89\x07\x07", "a short read leaves the rest of the buffer");
    assert_eq!(store.read_staged(file, 10, &mut bytes), Ok(0));
    let seq = commit(store, &[file]);
    assert!(seq > before.seq && seq >= 1, "numbers rise");
    assert_eq!(newest_len(store, file), 10);
    assert_eq!(content(store, file, View { seq, len: 10 }), b"012abc6789");
    assert_eq!(staged(store, file), b"012abc6789", "with nothing staged the writer sees what is committed");
    assert_eq!(write(store, file, 0, b"x"), seq + 1);
}

fn partial_pages(store: &dyn PageStore) {
    let file = attach(store, "a");
    let mut model = vec![0; 3 * PAGE_BYTES];
    for (offset, length, byte) in
        [(4090, 10, 1), (100, 5000, 2), (8191, 2, 3), (0, 4096, 4), (4096, 1, 5), (12_287, 1, 6)]
    {
        store.stage(file, offset as u64, &vec![byte; length]).expect("stage");
        model[offset..offset + length].fill(byte);
        let end = store.staged_len(file).expect("staged length") as usize;
        assert!(staged(store, file) == model[..end], "after {length} bytes at {offset}");
        if byte % 2 == 0 {
            let seq = commit(store, &[file]);
            assert!(content(store, file, View { seq, len: end as u64 }) == model[..end], "{length} bytes at {offset}");
        }
    }
    let mut two = vec![0; 2 * PAGE_BYTES];
    store
        .read(file, store.newest(file).expect("newest").seq, 1, &mut two, &mut |_, _| {})
        .expect("from the second page");
    assert!(two == model[PAGE_BYTES..], "pages begin where the caller says");
}

fn places_that_are_none(store: &dyn PageStore) {
    let file = attach(store, "a");
    write(store, file, 0, b"sound");
    assert_eq!(kind(store.stage(file, u64::MAX - 1, b"four")), Some(Kind::Invalid));
    store.discard(file);
    assert_eq!(store.read_staged(file, u64::MAX, &mut [0; 8]), Ok(0));
    assert_eq!(staged(store, file), b"sound");
}

fn snapshots(store: &dyn PageStore) {
    let file = attach(store, "a");
    let mut model = vec![0; 2 * PAGE_BYTES + 100];
    let mut history = Vec::new();
    for round in 1..=6_u8 {
        let offset = usize::from(round % 3) * PAGE_BYTES + 7;
        model[offset..offset + 50].fill(round);
        store.stage(file, offset as u64, &[round; 50]).expect("stage");
        store.stage_len(file, model.len() as u64).expect("stage the length");
        let seq = commit(store, &[file]);
        history.push((seq, model.clone()));
        for (seq, model) in &history {
            let view = View { seq: *seq, len: model.len() as u64 };
            assert!(content(store, file, view) == *model, "the view {seq} after round {round}");
        }
    }
    assert!(history.windows(2).all(|two| two[0].0 < two[1].0), "numbers rise");
}

fn cuts_and_growth(store: &dyn PageStore) {
    let file = attach(store, "a");
    let full = write(store, file, 0, &[1; 3 * PAGE_BYTES]);
    store.stage_len(file, 10).expect("cut");
    assert_eq!(staged(store, file), [1; 10]);
    store.stage_len(file, 20).expect("grow");
    let mut grown = [1; 20];
    grown[10..].fill(0);
    assert_eq!(staged(store, file), grown, "what was cut does not come back");
    store.stage(file, PAGE + 1, b"x").expect("beyond the end");
    let seq = commit(store, &[file]);
    let mut model = vec![0; PAGE_BYTES + 2];
    model[..10].fill(1);
    model[PAGE_BYTES + 1] = b'x';
    assert_eq!(newest_len(store, file), PAGE + 2);
    assert!(content(store, file, View { seq, len: PAGE + 2 }) == model);
    assert!(content(store, file, View { seq: full, len: 3 * PAGE }) == [1; 3 * PAGE_BYTES], "the old view stays");
    store.stage_len(file, 0).expect("empty");
    let empty = commit(store, &[file]);
    assert_eq!(newest_len(store, file), 0);
    store.stage_len(file, 3 * PAGE).expect("grow");
    let seq = commit(store, &[file]);
    assert!(seq > empty);
    assert!(content(store, file, View { seq, len: 3 * PAGE }) == [0; 3 * PAGE_BYTES], "zeros after a cut");
    store.stage_len(file, 3 * PAGE - 5).expect("cut a little");
    store.discard(file);
    assert_eq!(store.staged_len(file), Ok(3 * PAGE));
}

fn several_files(store: &dyn PageStore) {
    let (a, b, c) = (attach(store, "a"), attach(store, "b"), attach(store, "c"));
    let first = write(store, c, 0, b"c1");
    store.stage(a, 0, b"a2").expect("stage");
    store.stage(b, 0, b"b2").expect("stage");
    store.stage(c, 0, b"C3").expect("stage");
    let second = commit(store, &[a, b]);
    assert!(second > first, "one order for all files");
    assert_eq!(content(store, a, View { seq: second, len: 2 }), b"a2");
    assert_eq!(content(store, b, View { seq: second, len: 2 }), b"b2");
    assert_eq!(content(store, c, View { seq: second, len: 2 }), b"c1", "c is not of this commit");
    assert_eq!(content(store, a, View { seq: first, len: 2 }), [0, 0]);
    let third = commit(store, &[a, b, c]);
    assert_eq!(third, second + 1);
    assert_eq!(content(store, c, View { seq: third, len: 2 }), b"C3");
    assert_eq!(content(store, a, View { seq: third, len: 2 }), b"a2");
}

fn discarding(store: &dyn PageStore) {
    let file = attach(store, "a");
    let seq = write(store, file, 0, b"first");
    store.stage(file, 0, &[9; 3 * PAGE_BYTES]).expect("stage");
    store.stage_len(file, 5).expect("stage the length");
    store.discard(file);
    assert_eq!((staged(store, file), newest_len(store, file)), (b"first".to_vec(), 5));
    assert_eq!(commit(store, &[file]), seq, "nothing is staged any more");
    store.stage_len(file, 9).expect("grow");
    commit(store, &[file]);
    assert_eq!(staged(store, file), b"first\0\0\0\0", "what was discarded does not come back");
    store.discard(file);
}

fn nothing_staged(store: &dyn PageStore) {
    let file = attach(store, "a");
    let seq = write(store, file, 0, b"x");
    let commits = store.usage().commits;
    assert_eq!(store.commit(&[file], None, &mut |_| panic!("nothing changed")), Ok(seq));
    assert_eq!(store.commit(&[], None, &mut |_| panic!("nothing changed")), Ok(seq));
    assert_eq!(store.usage().commits, commits);
}

fn ids(store: &dyn PageStore) {
    let file = attach(store, "a");
    // They differ in one half or the other.
    let [one, two, three, four] = [1, 2, 1 << 64, u128::MAX].map(CommitId);
    let commit_as = |id| store.commit(&[file], Some(id), &mut |_| {}).expect("commit");
    assert_eq!(store.committed(one), None);
    store.stage(file, 0, b"first").expect("stage");
    assert_eq!(store.committed(one), None);
    let first = commit_as(one);
    let without = write(store, file, 0, b"no id");
    assert_eq!(commit_as(two), without, "nothing is staged");
    store.stage(file, 0, b"gone").expect("stage");
    store.discard(file);
    assert_eq!(commit_as(two), without, "nothing is staged any more");
    store.stage(file, 0, b"third").expect("stage");
    let third = commit_as(three);
    for _ in 0..3 {
        let found = [one, two, three, four].map(|id| store.committed(id));
        assert_eq!(found, [Some(first), None, Some(third), None]);
        checkpoint(store, None);
    }
    assert_eq!(store.usage().log_bytes, 0, "ids are nothing to copy");
    assert_eq!(store.checkpoint_target(), Ok(None));
}

fn remembered_ids(store: &dyn PageStore) {
    let file = attach(store, "a");
    let mut commits = Vec::new();
    for round in 0..REMEMBERED_IDS as u128 + 50 {
        store.stage(file, 0, &round.to_le_bytes()).expect("stage");
        if round % 7 == 3 {
            commit(store, &[file]);
            store.stage(file, 20, &round.to_le_bytes()).expect("stage");
        }
        let id = CommitId(round << 60);
        commits.push((id, store.commit(&[file], Some(id), &mut |_| {}).expect("commit")));
        if [300, 1000, 1040].contains(&round) {
            checkpoint(store, None);
        }
        if round % 100 == 0 || round as usize >= REMEMBERED_IDS {
            for (ago, (id, commit)) in commits.iter().rev().enumerate() {
                let expected = Some(*commit).filter(|_| ago < REMEMBERED_IDS);
                assert_eq!(store.committed(*id), expected, "{ago} ids before the last");
            }
        }
    }
}

fn flushing(store: &dyn PageStore) {
    let file = attach(store, "a");
    let mut last = 0;
    for round in 0..3 {
        write(store, file, round, b"x");
        let seq = write(store, file, round, b"y");
        assert!(store.flushed() <= seq);
        assert_eq!((store.flush(), store.flushed()), (Ok(seq), seq));
        last = seq;
    }
    let usage = store.usage();
    assert_eq!((usage.newest, usage.durable, usage.commits), (last, last, 6));
    assert!(usage.flushes <= 3 && usage.log_bytes > 0 && usage.checkpointed <= last, "{usage:?}");
    store.flush().expect("flush what is flushed");
    assert_eq!(store.usage().flushes, usage.flushes, "a flush of nothing is none");
}

type Copy = (Version, Vec<u8>);

/// Copies of pages, kept true by nothing but what the store tells.
#[derive(Default)]
struct Cache {
    /// By file and page.
    pages: BTreeMap<(u32, u64), Vec<Copy>>,
}

impl Cache {
    fn replace(&mut self, seq: u64, pages: impl Fn(u32, u64) -> bool) {
        for ((file, page), copies) in &mut self.pages {
            if pages(*file, *page) {
                copies.iter_mut().filter(|(version, _)| version.until.is_none()).for_each(|(version, _)| {
                    version.until = Some(seq);
                });
            }
        }
    }

    fn commit(&mut self, store: &dyn PageStore, files: &[u32]) -> u64 {
        // The number is not known before the commit returns; what it says it will be is checked below.
        let next = store.usage().newest + 1;
        let seq = store.commit(files, None, &mut |change| match change {
            Change::Page { file, page, bytes } => {
                assert_eq!(bytes.len(), PAGE_BYTES);
                self.replace(next, |f, p| (f, p) == (file, page));
                let copies = self.pages.entry((file, page)).or_default();
                // Cut and written by one commit: the copy that the cut ended never was.
                copies.retain(|(version, _)| version.from != next);
                copies.push((Version { from: next, until: None }, bytes.to_vec()));
            }
            Change::Cut { file, len } => self.replace(next, |f, p| f == file && p * PAGE >= len),
            Change::Pages { file, page, count } => {
                self.replace(next, |f, p| f == file && (page..page + count).contains(&p))
            }
        });
        assert_eq!(seq, Ok(next));
        next
    }

    /// Reads a page and keeps a copy, having compared it with all copies that claim to be the same.
    fn check(&mut self, store: &dyn PageStore, file: u32, seq: u64, page: u64) {
        let mut bytes = vec![0; PAGE_BYTES];
        let mut version = None;
        store.read(file, seq, page, &mut bytes, &mut |_, told| version = Some(told)).expect("read");
        let version = version.expect("the version is told");
        let copies = self.pages.entry((file, page)).or_default();
        for (copy, held) in &*copies {
            if copy.from <= seq && copy.until.is_none_or(|until| seq < until) {
                assert!(*held == bytes, "page {page} at {seq}: the copy {copy:?} is not what is there");
            }
        }
        if version.until.is_none() {
            copies.push((version, bytes));
        }
    }
}

fn cache(store: &dyn PageStore) {
    let (a, b) = (attach(store, "a"), attach(store, "b"));
    let mut cache = Cache::default();
    let mut seqs = vec![store.usage().newest];
    let check_all = |cache: &mut Cache, seqs: &[u64]| {
        for (file, page) in [(a, 0), (a, 1), (a, 2), (a, 7), (b, 0), (b, 1)] {
            seqs.iter().for_each(|seq| cache.check(store, file, *seq, page));
        }
    };
    check_all(&mut cache, &seqs);
    let steps: [&dyn Fn(); 8] = [
        &|| store.stage(a, 0, &[1; 3 * PAGE_BYTES]).expect("stage"),
        &|| store.stage(a, PAGE + 5, &[2; 10]).expect("stage"),
        &|| store.stage(b, 0, &[3; 5000]).expect("stage"),
        &|| store.stage_len(a, PAGE + 7).expect("cut"),
        &|| store.stage_len(a, 8 * PAGE).expect("grow"),
        &|| store.stage(a, 7 * PAGE, &[4; PAGE_BYTES]).expect("stage"),
        &|| {
            store.stage_len(a, 0).expect("cut");
            store.stage(a, 0, &[5; 2 * PAGE_BYTES]).expect("stage");
            store.stage_len(b, 1).expect("cut");
        },
        &|| {
            store.stage(a, 2 * PAGE, &[6; PAGE_BYTES]).expect("stage");
            store.stage_len(a, 100).expect("cut");
        },
    ];
    for step in steps {
        step();
        seqs.push(cache.commit(store, &[a, b]));
        check_all(&mut cache, &seqs);
    }
    let kept = cache.pages.values().flatten().filter(|(version, _)| version.until.is_none()).count();
    assert!(kept >= 6, "what was not replaced may be kept");
}

fn large_commit(store: &dyn PageStore) {
    let file = attach(store, "a");
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    for (part, offset) in bytes.chunks(100_000).zip((0..).step_by(100_000)) {
        store.stage(file, offset, part).expect("stage");
    }
    assert!(staged(store, file) == bytes, "the writer sees it");
    let seq = commit(store, &[file]);
    let len = bytes.len() as u64;
    assert_eq!(newest_len(store, file), len);
    assert!(content(store, file, View { seq, len }) == bytes, "readers see it");
    let next = write(store, file, 50 * PAGE, &[0xFF; PAGE_BYTES]);
    assert!(content(store, file, View { seq, len }) == bytes, "the old view stays");
    let mut changed = bytes;
    changed[50 * PAGE_BYTES..51 * PAGE_BYTES].fill(0xFF);
    assert!(content(store, file, View { seq: next, len }) == changed);
    store.flush().expect("flush");
}

/// Checkpoints until nothing is left.
fn checkpoint(store: &dyn PageStore, oldest: Option<u64>) {
    for _ in 0..100_000 {
        if store.checkpoint_target().expect("the target").is_none() {
            return;
        }
        let came = store.checkpoint(oldest).expect("a slice");
        assert!(!matches!(came, Checkpoint::Blocked(_)), "no view is in the way: {came:?}");
    }
    panic!("a checkpoint of a small log has no end");
}

fn checkpoints(store: &dyn PageStore) {
    let (a, b) = (attach(store, "a"), attach(store, "b"));
    assert_eq!(store.checkpoint_target(), Ok(None));
    assert_eq!(store.checkpoint(None), Ok(Checkpoint::Idle));
    for round in 0..50_u64 {
        store.stage(a, round * 1000, &[round as u8; 1000]).expect("stage");
        store.stage(b, 0, &[round as u8; 10]).expect("stage");
        commit(store, &[a, b]);
    }
    store.stage_len(a, 40_000).expect("cut");
    let seq = commit(store, &[a]);
    let target = store.checkpoint_target().expect("the target").expect("there is something to copy");
    assert!(target <= seq);
    let before = content(store, a, View { seq, len: 40_000 });
    checkpoint(store, Some(seq));
    let usage = store.usage();
    assert_eq!((usage.log_bytes, usage.checkpointed, usage.durable), (0, seq, seq));
    assert!(content(store, a, View { seq, len: 40_000 }) == before, "a checkpoint changes nothing that is seen");
    store.stage(a, 0, b"staged during").expect("stage");
    write(store, b, 0, b"later");
    checkpoint(store, None);
    assert_eq!(&staged(store, a)[..13], b"staged during");
    let seq = commit(store, &[a]);
    assert_eq!(&content(store, a, View { seq, len: 40_000 })[..13], b"staged during");
    assert_eq!(&content(store, b, View { seq, len: 10 })[..5], b"later");
}

fn blocked_checkpoints(store: &dyn PageStore) {
    let file = attach(store, "a");
    let old = write(store, file, 0, b"old");
    let new = write(store, file, 0, b"new");
    let target = store.checkpoint_target().expect("the target").expect("there is something to copy");
    assert_eq!(target, new);
    for _ in 0..3 {
        assert_eq!(store.checkpoint(Some(old)), Ok(Checkpoint::Blocked(new)));
        assert_eq!(content(store, file, View { seq: old, len: 3 }), b"old");
    }
    let newer = write(store, file, 0, b"end");
    checkpoint(store, Some(newer));
    assert_eq!(content(store, file, View { seq: newer, len: 3 }), b"end");
    assert_eq!(store.usage().checkpointed, newer);
}

fn settling(store: &dyn PageStore) {
    let (a, b) = (attach(store, "a"), attach(store, "b"));
    write(store, a, 0, b"of a");
    write(store, b, 0, b"of b");
    assert_eq!(kind(store.settle("a")), Some(Kind::Busy));
    store.detach(a);
    store.settle("a").expect("nobody has it");
    store.settle("a").expect("it is settled");
    store.settle("none").expect("a file that never was");
    let a = store.attach("a", Open::Existing).expect("it is on the disk");
    assert_eq!(content(store, a, store.newest(a).expect("newest")), b"of a");
    assert_eq!(content(store, b, store.newest(b).expect("newest")), b"of b");
    let seq = write(store, a, 0, b"or a");
    assert_eq!(content(store, a, View { seq, len: 4 }), b"or a");
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// What two files held at each commit that can still be read.
fn history(store: &dyn PageStore) {
    let mut random = Random(7);
    let files = [attach(store, "a"), attach(store, "b")];
    let mut now = [Vec::new(), Vec::new()];
    let mut past: Vec<(u64, [Vec<u8>; 2])> = vec![(store.usage().newest, now.clone())];
    for step in 0..300 {
        let mut next = now.clone();
        for (file, content) in files.iter().zip(&mut next) {
            for _ in 0..random.below(4) {
                if random.below(4) == 0 {
                    let len = random.below(5 * PAGE);
                    store.stage_len(*file, len).expect("stage a length");
                    content.resize(len as usize, 0);
                } else {
                    let (offset, count) = (random.below(4 * PAGE), 1 + random.below(3000));
                    let end = (offset + count) as usize;
                    content.resize(content.len().max(end), 0);
                    content[offset as usize..end].fill(step as u8);
                    store.stage(*file, offset, &vec![step as u8; count as usize]).expect("stage");
                }
            }
            assert!(staged(store, *file) == *content, "step {step}: what the writer sees");
        }
        match random.below(8) {
            0 => files.iter().for_each(|file| store.discard(*file)),
            _ => {
                let seq = commit(store, &files);
                past.retain(|(old, _)| *old != seq);
                now = next;
                past.push((seq, now.clone()));
            }
        }
        if random.below(10) == 0 {
            checkpoint(store, None);
            past.drain(..past.len() - 1);
        }
        let (seq, contents) = &past[random.below(past.len() as u64) as usize];
        for (file, model) in files.iter().zip(contents) {
            let view = View { seq: *seq, len: model.len() as u64 };
            assert!(content(store, *file, view) == *model, "step {step}: the view {seq}");
        }
    }
}
