//! What the server puts on the board is what its clients find there, for the views that it is right for.

use statik_bridge::Cells;
use statik_bridge::board::{CLIENTS, FILES, Guest, Owner, bytes};
use statik_bridge::native::SharedCells;
use statik_bridge::pages::{PAGE_BYTES, Version, View};
use statik_disk::Kind;

const PAGES: usize = 64;

struct Board {
    cells: SharedCells,
    owner: Owner,
}

impl Board {
    fn new(newest: u64) -> Self {
        let cells = SharedCells::new(bytes(PAGES));
        let owner = Owner::new(Box::new(cells.clone()), newest).unwrap();
        Board { cells, owner }
    }

    fn guest(&mut self, id: u32) -> Guest {
        self.owner.add_client(id);
        Guest::new(Box::new(self.cells.clone()), id).unwrap()
    }

    /// Opens a file of 8 pages.
    fn open(&mut self, seq: u64) -> u32 {
        self.owner.open_file(view(seq)).unwrap()
    }

    /// The commit `seq` writes a page.
    fn commit(&mut self, slot: u32, page: u64, seq: u64) {
        self.fill(slot, page, seq, None);
        self.owner.set_file(slot, view(seq));
    }

    fn fill(&mut self, slot: u32, page: u64, from: u64, until: Option<u64>) {
        self.owner.fill(slot, page, Version { from, until }, &contents(slot, page, from));
    }
}

fn view(seq: u64) -> View {
    View { seq, len: 8 * PAGE_BYTES as u64 }
}

fn contents(slot: u32, page: u64, from: u64) -> Vec<u8> {
    (0..PAGE_BYTES as u64).map(|byte| (byte * 7 + from * 31 + page * 3 + u64::from(slot)) as u8).collect()
}

/// Which commit's version of a page the cache has for a view, by its contents.
fn found(guest: &Guest, slot: u32, page: u64, seq: u64) -> Option<u64> {
    let mut buf = [0; PAGE_BYTES];
    let hit = guest.read(slot, page, seq, 0, &mut buf);
    hit.then(|| (0..=seq).rev().find(|from| contents(slot, page, *from) == buf).expect("a version up to the view"))
}

#[test]
fn a_view_sees_the_versions_that_it_should() {
    let mut board = Board::new(0);
    let guest = board.guest(3);
    let file = board.open(0);
    let first = guest.view(file).unwrap();
    assert_eq!(first, view(0));
    assert_eq!(found(&guest, file, 1, 0), None, "nothing is cached");
    board.fill(file, 1, 0, None);
    board.commit(file, 1, 5);
    assert_eq!(found(&guest, file, 1, 0), Some(0));
    assert_eq!(found(&guest, file, 1, 4), Some(0));
    assert_eq!(found(&guest, file, 1, 5), Some(5));
    assert_eq!(guest.view(file).unwrap().seq, 5);
    assert!(!guest.is_newest(file, first).unwrap());
    board.owner.replaced(file, 0..2, 7);
    assert_eq!([6, 7].map(|seq| found(&guest, file, 1, seq)), [Some(5), None]);
    board.fill(file, 1, 7, None);
    assert_eq!([0, 6, 7, 200].map(|seq| found(&guest, file, 1, seq)), [Some(0), Some(5), Some(7), Some(7)]);
    assert_eq!(found(&guest, file, 2, 7), None, "another page");
}

#[test]
fn a_part_of_a_page_can_be_read() {
    let mut board = Board::new(0);
    let guest = board.guest(0);
    let file = board.open(1);
    guest.view(file).unwrap();
    board.fill(file, 2, 1, None);
    let whole = contents(file, 2, 1);
    for (start, length) in [(0, 16), (24, 16), (4000, 96), (5, 3), (PAGE_BYTES, 0)] {
        let mut buf = vec![0; length];
        assert!(guest.read(file, 2, 1, start, &mut buf));
        assert_eq!(buf, whole[start..start + length]);
    }
}

#[test]
fn a_version_that_is_filled_again_stays_as_it_is() {
    let mut board = Board::new(0);
    let guest = board.guest(0);
    let file = board.open(5);
    guest.view(file).unwrap();
    board.fill(file, 0, 5, None);
    // The store has forgotten where the version began.
    board.fill(file, 0, 0, None);
    assert_eq!([4, 5].map(|seq| found(&guest, file, 0, seq)), [None, Some(5)]);
    board.fill(file, 0, 9, None);
    board.fill(file, 0, 0, Some(9));
    assert_eq!([4, 8, 9].map(|seq| found(&guest, file, 0, seq)), [None, Some(5), Some(9)]);
}

#[test]
fn a_cut_ends_the_pages_behind_it() {
    let mut board = Board::new(0);
    let guest = board.guest(0);
    let (file, other) = (board.open(1), board.open(1));
    for file in [file, other] {
        guest.view(file).unwrap();
        (0..8).for_each(|page| board.fill(file, page, 1, None));
    }
    board.owner.cut(file, 3, 2);
    for page in 0..8 {
        assert_eq!(found(&guest, file, page, 1), Some(1), "the old view sees it");
        assert_eq!(found(&guest, file, page, 2).is_some(), page < 3, "page {page}");
        assert_eq!(found(&guest, other, page, 2), Some(1), "another file's page {page}");
    }
}

