//! SQLite's virtual file system on [`Pages`].
//!
//! A database is a [`Paged`] file ([`crate::file`] has what SQLite does with it); all else that SQLite opens (journals,
//! temporary databases) lies in memory, because a commit of pages is atomic and durable by itself.
//!
//! Invariants:
//! - No file but databases is touched: there never is a journal to be found, or to be rolled back.
//! - A failure of the store is kept for the connection ([`Vfs::take_error`]), because SQLite's codes lose the cause.
//!
//! The callbacks trust SQLite to pass what it got from them: that is the whole safety argument of this file.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use statik_bridge::pages::Pages;
use statik_disk::{Disk, Error, Kind, MemDisk, Open};

use crate::file::{self, Database, Handle, OpenFile};
use crate::{code, ffi, files};

/// The largest path that SQLite may hand us, with its NUL.
const MAX_PATHNAME: c_int = 1025;

/// A registered VFS: the databases of one store. It is unregistered when the last clone of the `Rc` and the last
/// connection on it are gone.
pub struct Vfs {
    raw: *mut ffi::sqlite3_vfs,
    name: CString,
}

/// What the callbacks find at `pAppData`.
pub(crate) struct State {
    pages: Rc<dyn Pages>,
    clock: fn() -> f64,
    /// SQLite's default VFS: randomness, sleep and clock are the platform's own.
    platform: *mut ffi::sqlite3_vfs,
    open: RefCell<Vec<Rc<Database>>>,
    /// The database whose write lock was asked for and not given, last.
    busy: RefCell<Option<Rc<Database>>>,
    /// Whether a database was opened since [`Vfs::take_opened`].
    opened: Cell<bool>,
    error: RefCell<Option<Error>>,
}

impl Vfs {
    /// Registers a VFS under a name of its own. `clock` tells milliseconds that only rise.
    pub fn register(pages: Rc<dyn Pages>, clock: fn() -> f64) -> crate::Result<Rc<Vfs>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = CString::new(format!("statik-{}", NEXT.fetch_add(1, Ordering::Relaxed))).expect("no NUL");
        // SAFETY: SQLite initialises itself once; the default VFS exists for the process's life, or is null.
        let platform = unsafe {
            ffi::sqlite3_initialize();
            ffi::sqlite3_vfs_find(std::ptr::null())
        };
        if platform.is_null() {
            return Err(crate::Error::new(Kind::Unsupported, "SQLite has no default VFS to take the clock from"));
        }
        let state = State {
            pages,
            clock,
            platform,
            open: RefCell::default(),
            busy: RefCell::default(),
            opened: Cell::default(),
            error: RefCell::default(),
        };
        let raw = Box::into_raw(Box::new(ffi::sqlite3_vfs {
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
        }));
        let vfs = Rc::new(Vfs { raw, name });
        // SAFETY: `raw` and the name it points to live until `drop` unregisters them.
        match unsafe { ffi::sqlite3_vfs_register(raw, 0) } {
            ffi::SQLITE_OK => Ok(vfs),
            code => Err(crate::Error::sqlite(code, "registering the VFS".into(), None, None)),
        }
    }

    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// The service that the databases lie on.
    pub fn pages(&self) -> &Rc<dyn Pages> {
        &self.state().pages
    }

    /// Milliseconds that only rise.
    pub(crate) fn now_ms(&self) -> f64 {
        (self.state().clock)()
    }

    /// Blocks this thread.
    pub(crate) fn sleep(&self, microseconds: c_int) {
        // SAFETY: the VFS is registered.
        unsafe { sleep(self.raw, microseconds) };
    }

    /// The failure of the store since the last call, if there was one.
    pub(crate) fn take_error(&self) -> Option<Error> {
        self.state().error.take()
    }

    /// Keeps a failure for [`Vfs::take_error`].
    pub(crate) fn keep_error(&self, error: Error) {
        self.state().keep(error);
    }

    /// The database that SQLite found busy, if it did since the last call.
    pub(crate) fn take_busy(&self) -> Option<Rc<Database>> {
        self.state().busy.take()
    }

    /// Whether a database was opened since the last call.
    pub(crate) fn take_opened(&self) -> bool {
        self.state().opened.take()
    }

    fn state(&self) -> &State {
        // SAFETY: `pAppData` was made in `register` and lives until `drop`.
        unsafe { state(self.raw) }
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        // SAFETY: connections hold an `Rc<Vfs>`, so none is left; both boxes were made in `register`.
        unsafe {
            ffi::sqlite3_vfs_unregister(self.raw);
            drop(Box::from_raw((*self.raw).pAppData.cast::<State>()));
            drop(Box::from_raw(self.raw));
        }
    }
}

impl State {
    pub fn pages(&self) -> &dyn Pages {
        &*self.pages
    }

