//! SQLite's virtual file system on a `Disk` and `Locks`, until everything stands on [`crate::vfs`].
//!
//! Invariants:
//! - `xOpen` of a database opens its journal too, and keeps both until `xClose`: SQLite opens and closes its journal in
//!   every transaction, and gets the same handle each time.
//! - A journal that is empty, or begins with a zero, does not exist, for nothing in it is to be rolled back: that is how
//!   `journal_mode=PERSIST` ends a transaction. Removing one is cutting it to nothing and flushing that.
//! - A failure of the disk is kept for the connection ([`Vfs::take_error`]), because SQLite's codes lose the cause.
//! - No shared memory: `journal_mode=WAL` is not available, and SQLite answers the mode that is in force.
//!
//! The callbacks trust SQLite to pass what it got from them: that is the whole safety argument of this file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;

use statik_bridge::locks::{Level, Lock, Locks};
use statik_disk::{Disk, Error, File, Kind, MemDisk, Open};

use crate::{code, ffi};

/// The largest path that SQLite may hand us, with its NUL.
const MAX_PATHNAME: c_int = 1025;
/// What SQLite aligns its journal to; OPFS lies on file systems with 4 KiB blocks.
const SECTOR_BYTES: c_int = 4096;

/// Journals of open databases by path, with the number of connections that have them open.
type Journals = HashMap<String, (Rc<dyn File>, usize)>;

/// What the callbacks find at `pAppData`.
struct State {
    disk: Rc<dyn Disk>,
    locks: Rc<dyn Locks>,
    /// SQLite's default VFS: randomness, sleep and clock are the platform's own.
    platform: *mut ffi::sqlite3_vfs,
    journals: RefCell<Journals>,
    error: RefCell<Option<Error>>,
}

/// Registers a VFS under this name, which must live until it is [`free`]d.
pub(crate) fn register(name: &CStr, disk: Rc<dyn Disk>, locks: Rc<dyn Locks>) -> *mut ffi::sqlite3_vfs {
    // SAFETY: the default VFS exists for the process's life, or is null, which its caller has ruled out.
    let platform = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    let state = State { disk, locks, platform, journals: RefCell::default(), error: RefCell::default() };
    Box::into_raw(Box::new(ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: size_of::<Handle>() as c_int,
        mxPathname: MAX_PATHNAME,
        pNext: std::ptr::null_mut(),
        zName: name.as_ptr(),
        pAppData: Box::into_raw(Box::new(state)).cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }))
}

/// # Safety
/// `raw` is what [`register`] gave, and no connection uses it.
pub(crate) unsafe fn free(raw: *mut ffi::sqlite3_vfs) {
    // SAFETY: by the caller's promise; the box was made in `register`.
    unsafe { drop(Box::from_raw((*raw).pAppData.cast::<State>())) };
}

/// # Safety
/// `raw` is what [`register`] gave.
pub(crate) unsafe fn disk<'a>(raw: *mut ffi::sqlite3_vfs) -> &'a Rc<dyn Disk> {
    // SAFETY: by the caller's promise.
    unsafe { &state(raw).disk }
}

/// # Safety
/// `raw` is what [`register`] gave.
pub(crate) unsafe fn take_error(raw: *mut ffi::sqlite3_vfs) -> Option<Error> {
    // SAFETY: by the caller's promise.
    unsafe { state(raw).error.take() }
}

impl State {
    /// A failure of anything but a write. A full disk is then one that a posted write met: after `SQLITE_FULL` SQLite
    /// may go on with the transaction, taking for written what is not; after an I/O error it rolls back.
    fn fail(&self, error: Error, io: c_int) -> c_int {
        let code = if error.kind() == Kind::Quota { io } else { code::from_kind(error.kind(), io) };
        self.keep(error, code)
    }

    /// Keeps `error` for the connection.
    fn keep(&self, error: Error, code: c_int) -> c_int {
        if code != ffi::SQLITE_BUSY {
            self.error.replace(Some(error));
        }
        code
    }

    /// The journal of a database that some connection has open.
    fn journal(&self, path: &str) -> Option<Rc<dyn File>> {
        self.journals.borrow().get(path).map(|(file, _)| Rc::clone(file))
    }

