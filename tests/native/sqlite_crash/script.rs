//! Scripts: what connections do to databases, by hand and by seed.

use statik_store::Options;

use super::random::Random;

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// A connection runs SQL that is one transaction.
    Sql {
        by: usize,
        sql: String,
    },
    /// A connection's `PRAGMA synchronous`.
    Synchronous {
        by: usize,
        value: &'static str,
    },
    /// A connection begins to read, and holds its snapshot; `End` ends that.
    Read {
        by: usize,
    },
    End {
        by: usize,
    },
    /// So many milliseconds go by, and what is due is done.
    Pass {
        ms: f64,
    },
    /// A slice of a checkpoint, or all of it as far as the readers allow.
    Slice,
    Checkpoint,
    /// All that was acknowledged becomes durable.
    Durable,
}

/// Steps of two connections to `main.db`, both with `other.db` attached as `other` if the script says so.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub attach: bool,
    pub steps: Vec<Step>,
    pub options: Options,
}

impl Script {
    fn new(name: &str, attach: bool, steps: Vec<Step>) -> Script {
        // So small that checkpoints and spills happen.
        let options = Options {
            soft_bytes: 128 << 10,
            hard_bytes: 512 << 10,
            spill_bytes: 64 << 10,
            direct_bytes: 0,
            ..Options::default()
        };
        Script { name: name.to_owned(), attach, steps, options }
    }

    fn of(name: &str, transactions: &[&str]) -> Script {
        Script::new(name, false, transactions.iter().map(|sql| by(0, sql)).collect())
    }
}

/// SQL in which `$blob(n)` stands for `n` bytes that look like no others of this SQL, and of few others.
fn by(connection: usize, sql: &str) -> Step {
    let mut parts = sql.split("$blob(");
    let mut text = parts.next().expect("split gives one").to_owned();
    for (at, part) in parts.enumerate() {
        let (count, rest) = part.split_once(')').expect("$blob(n)");
        let tag = sql.bytes().fold(at as u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        text += &format!("substr(replace(hex(zeroblob({count})), '00', '{tag:08x}'), 1, {count}){rest}");
    }
    Step::Sql { by: connection, sql: text }
}

/// All of them.
pub fn by_hand() -> Vec<Script> {
    vec![ledger(), shrinking(), attached(), blobs(), readers(), modes(), recycled()]
}

/// Rows small and large, spilled pages, an index, deletions, a savepoint, a table dropped.
fn ledger() -> Script {
    Script::of(
        "ledger",
        &[
            "CREATE TABLE ledger(id INTEGER PRIMARY KEY, name TEXT UNIQUE, amount, note)",
            "INSERT INTO ledger(name, amount) VALUES ('a', 1), ('b', 2.5), ('c', NULL)",
            "UPDATE ledger SET amount = 7 WHERE name = 'b'",
            "BEGIN; INSERT INTO ledger(name, note) VALUES ('d', $blob(9000)); UPDATE ledger SET amount = id; \
             DELETE FROM ledger WHERE name = 'a'; COMMIT",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) \
             INSERT INTO ledger(name, note) SELECT 'n' || i, hex(zeroblob(700)) || i FROM n",
            "BEGIN; SAVEPOINT s; DELETE FROM ledger; ROLLBACK TO s; CREATE INDEX amounts ON ledger(amount); COMMIT",
            "BEGIN; UPDATE ledger SET note = hex(note); ROLLBACK",
            "UPDATE ledger SET note = note || '!' WHERE id % 3 = 0",
            "BEGIN; DELETE FROM ledger WHERE id > 9; CREATE TABLE other(x); INSERT INTO other VALUES (x'00ff'); COMMIT",
            "DROP TABLE other",
        ],
    )
}

