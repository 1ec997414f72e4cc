//! The origin private file system as the bridge's host and, for prepared files, as a disk.
//!
//! The checks of names are those of `contract::disk`, asynchronously.

use std::rc::Rc;
use std::time::Duration;

use js_sys::{Function, Object, Reflect};
use statik_bridge::AsyncDisk;
use statik_browser::{Opfs, OpfsOptions, clock, sanity};
use statik_disk::{Disk, File, Kind, Open, Result, contract};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

/// A new store; `name` is the test's own, and every run has an origin of its own.
async fn store(name: &str) -> Opfs {
    Opfs::open(name, OpfsOptions::default()).await.expect("the store opens")
}

async fn open(opfs: &Opfs, path: &str, open: Open) -> Result<Rc<dyn File>> {
    AsyncDisk::open(opfs, path, open).await
}

async fn create(opfs: &Opfs, path: &str, bytes: &[u8]) {
    let file = open(opfs, path, Open::CreateNew).await.expect("a new name");
    file.write_at(0, bytes).expect("write");
    file.flush().expect("flush");
}

async fn content(opfs: &Opfs, path: &str) -> Vec<u8> {
    bytes(&*open(opfs, path, Open::Existing).await.expect("an old name"))
}

fn bytes(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().expect("len") as usize];
    assert_eq!(file.read_at(0, &mut bytes).expect("read"), bytes.len());
    bytes
}

async fn names(opfs: &Opfs) -> Vec<String> {
    let mut names = AsyncDisk::list(opfs).await.expect("list");
    names.sort();
    names
}

async fn remove(opfs: &Opfs, path: &str) -> Result<()> {
    AsyncDisk::remove(opfs, path).await
}

