//! The contract of [`Pages`] and [`Paged`].
//!
//! The two users of a check may be far apart: what one gives up without waiting, the other gets by waiting for it.

use std::rc::Rc;
use std::time::Duration;

use statik_disk::{Kind, Open};

use super::kind;
use crate::pages::{CommitId, Durability, PAGE_BYTES, Paged, Pages};

/// One named check, of two users of one store.
pub type Check = (&'static str, fn(&dyn Pages, &dyn Pages));

/// The checks that [`pages`] runs, each on a fresh store.
pub const PAGES: &[Check] = &[
    ("opening", opening),
    ("views are stable", stable_views),
    ("own changes are read", own_changes),
    ("one writer", one_writer),
    ("stale views", stale_views),
    ("an unchanged file is not stale", unchanged_is_not_stale),
    ("first come, first served", fifo),
    ("places in the queue", places),
    ("several files", several_files),
    ("discarding", discarding),
    ("ending", ending),
    ("dropping", dropping),
    ("without view or lock", without),
    ("nothing staged", nothing_staged),
    ("ids of commits", ids),
    ("durability", durability),
    ("checkpoints", checkpoints),
    ("places and lengths", places_and_lengths),
    ("a large change", large_change),
    ("many small commits", small_commits),
];

/// Who waits this long was forgotten.
const LONG: Duration = Duration::from_secs(20);
const PAGE: u64 = PAGE_BYTES as u64;

/// Runs every check, each on a new, empty store that `make` gives two users of: the same one twice, or two clients.
pub fn pages(mut make: impl FnMut() -> (Rc<dyn Pages>, Rc<dyn Pages>)) {
    for (_, check) in PAGES {
        let (one, two) = make();
        check(&*one, &*two);
    }
}

fn open(pages: &dyn Pages, path: &str) -> Box<dyn Paged> {
    pages.open(path, Open::Create).expect("a file opens")
}

/// Takes a view and the lock.
fn lock(file: &dyn Paged) {
    assert_eq!(file.wait(LONG), Ok(true), "the lock comes");
    file.begin().expect("begin");
    file.lock().expect("it is held already");
}

fn commit(pages: &dyn Pages, file: &dyn Paged) -> u64 {
    pages.commit(&[file.id()], Durability::Full, None).expect("commit")
}

/// One change, with a view and a lock of its own.
fn write(pages: &dyn Pages, file: &dyn Paged, offset: u64, bytes: &[u8]) -> u64 {
    lock(file);
    file.write_at(offset, bytes).expect("write");
    let seq = commit(pages, file);
    file.end().expect("end");
    seq
}

/// What the file's view, and its own changes, hold.
fn content(file: &dyn Paged) -> Vec<u8> {
    let mut bytes = vec![0xEE; file.len().expect("len") as usize];
    assert_eq!(file.read_at(0, &mut bytes), Ok(bytes.len()));
    bytes
}

/// What a new view holds.
fn newest(file: &dyn Paged) -> Vec<u8> {
    file.begin().expect("begin");
    let bytes = content(file);
    file.end().expect("end");
    bytes
}

fn opening(one: &dyn Pages, two: &dyn Pages) {
    assert_eq!(kind(one.open("a", Open::Existing)), Some(Kind::NotFound));
    for path in ["", "/a", "a/../b", "a\\b"] {
        assert_eq!(kind(one.open(path, Open::Create)), Some(Kind::Invalid), "{path:?}");
    }
    let a = one.open("a", Open::CreateNew).expect("a new name");
    assert_eq!(kind(two.open("a", Open::CreateNew)), Some(Kind::Exists));
    let (again, there) = (one.open("a", Open::Existing).expect("open"), two.open("a", Open::Existing).expect("open"));
    assert_ne!(a.id(), again.id(), "each opening has an id");
    write(one, &*a, 0, b"shared");
    assert_eq!((newest(&*again), newest(&*there)), (b"shared".to_vec(), b"shared".to_vec()));
    drop((a, again, there));
    assert_eq!(newest(&*two.open("a", Open::Existing).expect("open anew")), b"shared");
}

fn stable_views(one: &dyn Pages, two: &dyn Pages) {
    let (writer, reader, late) = (open(one, "a"), open(two, "a"), open(two, "a"));
    write(one, &*writer, 0, &[1; 3 * PAGE_BYTES]);
    let view = reader.begin().expect("begin");
    assert_eq!(view.len, 3 * PAGE);
    for round in 2..6 {
        lock(&*writer);
        writer.write_at(PAGE - 10, &[round; 100]).expect("write");
        writer.set_len(2 * PAGE + u64::from(round)).expect("cut");
        let seq = commit(one, &*writer);
        assert!(seq > view.seq);
        writer.end().expect("end");
        assert_eq!(reader.begin(), Ok(view), "the view that is held stays");
        assert!(content(&*reader) == [1; 3 * PAGE_BYTES], "nothing disturbs it");
        let fresh = late.begin().expect("begin");
        assert_eq!((fresh.seq, fresh.len), (seq, 2 * PAGE + u64::from(round)), "a new view is the newest");
        let mut bytes = [0; 1];
        assert_eq!((late.read_at(PAGE, &mut bytes), bytes), (Ok(1), [round]));
        late.end().expect("end");
    }
    reader.end().expect("end");
    assert_eq!(newest(&*reader).len() as u64, 2 * PAGE + 5);
}

fn own_changes(one: &dyn Pages, two: &dyn Pages) {
    let (writer, reader) = (open(one, "a"), open(two, "a"));
    write(one, &*writer, 0, b"0123456789");
    lock(&*writer);
    writer.write_at(2, b"ab").expect("write");
    assert_eq!(content(&*writer), b"01ab456789");
    writer.set_len(5).expect("cut");
    writer.set_len(7).expect("grow");
    assert_eq!(content(&*writer), b"01ab4\0\0");
    writer.write_at(8, b"z").expect("beyond the end");
    assert_eq!((content(&*writer), writer.len()), (b"01ab4\0\0\0z".to_vec(), Ok(9)));
    assert_eq!(newest(&*reader), b"0123456789", "nobody else sees it");
    let seq = commit(one, &*writer);
    assert_eq!(writer.begin().map(|view| (view.seq, view.len)), Ok((seq, 9)), "its view is the commit's");
    assert_eq!((content(&*writer), newest(&*reader)), (b"01ab4\0\0\0z".to_vec(), b"01ab4\0\0\0z".to_vec()));
    writer.lock().expect("the view is the newest, and the lock free");
    writer.write_at(0, b"!").expect("write");
    assert_eq!(commit(one, &*writer), seq + 1);
}

fn one_writer(one: &dyn Pages, two: &dyn Pages) {
    let (mine, other, theirs) = (open(one, "a"), open(one, "a"), open(two, "a"));
    let apart = open(two, "b");
    for file in [&mine, &other, &theirs, &apart] {
        file.begin().expect("begin");
    }
    mine.lock().expect("a free lock");
    mine.lock().expect("held already");
    assert_eq!((kind(other.lock()), kind(theirs.lock())), (Some(Kind::Busy), Some(Kind::Busy)));
    apart.lock().expect("another file's lock");
    mine.discard().expect("discard");
    theirs.end().expect("end");
    lock(&*theirs);
    assert_eq!((kind(mine.lock()), kind(other.lock())), (Some(Kind::Busy), Some(Kind::Busy)));
    commit(two, &*theirs);
    assert_eq!(kind(theirs.write_at(0, b"x")), Some(Kind::Invalid), "a commit gives up the lock");
    other.end().expect("end");
    lock(&*other);
}

fn stale_views(one: &dyn Pages, two: &dyn Pages) {
    let (mine, theirs) = (open(one, "a"), open(two, "a"));
    write(two, &*theirs, 0, b"before");
    mine.begin().expect("begin");
    write(two, &*theirs, 0, b"behind");
    assert_eq!(kind(mine.lock()), Some(Kind::Conflict));
    assert_eq!(content(&*mine), b"before");
    lock(&*theirs);
    assert_eq!(kind(mine.lock()), Some(Kind::Conflict), "waiting would not help");
    theirs.end().expect("end");
    mine.end().expect("end");
    lock(&*mine);
    mine.write_at(6, b"!").expect("write");
    commit(one, &*mine);
    assert_eq!(newest(&*theirs), b"behind!");
    // A length alone is a change, too.
    mine.end().expect("end");
    mine.begin().expect("begin");
    lock(&*theirs);
    theirs.set_len(100).expect("grow");
    commit(two, &*theirs);
    assert_eq!(kind(mine.lock()), Some(Kind::Conflict));
}

fn unchanged_is_not_stale(one: &dyn Pages, two: &dyn Pages) {
    let (mine, other, theirs) = (open(one, "a"), open(two, "b"), open(two, "a"));
    write(two, &*theirs, 0, b"a");
    mine.begin().expect("begin");
    theirs.begin().expect("begin");
    theirs.lock().expect("lock");
    theirs.discard().expect("discard");
    let seq = write(two, &*other, 0, b"b");
    // The lock may still be on its way back, but in the end it is not a conflict.
    while kind(mine.lock()) == Some(Kind::Busy) {}
    mine.lock().expect("another file's commit does not make a view stale");
    mine.write_at(1, b"a").expect("write");
    assert_eq!(commit(one, &*mine), seq + 1);
    assert_eq!(newest(&*other), b"b");
}

fn fifo(one: &dyn Pages, two: &dyn Pages) {
    let files: Vec<_> = (0..6).map(|number| open([one, two][number % 2], "a")).collect();
    lock(&*files[0]);
    for file in &files[1..] {
        assert_eq!(file.wait(Duration::ZERO), Ok(false), "the lock is taken");
    }
    for (number, pair) in files.windows(2).enumerate() {
        pair[0].end().expect("end");
        for later in files[number + 2..].iter().rev() {
            assert_eq!(later.wait(Duration::ZERO), Ok(false), "it is not its turn");
        }
        assert_eq!(pair[1].wait(LONG), Ok(true), "the next in the queue");
        pair[1].begin().expect("begin");
        pair[1].lock().expect("held already");
    }
}

fn places(one: &dyn Pages, two: &dyn Pages) {
    let (first, second, third) = (open(one, "a"), open(two, "a"), open(one, "a"));
    lock(&*first);
    assert_eq!((second.wait(Duration::ZERO), third.wait(Duration::ZERO)), (Ok(false), Ok(false)));
    second.end().expect("end");
    first.end().expect("end");
    assert_eq!(third.wait(LONG), Ok(true), "who ended has no place any more");
    // The lock comes to who queues, even while it looks elsewhere.
    first.begin().expect("begin");
    assert_eq!(kind(first.lock()), Some(Kind::Busy));
    first.end().expect("end");
    assert_eq!(second.wait(Duration::ZERO), Ok(false));
    third.end().expect("end");
    first.begin().expect("begin");
    assert_eq!(kind(first.lock()), Some(Kind::Busy), "the queue comes first");
    assert_eq!(second.wait(LONG), Ok(true));
    assert_eq!(second.wait(LONG), Ok(true), "held already");
}

fn several_files(one: &dyn Pages, two: &dyn Pages) {
    let (a, b, c) = (open(one, "a"), open(one, "b"), open(one, "c"));
    let (there_a, there_b) = (open(two, "a"), open(two, "b"));
    write(one, &*c, 0, b"c");
    for file in [&a, &b, &c] {
        lock(&**file);
    }
    a.write_at(0, b"first a").expect("write");
    b.write_at(0, b"first b").expect("write");
    there_a.begin().expect("begin");
    let seq = one.commit(&[a.id(), b.id(), c.id()], Durability::Full, None).expect("commit");
    assert_eq!(newest(&*there_b), b"first b");
    assert_eq!(content(&*there_a), b"", "an older view");
    there_a.end().expect("end");
    assert_eq!(newest(&*there_a), b"first a");
    for file in [&a, &b, &c] {
        assert_eq!(file.begin().map(|view| view.seq), Ok(seq), "its view is the commit's");
        assert_eq!(kind(file.write_at(0, b"x")), Some(Kind::Invalid), "its lock was given up");
        file.end().expect("end");
    }
    assert_eq!(newest(&*c), b"c");
    assert_eq!(kind(one.commit(&[a.id(), 4_000_000_000], Durability::Full, None)), Some(Kind::Invalid));
}

fn discarding(one: &dyn Pages, two: &dyn Pages) {
    let (mine, theirs) = (open(one, "a"), open(two, "a"));
    let before = write(one, &*mine, 0, b"kept");
    lock(&*mine);
    mine.write_at(0, &[9; 3 * PAGE_BYTES]).expect("write");
    mine.set_len(1).expect("cut");
    mine.discard().expect("discard");
    assert_eq!((mine.len(), content(&*mine)), (Ok(4), b"kept".to_vec()), "the view stays");
    assert_eq!(kind(mine.write_at(0, b"x")), Some(Kind::Invalid), "the lock was given up");
    mine.discard().expect("there is nothing to discard");
    lock(&*theirs);
    theirs.write_at(4, b"!").expect("write");
    assert_eq!(commit(two, &*theirs), before + 1, "what was discarded is not committed");
    assert_eq!(newest(&*theirs), b"kept!");
}

fn ending(one: &dyn Pages, two: &dyn Pages) {
    let (mine, theirs) = (open(one, "a"), open(two, "a"));
    write(one, &*mine, 0, b"kept");
    lock(&*mine);
    mine.write_at(0, b"lost").expect("write");
    mine.end().expect("end");
    mine.end().expect("there is nothing to end");
    lock(&*theirs);
    assert_eq!((content(&*theirs), newest(&*mine)), (b"kept".to_vec(), b"kept".to_vec()));
}

fn dropping(one: &dyn Pages, two: &dyn Pages) {
    let (mine, queued, theirs) = (open(one, "a"), open(one, "a"), open(two, "a"));
    write(one, &*mine, 0, b"kept");
    lock(&*mine);
    mine.write_at(0, b"lost").expect("write");
    assert_eq!((queued.wait(Duration::ZERO), theirs.wait(Duration::ZERO)), (Ok(false), Ok(false)));
    drop((mine, queued));
    lock(&*theirs);
    assert_eq!(content(&*theirs), b"kept", "dropping releases everything");
    write(two, &*open(two, "b"), 0, b"other");
    theirs.end().expect("end");
    write(two, &*theirs, 0, b"more");
    two.checkpoint().expect("no view is left behind");
}

fn without(one: &dyn Pages, _two: &dyn Pages) {
    let file = open(one, "a");
    write(one, &*file, 0, b"bytes");
    let invalid = |result: Option<Kind>| assert_eq!(result, Some(Kind::Invalid));
    invalid(kind(file.read_at(0, &mut [0; 4])));
    invalid(kind(file.len()));
    invalid(kind(file.lock()));
    invalid(kind(file.write_at(0, b"x")));
    assert_eq!(file.wait(LONG), Ok(true));
    invalid(kind(file.write_at(0, b"a lock, but no view")));
    file.end().expect("end");
    file.begin().expect("begin");
    invalid(kind(file.write_at(0, b"x")));
    invalid(kind(file.set_len(0)));
    invalid(kind(file.wait(LONG)));
    assert_eq!(content(&*file), b"bytes");
}

fn nothing_staged(one: &dyn Pages, two: &dyn Pages) {
    let (mine, theirs) = (open(one, "a"), open(two, "a"));
    let seq = write(one, &*mine, 0, b"x");
    lock(&*mine);
    let commits = one.usage().expect("usage").commits;
    assert_eq!(one.commit(&[mine.id()], Durability::Full, None), Ok(seq));
    assert_eq!(one.commit(&[], Durability::Full, None), Ok(seq));
    assert_eq!(one.usage().expect("usage").commits, commits);
    lock(&*theirs);
}

fn ids(one: &dyn Pages, two: &dyn Pages) {
    let (mine, theirs) = (open(one, "a"), open(two, "b"));
    // They differ in one half or the other.
    let [first, second, third, none] = [1, 1 << 64, u128::MAX, 2].map(CommitId);
    let commit_as = |pages: &dyn Pages, file: &dyn Paged, id, durability| {
        lock(file);
        file.write_at(0, b"x").expect("write");
        let seq = pages.commit(&[file.id()], durability, Some(id)).expect("commit");
        file.end().expect("end");
        seq
    };
    let seqs = [
        commit_as(one, &*mine, first, Durability::Full),
        commit_as(two, &*theirs, second, Durability::Off),
        commit_as(one, &*mine, third, Durability::Normal),
    ];
    lock(&*mine);
    assert_eq!(one.commit(&[mine.id()], Durability::Full, Some(none)), Ok(seqs[2]), "nothing is staged");
    assert_eq!(kind(one.commit(&[4_000_000_000], Durability::Full, Some(none))), Some(Kind::Invalid));
    mine.end().expect("end");
    write(one, &*mine, 0, b"without an id");
    for _ in 0..2 {
        for pages in [one, two] {
            let found = [first, second, third, none].map(|id| pages.committed(id).expect("an answer"));
            assert_eq!(found, [Some(seqs[0]), Some(seqs[1]), Some(seqs[2]), None], "whoever asks");
        }
        two.checkpoint().expect("checkpoint");
    }
}

fn durability(one: &dyn Pages, two: &dyn Pages) {
    let file = open(one, "a");
    let mut last = 0;
    for durability in [Durability::Off, Durability::Normal, Durability::Full, Durability::Normal, Durability::Off] {
        lock(&*file);
        file.write_at(0, b"x").expect("write");
        let seq = one.commit(&[file.id()], durability, None).expect("commit");
        assert!(seq > last);
        last = seq;
        let usage = two.usage().expect("usage");
        assert_eq!(usage.newest, seq);
        assert!(usage.durable == seq || durability != Durability::Full, "{usage:?}");
        file.end().expect("end");
    }
    assert_eq!(two.durable(), Ok(last));
    assert_eq!(one.usage().expect("usage").durable, last);
}

fn checkpoints(one: &dyn Pages, two: &dyn Pages) {
    let (mine, theirs) = (open(one, "a"), open(two, "a"));
    write(one, &*mine, 0, b"old");
    theirs.begin().expect("begin");
    let usage = two.usage().expect("usage");
    assert_eq!(usage.oldest_view, Some(usage.newest));
    let seq = write(one, &*mine, 0, b"new");
    assert_eq!(kind(one.checkpoint()), Some(Kind::Busy), "an older view is held");
    assert_eq!(content(&*theirs), b"old");
    theirs.end().expect("end");
    assert_eq!(newest(&*theirs), b"new");
    one.checkpoint().expect("checkpoint");
    let usage = one.usage().expect("usage");
    assert_eq!((usage.log_bytes, usage.checkpointed, usage.durable), (0, seq, seq));
    assert_eq!(newest(&*theirs), b"new");
    write(two, &*theirs, 3, b"er");
    assert_eq!(newest(&*mine), b"newer");
}

fn places_and_lengths(one: &dyn Pages, two: &dyn Pages) {
    let (file, reader) = (open(one, "a"), open(two, "a"));
    let mut model: Vec<u8> = Vec::new();
    lock(&*file);
    assert_eq!(kind(file.write_at(u64::MAX - 1, b"four").and_then(|()| file.len())), Some(Kind::Invalid));
    file.end().expect("end");
    for (round, (offset, count)) in
        [(0, 10), (4090, 12), (5000, 9000), (4096, 4096), (100, 8192), (20_000, 1)].into_iter().enumerate()
    {
        lock(&*file);
        file.write_at(offset as u64, &vec![round as u8 + 1; count]).expect("write");
        model.resize(model.len().max(offset + count), 0);
        model[offset..offset + count].fill(round as u8 + 1);
        assert!(content(&*file) == model, "staged, {count} bytes at {offset}");
        commit(one, &*file);
        file.end().expect("end");
        reader.begin().expect("begin");
        for (offset, count) in [(0, 30_000), (4095, 2), (4096, 4096), (1, 4096), (19_999, 50), (40_000, 5)] {
            let mut bytes = vec![0xEE; count];
            let there = model.get(offset..).unwrap_or_default();
            let there = &there[..there.len().min(count)];
            assert_eq!(reader.read_at(offset as u64, &mut bytes), Ok(there.len()));
            assert!(bytes[..there.len()] == *there, "{count} bytes at {offset}");
            assert!(
                bytes[there.len()..].iter().all(|byte| *byte == 0xEE),
                "a short read leaves the rest of the buffer"
            );
        }
        assert_eq!(reader.read_at(u64::MAX, &mut [0; 8]), Ok(0));
        reader.end().expect("end");
    }
}

fn large_change(one: &dyn Pages, two: &dyn Pages) {
    let (file, reader) = (open(one, "a"), open(two, "a"));
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    lock(&*file);
    file.write_at(3, &bytes).expect("write");
    let mut back = vec![0; bytes.len()];
    assert_eq!(file.read_at(3, &mut back), Ok(bytes.len()));
    assert!(back == bytes, "the writer reads it back");
    commit(one, &*file);
    reader.begin().expect("begin");
    back.fill(0);
    assert_eq!(reader.read_at(3, &mut back), Ok(bytes.len()));
    assert!(back == bytes, "a reader sees it");
    for page in (0..1220).rev() {
        let mut buf = [0; PAGE_BYTES];
        assert_eq!(reader.read_at(page * PAGE, &mut buf), Ok(PAGE_BYTES));
        let start = page as usize * PAGE_BYTES;
        assert!(page == 0 || buf == bytes[start - 3..start - 3 + PAGE_BYTES], "page {page}");
    }
}

fn small_commits(one: &dyn Pages, two: &dyn Pages) {
    let files = [(one, open(one, "counter")), (two, open(two, "counter"))];
    for round in 0..200_u64 {
        let (pages, file) = &files[usize::from(round % 3 == 0)];
        lock(&**file);
        let mut count = [0; 8];
        file.read_at(0, &mut count).expect("read");
        assert_eq!(u64::from_le_bytes(count), round, "nothing is lost");
        file.write_at(0, &(round + 1).to_le_bytes()).expect("write");
        pages.commit(&[file.id()], Durability::Normal, None).expect("commit");
        file.end().expect("end");
    }
}
