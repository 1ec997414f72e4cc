//! What a store can be told when it opens, and what it tells about damage.

use std::fmt;

use statik_disk::Result;

/// How a store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// From so many bytes on, the log wants to be copied to the files when there is nothing else to do.
    pub soft_bytes: u64,
    /// From so many bytes on, whoever wants to commit should wait until it was.
    pub hard_bytes: u64,
    /// So many bytes of staged pages are kept in memory for each file; what is beyond goes to the log, or to its file.
    /// Little, so that most of a large transaction is written by the time it commits.
    pub spill_bytes: usize,
    /// What a transaction spills goes to its file where that may be, once so many bytes of it are in the log. That costs
    /// a flush of a file that grows, which takes several times as long as to overwrite a log: it is for what is so large
    /// that to write it twice would cost more.
    pub direct_bytes: u64,
    /// What to do about a damaged log.
    pub recover: Recover,
    /// A bug to have, for tests of the tests.
    #[cfg(feature = "planted")]
    pub planted: Option<Planted>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            soft_bytes: 4 << 20,
            hard_bytes: 64 << 20,
            spill_bytes: 512 << 10,
            direct_bytes: 4 << 20,
            recover: Recover::default(),
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

/// What to do about a log that is damaged where it was durable. The damaged part is first copied to a file of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recover {
    /// Serve what is before the damage, and refuse changes with [`Kind::ReadOnly`](statik_disk::Kind::ReadOnly).
    #[default]
    ReadOnly,
    /// Cut the log before the damage and go on from there.
    Truncate,
    /// Do not open: [`Kind::Corrupt`](statik_disk::Kind::Corrupt).
    Refuse,
}

/// A record that was durable and cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The log file.
    pub path: String,
    /// Where in it the first bad record begins, in bytes.
    pub offset: u64,
    /// The epoch of the log, 0 if even that is lost.
    pub epoch: u64,
    /// The first number that is missing.
    pub sequence: u64,
    /// Whether files may already hold changes that come after the damage, copied to them by a checkpoint, or may have been
    /// replaced since: what is served may then be a mix of what was before and what came later. False where that is
    /// excluded.
    pub files_ahead: bool,
    /// The file that the log was copied to from there on, or why that failed.
    pub aside: Result<String>,
}

/// What a person should know besides the place.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} was durable and cannot be read", self.sequence)?;
        if self.files_ahead {
            write!(f, "; the files may hold changes that come after it, and what is served may be a mix")?;
        }
        Ok(())
    }
}

/// The bugs that can be planted.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The log is said to be flushed, and is not.
    SkipFlush,
    /// A flush answers for the newest commit before it is carried out: that comes with the next one.
    AcknowledgeEarly,
    /// A log is recycled before the files that it was copied to are flushed.
    ResetBeforeDurable,
    /// A record's checksum is not looked at.
    DropChecksum,
    /// A recycled log keeps its epoch.
    ReuseEpoch,
    /// Direct writes are not flushed before their commit.
    LoseDirectFlush,
    /// A log is recycled before the ids of its commits are durable in the other.
    LoseIds,
}
