//! How long a connection's statements take, and which took too long.

use std::collections::VecDeque;

/// A statement that took longer than the threshold, see [`Connection::set_slow_query_ms`].
///
/// [`Connection::set_slow_query_ms`]: crate::Connection::set_slow_query_ms
#[derive(Clone, Debug, PartialEq)]
pub struct SlowQuery {
    /// The statement's text, cut where it is very long.
    pub sql: String,
    /// The time it took.
    pub ms: f64,
    /// The rows it gave.
    pub rows: u64,
    /// The lines of its EXPLAIN QUERY PLAN, indented by their depth; none for what has no plan.
    pub plan: Vec<String>,
}

/// The times of all statements of a connection. Percentiles are exact to a fifth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// How many statements ran.
    pub count: u64,
    /// The time they took in all.
    pub total_ms: f64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 95 % took no longer.
    pub p95_ms: f64,
    /// 99 % took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Buckets for each doubling of time.
const PER_OCTAVE: f64 = 4.0;
/// From a microsecond on: up to more than an hour.
const BUCKETS: usize = 130;
/// How many slow queries are kept; the oldest go first.
const MAX_SLOW: usize = 32;
/// How much of a slow query's text is kept.
const MAX_SQL_BYTES: usize = 10_000;

/// Counts statements by their time.
pub(crate) struct Histogram {
    buckets: [u32; BUCKETS],
    count: u64,
    total_ms: f64,
    max_ms: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: [0; BUCKETS], count: 0, total_ms: 0.0, max_ms: 0.0 }
    }
}

impl Histogram {
    pub fn add(&mut self, ms: f64) {
        let ms = ms.max(0.0);
        // A cast from a float stays within the integer's bounds.
        let bucket = ((ms * 1000.0).log2() * PER_OCTAVE).ceil() as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.total_ms += ms;
        self.max_ms = self.max_ms.max(ms);
    }

    /// The time that the part `share` of all statements did not exceed.
    fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.count as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return ((bucket as f64 / PER_OCTAVE).exp2() / 1000.0).min(self.max_ms);
            }
        }
        self.max_ms
    }

    pub fn timings(&self) -> Timings {
        Timings {
            count: self.count,
            total_ms: self.total_ms,
            p50_ms: self.percentile(0.5),
            p95_ms: self.percentile(0.95),
            p99_ms: self.percentile(0.99),
            max_ms: self.max_ms,
        }
    }
}

/// The slow queries that nobody has taken yet.
#[derive(Default)]
pub(crate) struct Slow {
    pub threshold_ms: Option<f64>,
    queries: VecDeque<SlowQuery>,
}

impl Slow {
    pub fn is_slow(&self, ms: f64) -> bool {
        self.threshold_ms.is_some_and(|threshold_ms| ms >= threshold_ms)
    }

    pub fn keep(&mut self, sql: &str, ms: f64, rows: u64, plan: Vec<String>) {
        let sql = sql[..sql.floor_char_boundary(MAX_SQL_BYTES)].trim().to_owned();
        if self.queries.len() == MAX_SLOW {
            self.queries.pop_front();
        }
        self.queries.push_back(SlowQuery { sql, ms, rows, plan });
    }

    pub fn take(&mut self) -> Vec<SlowQuery> {
        self.queries.drain(..).collect()
    }
}

/// Whether a statement has a plan to explain. Not a PRAGMA: preparing one may already do what it says.
pub(crate) fn has_plan(sql: &str) -> bool {
    let word: String = sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    ["SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "REPLACE"]
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_to_a_fifth() {
        let mut histogram = Histogram::default();
        for at in 1..=1000 {
            histogram.add(f64::from(at) / 100.0);
        }
        let timings = histogram.timings();
        assert_eq!((timings.count, timings.max_ms), (1000, 10.0));
        assert!((timings.total_ms - 5005.0).abs() < 1e-6);
        for (found, expected) in [(timings.p50_ms, 5.0), (timings.p95_ms, 9.5), (timings.p99_ms, 9.9)] {
            assert!(found >= expected && found <= expected * 1.2, "{found}, not {expected}");
        }
    }

    #[test]
    fn no_time_and_much_time_have_their_buckets() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.timings(), Timings::default());
        histogram.add(0.0);
        assert_eq!(histogram.timings().p99_ms, 0.0);
        histogram.add(1e9);
        assert!(histogram.timings().p99_ms > 1e6);
    }

    #[test]
    fn only_statements_over_tables_have_a_plan() {
        for sql in ["SELECT 1", "  with x as (select 1) select * from x", "insert\ninto t values (1)", "VALUES(1)"] {
            assert!(has_plan(sql), "{sql}");
        }
        for sql in ["PRAGMA synchronous=OFF", "EXPLAIN SELECT 1", "BEGIN", "", "SELECTED"] {
            assert!(!has_plan(sql), "{sql}");
        }
    }
}
