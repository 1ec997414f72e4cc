//! How much the crash suites do.

/// How many crashes a test judges at least, if it is to do so many percent of all; the environment's
/// `STATIK_CRASH_POINTS` says how many all suites do.
pub fn points(percent: u64) -> u64 {
    let all = std::env::var("STATIK_CRASH_POINTS").map_or(20_000, |all| all.parse().expect("a number of crash points"));
    all * percent / 100
}