#[test]
fn a_full_cache_gives_up_old_versions_first() {
    let mut board = Board::new(0);
    let guest = board.guest(0);
    let file = board.open(1);
    guest.view(file).unwrap();
    (0..PAGES as u64).for_each(|page| board.fill(file, page, 1, None));
    assert!((0..PAGES as u64).all(|page| found(&guest, file, page, 1) == Some(1)), "a file as large as the cache fits");
    for seq in 2..100 {
        board.commit(file, 5, seq);
    }
    let kept = (0..PAGES as u64).filter(|page| found(&guest, file, *page, 99).is_some()).count();
    assert_eq!(kept, PAGES, "new versions of one page drive out old ones of it");
    let more = PAGES as u64..2 * PAGES as u64;
    more.clone().for_each(|page| board.fill(file, page, 1, None));
    assert!(more.clone().all(|page| found(&guest, file, page, 99) == Some(1)), "what was filled last is there");
}

#[test]
fn a_place_that_is_used_again_shows_nothing_of_the_file_before() {
    let mut board = Board::new(0);
    let guest = board.guest(0);
    let file = board.open(1);
    guest.view(file).unwrap();
    board.fill(file, 0, 1, None);
    assert!(guest.try_lock(file));
    board.owner.close_file(file);
    assert_eq!(guest.view(file).unwrap_err().kind(), Kind::Corrupt, "a file that is not there");
    assert_eq!(board.open(1), file);
    assert_eq!(guest.view(file).unwrap(), view(1));
    assert_eq!(found(&guest, file, 0, 1), None);
    assert_eq!(board.owner.writer(file), None);
}

#[test]
fn files_and_clients_are_limited() {
    let mut board = Board::new(0);
    let slots: Vec<_> = (0..FILES).map(|_| board.open(1)).collect();
    assert_eq!(slots, (0..FILES as u32).collect::<Vec<_>>());
    assert_eq!(board.owner.open_file(view(1)).unwrap_err().kind(), Kind::Unsupported);
    board.owner.close_file(7);
    assert_eq!(board.open(1), 7);
    board.owner.add_client(CLIENTS as u32 - 1);
    let guest = |id| Guest::new(Box::new(board.cells.clone()), id);
    assert_eq!(guest(CLIENTS as u32).err().unwrap().kind(), Kind::Corrupt);
    assert_eq!(guest(CLIENTS as u32 - 1).unwrap().view(255).unwrap(), view(1));
}

/// Numbers around where 31 and 32 bits wrap.
#[test]
fn the_oldest_view_is_known_until_it_is_given_back() {
    for start in [0, 1, (1 << 31) - 2, (1 << 32) - 2, (1 << 33) - 2, (1 << 40) + 1] {
        let mut board = Board::new(start);
        let (one, two) = (board.guest(0), board.guest(63));
        let file = board.open(start);
        assert_eq!(board.owner.oldest_pin(), None);
        let old = one.view(file).unwrap();
        assert_eq!(board.owner.oldest_pin(), Some((0, start)), "from {start}");
        for seq in 1..6 {
            board.commit(file, 0, start + seq);
            let view = two.view(file).unwrap();
            assert_eq!(view.seq, start + seq);
            assert_eq!(board.owner.oldest_pin(), Some((0, start)));
            if seq < 5 {
                two.unpin(view);
            }
        }
        let again = one.view(file).unwrap();
        one.unpin(old);
        two.unpin(View { seq: start + 5, len: 0 });
        assert_eq!(board.owner.oldest_pin(), Some((0, start + 5)));
        one.unpin(again);
        assert_eq!(board.owner.oldest_pin(), None);
    }
}

#[test]
fn no_view_is_before_the_horizon() {
    for start in [0, (1 << 31) - 3, (1 << 32) - 3] {
        let mut board = Board::new(start);
        let guest = board.guest(1);
        let (busy, idle) = (board.open(start), board.open(start));
        let old = guest.view(idle).unwrap();
        (1..6).for_each(|seq| board.commit(busy, 0, start + seq));
        board.owner.raise_horizon(start + 5);
        assert_eq!(board.owner.oldest_pin(), Some((1, start)));
        assert!(guest.is_newest(idle, old).unwrap(), "no commit changed that file");
        guest.unpin(old);
        assert_eq!(guest.view(idle).unwrap().seq, start + 5);
        // The store tells the commit that changed the file last, which may be an old one.
        let late = board.open(start);
        assert_eq!(guest.view(late).unwrap().seq, start + 5);
        assert_eq!(board.owner.oldest_pin(), Some((1, start + 5)));
    }
}