async fn rename(opfs: &Opfs, from: &str, to: &str) -> Result<()> {
    AsyncDisk::rename(opfs, from, to).await
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

#[wasm_bindgen_test]
async fn a_file_keeps_the_contract() {
    let opfs = store("file").await;
    contract::file(&*open(&opfs, "dir/file", Open::CreateNew).await.expect("open"));
}

#[wasm_bindgen_test]
async fn opening_creates_as_asked() {
    let opfs = store("opening").await;
    assert_eq!(kind(open(&opfs, "a", Open::Existing).await), Some(Kind::NotFound));
    assert_eq!(kind(open(&opfs, "none/sub", Open::Existing).await), Some(Kind::NotFound));
    assert!(names(&opfs).await.is_empty(), "a failed open creates nothing");
    drop(open(&opfs, "a", Open::CreateNew).await.expect("a new name"));
    assert_eq!(kind(open(&opfs, "a", Open::CreateNew).await), Some(Kind::Exists), "its handle is idle");
    opfs.close_idle(f64::INFINITY);
    assert_eq!(kind(open(&opfs, "a", Open::CreateNew).await), Some(Kind::Exists), "its handle is closed");
    assert_eq!(content(&opfs, "a").await, b"");
    drop(open(&opfs, "a", Open::Create).await.expect("an old name"));
    assert_eq!(names(&opfs).await, ["a"]);
}

#[wasm_bindgen_test]
async fn names_have_directories_and_any_letters() {
    let opfs = store("names").await;
    let paths = [".hidden", "a:b*c?\"<>|", "app.db-journal", "dir/other", "dir/sub/ü ☃", "x.crswap"];
    for path in paths {
        create(&opfs, path, path.as_bytes()).await;
    }
    assert_eq!(names(&opfs).await, paths);
    let long = format!("{}/{}", "d".repeat(250), "f".repeat(250));
    create(&opfs, &long, b"long").await;
    opfs.close_idle(f64::INFINITY);
    for path in paths {
        assert_eq!(content(&opfs, path).await, path.as_bytes());
    }
    assert_eq!(content(&opfs, &long).await, b"long");
    for path in ["", "/a", "a/", "a//b", "..", "a/../b", "a\\b", "a\0b"] {
        assert_eq!(kind(open(&opfs, path, Open::Create).await), Some(Kind::Invalid), "open {path:?}");
        assert_eq!(kind(remove(&opfs, path).await), Some(Kind::Invalid), "remove {path:?}");
        assert_eq!(kind(rename(&opfs, path, "b").await), Some(Kind::Invalid), "rename from {path:?}");
        assert_eq!(kind(rename(&opfs, ".hidden", path).await), Some(Kind::Invalid), "rename to {path:?}");
    }
}

#[wasm_bindgen_test]
async fn a_directory_is_no_file_and_a_file_no_directory() {
    let opfs = store("sorts").await;
    create(&opfs, "dir/file", b"").await;
    assert_eq!(kind(open(&opfs, "dir", Open::Existing).await), Some(Kind::NotFound));
    assert_eq!(kind(open(&opfs, "dir", Open::Create).await), Some(Kind::Exists));
    assert_eq!(kind(open(&opfs, "dir/file/below", Open::Existing).await), Some(Kind::NotFound));
    assert_eq!(kind(open(&opfs, "dir/file/below", Open::Create).await), Some(Kind::Exists));
    assert_eq!(kind(remove(&opfs, "dir").await), Some(Kind::NotFound));
    assert_eq!(kind(rename(&opfs, "dir", "other").await), Some(Kind::NotFound));
    assert_eq!(names(&opfs).await, ["dir/file"]);
    remove(&opfs, "dir/file").await.expect("remove");
    create(&opfs, "dir", b"now a file").await;
    assert_eq!(names(&opfs).await, ["dir"]);
}

#[wasm_bindgen_test]
async fn handles_of_one_path_share_its_bytes() {
    let opfs = store("shared").await;
    let one = open(&opfs, "a", Open::Create).await.expect("open");
    let two = open(&opfs, "a", Open::Create).await.expect("open again");
    assert_eq!(opfs.handle_count(), 1);
    one.write_at(0, b"first").expect("write");
    assert_eq!(bytes(&*two), b"first");
    two.set_len(2).expect("cut");
    assert_eq!(one.len().expect("len"), 2);
    drop(one);
    two.write_at(2, b"ve").expect("write after the other closed");
    assert_eq!(bytes(&*two), b"five");
}

#[wasm_bindgen_test]
async fn openings_at_the_same_time_share_a_handle() {
    let opfs = store("race").await;
    let (one, two) = futures_util::join!(open(&opfs, "a/b", Open::Create), open(&opfs, "a/b", Open::Create));
    one.expect("open").write_at(0, b"both").expect("write");
    assert_eq!(bytes(&*two.expect("open")), b"both");
    let (one, two) = futures_util::join!(open(&opfs, "c", Open::CreateNew), open(&opfs, "c", Open::CreateNew));
    assert_eq!((kind(one), kind(two)), (None, Some(Kind::Exists)));
}

#[wasm_bindgen_test]
async fn removing_takes_closed_files_and_empty_directories() {
    let opfs = store("removing").await;
    assert_eq!(kind(remove(&opfs, "a").await), Some(Kind::NotFound));
    create(&opfs, "dir/sub/a", b"bytes").await;
    create(&opfs, "dir/b", b"").await;
    let file = open(&opfs, "dir/sub/a", Open::Existing).await.expect("open");
    assert_eq!(kind(remove(&opfs, "dir/sub/a").await), Some(Kind::Busy));
    assert_eq!(bytes(&*file), b"bytes", "a refused removal harms nothing");
    drop(file);
    remove(&opfs, "dir/sub/a").await.expect("remove a closed file");
    assert_eq!(names(&opfs).await, ["dir/b"]);
    create(&opfs, "dir/sub", b"the directory has gone").await;
    remove(&opfs, "dir/sub").await.expect("remove");
    assert_eq!(bytes(&*open(&opfs, "dir/sub/a", Open::Create).await.expect("open anew")), b"");
}

async fn check_renaming(opfs: &Opfs) {
    assert_eq!(kind(rename(opfs, "a", "b").await), Some(Kind::NotFound));
    create(opfs, "a", b"from a").await;
    rename(opfs, "a", "dir/b").await.expect("rename into a directory that is not there yet");
    assert_eq!(names(opfs).await, ["dir/b"]);
    create(opfs, "c", b"from c, longer").await;
    rename(opfs, "dir/b", "c").await.expect("rename over a closed file");
    assert_eq!(names(opfs).await, ["c"]);
    rename(opfs, "c", "c").await.expect("rename to the same name");
    let file = open(opfs, "c", Open::Existing).await.expect("open");
    assert_eq!(bytes(&*file), b"from a");
    create(opfs, "d", b"").await;
    assert_eq!(kind(rename(opfs, "c", "e").await), Some(Kind::Busy));
    assert_eq!(kind(rename(opfs, "d", "c").await), Some(Kind::Busy));
    assert_eq!(names(opfs).await, ["c", "d"]);
    drop(file);
    create(opfs, "dir", b"the directory has gone").await;
}

#[wasm_bindgen_test]
async fn renaming_replaces() {
    check_renaming(&store("renaming").await).await;
}

#[wasm_bindgen_test]
async fn renaming_copies_where_files_cannot_be_moved() {
    let global = js_sys::global();
    let class = Reflect::get(&global, &"FileSystemHandle".into()).expect("FileSystemHandle");
    let file_class = Reflect::get(&global, &"FileSystemFileHandle".into()).expect("FileSystemFileHandle");
    let prototypes = [class, file_class].map(|class| Reflect::get(&class, &"prototype".into()).expect("prototype"));
    let key = JsValue::from_str("move");
    let owner = prototypes.iter().map(|prototype| prototype.unchecked_ref()).find(|p| Object::has_own(p, &key));
    let owner: &Object = owner.expect("this browser can move files");
    let original: Function = Reflect::get(owner, &key).expect("move").unchecked_into();
    assert!(Reflect::delete_property(owner, &key).expect("delete"));

    let opfs = store("copying").await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 253) as u8).collect();
    create(&opfs, "large", &large).await;
    rename(&opfs, "large", "other").await.expect("rename");
    assert!(content(&opfs, "other").await == large);
    remove(&opfs, "other").await.expect("remove");
    check_renaming(&opfs).await;

    assert!(Reflect::set(owner, &key, &original).expect("set"));
}

