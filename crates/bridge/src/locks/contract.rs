//! What every [`Locks`] must do, as checks that panic with what was expected and what came.

use statik_disk::{Kind, Result};

use super::{Level, Lock, Locks};

/// Runs every check, each on new locks from `make`.
pub fn locks(make: impl Fn() -> Box<dyn Locks>) {
    let checks: [fn(&dyn Locks); 8] =
        [readers, one_writer, pending, hot_journal, lowering, dropping, paths, wrong_ways];
    for check in checks {
        check(&*make());
    }
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

fn open(locks: &dyn Locks) -> Box<dyn Lock> {
    locks.open("app.db").expect("a lock opens")
}

/// A new holder that was raised through `levels`.
fn at(locks: &dyn Locks, levels: &[Level]) -> Box<dyn Lock> {
    let lock = open(locks);
    for level in levels {
        lock.raise(*level).expect("nobody is in the way");
    }
    lock
}

const WRITING: [Level; 3] = [Level::Shared, Level::Reserved, Level::Exclusive];

fn readers(locks: &dyn Locks) {
    let readers = [at(locks, &[Level::Shared]), at(locks, &[Level::Shared]), at(locks, &[Level::Shared])];
    readers[0].raise(Level::Shared).expect("it is there already");
    assert!(!readers[0].reserved().expect("reserved"), "readers reserve nothing");
}

fn one_writer(locks: &dyn Locks) {
    let writer = at(locks, &WRITING[..2]);
    let reader = at(locks, &WRITING[..1]);
    assert!(reader.reserved().expect("reserved"), "a reader sees the reservation");
    assert!(writer.reserved().expect("reserved"), "so does its holder");
    assert_eq!(kind(reader.raise(Level::Reserved)), Some(Kind::Busy));
    assert_eq!(kind(reader.raise(Level::Exclusive)), Some(Kind::Busy));
    reader.lower(Level::None).expect("lower");
    writer.raise(Level::Exclusive).expect("the reader is gone");
    assert_eq!(kind(reader.raise(Level::Shared)), Some(Kind::Busy));
    assert!(reader.reserved().expect("reserved"));
}

fn pending(locks: &dyn Locks) {
    let reader = at(locks, &WRITING[..1]);
    let writer = at(locks, &WRITING[..2]);
    at(locks, &WRITING[..1]);
    assert_eq!(kind(writer.raise(Level::Exclusive)), Some(Kind::Busy));
    assert_eq!(kind(open(locks).raise(Level::Shared)), Some(Kind::Busy), "no new readers while a writer waits");
    reader.raise(Level::Shared).expect("the old reader reads on");
    assert!(reader.reserved().expect("reserved"));
    reader.lower(Level::None).expect("lower");
    assert_eq!(kind(reader.raise(Level::Shared)), Some(Kind::Busy), "who left is new again");
    writer.raise(Level::Exclusive).expect("the last reader is gone");
}

fn hot_journal(locks: &dyn Locks) {
    let one = at(locks, &[Level::Shared]);
    let two = at(locks, &[Level::Shared]);
    assert_eq!(kind(one.raise(Level::Exclusive)), Some(Kind::Busy));
    assert!(!two.reserved().expect("reserved"), "a refusal that did not begin at Reserved leaves nothing");
    drop(two);
    one.raise(Level::Exclusive).expect("alone");
}

fn lowering(locks: &dyn Locks) {
    let writer = at(locks, &WRITING);
    writer.lower(Level::Shared).expect("lower");
    let reader = at(locks, &WRITING[..1]);
    assert!(!reader.reserved().expect("reserved"));
    writer.lower(Level::Shared).expect("it is there already");
    writer.lower(Level::None).expect("lower");
    writer.lower(Level::Shared).expect("it is lower already");
    reader.raise(Level::Exclusive).expect("lowering to Shared from None raised nothing");
}

fn dropping(locks: &dyn Locks) {
    drop(at(locks, &WRITING));
    let writer = at(locks, &WRITING[..2]);
    let reader = at(locks, &WRITING[..1]);
    assert_eq!(kind(writer.raise(Level::Exclusive)), Some(Kind::Busy));
    drop(writer);
    assert!(!reader.reserved().expect("reserved"));
    at(locks, &WRITING[..2]);
}

fn paths(locks: &dyn Locks) {
    let _writer = at(locks, &WRITING);
    let other = locks.open("dir/other.db").expect("another path");
    WRITING.into_iter().for_each(|level| other.raise(level).expect("another file's lock"));
    assert_eq!(kind(locks.open("../outside")), Some(Kind::Invalid));
}

fn wrong_ways(locks: &dyn Locks) {
    let lock = open(locks);
    for (levels, to) in [
        (&WRITING[..0], Level::Reserved),
        (&WRITING[..0], Level::Exclusive),
        (&WRITING[..1], Level::Pending),
        (&WRITING[..2], Level::Pending),
    ] {
        levels.iter().for_each(|level| lock.raise(*level).expect("alone"));
        assert_eq!(kind(lock.raise(to)), Some(Kind::Invalid), "from {levels:?} to {to:?}");
        lock.lower(Level::None).expect("lower");
    }
    for to in [Level::Reserved, Level::Pending, Level::Exclusive] {
        assert_eq!(kind(lock.lower(to)), Some(Kind::Invalid), "lowering to {to:?}");
    }
}
