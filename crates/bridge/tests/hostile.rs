//! Neither end trusts the other: whatever bytes it finds in the ring, it neither panics, nor hangs, nor allocates
//! much. Every run is made from a seed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use statik_bridge::board;
use statik_bridge::metrics::Op;
use statik_bridge::native::{SharedCells, Thread, clock};
use statik_bridge::pages::{Durability, Pages};
use statik_bridge::ring::{Caller, Deadline, Request, word};
use statik_bridge::{Cells, Client, ClientOptions, DiskHost, Server};
use statik_disk::{Disk, Error, Faults, Kind, MemDisk, Open, Result, SimDisk};

const RING_BYTES: usize = 33 * 1024;
const CAPACITY: u64 = 16 * 1024;
const HEADER_WORDS: usize = 16;
const OPTIONS: ClientOptions = ClientOptions { deadline: Duration::from_millis(2), spin: 0 };

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Mostly small, sometimes around what a ring holds, sometimes anything.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 | 1 => self.below(6),
            2 => CAPACITY - 2 + self.below(4),
            _ => self.next(),
        }
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Mostly what is right but for some of its numbers, so that there is a next one.
    fn request(&mut self) -> Request {
        const OF_FILES: [Op; 5] = [Op::Read, Op::Write, Op::Flush, Op::SetLen, Op::Len];
        const OF_PAGES: [Op; 7] =
            [Op::ReadPages, Op::ReadStaged, Op::Stage, Op::StageLen, Op::Release, Op::WaitLock, Op::Commit];
        const OF_ALL: [Op; 5] = [Op::List, Op::Durable, Op::Checkpoint, Op::Usage, Op::Committed];
        let (ops, first) =
            [(&OF_FILES[..], 0), (&OF_PAGES, 2), (&OF_PAGES, 2), (&OF_ALL, 0), (&Op::ALL, 0)][self.below(5) as usize];
        let wrong = self.below(8) == 0;
        let op = ops[self.below(ops.len() as u64) as usize];
        Request {
            op,
            handle: if wrong { self.below(4) as u32 } else { first + self.below(2) as u32 },
            // A commit's is how long its id is.
            offset: if op == Op::Commit && !wrong { 16 * self.below(2) } else { self.number() },
            count: if wrong { self.number() } else { 1 + self.below(2) } as u32,
        }
    }

    fn path(&mut self) -> Vec<u8> {
        match self.below(5) {
            0 => self.bytes(9),
            1 => b"../outside".to_vec(),
            2 => vec![b'x'; 3000],
            _ => vec![b'a' + self.below(3) as u8],
        }
    }
}

const BOARD_BYTES: usize = board::bytes(64);

/// A client that does not use its server's board.
fn connect(ring: SharedCells, bell: SharedCells) -> Result<Client> {
    Client::new(ring, bell, SharedCells::new(64), 0, OPTIONS, clock)
}

/// A server on a disk that grows to 1 MiB at most.
fn server() -> Server<DiskHost<SimDisk>> {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { quota_bytes: Some(1 << 20), ..Faults::default() });
    Server::new(DiskHost::in_memory(disk), SharedCells::new(BOARD_BYTES), clock).unwrap()
}

/// Works until there is nothing to do, which must be soon.
fn work(server: &Server<DiskHost<SimDisk>>, seed: u64) {
    assert!((0..10_000).any(|_| !server.work()), "seed {seed}: the server works without end");
}

#[test]
fn a_server_survives_a_ring_of_garbage() {
    let sound = SharedCells::new(RING_BYTES);
    let _client = connect(sound.clone(), SharedCells::new(64)).unwrap();
    let header: Vec<_> = (0..HEADER_WORDS).map(|word| sound.load(word)).collect();
    let server = server();
    for seed in 0..2000 {
        let mut random = Random(seed);
        let ring = SharedCells::new(RING_BYTES);
        ring.write(0, &random.bytes(1024));
        // What is right by chance lets the rest be looked at.
        for word in (0..HEADER_WORDS).filter(|word| random.below(8) != 0 || *word < 3) {
            ring.store(word, header[word]);
        }
        ring.store(5, (random.number() as i32) & !7);
        server.add_client(1, ring.clone()).unwrap();
        work(&server, seed);
        if ring.load(5) != 0 {
            assert_ne!(ring.load(word::DEAD), 0, "seed {seed}: what cannot be read ends the ring");
        }
        server.remove_client(1);
    }
}