#[wasm_bindgen_test]
async fn what_was_flushed_is_there_for_the_next_opener() {
    let opfs = store("persistence").await;
    create(&opfs, "dir/a", b"kept").await;
    opfs.close().expect("close");
    let again = store("persistence").await;
    assert_eq!(names(&again).await, ["dir/a"]);
    assert_eq!(content(&again, "dir/a").await, b"kept");
    assert!(names(&store("persistence2").await).await.is_empty(), "stores are apart");
}

#[wasm_bindgen_test]
async fn what_another_has_open_is_busy() {
    let opfs = store("busy").await;
    let file = open(&opfs, "a", Open::Create).await.expect("open");
    let other = store("busy").await;
    assert_eq!(kind(open(&other, "a", Open::Existing).await), Some(Kind::Busy));
    assert_eq!(kind(remove(&other, "a").await), Some(Kind::Busy));
    assert_eq!(kind(rename(&other, "a", "b").await), Some(Kind::Busy));
    file.write_at(0, b"unharmed").expect("write");
    drop(file);
    opfs.close().expect("close");
    assert_eq!(content(&other, "a").await, b"unharmed");
}

#[wasm_bindgen_test]
async fn what_is_let_go_in_time_is_not_busy() {
    let opfs = store("patience").await;
    create(&opfs, "a", b"").await;
    let other = store("patience").await;
    let let_go = async {
        clock::sleep(60.0).await;
        opfs.close().expect("close");
    };
    let (opened, ()) = futures_util::join!(open(&other, "a", Open::Existing), let_go);
    opened.expect("the handle came free while it was tried again");
}

#[wasm_bindgen_test]
async fn idle_handles_are_closed_in_time() {
    let options = OpfsOptions { idle: Duration::from_secs(10), ..OpfsOptions::default() };
    let opfs = Opfs::open("idle", options).await.expect("the store opens");
    let file = open(&opfs, "used", Open::Create).await.expect("open");
    create(&opfs, "a", b"").await;
    assert_eq!(opfs.handle_count(), 2, "a closed file's handle stays");
    let close_at = opfs.close_idle(clock::now_ms()).expect("a handle is idle");
    assert_eq!(opfs.handle_count(), 2);
    assert_eq!(opfs.close_idle(close_at), None);
    assert_eq!(opfs.handle_count(), 1, "the idle one is closed, the used one is not");
    file.write_at(0, b"x").expect("write");
    assert_eq!(content(&opfs, "a").await, b"", "what was closed opens again");
}