    /// Opens a database file and, for the time it is open, its journal.
    fn open_main(&self, path: &str, open: Open) -> Result<OpenFile, Error> {
        let file: Rc<dyn File> = self.disk.open(path, open)?.into();
        let lock = self.locks.open(path)?;
        let journal = journal_path(path);
        let mut journals = self.journals.borrow_mut();
        if let Some((_, count)) = journals.get_mut(&journal) {
            *count += 1;
        } else {
            let file = self.disk.open(&journal, Open::Create)?.into();
            journals.insert(journal.clone(), (file, 1));
        }
        Ok(OpenFile { path: path.to_owned(), file, lock: Some(lock), journal: Some(journal), saves: false })
    }

    fn open(&self, path: Option<&str>, flags: c_int) -> Result<OpenFile, Error> {
        let plain =
            |path: &str, file, saves| OpenFile { path: path.to_owned(), file, lock: None, journal: None, saves };
        // Temporary databases, statement journals and the like are nobody else's business: in memory.
        let durable = ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
        let Some(path) = path.filter(|_| flags & durable != 0) else {
            if flags & ffi::SQLITE_OPEN_WAL != 0 {
                return Err(Error::new(Kind::Unsupported, "write-ahead logs need shared memory, which OPFS has not"));
            }
            return Ok(plain("a temporary file", MemDisk::new().open("temp", Open::Create)?.into(), false));
        };
        let open = match flags & (ffi::SQLITE_OPEN_CREATE | ffi::SQLITE_OPEN_EXCLUSIVE) {
            0 => Open::Existing,
            ffi::SQLITE_OPEN_CREATE => Open::Create,
            _ => Open::CreateNew,
        };
        if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            return self.open_main(path, open);
        }
        match self.journal(path) {
            Some(file) => Ok(plain(path, file, true)),
            None => Ok(plain(path, self.disk.open(path, open)?.into(), true)),
        }
    }

    fn close(&self, file: OpenFile) {
        let Some(journal) = &file.journal else { return };
        let mut journals = self.journals.borrow_mut();
        if let Some((_, count)) = journals.get_mut(journal) {
            *count -= 1;
            if *count == 0 {
                journals.remove(journal);
            }
        }
    }

    fn delete(&self, path: &str) -> Result<(), Error> {
        match self.journal(path) {
            Some(file) => file.set_len(0).and_then(|()| file.flush()),
            None => self.disk.remove(path),
        }
    }

    /// Whether a file exists; a journal that is not in force does not.
    fn exists(&self, path: &str) -> Result<bool, Error> {
        if let Some(file) = self.journal(path) {
            let mut first = [0];
            file.read_at(0, &mut first)?;
            return Ok(first != [0]);
        }
        // SQLite looks for write-ahead logs that this VFS never makes.
        if path.ends_with("-wal") {
            return Ok(false);
        }
        match self.disk.open(path, Open::Existing) {
            Ok(file) => Ok(!file.is_empty()?),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The path of a database's rollback journal.
pub(crate) fn journal_path(path: &str) -> String {
    format!("{path}-journal")
}

/// SQLite's file object: its methods, then ours.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    vfs: *mut ffi::sqlite3_vfs,
    open: *mut OpenFile,
}

struct OpenFile {
    path: String,
    file: Rc<dyn File>,
    /// Databases only.
    lock: Option<Box<dyn Lock>>,
    /// Databases only: the journal's path.
    journal: Option<String>,
    /// Journals only: saves what SQLite is about to change.
    saves: bool,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// # Safety
/// `vfs` is one that [`Vfs::register`] made.
unsafe fn state<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a State {
    // SAFETY: by the caller's promise `pAppData` is a live `State`.
    unsafe { &*(*vfs).pAppData.cast::<State>() }
}

/// # Safety
/// `file` was opened by [`open`] and is not closed.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> (&'a State, &'a OpenFile) {
    let handle = file.cast::<Handle>();
    // SAFETY: by the caller's promise both pointers are as `open` set them.
    unsafe { (state((*handle).vfs), &*(*handle).open) }
}

/// A path from SQLite, which hands back what `full_pathname` accepted, or adds a suffix to it.
///
/// # Safety
/// `path` is null or a C string that outlives the call.
unsafe fn path_of<'a>(path: *const c_char) -> Result<Option<&'a str>, Error> {
    if path.is_null() {
        return Ok(None);
    }
    // SAFETY: by the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    match path.to_str() {
        Ok(path) => Ok(Some(path)),
        Err(_) => Err(Error::new(Kind::Invalid, format!("the file name {path:?} is not UTF-8"))),
    }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes our VFS, a file object of `szOsFile` bytes, and null or room for the flags.
    unsafe {
        let state = state(vfs);
        (*file).pMethods = std::ptr::null();
        match path_of(path).and_then(|path| state.open(path, flags)) {
            Ok(open) => {
                let handle = file.cast::<Handle>();
                (*handle).vfs = vfs;
                (*handle).open = Box::into_raw(Box::new(open));
                (*file).pMethods = &raw const METHODS;
                if !out_flags.is_null() {
                    *out_flags = flags;
                }
                ffi::SQLITE_OK
            }
            Err(error) => state.fail(error, ffi::SQLITE_CANTOPEN),
        }
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite closes a file once; the box was made in `open`.
    unsafe {
        let open = Box::from_raw((*handle).open);
        (*handle).open = std::ptr::null_mut();
        (*file).pMethods = std::ptr::null();
        state((*handle).vfs).close(*open);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, path: *const c_char, _sync_dir: c_int) -> c_int {
    // SAFETY: SQLite passes our VFS and a C string.
    let (state, path) = unsafe { (state(vfs), path_of(path)) };
    match path.and_then(|path| path.map_or(Ok(()), |path| state.delete(path))) {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) if error.kind() == Kind::NotFound => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(error) => state.fail(error, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(vfs: *mut ffi::sqlite3_vfs, path: *const c_char, _flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite passes our VFS, a C string and room for the answer.
    let (state, path) = unsafe { (state(vfs), path_of(path)) };
    match path.and_then(|path| path.map_or(Ok(false), |path| state.exists(path))) {
        Ok(exists) => {
            // SAFETY: as above.
            unsafe { *out = exists.into() };
            ffi::SQLITE_OK
        }
        Err(error) => state.fail(error, ffi::SQLITE_IOERR_ACCESS),
    }
}

unsafe extern "C" fn full_pathname(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    out_bytes: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes our VFS, a C string, and room for `out_bytes` bytes.
    unsafe {
        let state = state(vfs);
        match path_of(path).and_then(|path| statik_disk::validate_path(path.unwrap_or(""))) {
            Ok(()) => {
                let bytes = CStr::from_ptr(path).to_bytes_with_nul();
                if bytes.len() > out_bytes as usize {
                    return ffi::SQLITE_CANTOPEN_FULLPATH;
                }
                std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
                ffi::SQLITE_OK
            }
            Err(error) => state.fail(error, ffi::SQLITE_CANTOPEN_FULLPATH),
        }
    }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, buf: *mut c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite passes an open file and room for `count` bytes.
    let (state, open, buf) = unsafe {
        let (state, open) = opened(file);
        (state, open, std::slice::from_raw_parts_mut(buf.cast::<u8>(), count as usize))
    };
    match open.file.read_at(offset as u64, buf) {
        Ok(read) if read == buf.len() => ffi::SQLITE_OK,
        Ok(read) => {
            buf[read..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(error) => state.fail(error, ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite passes an open file and `count` bytes.
    let (state, open, bytes) = unsafe {
        let (state, open) = opened(file);
        (state, open, std::slice::from_raw_parts(bytes.cast::<u8>(), count as usize))
    };
    if let Err(error) = open.file.write_at(offset as u64, bytes) {
        let code = code::from_kind(error.kind(), ffi::SQLITE_IOERR_WRITE);
        return state.keep(error, code);
    }
    // A disk may post writes. SQLite changes a page as soon as its record in the journal is written, so by then that
    // must be known; `len` waits for what was posted.
    if open.saves
        && let Err(error) = open.file.len()
    {
        return state.fail(error, ffi::SQLITE_IOERR_WRITE);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    // SAFETY: SQLite passes an open file.
    let (state, open) = unsafe { opened(file) };
    match open.file.set_len(len as u64) {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => state.fail(error, ffi::SQLITE_IOERR_TRUNCATE),
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let (state, open) = unsafe { opened(file) };
    match open.file.flush() {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => state.fail(error, ffi::SQLITE_IOERR_FSYNC),
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: SQLite passes an open file and room for the answer.
    let (state, open) = unsafe { opened(file) };
    match open.file.len() {
        Ok(len) => {
            // SAFETY: as above.
            unsafe { *out = len as i64 };
            ffi::SQLITE_OK
        }
        Err(error) => state.fail(error, ffi::SQLITE_IOERR_FSTAT),
    }
}

fn level(raw: c_int) -> Level {
    match raw {
        ffi::SQLITE_LOCK_NONE => Level::None,
        ffi::SQLITE_LOCK_SHARED => Level::Shared,
        ffi::SQLITE_LOCK_RESERVED => Level::Reserved,
        ffi::SQLITE_LOCK_PENDING => Level::Pending,
        _ => Level::Exclusive,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, to: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let (state, open) = unsafe { opened(file) };
    match open.lock.as_ref().map_or(Ok(()), |lock| lock.raise(level(to))) {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => state.fail(error.at(&open.path), ffi::SQLITE_IOERR_LOCK),
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, to: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let (state, open) = unsafe { opened(file) };
    match open.lock.as_ref().map_or(Ok(()), |lock| lock.lower(level(to))) {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => state.fail(error.at(&open.path), ffi::SQLITE_IOERR_UNLOCK),
    }
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite passes an open file and room for the answer.
    let (state, open) = unsafe { opened(file) };
    match open.lock.as_ref().map_or(Ok(false), |lock| lock.reserved()) {
        Ok(reserved) => {
            // SAFETY: as above.
            unsafe { *out = reserved.into() };
            ffi::SQLITE_OK
        }
        Err(error) => state.fail(error.at(&open.path), ffi::SQLITE_IOERR_CHECKRESERVEDLOCK),
    }
}

unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    if op != ffi::SQLITE_FCNTL_PRAGMA {
        return ffi::SQLITE_NOTFOUND;
    }
    // SAFETY: for a PRAGMA SQLite passes three strings: room for the answer, the name, and the value or null.
    unsafe {
        let strings = arg.cast::<*mut c_char>();
        let name = CStr::from_ptr(*strings.add(1));
        if !name.to_bytes().eq_ignore_ascii_case(b"locking_mode") {
            return ffi::SQLITE_NOTFOUND;
        }
        // In exclusive mode SQLite would use a write-ahead log without shared memory, in a file that we do not keep.
        *strings = allocated(c"normal");
    }
    ffi::SQLITE_OK
}

/// A copy of `text` that SQLite frees; null if there is no memory for it.
fn allocated(text: &CStr) -> *mut c_char {
    let bytes = text.to_bytes_with_nul();
    // SAFETY: SQLite's allocator gives null or room for the bytes.
    unsafe {
        let copy = ffi::sqlite3_malloc64(bytes.len() as u64).cast::<c_char>();
        if !copy.is_null() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), copy, bytes.len());
        }
        copy
    }
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_BYTES
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    // Bytes beside a write are not harmed by a crash during it: a journal need not save whole sectors.
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn randomness(vfs: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite passes our VFS and room for `count` bytes; the default VFS lives as long as the process.
    unsafe {
        let platform = state(vfs).platform;
        (*platform).xRandomness.map_or(0, |randomness| randomness(platform, count, out))
    }
}

unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    // SAFETY: as in `randomness`.
    unsafe {
        let platform = state(vfs).platform;
        (*platform).xSleep.map_or(0, |sleep| sleep(platform, microseconds))
    }
}

unsafe extern "C" fn current_time(vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: as in `randomness`, with room for the answer.
    unsafe {
        let platform = state(vfs).platform;
        (*platform).xCurrentTime.map_or(ffi::SQLITE_ERROR, |current_time| current_time(platform, out))
    }
}
