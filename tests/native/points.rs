//! How much the crash suites do.

/// How many crashes a test judges at least, if it is to do so many eighths of a suite; the environment's
/// `STATIK_CRASH_POINTS` says how many the whole suite does.
pub fn points(eighths: u64) -> u64 {
    let all = std::env::var("STATIK_CRASH_POINTS").map_or(20_000, |all| all.parse().expect("a number of crash points"));
    all * eighths / 8
}