#[test]
fn a_view_that_is_revoked_holds_nothing_up() {
    let mut board = Board::new(0);
    let guest = board.guest(4);
    let file = board.open(1);
    let old = guest.view(file).unwrap();
    board.commit(file, 0, 2);
    board.owner.raise_horizon(2);
    let new = guest.view(file).unwrap();
    board.owner.revoke(4);
    assert_eq!(board.owner.oldest_pin(), None);
    assert!(board.owner.is_revoked(4, old.seq) && !board.owner.is_revoked(4, new.seq));
    guest.unpin(old);
    assert_eq!(board.owner.oldest_pin(), Some((4, 2)), "its newer views count");
    board.owner.remove_client(4);
    assert_eq!(board.owner.oldest_pin(), None);
    assert!(board.owner.is_revoked(4, new.seq));
}

#[test]
fn the_write_lock_is_one_clients_or_the_servers_to_give() {
    let mut board = Board::new(0);
    let (one, two) = (board.guest(0), board.guest(1));
    let file = board.open(1);
    assert!(one.try_lock(file) && !two.try_lock(file) && !one.try_lock(file), "locked once");
    assert_eq!(board.owner.writer(file), Some(0));
    assert!(!two.try_unlock(file) && one.try_unlock(file) && !one.try_unlock(file), "given back once");
    assert!(two.try_lock(file));
    assert_eq!(board.owner.queue(file), Some(1));
    assert!(two.has_lock(file) && !two.try_unlock(file), "somebody waits, so the server passes it on");
    board.owner.grant(file, Some(0), true);
    assert!(one.has_lock(file) && !one.try_unlock(file) && !two.has_lock(file));
    board.owner.grant(file, Some(1), false);
    assert!(two.try_unlock(file) && one.try_lock(file));
    board.owner.remove_client(0);
    assert_eq!(board.owner.writer(file), None, "a client that is gone has no lock");
    assert_eq!(board.owner.queue(file), None);
    assert!(!two.try_lock(file), "a free lock that somebody waits for");
}

#[test]
fn a_board_is_large_enough_and_new() {
    let owner = |cells: &SharedCells| Owner::new(Box::new(cells.clone()), 0).err().map(|error| error.kind());
    for (len, kind) in [(0, Some(Kind::Invalid)), (bytes(8) - 4, Some(Kind::Invalid)), (bytes(8), None)] {
        let cells = SharedCells::new(len);
        assert_eq!(Guest::new(Box::new(cells.clone()), 0).err().unwrap().kind(), Kind::Corrupt, "nobody's board");
        assert_eq!(owner(&cells), kind, "{len} bytes");
        assert_eq!(owner(&cells), Some(Kind::Invalid), "used before, or still too small");
    }
    let cells = SharedCells::new(bytes(32) - 4);
    assert_eq!(owner(&cells), None);
    assert_eq!(cells.load(2), 16, "the largest power of two that fits");
}

/// Real threads: a server that commits, cuts and gives up old versions, and clients that must find, for every view, the
/// contents of its commit or nothing.
#[test]
fn clients_read_while_the_server_writes() {
    const COMMITS: u64 = 3000;
    let cells = SharedCells::new(bytes(16));
    let mut owner = Owner::new(Box::new(cells.clone()), 1).unwrap();
    (0..3).for_each(|id| owner.add_client(id));
    let file = owner.open_file(View { seq: 1, len: 1 }).unwrap();
    let readers: Vec<_> = (0..3).map(|id| (id, cells.clone())).collect();
    let read = |id: u32, cells: SharedCells| {
        let guest = Guest::new(Box::new(cells), id).unwrap();
        let (mut hits, mut seq) = (0, 0);
        while seq < COMMITS {
            let view = guest.view(file).unwrap();
            assert!(view.len == view.seq && view.seq >= seq, "{view:?} after {seq}");
            seq = view.seq;
            for page in 0..32 {
                let mut buf = [0; PAGE_BYTES];
                if guest.read(file, page, seq, 0, &mut buf) {
                    hits += 1;
                    let expected = (page << 48 | last_change(page, seq)).to_le_bytes().repeat(PAGE_BYTES / 8);
                    assert!(buf == expected[..], "page {page} of view {seq}");
                }
            }
            guest.unpin(view);
        }
        hits
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = readers.into_iter().map(|(id, cells)| scope.spawn(move || read(id, cells))).collect();
        for seq in 2..=COMMITS {
            for page in (0..32).filter(|page| last_change(*page, seq) == seq) {
                let bytes = (page << 48 | seq).to_le_bytes().repeat(PAGE_BYTES / 8);
                owner.fill(file, page, Version { from: seq, until: None }, &bytes);
            }
            owner.set_file(file, View { seq, len: seq });
            if seq % 16 == 0 {
                owner.raise_horizon(seq);
                assert!(owner.oldest_pin().is_none_or(|(_, oldest)| (1..=seq).contains(&oldest)));
            }
        }
        for thread in threads {
            assert!(thread.join().unwrap() > 0, "a reader that found nothing");
        }
    });
}

/// Page `page` changes in every commit that its number plus 1 divides: the last one up to `seq`.
fn last_change(page: u64, seq: u64) -> u64 {
    seq - seq % (page + 1)
}