#[wasm_bindgen_test]
async fn idle_handles_are_closed_by_a_timer() {
    let options = OpfsOptions { idle: Duration::from_millis(100), ..OpfsOptions::default() };
    let opfs = Opfs::open("timer", options).await.expect("the store opens");
    create(&opfs, "a", b"").await;
    let give_up_ms = clock::now_ms() + 10_000.0;
    while opfs.handle_count() > 0 {
        assert!(clock::now_ms() < give_up_ms, "the handle is still open");
        clock::sleep(10.0).await;
    }
}

#[wasm_bindgen_test]
async fn idle_handles_are_limited_in_number() {
    let opfs = store("limit").await;
    for i in 0..70 {
        create(&opfs, &format!("{i}"), b"").await;
    }
    assert!(opfs.handle_count() <= 65, "{} handles are open", opfs.handle_count());
    let other = store("limit").await;
    open(&other, "0", Open::Existing).await.expect("the handle used longest ago is closed");
    assert_eq!(kind(open(&other, "69", Open::Existing).await), Some(Kind::Busy), "the last one is kept");
}

#[wasm_bindgen_test]
async fn prepared_files_open_synchronously() {
    let opfs = store("direct").await;
    let disk: &dyn Disk = &opfs;
    assert_eq!(kind(disk.open("a", Open::Create)), Some(Kind::Unsupported));
    opfs.prepare(&[("a", Open::Create), ("dir/b", Open::Create)]).await.expect("prepare");
    contract::file(&*disk.open("a", Open::Create).expect("open"));
    assert_eq!(kind(disk.open("a", Open::CreateNew)), Some(Kind::Exists));
    opfs.close_idle(f64::INFINITY);
    disk.open("dir/b", Open::Existing).expect("a prepared handle outlasts idleness");
    opfs.release(&["a", "dir/b"]);
    opfs.close_idle(f64::INFINITY);
    assert_eq!(opfs.handle_count(), 0);
    assert_eq!(kind(disk.open("a", Open::Existing)), Some(Kind::Unsupported));
    assert_eq!(kind(opfs.prepare(&[("a", Open::Existing), ("none", Open::Existing)]).await), Some(Kind::NotFound));
    opfs.close_idle(f64::INFINITY);
    assert_eq!(opfs.handle_count(), 0, "what fails keeps nothing open");
    assert_eq!(kind(disk.remove("a")), Some(Kind::Unsupported));
    assert_eq!(kind(disk.rename("a", "b")), Some(Kind::Unsupported));
    assert_eq!(kind(disk.list()), Some(Kind::Unsupported));
}

#[wasm_bindgen_test]
async fn a_closed_store_says_so() {
    let opfs = store("closed").await;
    let file = open(&opfs, "a", Open::Create).await.expect("open");
    file.write_at(0, b"flushed").expect("write");
    opfs.close().expect("close");
    assert_eq!(kind(file.write_at(0, b"x")), Some(Kind::Closed));
    assert_eq!(kind(file.read_at(0, &mut [0])), Some(Kind::Closed));
    assert_eq!(kind(file.flush()), Some(Kind::Closed));
    assert_eq!(kind(open(&opfs, "a", Open::Create).await), Some(Kind::Closed));
    assert_eq!(kind(Disk::open(&opfs, "a", Open::Create)), Some(Kind::Closed));
    assert_eq!(kind(remove(&opfs, "a").await), Some(Kind::Closed));
    assert_eq!(kind(AsyncDisk::list(&opfs).await), Some(Kind::Closed));
    assert_eq!(content(&store("closed").await, "a").await, b"flushed");
}

#[wasm_bindgen_test]
async fn stores_have_plain_names() {
    for name in ["", "a/b", "..", "ü", &"x".repeat(65)] {
        assert_eq!(kind(Opfs::open(name, OpfsOptions::default()).await), Some(Kind::Invalid), "{name:?}");
    }
}

#[wasm_bindgen_test]
async fn a_sound_store_is_sane() {
    let opfs = store("sanity").await;
    create(&opfs, "a", b"").await;
    sanity::check(&opfs).await.expect("sane");
    sanity::check(&opfs).await.expect("still sane");
    assert_eq!(names(&opfs).await, ["a"]);
}
