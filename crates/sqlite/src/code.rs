//! SQLite's result codes: their names, and the two total translations between them and [`Kind`].

use statik_disk::Kind;

use crate::ffi;

/// The code that a VFS method answers for a failure of the disk. `io` is the method's own `SQLITE_IOERR_…`.
pub fn from_kind(kind: Kind, io: i32) -> i32 {
    match kind {
        Kind::NotFound | Kind::Exists | Kind::Invalid | Kind::Unsupported => ffi::SQLITE_CANTOPEN,
        Kind::Busy => ffi::SQLITE_BUSY,
        Kind::Conflict => ffi::SQLITE_BUSY_SNAPSHOT,
        Kind::Quota => ffi::SQLITE_FULL,
        Kind::Permission => ffi::SQLITE_PERM,
        Kind::ReadOnly => ffi::SQLITE_READONLY,
        Kind::Corrupt => ffi::SQLITE_CORRUPT,
        Kind::Aborted => ffi::SQLITE_INTERRUPT,
        Kind::Closed | Kind::Timeout | Kind::Io => io,
    }
}

/// The kind of an extended result code.
pub fn kind(code: i32) -> Kind {
    match code {
        ffi::SQLITE_BUSY_SNAPSHOT => return Kind::Conflict,
        ffi::SQLITE_CANTOPEN_ISDIR | ffi::SQLITE_CANTOPEN_FULLPATH => return Kind::Invalid,
        _ => {}
    }
    match code & 0xff {
        ffi::SQLITE_PERM | ffi::SQLITE_AUTH => Kind::Permission,
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Kind::Busy,
        ffi::SQLITE_READONLY => Kind::ReadOnly,
        ffi::SQLITE_INTERRUPT | ffi::SQLITE_ABORT => Kind::Aborted,
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB | ffi::SQLITE_FORMAT => Kind::Corrupt,
        ffi::SQLITE_NOTFOUND | ffi::SQLITE_CANTOPEN => Kind::NotFound,
        ffi::SQLITE_FULL => Kind::Quota,
        ffi::SQLITE_CONSTRAINT | ffi::SQLITE_SCHEMA => Kind::Conflict,
        ffi::SQLITE_ERROR | ffi::SQLITE_TOOBIG | ffi::SQLITE_MISMATCH | ffi::SQLITE_MISUSE | ffi::SQLITE_RANGE => {
            Kind::Invalid
        }
        ffi::SQLITE_NOLFS => Kind::Unsupported,
        _ => Kind::Io,
    }
}

/// The codes' names, <https://sqlite.org/rescode.html>.
macro_rules! names {
    ($($name:ident)*) => {
        /// The name of an extended result code, for instance `SQLITE_CONSTRAINT_UNIQUE`; a code that this table does
        /// not have is named by its primary code.
        pub fn name(code: i32) -> &'static str {
            match code {
                $(ffi::$name => stringify!($name),)*
                _ if code > 0xff => name(code & 0xff),
                _ => "SQLITE_ERROR",
            }
        }

        #[cfg(test)]
        const NAMED: &[i32] = &[$(ffi::$name),*];
    };
}

names! {
    SQLITE_OK SQLITE_ERROR SQLITE_INTERNAL SQLITE_PERM SQLITE_ABORT SQLITE_BUSY SQLITE_LOCKED SQLITE_NOMEM
    SQLITE_READONLY SQLITE_INTERRUPT SQLITE_IOERR SQLITE_CORRUPT SQLITE_NOTFOUND SQLITE_FULL SQLITE_CANTOPEN
    SQLITE_PROTOCOL SQLITE_EMPTY SQLITE_SCHEMA SQLITE_TOOBIG SQLITE_CONSTRAINT SQLITE_MISMATCH SQLITE_MISUSE
    SQLITE_NOLFS SQLITE_AUTH SQLITE_FORMAT SQLITE_RANGE SQLITE_NOTADB SQLITE_NOTICE SQLITE_WARNING SQLITE_ROW
    SQLITE_DONE
    SQLITE_ERROR_MISSING_COLLSEQ SQLITE_ERROR_RETRY SQLITE_ERROR_SNAPSHOT
    SQLITE_IOERR_READ SQLITE_IOERR_SHORT_READ SQLITE_IOERR_WRITE SQLITE_IOERR_FSYNC SQLITE_IOERR_DIR_FSYNC
    SQLITE_IOERR_TRUNCATE SQLITE_IOERR_FSTAT SQLITE_IOERR_UNLOCK SQLITE_IOERR_RDLOCK SQLITE_IOERR_DELETE
    SQLITE_IOERR_NOMEM SQLITE_IOERR_ACCESS SQLITE_IOERR_CHECKRESERVEDLOCK SQLITE_IOERR_LOCK SQLITE_IOERR_CLOSE
    SQLITE_IOERR_SEEK SQLITE_IOERR_DELETE_NOENT SQLITE_IOERR_CORRUPTFS SQLITE_IOERR_DATA
    SQLITE_LOCKED_SHAREDCACHE SQLITE_LOCKED_VTAB
    SQLITE_BUSY_RECOVERY SQLITE_BUSY_SNAPSHOT SQLITE_BUSY_TIMEOUT
    SQLITE_CANTOPEN_NOTEMPDIR SQLITE_CANTOPEN_ISDIR SQLITE_CANTOPEN_FULLPATH
    SQLITE_CORRUPT_VTAB SQLITE_CORRUPT_SEQUENCE SQLITE_CORRUPT_INDEX
    SQLITE_READONLY_RECOVERY SQLITE_READONLY_CANTLOCK SQLITE_READONLY_ROLLBACK SQLITE_READONLY_DBMOVED
    SQLITE_READONLY_CANTINIT SQLITE_READONLY_DIRECTORY
    SQLITE_ABORT_ROLLBACK
    SQLITE_CONSTRAINT_CHECK SQLITE_CONSTRAINT_COMMITHOOK SQLITE_CONSTRAINT_FOREIGNKEY SQLITE_CONSTRAINT_FUNCTION
    SQLITE_CONSTRAINT_NOTNULL SQLITE_CONSTRAINT_PRIMARYKEY SQLITE_CONSTRAINT_TRIGGER SQLITE_CONSTRAINT_UNIQUE
    SQLITE_CONSTRAINT_VTAB SQLITE_CONSTRAINT_ROWID SQLITE_CONSTRAINT_PINNED SQLITE_CONSTRAINT_DATATYPE
    SQLITE_AUTH_USER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_have_their_own_names_and_unknown_ones_their_primary() {
        assert_eq!(name(ffi::SQLITE_CONSTRAINT_UNIQUE), "SQLITE_CONSTRAINT_UNIQUE");
        assert_eq!(name(ffi::SQLITE_IOERR | (250 << 8)), "SQLITE_IOERR");
        assert_eq!(name(99), "SQLITE_ERROR");
        assert!(NAMED.len() > 80);
    }

    #[test]
    fn what_the_disk_reports_comes_back_as_the_same_kind_where_sqlite_has_a_code_for_it() {
        for kind_in in [
            Kind::Busy,
            Kind::Conflict,
            Kind::Quota,
            Kind::Permission,
            Kind::ReadOnly,
            Kind::Corrupt,
            Kind::NotFound,
            Kind::Aborted,
            Kind::Io,
        ] {
            assert_eq!(kind(from_kind(kind_in, ffi::SQLITE_IOERR_READ)), kind_in);
        }
    }
}