#[test]
fn a_server_survives_frames_that_no_client_would_post() {
    let (mut answered, mut refused, mut committed) = (0, 0, 0);
    for seed in 0..2000 {
        let mut random = Random(seed);
        let ring = SharedCells::new(RING_BYTES);
        let server = server();
        server.add_client(1, ring.clone()).unwrap();
        let mut caller = Caller::new(Box::new(ring.clone()), Box::new(SharedCells::new(64)), 0).unwrap();
        for number in 0..40 {
            // Two files and two handles of a file of pages are open, and something is staged; then come operations that may be about them.
            let request = match number {
                0 | 1 => Request { handle: number, count: 1, ..Request::new(Op::Open) },
                2 | 3 => Request { handle: number, count: 1, ..Request::new(Op::Attach) },
                4 => Request { handle: 2, ..Request::new(Op::WaitLock) },
                5 => Request { handle: 2, ..Request::new(Op::Stage) },
                _ => random.request(),
            };
            let payload = match (number, request.op) {
                (0 | 1, _) => b"a".to_vec(),
                (2 | 3, _) => b"p".to_vec(),
                (_, Op::ReadPages) => random.below(2).to_le_bytes().to_vec(),
                (_, Op::Commit) => {
                    let id = random.bytes(request.offset.min(20) as usize);
                    [id, [2, random.below(3) as u32].map(u32::to_le_bytes).concat()].concat()
                }
                (_, Op::Committed) => vec![7; 15 + random.below(2) as usize],
                _ => random.path(),
            };
            if caller.post(&request, &payload, &Deadline::after(OPTIONS.deadline, clock)).is_err() {
                refused += 1;
                break;
            }
            work(&server, seed);
            answered += usize::from(caller.wait(number + 1, &Deadline::after(Duration::ZERO, clock)).is_ok());
        }
        committed += server.usage().commits;
        let files = server.host().0.list().unwrap();
        assert!(files.iter().all(|path| path.len() == 1), "seed {seed}: {files:?}");
    }
    let counts = (answered, refused, committed);
    assert!(answered > 8000 && refused > 1000 && committed > 100, "all happen often: {counts:?}");
}

#[test]
fn a_server_survives_bytes_that_change_under_it() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let ring = SharedCells::new(RING_BYTES);
        let server = server();
        server.add_client(1, ring.clone()).unwrap();
        let mut caller = Caller::new(Box::new(ring.clone()), Box::new(SharedCells::new(64)), 0).unwrap();
        for number in 0..20_u32 {
            let op = [Op::Open, Op::Write, Op::Read, Op::Flush][number.min(3) as usize];
            let request = Request { handle: 0, offset: 0, count: 1, op };
            // A ring that was ended takes no more; what is scribbled over it must still not harm the server.
            let _ended = caller.post(&request, b"a", &Deadline::after(OPTIONS.deadline, clock));
            let word = random.below((RING_BYTES / 4) as u64) as usize;
            ring.store(if random.below(2) == 0 { word % HEADER_WORDS } else { word }, random.number() as i32);
            work(&server, seed);
        }
    }
}

#[test]
fn a_server_and_its_clients_survive_a_board_that_somebody_scribbles_on() {
    const OFTEN_BYTES: u64 = 36_928;
    // The board may say that somebody else has the lock, or changed the file; or that it is damaged.
    const EXPECTED: [Kind; 5] = [Kind::Busy, Kind::Conflict, Kind::Invalid, Kind::Corrupt, Kind::Closed];
    let options = ClientOptions { deadline: Duration::from_secs(30), spin: 0 };
    let mut done = 0;
    for seed in 0..20 {
        let server = Thread::spawn(|| DiskHost::in_memory(MemDisk::new()));
        let (board, mut random, stop) = (server.board().clone(), Random(seed), AtomicBool::new(false));
        let scribbled = AtomicUsize::new(0);
        let (mut unexpected, mut took) = (Vec::new(), Duration::ZERO);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let bytes = if random.below(2) == 0 { OFTEN_BYTES } else { board.len() as u64 };
                    board.store(random.below(bytes / 4) as usize, random.number() as i32);
                    scribbled.fetch_add(1, SeqCst);
                    thread::sleep(Duration::from_micros(random.below(100)));
                }
            });
            let start = Instant::now();
            let clients = [(); 2].map(|()| server.client(options).expect("a client"));
            // Long enough for both: however the threads take turns, the clients work on a board that is scribbled on.
            for round in (0..).take_while(|round| *round < 40 || scribbled.load(SeqCst) < 500) {
                let client = &clients[round % 2];
                match change(client, round as u8) {
                    Ok(()) => done += 1,
                    Err(error) => unexpected.extend((!EXPECTED.contains(&error.kind())).then_some(error)),
                }
            }
            stop.store(true, SeqCst);
            took = start.elapsed();
        });
        assert!(unexpected.is_empty(), "seed {seed}: {unexpected:?}");
        assert!(took < Duration::from_secs(25), "seed {seed}: a call hangs");
        server.stop().expect("the server neither fails nor panics");
    }
    assert!(done > 30, "only {done} changes came through");
}