/// A file that becomes shorter, by auto-vacuum and by VACUUM.
fn shrinking() -> Script {
    let mut script = Script::of(
        "shrinking",
        &[
            "PRAGMA auto_vacuum = FULL",
            "CREATE TABLE t(a, b)",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) \
             INSERT INTO t SELECT i, zeroblob(1500) FROM n",
            "DELETE FROM t WHERE a > 5",
            "INSERT INTO t VALUES (99, $blob(5000))",
            "VACUUM",
            "INSERT INTO t SELECT a, b FROM t",
            "DELETE FROM t",
        ],
    );
    script.steps.insert(5, Step::Checkpoint);
    script.steps.insert(8, Step::Slice);
    script
}

/// Transactions over two files.
fn attached() -> Script {
    let steps = vec![
        by(0, "BEGIN; CREATE TABLE main.here(x); CREATE TABLE other.there(x); COMMIT"),
        by(0, "BEGIN; INSERT INTO here VALUES (1), (2), (3); INSERT INTO there VALUES (4); COMMIT"),
        by(1, "BEGIN; INSERT INTO there SELECT x FROM here WHERE x < 3; DELETE FROM here WHERE x < 3; COMMIT"),
        Step::Synchronous { by: 0, value: "NORMAL" },
        by(0, "INSERT INTO there VALUES ($blob(6000))"),
        by(0, "BEGIN; INSERT INTO here SELECT x FROM there; DELETE FROM there; COMMIT"),
        Step::Slice,
        by(1, "BEGIN; INSERT INTO there VALUES ($blob(30000)); DELETE FROM here; COMMIT"),
        Step::Checkpoint,
        by(1, "BEGIN; INSERT INTO there SELECT x FROM there; INSERT INTO here VALUES (5); COMMIT"),
    ];
    Script::new("attached", true, steps)
}

/// Large values: they go to the file directly.
fn blobs() -> Script {
    let steps = vec![
        by(0, "CREATE TABLE blobs(id INTEGER PRIMARY KEY, b)"),
        by(0, "INSERT INTO blobs VALUES (1, $blob(150000))"),
        Step::Synchronous { by: 1, value: "NORMAL" },
        by(1, "INSERT INTO blobs VALUES (2, $blob(80000))"),
        by(0, "UPDATE blobs SET b = $blob(90000) WHERE id = 1"),
        Step::Checkpoint,
        by(1, "INSERT INTO blobs VALUES (3, $blob(60000)), (4, $blob(50000))"),
        by(0, "BEGIN; INSERT INTO blobs SELECT id + 10, b FROM blobs; ROLLBACK"),
        by(0, "DELETE FROM blobs WHERE id = 2"),
        by(0, "VACUUM"),
        by(0, "INSERT INTO blobs VALUES (5, $blob(70000))"),
    ];
    Script::new("blobs", false, steps)
}

/// A reader that holds its snapshot while others write and checkpoint.
fn readers() -> Script {
    let steps = vec![
        by(0, "CREATE TABLE t(a, b)"),
        by(0, "INSERT INTO t VALUES (1, $blob(3000)), (2, $blob(3000))"),
        Step::Read { by: 1 },
        by(0, "UPDATE t SET b = $blob(3000)"),
        Step::Checkpoint,
        by(0, "INSERT INTO t SELECT a + 10, $blob(20000) FROM t"),
        Step::Slice,
        Step::End { by: 1 },
        by(1, "DELETE FROM t WHERE a = 1"),
        Step::Checkpoint,
        by(0, "UPDATE t SET a = -a"),
        Step::Slice,
    ];
    Script::new("readers", false, steps)
}

/// Each meaning of `synchronous`.
fn modes() -> Script {
    let mut steps = vec![by(0, "CREATE TABLE t(a, b)")];
    for (value, a) in [("OFF", 1), ("NORMAL", 2), ("FULL", 3), ("NORMAL", 4), ("OFF", 5)] {
        steps.push(Step::Synchronous { by: 0, value });
        steps.push(by(0, &format!("INSERT INTO t VALUES ({a}, $blob(2000))")));
        steps.push(by(1, &format!("UPDATE t SET b = $blob(1000) WHERE a = {a} - 1")));
        steps.push(by(0, &format!("INSERT INTO t VALUES ({a} + 10, $blob(9000))")));
        steps.push(if a == 2 { Step::Durable } else { Step::Pass { ms: 60.0 } });
        steps.push(by(0, &format!("DELETE FROM t WHERE a = {a} + 10")));
    }
    Script::new("modes", false, steps)
}

