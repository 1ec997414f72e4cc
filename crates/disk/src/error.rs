//! The one error type: few kinds, each because a caller would act differently, and a message that says what was being
//! done, to what, and what came.

use std::fmt;

/// A specialised `Result`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no such file, database or store.
    NotFound,
    /// It is there already.
    Exists,
    /// Somebody else holds it; trying again later may help.
    Busy,
    /// The change contradicts what is stored (a constraint, a stale snapshot).
    Conflict,
    /// No space is left for this origin.
    Quota,
    /// The platform refuses access.
    Permission,
    /// It can be read only.
    ReadOnly,
    /// Stored or given bytes are not what they should be.
    Corrupt,
    /// This platform, mode or version cannot do that.
    Unsupported,
    /// It was closed, or the worker behind it died.
    Closed,
    /// The argument is wrong.
    Invalid,
    /// No answer came in time.
    Timeout,
    /// The caller stopped it.
    Aborted,
    /// The platform failed in a way that it does not explain.
    Io,
}

impl Kind {
    /// All kinds, in the order of their wire numbers.
    pub const ALL: [Kind; 14] = [
        Kind::NotFound,
        Kind::Exists,
        Kind::Busy,
        Kind::Conflict,
        Kind::Quota,
        Kind::Permission,
        Kind::ReadOnly,
        Kind::Corrupt,
        Kind::Unsupported,
        Kind::Closed,
        Kind::Invalid,
        Kind::Timeout,
        Kind::Aborted,
        Kind::Io,
    ];

    /// The JavaScript `code`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::NotFound => "NotFound",
            Kind::Exists => "Exists",
            Kind::Busy => "Busy",
            Kind::Conflict => "Conflict",
            Kind::Quota => "Quota",
            Kind::Permission => "Permission",
            Kind::ReadOnly => "ReadOnly",
            Kind::Corrupt => "Corrupt",
            Kind::Unsupported => "Unsupported",
            Kind::Closed => "Closed",
            Kind::Invalid => "Invalid",
            Kind::Timeout => "Timeout",
            Kind::Aborted => "Aborted",
            Kind::Io => "Io",
        }
    }

    /// The POSIX errno, with Linux's numbers (`asm-generic/errno-base.h`, `errno.h`).
    pub const fn errno(self) -> i32 {
        match self {
            Kind::NotFound => 2,     // ENOENT
            Kind::Exists => 17,      // EEXIST
            Kind::Busy => 16,        // EBUSY
            Kind::Conflict => 11,    // EAGAIN
            Kind::Quota => 122,      // EDQUOT
            Kind::Permission => 13,  // EACCES
            Kind::ReadOnly => 30,    // EROFS
            Kind::Corrupt => 117,    // EUCLEAN
            Kind::Unsupported => 95, // EOPNOTSUPP
            Kind::Closed => 9,       // EBADF
            Kind::Invalid => 22,     // EINVAL
            Kind::Timeout => 110,    // ETIMEDOUT
            Kind::Aborted => 125,    // ECANCELED
            Kind::Io => 5,           // EIO
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failure: its kind, what was being done, and the file concerned, if one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    context: String,
    path: Option<String>,
    source: Option<Box<Error>>,
}

impl Error {
    /// An error whose `context` says what was being done, what was expected and what came.
    pub fn new(kind: Kind, context: impl Into<String>) -> Self {
        Error { kind, context: context.into(), path: None, source: None }
    }

    /// Names the file concerned.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Keeps `source` as the cause.
    #[must_use]
    pub fn because(mut self, source: Error) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What a caller can act on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was being done and what came, without path and cause.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The file concerned.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        if let Some(path) = &self.path {
            write!(f, " ({path})")?;
        }
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_kind_once_at_its_number() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }

    #[test]
    fn names_and_errnos_are_distinct() {
        for a in Kind::ALL {
            for b in Kind::ALL {
                assert_eq!(a == b, a.name() == b.name());
                assert_eq!(a == b, a.errno() == b.errno());
            }
        }
    }

    #[test]
    fn the_message_tells_what_where_and_why() {
        let error = Error::new(Kind::Io, "flushing")
            .at("app.db")
            .because(Error::new(Kind::Quota, "the origin has 0 of 10 bytes left"));
        assert_eq!(error.to_string(), "flushing (app.db): the origin has 0 of 10 bytes left");
    }
}
