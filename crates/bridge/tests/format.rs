//! The ring's bytes are those of `docs/ring-format.md`: a sample, kept from version 1, is what today's client writes and
//! what today's server reads. `ring-v1.hex` holds the header and the requests; every line is 8 words.

use statik_bridge::metrics::Op;
use statik_bridge::native::{SharedCells, clock};
use statik_bridge::ring::{Caller, Deadline, Request};
use statik_bridge::{Cells, DiskHost, Server};
use statik_disk::{Disk, MemDisk, Open};
use std::time::Duration;

const SAMPLE: &str = include_str!("ring-v1.hex");
const RING_BYTES: usize = 33 * 1024;

fn sample() -> Vec<u8> {
    let digits: Vec<u8> = SAMPLE.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("two digits");
    digits.chunks(2).map(byte).collect()
}

#[test]
fn the_client_writes_the_sample() {
    let ring = SharedCells::new(RING_BYTES);
    let mut caller = Caller::new(Box::new(ring.clone()), Box::new(SharedCells::new(64)), 0).unwrap();
    let open = Request { handle: 7, count: 1, ..Request::new(Op::Open) };
    let write = Request { handle: 7, offset: 3, ..Request::new(Op::Write) };
    let len = Request { handle: 7, ..Request::new(Op::Len) };
    for (request, payload) in [(open, &b"notes/today"[..]), (write, b"milk"), (len, b"")] {
        caller.post(&request, payload, &Deadline::after(Duration::from_secs(1), clock)).unwrap();
    }
    let mut bytes = vec![0; sample().len()];
    ring.read(0, &mut bytes);
    let lines: Vec<_> = bytes.chunks(4).map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    let text: Vec<_> = lines.chunks(8).map(|line: &[String]| line.join(" ") + "\n").collect();
    assert_eq!(text.concat(), SAMPLE);
}

#[test]
fn the_server_reads_the_sample() {
    let ring = SharedCells::new(RING_BYTES);
    ring.write(0, &sample());
    let server = Server::new(DiskHost(MemDisk::new()), clock);
    server.add_client(1, ring.clone()).unwrap();
    while server.work() {}
    let answer: Vec<_> = (9..14).map(|word| ring.load(word)).collect();
    assert_eq!(answer, [3, 0, 7, 0, 0], "the third request's answer: seven bytes");
    let mut bytes = [0; 7];
    server.host().0.open("notes/today", Open::Existing).unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0\0\0milk");
}
