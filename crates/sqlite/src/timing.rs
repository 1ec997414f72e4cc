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
    /// Its EXPLAIN QUERY PLAN; empty for what has no plan.
    pub plan: Vec<PlanRow>,
}

/// A step of a query's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRow {
    /// Its number.
    pub id: i64,
    /// The step that it is part of, 0 for none.
    pub parent: i64,
    /// What it does.
    pub detail: String,
}

/// The times of all statements of a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    /// How many statements ran.
    pub count: u64,
    /// The time they took in all.
    pub total_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// How many took how long: bucket `i` counts those from 2^(i/4) to less than 2^((i+1)/4) microseconds, bucket 0 also
    /// the shorter ones, the last of 130 also the longer ones.
    pub buckets: Vec<u32>,
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
        let bucket = ((ms * 1000.0).log2() * PER_OCTAVE).floor() as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.total_ms += ms;
        self.max_ms = self.max_ms.max(ms);
    }

    pub fn timings(&self) -> Timings {
        let Histogram { buckets, count, total_ms, max_ms } = self;
        Timings { count: *count, total_ms: *total_ms, max_ms: *max_ms, buckets: buckets.to_vec() }
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

    pub fn keep(&mut self, sql: &str, ms: f64, rows: u64, plan: Vec<PlanRow>) {
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
    fn each_time_is_in_the_bucket_that_its_bounds_say() {
        for ms in [0.001, 0.0017, 0.5, 3.0, 1000.0] {
            let mut histogram = Histogram::default();
            histogram.add(ms);
            let Timings { count, total_ms, max_ms, buckets } = histogram.timings();
            assert_eq!((count, total_ms, max_ms), (1, ms, ms));
            let bucket = buckets.iter().position(|count| *count == 1).expect("one bucket has it") as f64;
            assert!((bucket / 4.0).exp2() <= ms * 1000.0 && ms * 1000.0 < ((bucket + 1.0) / 4.0).exp2(), "{ms}");
        }
    }

    #[test]
    fn no_time_and_much_time_have_their_buckets() {
        let mut histogram = Histogram::default();
        histogram.add(0.0);
        histogram.add(-1.0);
        histogram.add(1e12);
        let buckets = histogram.timings().buckets;
        assert_eq!((buckets[0], buckets[BUCKETS - 1]), (2, 1));
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
