//! What every [`Disk`] must do, as checks that panic with what was expected and what came. Implementations call
//! [`disk`] from their tests, natively and in the browser; [`file`] alone where files cannot be opened synchronously.

use crate::{Disk, File, Kind, Open, Result};

/// One named check of a disk.
pub type Check = (&'static str, fn(&dyn Disk));

/// The checks that [`disk`] runs, each on a fresh disk.
pub const CHECKS: &[Check] = &[
    ("opening", opening),
    ("nested names", nested_names),
    ("bad names", bad_names),
    ("shared bytes", shared_bytes),
    ("removing", removing),
    ("renaming", renaming),
    ("persistence", persistence),
    ("file", |disk| file(&*disk.open("file", Open::Create).expect("a new file opens"))),
];

/// Runs every check, each on a new, empty disk from `make`.
pub fn disk(make: impl Fn() -> Box<dyn Disk>) {
    for (_, check) in CHECKS {
        check(&*make());
    }
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

fn names(disk: &dyn Disk) -> Vec<String> {
    let mut names = disk.list().expect("list");
    names.sort();
    names
}

fn create(disk: &dyn Disk, path: &str, bytes: &[u8]) {
    let file = disk.open(path, Open::CreateNew).expect("a new name");
    file.write_at(0, bytes).expect("write");
    file.flush().expect("flush");
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().expect("len")).expect("a small file")];
    assert_eq!(file.read_at(0, &mut bytes).expect("read"), bytes.len());
    bytes
}

fn opening(disk: &dyn Disk) {
    assert_eq!(kind(disk.open("a", Open::Existing)), Some(Kind::NotFound));
    assert!(names(disk).is_empty(), "a failed open creates nothing");
    drop(disk.open("a", Open::CreateNew).expect("a new name"));
    assert_eq!(kind(disk.open("a", Open::CreateNew)), Some(Kind::Exists));
    assert_eq!(disk.open("a", Open::Create).expect("an old name").len().expect("len"), 0);
    assert_eq!(disk.open("a", Open::Existing).expect("an old name").len().expect("len"), 0);
    assert_eq!(names(disk), ["a"]);
}

fn nested_names(disk: &dyn Disk) {
    create(disk, "dir/sub/ü ☃", b"deep");
    create(disk, "dir/other", b"shallow");
    assert_eq!(names(disk), ["dir/other", "dir/sub/ü ☃"]);
    assert_eq!(kind(disk.open("dir/sub/none", Open::Existing)), Some(Kind::NotFound));
    assert_eq!(kind(disk.open("none/sub", Open::Existing)), Some(Kind::NotFound));
    assert_eq!(content(&*disk.open("dir/sub/ü ☃", Open::Existing).expect("open")), b"deep");
}

fn bad_names(disk: &dyn Disk) {
    for path in ["", "/a", "a/", "a//b", "..", "a/../b", "a\\b", "a\0b"] {
        assert_eq!(kind(disk.open(path, Open::Create)), Some(Kind::Invalid), "open {path:?}");
        assert_eq!(kind(disk.remove(path)), Some(Kind::Invalid), "remove {path:?}");
        assert_eq!(kind(disk.rename(path, "b")), Some(Kind::Invalid), "rename from {path:?}");
    }
    create(disk, "a", b"");
    assert_eq!(kind(disk.rename("a", "b/..")), Some(Kind::Invalid));
    assert_eq!(names(disk), ["a"]);
}

fn shared_bytes(disk: &dyn Disk) {
    let one = disk.open("a", Open::Create).expect("open");
    let two = disk.open("a", Open::Create).expect("open again");
    one.write_at(0, b"first").expect("write");
    assert_eq!(content(&*two), b"first");
    two.set_len(2).expect("cut");
    assert_eq!(one.len().expect("len"), 2);
    drop(one);
    two.write_at(2, b"ve").expect("write after the other handle closed");
    assert_eq!(content(&*two), b"five");
}

fn removing(disk: &dyn Disk) {
    assert_eq!(kind(disk.remove("a")), Some(Kind::NotFound));
    create(disk, "a", b"bytes");
    let open = disk.open("a", Open::Existing).expect("open");
    assert_eq!(kind(disk.remove("a")), Some(Kind::Busy));
    assert_eq!(content(&*open), b"bytes", "a refused removal harms nothing");
    drop(open);
    disk.remove("a").expect("remove a closed file");
    assert!(names(disk).is_empty());
    assert_eq!(disk.open("a", Open::Create).expect("open anew").len().expect("len"), 0);
}

fn renaming(disk: &dyn Disk) {
    assert_eq!(kind(disk.rename("a", "b")), Some(Kind::NotFound));
    create(disk, "a", b"from a");
    disk.rename("a", "dir/b").expect("rename into a directory that is not there yet");
    assert_eq!(names(disk), ["dir/b"]);
    create(disk, "c", b"from c, longer");
    disk.rename("dir/b", "c").expect("rename over a closed file");
    assert_eq!(names(disk), ["c"]);
    let open = disk.open("c", Open::Existing).expect("open");
    assert_eq!(content(&*open), b"from a");
    create(disk, "d", b"");
    assert_eq!(kind(disk.rename("c", "e")), Some(Kind::Busy));
    assert_eq!(kind(disk.rename("d", "c")), Some(Kind::Busy));
    assert_eq!(names(disk), ["c", "d"]);
}

fn persistence(disk: &dyn Disk) {
    create(disk, "a", b"kept");
    assert_eq!(content(&*disk.open("a", Open::Existing).expect("open again")), b"kept");
}

/// What an empty, open file must do.
pub fn file(file: &dyn File) {
    assert!(file.is_empty().expect("is_empty"));
    let mut buf = [7; 4];
    assert_eq!(file.read_at(0, &mut buf).expect("read nothing"), 0);
    assert_eq!(buf, [7; 4], "a read that finds nothing leaves the buffer");

    file.write_at(0, b"0123456789").expect("write");
    assert_eq!(file.read_at(8, &mut buf).expect("short read"), 2);
    assert_eq!(&buf[..2], b"89");
    assert_eq!(file.read_at(10, &mut buf).expect("read at the end"), 0);
    assert_eq!(file.read_at(1 << 40, &mut buf).expect("read far beyond the end"), 0);

    file.write_at(4, b"XY").expect("overwrite");
    assert_eq!(content(file), b"0123XY6789");
    file.write_at(5, b"").expect("write nothing");
    file.write_at(12, b"z").expect("write beyond the end");
    assert_eq!(content(file), b"0123XY6789\0\0z", "the gap is zeros");

    file.set_len(3).expect("cut");
    file.set_len(6).expect("extend");
    assert_eq!(content(file), b"012\0\0\0", "what was cut does not come back");
    file.flush().expect("flush");

    // Larger than any ring, cache line or chunk an implementation may have.
    let large: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    file.write_at(3, &large).expect("large write");
    assert_eq!(file.len().expect("len"), 3 + large.len() as u64);
    let mut back = vec![0; large.len()];
    assert_eq!(file.read_at(3, &mut back).expect("large read"), large.len());
    assert!(back == large, "a large write reads back");
    file.flush().expect("flush");
    file.set_len(0).expect("empty");
    assert!(file.is_empty().expect("is_empty"));
}