    /// The open databases.
    pub fn databases(&self) -> std::cell::Ref<'_, Vec<Rc<Database>>> {
        self.open.borrow()
    }

    /// The answer to SQLite for a failure of anything but a write: a full disk is an I/O error then, after which SQLite
    /// rolls back, while after `SQLITE_FULL` it may go on with the transaction.
    pub fn fail(&self, error: Error, io: c_int) -> c_int {
        let code = if error.kind() == Kind::Quota { io } else { code::from_kind(error.kind(), io) };
        self.keep(error);
        code
    }

    /// The answer for a write that failed: whatever the cause, one that ends the transaction.
    pub fn fail_write(&self, error: Error, io: c_int) -> c_int {
        let code = if error.kind() == Kind::Quota { ffi::SQLITE_FULL } else { io };
        self.keep(error);
        code
    }

    /// The answer for a write lock that is not to be had; the busy handler may queue for it.
    pub fn fail_lock(&self, database: &Rc<Database>, error: Error) -> c_int {
        match error.kind() {
            // Neither is kept: SQLite may try again and succeed, and says itself what it is.
            Kind::Busy | Kind::Conflict => {
                self.busy.replace(Some(Rc::clone(database)));
                code::from_kind(error.kind(), ffi::SQLITE_IOERR_LOCK)
            }
            _ => self.fail(error, ffi::SQLITE_IOERR_LOCK),
        }
    }

    /// Keeps `error` for the connection, unless what it follows from is kept already.
    fn keep(&self, error: Error) {
        self.error.borrow_mut().get_or_insert(error);
    }

    fn open(&self, path: Option<&str>, flags: c_int) -> Result<OpenFile, Error> {
        if flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_SUPER_JOURNAL) != 0 {
            return Err(Error::new(Kind::Unsupported, "databases here need no log or journal of SQLite's own"));
        }
        let Some(path) = path.filter(|_| flags & ffi::SQLITE_OPEN_MAIN_DB != 0) else {
            return Ok(OpenFile::Memory(MemDisk::new().open("temp", Open::Create)?));
        };
        let open = match flags & (ffi::SQLITE_OPEN_CREATE | ffi::SQLITE_OPEN_EXCLUSIVE) {
            0 => Open::Existing,
            ffi::SQLITE_OPEN_CREATE => Open::Create,
            _ => Open::CreateNew,
        };
        let database = Rc::new(Database::new(path, self.pages.open(path, open)?));
        self.open.borrow_mut().push(Rc::clone(&database));
        self.opened.set(true);
        Ok(OpenFile::Database(database))
    }

    pub fn close(&self, file: OpenFile) {
        if let OpenFile::Database(database) = file {
            self.open.borrow_mut().retain(|open| !Rc::ptr_eq(open, &database));
            self.busy.borrow_mut().take_if(|busy| Rc::ptr_eq(busy, &database));
        }
    }
}

/// # Safety
/// `vfs` is one that [`Vfs::register`] made.
pub(crate) unsafe fn state<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a State {
    // SAFETY: by the caller's promise `pAppData` is a live `State`.
    unsafe { &*(*vfs).pAppData.cast::<State>() }
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

/// Refuses what a URI may ask for that would read and write without locks.
///
/// # Safety
/// `path` is null, or a path of a main database from SQLite, which has the URI's parameters behind its NUL.
unsafe fn check_parameters(path: *const c_char) -> Result<(), Error> {
    for parameter in [c"nolock", c"immutable"] {
        // SAFETY: by the caller's promise; null is allowed.
        if unsafe { ffi::sqlite3_uri_boolean(path, parameter.as_ptr(), 0) } != 0 {
            let message = format!("the URI parameter {parameter:?} would switch the database's locks off");
            return Err(Error::new(Kind::Unsupported, message));
        }
    }
    Ok(())
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
        let allowed = if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 { check_parameters(path) } else { Ok(()) };
        match allowed.and_then(|()| path_of(path)).and_then(|path| state.open(path, flags)) {
            Ok(open) => {
                file::put(file, vfs, open);
                if !out_flags.is_null() {
                    *out_flags = flags;
                }
                ffi::SQLITE_OK
            }
            Err(error) => state.fail(error, ffi::SQLITE_CANTOPEN),
        }
    }
}

/// Nothing that SQLite would remove is anywhere but in memory.
unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, _path: *const c_char, _sync_dir: c_int) -> c_int {
    ffi::SQLITE_OK
}

/// Nothing that SQLite asks for (journals, write-ahead logs) exists.
unsafe extern "C" fn access(
    _vfs: *mut ffi::sqlite3_vfs,
    _path: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes room for the answer.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
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
        match path_of(path).and_then(|path| files::validate_path(path.unwrap_or(""))) {
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
