//! Looking for news before blocking: to be woken takes longer than many answers do.
//!
//! It is worth it only while it succeeds: where news takes long, or another thread needs the core, who looks in vain a few
//! times in a row blocks at once, and tries again now and then.

use std::cell::Cell;

/// After so many looks in vain in a row it blocks at once.
const PATIENCE: u32 = 4;
/// Blocking at once, every so manyth wait looks again whether looking is worth it.
const PROBE: u32 = 32;

/// How long one thread looks for one kind of news.
pub(crate) struct Spin {
    limit: u32,
    failed: Cell<u32>,
}

impl Spin {
    /// Looks up to `limit` times.
    pub(crate) fn new(limit: u32) -> Self {
        Spin { limit, failed: Cell::new(0) }
    }

    /// Looks until there is something, if that is worth it.
    pub(crate) fn look<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let failed = self.failed.get();
        let tries = if failed < PATIENCE || failed.is_multiple_of(PROBE) { self.limit } else { 1 };
        for turn in 0..tries {
            if let Some(found) = look() {
                // What is there at once proves nothing.
                if turn > 0 {
                    self.failed.set(0);
                }
                return Some(found);
            }
            std::hint::spin_loop();
        }
        self.failed.set(failed.wrapping_add(1));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(spin: &Spin, found_at: u32) -> u32 {
        let mut count = 0;
        let found = spin.look(|| {
            count += 1;
            (count == found_at).then_some(())
        });
        assert_eq!(found.is_some(), count == found_at);
        count
    }

    #[test]
    fn who_looks_in_vain_stops_looking_and_who_finds_goes_on() {
        let spin = Spin::new(100);
        assert_eq!(looks(&spin, 50), 50);
        assert_eq!((0..PATIENCE).map(|_| looks(&spin, 101)).sum::<u32>(), 100 * PATIENCE);
        let blocking: Vec<_> = (PATIENCE..PROBE).map(|_| looks(&spin, 101)).collect();
        assert!(blocking.iter().all(|count| *count == 1), "{blocking:?}");
        assert_eq!((looks(&spin, 30), looks(&spin, 90)), (30, 90), "the probe finds that it is worth it again");
        let none = Spin::new(0);
        assert_eq!(none.look(|| Some(())), None);
    }
}
