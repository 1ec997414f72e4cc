//! Neither server nor client trusts the board: whatever they find there, they neither panic nor hang. Every run is made
//! from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statik_bridge::Cells;
use statik_bridge::board::{CLIENTS, FILES, Guest, Owner, bytes};
use statik_bridge::native::SharedCells;
use statik_bridge::pages::{PAGE_BYTES, Version, View};
use statik_disk::Kind;

const PAGES: usize = 32;
const FILES_START: usize = 64 + CLIENTS * 64;
const SETS_START: usize = FILES_START + FILES * 128;
/// Everything but the pages.
const WORDS: usize = (SETS_START + PAGES / 8 * 320) / 4;

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

    /// Mostly small, sometimes around where something ends, sometimes anything.
    fn number(&mut self) -> u64 {
        match self.below(5) {
            0..=2 => self.below(6),
            3 => [FILES as u64, PAGES as u64, 1 << 31, 1 << 32, 1 << 63][self.below(5) as usize]
                .wrapping_sub(self.below(3)),
            _ => self.next(),
        }
    }

    /// A word that matters, more often one of the header, the first file and the first set.
    fn word(&mut self) -> usize {
        let start = [0, 16, FILES_START / 4, SETS_START / 4][self.below(4) as usize];
        if self.below(4) == 0 { self.below(WORDS as u64) as usize } else { start + self.below(24) as usize }
    }

    fn view(&mut self) -> View {
        View { seq: self.number(), len: self.number() }
    }
}

/// Everything that a client does with a board. How many views it got, and how many pages it found.
fn visit(guest: &Guest, random: &mut Random) -> (u32, u32) {
    let (mut views, mut pages) = (0, 0);
    for _ in 0..4 {
        let slot = random.number() as u32;
        match guest.view(slot) {
            Ok(view) => {
                views += 1;
                let mut page = [0; PAGE_BYTES];
                let number = random.number();
                pages += u32::from(guest.read(slot, number, view.seq, 0, &mut page));
                pages += u32::from(guest.read(slot, number, random.number(), 24, &mut page[..16]));
                guest.unpin(view);
            }
            Err(error) => assert_eq!(error.kind(), Kind::Corrupt),
        }
        if let Err(error) = guest.is_newest(slot, random.view()) {
            assert_eq!(error.kind(), Kind::Corrupt);
        }
        let took = guest.try_lock(slot);
        assert!(guest.try_unlock(slot) || !took, "a lock of which nobody knows");
        assert!(!guest.has_lock(slot) || slot < FILES as u32);
    }
    (views, pages)
}

/// Everything that the server does with it.
fn serve(owner: &mut Owner, random: &mut Random) {
    let version = Version { from: random.number(), until: (random.below(4) == 0).then(|| random.number()) };
    owner.fill(0, random.number(), version, &[7; PAGE_BYTES]);
    let start = random.number();
    owner.replaced(0, start..start.saturating_add(random.below(40)), random.number());
    owner.set_file(0, random.view());
    owner.raise_horizon(random.number());
    if let Some((client, seq)) = owner.oldest_pin() {
        assert!((client as usize) < CLIENTS);
        owner.revoke(client);
        assert!(owner.oldest_pin().is_none_or(|(other, _)| other != client) || !owner.is_revoked(client, seq));
    }
    assert!(owner.writer(0).is_none_or(|client| client < 2), "a lock is a client's or nobody's");
    owner.queue(0);
    owner.grant(0, Some(1), random.below(2) == 0);
    assert_eq!(owner.writer(0), Some(1));
    owner.grant(0, None, false);
}

fn soon(start: Instant, seed: u64) {
    assert!(start.elapsed() < Duration::from_secs(10), "seed {seed}: a call hangs");
}

#[test]
fn a_client_survives_a_board_of_garbage() {
    let (mut refused, mut views) = (0, 0);
    for seed in 0..1500 {
        let (mut random, start) = (Random(seed), Instant::now());
        let cells = SharedCells::new(bytes(PAGES));
        for word in 0..WORDS {
            cells.store(word, random.number() as i32);
        }
        // What is right lets the rest be looked at.
        for (word, value) in [i32::from_le_bytes(*b"SBRD"), 1, PAGES as i32, random.below(4) as i32].iter().enumerate()
        {
            if random.below(16) != 0 {
                cells.store(word, *value);
            }
        }
        match Guest::new(Box::new(cells), random.below(66) as u32) {
            Ok(guest) => views += visit(&guest, &mut random).0,
            Err(error) => {
                assert_eq!(error.kind(), Kind::Corrupt);
                refused += 1;
            }
        }
        soon(start, seed);
    }
    assert!(refused > 100 && views > 100, "both happen: {refused}, {views}");
}

#[test]
fn both_ends_survive_a_board_that_changes_under_them() {
    let (mut views, mut pages) = (0, 0);
    for seed in 0..300 {
        let (mut random, start) = (Random(seed), Instant::now());
        let cells = SharedCells::new(bytes(PAGES));
        let mut owner = Owner::new(Box::new(cells.clone()), random.below(3)).unwrap();
        (0..2).for_each(|id| owner.add_client(id));
        owner.open_file(View { seq: 0, len: 0 }).unwrap();
        let guest = Guest::new(Box::new(cells.clone()), 1).unwrap();
        for _ in 0..20 {
            serve(&mut owner, &mut random);
            let found = visit(&guest, &mut random);
            (views, pages) = (views + found.0, pages + found.1);
            cells.store(random.word(), random.number() as i32);
        }
        owner.close_file(0);
        soon(start, seed);
    }
    assert!(views > 1000 && pages > 20, "both happen: {views}, {pages}");
}

/// A thread that changes the words that guard bytes as fast as it can, or leaves them in the middle of a change.
#[test]
fn a_board_that_never_settles_is_given_up() {
    let cells = SharedCells::new(bytes(8));
    let mut owner = Owner::new(Box::new(cells.clone()), 1).unwrap();
    owner.add_client(0);
    let file = owner.open_file(View { seq: 1, len: 0 }).unwrap();
    owner.fill(file, 0, Version { from: 1, until: None }, &[7; PAGE_BYTES]);
    let guest = Guest::new(Box::new(cells.clone()), 0).unwrap();
    guest.view(file).unwrap();
    let read = || guest.read(file, 0, 1, 0, &mut [0; PAGE_BYTES]);
    assert!(read());
    cells.fetch_add(SETS_START / 4, 1);
    assert!(!read(), "a change that never ends");
    owner.fill(file, 1, Version { from: 1, until: None }, &[7; PAGE_BYTES]);
    assert!(read(), "the next one ends it");

    let stop = Arc::new(AtomicBool::new(false));
    let scribbler = {
        let (stop, cells) = (stop.clone(), cells.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                cells.fetch_add(SETS_START / 4, 1);
                cells.fetch_add(FILES_START / 4, 2);
            }
        })
    };
    let start = Instant::now();
    for _ in 0..1000 {
        read();
        if let Ok(view) = guest.view(file) {
            assert_eq!(view, View { seq: 1, len: 0 });
        }
    }
    stop.store(true, Ordering::Relaxed);
    scribbler.join().unwrap();
    soon(start, 0);
    // The horizon is ahead of what any file will show.
    cells.store(3, 1000);
    assert_eq!(guest.view(file).unwrap_err().kind(), Kind::Corrupt);
}
