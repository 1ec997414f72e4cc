//! A failure of SQLite: the disk's error type, and what SQLite adds to it.

use std::fmt;

use statik_disk::Kind;

use crate::code;

/// A specialised `Result`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, with SQLite's code and the place in the SQL where SQLite told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    cause: statik_disk::Error,
    code: Option<i32>,
    offset: Option<usize>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        statik_disk::Error::new(kind, message).into()
    }

    /// SQLite's answer `code`; `disk` is the failure of the disk that made SQLite give it, if one did.
    pub(crate) fn sqlite(code: i32, message: String, offset: Option<usize>, disk: Option<statik_disk::Error>) -> Self {
        let kind = disk.as_ref().map_or_else(|| code::kind(code), statik_disk::Error::kind);
        // SQLite calls all that "disk I/O error".
        let message =
            if kind == Kind::Quota && disk.is_some() { "no space is left for this origin".into() } else { message };
        let mut cause = statik_disk::Error::new(kind, message);
        if let Some(disk) = disk {
            if let Some(path) = disk.path() {
                cause = cause.at(path);
            }
            cause = cause.because(disk);
        }
        Error { cause, code: Some(code), offset }
    }

    /// The same failure of a text that starts `by` UTF-16 code units later.
    pub(crate) fn shifted(mut self, by: usize) -> Self {
        self.offset = self.offset.map(|offset| offset + by);
        self
    }

    /// What a caller can act on.
    pub fn kind(&self) -> Kind {
        self.cause.kind()
    }

    /// The file concerned, if the disk failed.
    pub fn path(&self) -> Option<&str> {
        self.cause.path()
    }

    /// SQLite's extended result code by name.
    pub fn sqlite_code(&self) -> Option<&'static str> {
        self.code.map(code::name)
    }

    /// Where in the SQL, in UTF-16 code units.
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl From<statik_disk::Error> for Error {
    fn from(cause: statik_disk::Error) -> Self {
        Error { cause, code: None, offset: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}
