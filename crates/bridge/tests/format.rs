//! The bytes of ring and board are those of `docs/ring-format.md` and `docs/board-format.md`: samples, kept since they were new,
//! are what today's code writes and what it reads. `ring-v3.hex` holds the header and the requests; every line is 8 words.
//! `board-v1.hex` holds those lines of a board that are not all zeros, each after its offset.

use statik_bridge::board::{self, Guest, Owner};
use statik_bridge::metrics::Op;
use statik_bridge::native::{SharedCells, clock};
use statik_bridge::pages::{CommitId, PAGE_BYTES, Version, View};
use statik_bridge::ring::{Caller, Deadline, Request};
use statik_bridge::{Cells, DiskHost, Host, Server};
use statik_disk::{Disk, MemDisk, Open};
use std::time::Duration;

const SAMPLE: &str = include_str!("ring-v3.hex");
const BOARD: &str = include_str!("board-v1.hex");
/// The id that the sample's commit has.
const ID: CommitId = CommitId(0xff0e_0d0c_0b0a_0908_0706_0504_0302_0100);
const RING_BYTES: usize = 33 * 1024;
const BOARD_BYTES: usize = board::bytes(64);

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("two digits");
    digits.chunks(2).map(byte).collect()
}

/// A line of words.
fn hex(line: &[u8]) -> String {
    let words = line.chunks(4).map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect());
    words.collect::<Vec<String>>().join(" ") + "\n"
}

#[test]
fn the_client_writes_the_sample() {
    let ring = SharedCells::new(RING_BYTES);
    let mut caller = Caller::new(Box::new(ring.clone()), Box::new(SharedCells::new(64)), 0).unwrap();
    let open = Request { handle: 7, count: 1, ..Request::new(Op::Open) };
    let write = Request { handle: 7, offset: 3, ..Request::new(Op::Write) };
    let len = Request { handle: 7, ..Request::new(Op::Len) };
    let attach = Request { handle: 8, count: 1, ..Request::new(Op::Attach) };
    let lock = Request { handle: 8, count: 1000, ..Request::new(Op::WaitLock) };
    let stage = Request { handle: 8, offset: 4094, ..Request::new(Op::Stage) };
    let committed = Request::new(Op::Committed);
    let commit = Request { offset: 16, count: 2, ..Request::new(Op::Commit) };
    let id = ID.0.to_le_bytes();
    let parts = [&id[..], &[8, 0, 0, 0, 1, 0, 0, 0]].concat();
    let file = [(open, &b"notes/today"[..]), (write, b"milk"), (len, b"")];
    let pages = [(attach, &b"app.db"[..]), (lock, b""), (stage, b"page"), (committed, &id), (commit, &parts)];
    for (request, payload) in file.into_iter().chain(pages) {
        caller.post(&request, payload, &Deadline::after(Duration::from_secs(1), clock)).unwrap();
    }
    let mut bytes = vec![0; unhex(SAMPLE).len()];
    ring.read(0, &mut bytes);
    assert_eq!(bytes.chunks(32).map(hex).collect::<String>(), SAMPLE);
}

#[test]
fn the_server_reads_the_sample() {
    let ring = SharedCells::new(RING_BYTES);
    ring.write(0, &unhex(SAMPLE));
    let server = Server::new(DiskHost::in_memory(MemDisk::new()), SharedCells::new(BOARD_BYTES), clock).unwrap();
    server.add_client(1, ring.clone()).unwrap();
    while server.work() {}
    let answer: Vec<_> = (9..14).map(|word| ring.load(word)).collect();
    assert_eq!(answer, [8, 0, 1, 0, 8], "the eighth request's answer: the first commit, and one length");
    let mut length = [0; 8];
    ring.read(64 + 16 * 1024, &mut length);
    assert_eq!(u64::from_le_bytes(length), 4098);
    assert_eq!(server.host().pages().committed(ID), Some(1));
    let mut page = [0; PAGE_BYTES];
    server.host().pages().read(0, 1, 1, &mut page, &mut |_, _| {}).unwrap();
    assert_eq!(&page[..3], b"ge\0");
    let mut bytes = [0; 7];
    server.host().0.open("notes/today", Open::Existing).unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0\0\0milk");
}

/// A file that two commits changed, one client's view of the first, another's write lock that a third one waits for.
#[test]
fn the_server_writes_the_sample_of_a_board() {
    let cells = SharedCells::new(board::bytes(16));
    let mut owner = Owner::new(Box::new(cells.clone()), 0x1_0000_0006).unwrap();
    (0..3).for_each(|id| owner.add_client(id));
    let file = owner.open_file(View { seq: 5, len: 8192 }).unwrap();
    owner.fill(file, 1, Version { from: 0, until: None }, &page(b"milk"));
    let old = Guest::new(Box::new(cells.clone()), 1).unwrap();
    old.view(file).unwrap();
    owner.fill(file, 1, Version { from: 0x1_0000_0007, until: None }, &page(b"oats"));
    owner.fill(file, 2, Version { from: 0x1_0000_0007, until: None }, &page(b"eggs"));
    owner.set_file(file, View { seq: 0x1_0000_0007, len: 12288 });
    assert!(Guest::new(Box::new(cells.clone()), 0).unwrap().try_lock(file));
    assert_eq!(owner.queue(file), Some(0));
    owner.raise_horizon(0x1_0000_0008);
    let mut bytes = vec![0; cells.len()];
    cells.read(0, &mut bytes);
    let lines = bytes.chunks(32).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != 0));
    let text = lines.map(|(number, line)| format!("{:08x} {}", number * 32, hex(line))).collect::<String>();
    assert_eq!(text, BOARD);
}

#[test]
fn the_client_reads_the_sample_of_a_board() {
    let cells = SharedCells::new(board::bytes(16));
    for line in BOARD.lines() {
        let (offset, bytes) = line.split_at(8);
        cells.write(usize::from_str_radix(offset, 16).unwrap(), &unhex(bytes));
    }
    let guest = Guest::new(Box::new(cells.clone()), 2).unwrap();
    let view = guest.view(0).unwrap();
    assert_eq!(view, View { seq: 0x1_0000_0008, len: 12288 });
    assert_eq!(cells.load((64 + 2 * 64) / 4), 17, "the pin");
    assert!(guest.is_newest(0, View { seq: 0x1_0000_0007, len: 0 }).unwrap());
    assert!(!guest.is_newest(0, View { seq: 0x1_0000_0006, len: 0 }).unwrap());
    assert!(!guest.try_lock(0), "another client has it");
    let read = |number, seq| {
        let mut bytes = [0; PAGE_BYTES];
        guest.read(0, number, seq, 0, &mut bytes).then(|| bytes.to_vec())
    };
    assert_eq!(read(1, view.seq), Some(page(b"oats")));
    assert_eq!(read(1, 0x1_0000_0006), Some(page(b"milk")));
    assert_eq!(read(2, view.seq), Some(page(b"eggs")));
    assert_eq!(read(2, 0x1_0000_0006), None);
}

fn page(text: &[u8]) -> Vec<u8> {
    let mut page = text.to_vec();
    page.resize(PAGE_BYTES, 0);
    page
}
