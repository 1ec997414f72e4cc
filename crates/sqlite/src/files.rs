//! Databases as files: which names they may have, what belongs to one, and whether bytes from outside are one.

use std::rc::Rc;

use statik_bridge::pages::{Durability, Pages};
use statik_disk::{Kind, Open};

use crate::{Connection, Error, OpenOptions, Result, Value, Vfs};

/// The bytes of the header, <https://sqlite.org/fileformat2.html#the_database_header>.
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Files beside a database that are not one.
const SUFFIXES: [&str; 4] = ["-journal", "-wal", "-shm", ".import"];
/// Where the store keeps its own files.
const RESERVED: &str = ".statik/";
/// The most that an integrity check reports.
const MAX_FINDINGS: usize = 10;

/// Accepts the path of a file that is not the store's own.
pub(crate) fn validate_path(path: &str) -> statik_disk::Result<()> {
    statik_disk::validate_path(path)?;
    if path.starts_with(RESERVED) {
        let message = format!("the file name {path:?} is the store's own: it begins with {RESERVED:?}");
        return Err(statik_disk::Error::new(Kind::Invalid, message));
    }
    Ok(())
}

/// Accepts the name of a database: a path that the disk takes, and not one that SQLite, the store or an import uses for
/// itself.
pub fn validate_name(name: &str) -> Result<()> {
    validate_path(name)?;
    if !is_database(name) {
        let message = format!("the database name {name:?} ends like a file that SQLite keeps beside a database");
        return Err(Error::new(Kind::Invalid, message));
    }
    Ok(())
}

/// Whether the file at `path` is a database, not something beside one.
pub fn is_database(path: &str) -> bool {
    let super_journal =
        path.rsplit_once("-mj").is_some_and(|(_, id)| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    !super_journal && !path.starts_with(RESERVED) && !SUFFIXES.iter().any(|suffix| path.ends_with(suffix))
}

/// Where an import to `name` collects its bytes.
pub fn import_of(name: &str) -> String {
    format!("{name}.import")
}

/// Makes sure that the file at `path` is a whole, sound database, as far as SQLite can tell, and takes it out of WAL
/// mode, in which SQLite would look for a log of its own: a file that was closed in that mode is complete without it.
///
/// # Errors
/// `Corrupt`, saying what is wrong with it.
pub fn check(vfs: &Rc<Vfs>, path: &str) -> Result<()> {
    check_start(&**vfs.pages(), path)?;
    check_content(vfs, path).map_err(|error| match error.kind() {
        // What SQLite cannot make sense of, it has many names for.
        Kind::Corrupt | Kind::Invalid | Kind::NotFound | Kind::Conflict => corrupt(error),
        _ => error,
    })
}

fn check_start(pages: &dyn Pages, path: &str) -> Result<()> {
    let file = pages.open(path, Open::Existing)?;
    let view = file.begin()?;
    let mut header = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut header)?;
    if check_header(&header[..read], view.len)? {
        file.lock()?;
        file.write_at(18, &[1, 1])?;
        pages.commit(&[file.id()], Durability::Full, None)?;
    }
    Ok(())
}

fn check_content(vfs: &Rc<Vfs>, path: &str) -> Result<()> {
    let options = OpenOptions { create: false, foreign_keys: false, ..OpenOptions::default() };
    let db = Connection::open(vfs, path, &options)?;
    let mut check = db.prepare(&format!("PRAGMA integrity_check({MAX_FINDINGS})"))?;
    let mut findings = Vec::new();
    while check.step()? {
        if let Value::Text(finding) = check.value(0) {
            findings.push(String::from_utf8_lossy(finding).into_owned());
        }
    }
    if findings != ["ok"] {
        return Err(Error::new(Kind::Corrupt, format!("the integrity check finds: {}", findings.join("; "))));
    }
    Ok(())
}

/// Whether the database must be taken out of WAL mode.
fn check_header(header: &[u8], bytes: u64) -> Result<bool> {
    if header.is_empty() {
        return Err(corrupt("the file is empty"));
    }
    let Some(header) = header.first_chunk::<HEADER_BYTES>().filter(|header| header.starts_with(MAGIC)) else {
        return Err(corrupt("the file does not begin with SQLite's header"));
    };
    // 1 stands for 65536, which has no room in the field.
    let page_bytes = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65536,
        bytes if bytes.is_power_of_two() && bytes >= 512 => bytes,
        bytes => return Err(corrupt(format!("the header's page size is {bytes}"))),
    };
    let [write_version, read_version] = [header[18], header[19]];
    if !(1..=2).contains(&write_version) || !(1..=2).contains(&read_version) {
        return Err(corrupt(format!("the header's file format is {write_version}/{read_version}, not 1 or 2")));
    }
    // The page count is valid only where the last writer knew of it: its change counter is repeated beside it.
    let word = |at: usize| u64::from(u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes")));
    let pages = if word(24) == word(92) { word(28) } else { 0 };
    if !bytes.is_multiple_of(page_bytes) || bytes < pages * page_bytes {
        return Err(corrupt(format!(
            "the file is truncated: it has {bytes} bytes, its header tells {pages} pages of {page_bytes}"
        )));
    }
    Ok([write_version, read_version] != [1, 1])
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Corrupt, format!("this is not a sound SQLite database: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sqlites_own_files_are_not_databases() {
        for name in ["a.db", "dir/a", "a-mj", "a-mjXYZ", "journal"] {
            validate_name(name).unwrap_or_else(|error| panic!("{error}"));
        }
        for name in ["a.db-journal", "a-wal", "a-shm", "a.import", "a-mj0123ABCD9", ".statik/log-a", ".statik/a.db", ""]
        {
            assert_eq!(validate_name(name).expect_err(name).kind(), Kind::Invalid, "{name}");
        }
    }
}
