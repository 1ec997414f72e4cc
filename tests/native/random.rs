//! What the tests by seed share: the seed of a run, and numbers that follow from one.

/// The seed of this run, printed so that a failure can be had again; the environment's `STATIK_SEED`, or a fixed one.
pub fn seed() -> u64 {
    let seed = std::env::var("STATIK_SEED").map_or(20_251_121, |seed| seed.parse().expect("STATIK_SEED is a number"));
    println!("STATIK_SEED={seed}");
    seed
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