/// The same few pages again and again, through many checkpoints.
fn recycled() -> Script {
    let mut steps =
        vec![by(0, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)"), by(0, "INSERT INTO t VALUES (1, 0), (2, 0)")];
    for round in 0..4 {
        steps.push(Step::Synchronous { by: 0, value: if round % 2 == 0 { "FULL" } else { "NORMAL" } });
        for value in 0..3 {
            steps.push(by(0, &format!("UPDATE t SET b = {round}{value} WHERE a = 1")));
        }
        steps.push(Step::Checkpoint);
    }
    Script::new("recycled", false, steps)
}

/// Transactions by seed, over a few tables with and without rowid.
pub fn by_seed(seed: u64, transactions: usize) -> Script {
    let mut random = Random(seed);
    let steps = vec![
        by(
            0,
            "BEGIN; CREATE TABLE t0(k INTEGER PRIMARY KEY, v); CREATE TABLE t1(k TEXT PRIMARY KEY, v) WITHOUT ROWID; COMMIT",
        ),
        by(1, "CREATE VIRTUAL TABLE t2 USING fts5(k, v)"),
        by(0, "CREATE TABLE other.t3(k INTEGER PRIMARY KEY, v)"),
    ];
    let mut script = Script::new(&format!("seed {seed}"), true, steps);
    script.options.soft_bytes = [32 << 10, 128 << 10, 1 << 20][random.below(3)];
    script.options.hard_bytes = script.options.soft_bytes * 2;
    script.options.spill_bytes = [16 << 10, 64 << 10, 1 << 20][random.below(3)];
    for _ in 0..transactions {
        script.steps.push(by(random.below(2), &transaction(&mut random)));
        match random.below(12) {
            0 => script.steps.push(by(random.below(2), ["VACUUM", "VACUUM other"][random.below(2)])),
            1 => script.steps.push(Step::Checkpoint),
            2..5 => script.steps.push(Step::Slice),
            5 => script.steps.push(Step::Durable),
            6 => script.steps.push(Step::Pass { ms: 30.0 }),
            7 => {
                let value = ["OFF", "NORMAL", "FULL"][random.below(3)];
                script.steps.push(Step::Synchronous { by: random.below(2), value });
            }
            8 => {
                script.steps.extend([Step::Read { by: 1 }, by(0, &transaction(&mut random)), Step::Checkpoint]);
                script.steps.extend([by(0, &transaction(&mut random)), Step::End { by: 1 }]);
            }
            _ => {}
        }
    }
    script
}

fn transaction(random: &mut Random) -> String {
    let mut sql = "BEGIN; ".to_owned();
    for _ in 0..=random.below(4) {
        let (table, key, count) = (random.below(4), random.below(60), 1 + random.below(12));
        let words = "word ".repeat(1 + random.below(200));
        sql += &match random.below(9) {
            0..4 => format!(
                "WITH RECURSIVE n(i) AS (SELECT {key} UNION ALL SELECT i + 1 FROM n WHERE i < {key} + {count}) \
                 INSERT OR REPLACE INTO t{table}(k, v) SELECT i, '{words}' || i FROM n; "
            ),
            4 | 5 => format!("UPDATE t{table} SET v = v || 'x{key}' WHERE k % 7 = {key} % 7; "),
            6 => format!("DELETE FROM t{table} WHERE k % 5 = {key} % 5; "),
            7 => format!("INSERT OR REPLACE INTO t0 VALUES ({key}, $blob({})); ", 1 + random.below(80_000)),
            _ => format!("CREATE INDEX IF NOT EXISTS i{key} ON t{}(v); ", table % 2),
        };
    }
    sql + "COMMIT"
}