/// A transaction on two files, whatever comes of it.
fn change(client: &Client, byte: u8) -> Result<()> {
    let (a, b) = (Pages::open(client, "a", Open::Create)?, Pages::open(client, "b", Open::Create)?);
    for file in [&a, &b] {
        if !file.wait(Duration::from_millis(2))? {
            return Err(Error::new(Kind::Busy, "the board says so"));
        }
        file.begin()?;
        file.lock()?;
        let mut bytes = [0; 5000];
        file.read_at(0, &mut bytes)?;
        file.write_at(u64::from(byte) * 100, &[byte; 5000])?;
        file.read_at(100, &mut bytes)?;
    }
    client.commit(&[a.id(), b.id()], Durability::Full, None)?;
    a.read_at(50, &mut [0; 10_000])?;
    client.usage()?;
    a.end().and(b.end())
}

/// The answer that is there before the question: sequence number 1, the rest by the seed.
fn forge(ring: &SharedCells, random: &mut Random) {
    let numbers = [0, 1, 14, 15, -1, i32::MIN];
    ring.store(9, 1);
    ring.store(10, numbers[random.below(6) as usize]);
    ring.store(11, random.number() as i32);
    ring.store(12, random.number() as i32);
    ring.store(13, random.number() as i32);
    if random.below(8) == 0 {
        ring.store(6, random.number() as i32);
    }
    // Answers lie behind the header and the requests. Small numbers make what looks like an error or a list.
    let payload: Vec<u8> = (0..64).flat_map(|_| (random.number() as u32).to_le_bytes()).collect();
    ring.write(64 + CAPACITY as usize, &payload);
}

#[test]
fn a_client_survives_any_answer() {
    let (mut errors, mut closed) = (0, 0);
    for seed in 0..1000 {
        let mut random = Random(seed);
        let ring = SharedCells::new(RING_BYTES);
        let client = connect(ring.clone(), SharedCells::new(64)).unwrap();
        forge(&ring, &mut random);
        let start = Instant::now();
        let error = match random.below(4) {
            0 => client.list().map(|_| ()).err(),
            1 => client.remove("a").err(),
            2 => Pages::open(&client, "a", Open::Create).and_then(|file| file.begin()).err(),
            _ => Disk::open(&client, "a", Open::Create).and_then(|file| file.read_at(0, &mut [0; 100])).err(),
        };
        assert!(start.elapsed() < Duration::from_secs(10), "seed {seed}: a call hangs");
        if let Some(error) = error {
            errors += 1;
            closed += usize::from(matches!(error.kind(), Kind::Corrupt | Kind::Closed));
        }
    }
    assert!(errors > 500 && closed > 200, "most answers are not believed: {errors}, {closed}");
}

#[test]
fn a_read_takes_no_more_than_it_asked_for() {
    for (length, kind) in [(100, None), (101, Some(Kind::Corrupt)), (CAPACITY as i32 + 1, Some(Kind::Corrupt))] {
        let (ring, bell) = (SharedCells::new(RING_BYTES), SharedCells::new(64));
        let client = connect(ring.clone(), bell).unwrap();
        ring.store(9, 1);
        let file = Disk::open(&client, "a", Open::Create).unwrap();
        ring.store(9, 2);
        ring.store(13, length);
        let read = file.read_at(0, &mut [0; 100]);
        assert_eq!(read.err().map(|error| error.kind()), kind, "an answer of {length} bytes");
    }
}

#[test]
fn another_version_is_refused_with_a_reason() {
    let ring = SharedCells::new(RING_BYTES);
    let server = server();
    server.add_client(1, ring.clone()).unwrap();
    let client = connect(ring.clone(), SharedCells::new(64)).unwrap();
    ring.store(4, 4);
    // As if something had been posted.
    ring.store(5, 32);
    work(&server, 0);
    let error = client.list().unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
    assert!(error.to_string().contains("version 4"), "{error}");
}
