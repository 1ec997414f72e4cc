//! A client's files of pages: views, free locks and cached pages come from the board; the rest is asked for.
//!
//! Invariants:
//! - What a file has staged is known here: its length, and which pages. Only those are read from the server's staging.
//! - Of what was staged last, a run of bytes behind each other, a part may not be posted yet. It is before anything else
//!   is asked or posted that is about the file's staging.
//! - A lock that was taken on the board is given back there, unless somebody queues; one that was granted is given back
//!   by a request. What was staged is discarded by a request posted behind it.
//! - After the line was closed nothing on the board is believed or changed.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashSet;
use statik_disk::{Error, Kind, Open, Result};

use super::{Client, Line, about};
use crate::board::Guest;
use crate::metrics::Op;
use crate::pages::{CommitId, Durability, PAGE_BYTES, Paged, Pages, Usage, View};
use crate::ring::Request;
use crate::wire;

const PAGE: u64 = PAGE_BYTES as u64;
/// Staged bytes that lie behind each other are posted in parts of this size, so that the server takes in one while the
/// next is made. A request for each page costs more than its copy.
const RUN_BYTES: usize = 64 << 10;

/// How reads of pages were served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Pages, or parts of them, found in the shared cache.
    pub hits: u64,
    /// Pages asked for.
    pub misses: u64,
}

/// What is known here of an open file.
pub(super) struct Sheet {
    handle: u32,
    /// Its place on the board.
    slot: u32,
    path: String,
    view: Cell<Option<View>>,
    lock: Cell<Held>,
    /// It has a place in the queue, or was granted the lock and does not know it yet.
    queued: Cell<bool>,
    staged: RefCell<Option<Staged>>,
    unposted: RefCell<Run>,
}

/// Bytes to be staged.
#[derive(Default)]
struct Run {
    offset: u64,
    bytes: Vec<u8>,
}

impl Run {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    No,
    /// Taken on the board.
    Taken,
    /// By the server.
    Granted,
}

#[derive(Default)]
struct Staged {
    len: u64,
    pages: FxHashSet<u64>,
    /// All pages from here on were cut, or changed by it.
    from: u64,
}

impl Client {
    /// How reads of pages were served so far.
    pub fn cache_use(&self) -> CacheUse {
        self.line.cache.get()
    }
}

impl Pages for Client {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn Paged>> {
        let line = Rc::clone(&self.line);
        let handle = line.handle();
        let request = Request { handle, count: wire::encode_open(open), ..Request::new(Op::Attach) };
        let slot = line.ask_about(&request, path)?;
        line.meet()?;
        let sheet = Rc::new(Sheet {
            handle,
            slot: u32::try_from(slot).map_err(|_| line.corrupt("a file has no place on the board"))?,
            path: path.to_owned(),
            view: Cell::new(None),
            lock: Cell::new(Held::No),
            queued: Cell::new(false),
            staged: RefCell::new(None),
            unposted: RefCell::default(),
        });
        line.sheets.borrow_mut().insert(handle, Rc::clone(&sheet));
        Ok(Box::new(RemotePages { line, sheet }))
    }

    fn commit(&self, files: &[u32], durability: Durability, id: Option<CommitId>) -> Result<u64> {
        let line = &*self.line;
        let unknown = |id| Error::new(Kind::Invalid, format!("committing: there is no file {id}"));
        let find = |id: &u32| line.sheets.borrow().get(id).map(Rc::clone).ok_or_else(|| unknown(*id));
        let sheets: Vec<_> = files.iter().map(find).collect::<Result<_>>()?;
        let parts: Vec<_> = sheets.iter().map(|sheet| (sheet.handle, sheet.lock.get() != Held::No)).collect();
        let mut payload = id.map_or_else(Vec::new, |id| wire::encode_id(id).to_vec());
        let (offset, count) = (payload.len() as u64, wire::encode_durability(durability));
        payload.extend(wire::encode_parts(&parts));
        let request = Request { offset, count, ..Request::new(Op::Commit) };
        let path = sheets.first().map_or("", |sheet| &sheet.path);
        let committed = line.run(&request, path, || {
            sheets.iter().try_for_each(|sheet| line.post_run(sheet))?;
            let answer = line.call(&request, &payload)?;
            let mut payload = vec![0; answer.length];
            line.caller.borrow().payload(0, &mut payload);
            let lengths = wire::decode_numbers(&payload)
                .filter(|lengths| lengths.len() == parts.len() && lengths.iter().all(|len| *len <= i64::MAX as u64));
            Ok(((answer.value, lengths.ok_or_else(|| line.corrupt("a commit does not tell the files' lengths"))?), 0))
        });
        for sheet in &sheets {
            sheet.lock.set(Held::No);
            sheet.staged.take();
        }
        let (seq, lengths) = committed?;
        for (sheet, len) in sheets.iter().zip(lengths) {
            if let (Some(old), Some(guest)) = (sheet.view.get(), line.guest.get()) {
                let new = View { seq, len };
                guest.repin(old, new);
                sheet.view.set(Some(new));
            }
        }
        Ok(seq)
    }

    fn committed(&self, id: CommitId) -> Result<Option<u64>> {
        let (line, request) = (&*self.line, Request::new(Op::Committed));
        // No commit has the number 0.
        line.run(&request, "", || {
            let seq = line.call(&request, &wire::encode_id(id))?.value;
            Ok(((seq > 0).then_some(seq), 0))
        })
    }

    fn durable(&self) -> Result<u64> {
        self.line.ask(&Request::new(Op::Durable), "")
    }

    fn checkpoint(&self) -> Result<()> {
        self.line.ask(&Request::new(Op::Checkpoint), "").map(|_| ())
    }

    fn usage(&self) -> Result<Usage> {
        let (line, request) = (&*self.line, Request::new(Op::Usage));
        line.run(&request, "", || {
            let answer = line.call(&request, &[])?;
            let mut payload = vec![0; answer.length];
            line.caller.borrow().payload(0, &mut payload);
            Ok((wire::decode_usage(&payload).ok_or_else(|| line.corrupt("a usage is not one"))?, 0))
        })
    }
}

impl Line {
    /// Becomes the board's guest, once the server has answered something.
    fn meet(&self) -> Result<()> {
        if let Some(board) = self.board.take() {
            let guest = Guest::new(board, self.id).map_err(|error| self.shut(error))?;
            assert!(self.guest.set(guest).is_ok(), "there is one board");
        }
        Ok(())
    }

    /// The board, as long as the server is there.
    fn guest(&self, op: Op) -> Result<&Guest> {
        self.check_open(op)?;
        let alive = self.caller.borrow().alive();
        alive.map_err(|fault| self.close(op, fault))?;
        Ok(self.guest.get().expect("who has a file has met the board"))
    }

    /// Posts what of a file's staging was not yet.
    fn post_run(&self, sheet: &Sheet) -> Result<()> {
        let mut run = sheet.unposted.borrow_mut();
        if run.bytes.is_empty() {
            return Ok(());
        }
        let request = Request { handle: sheet.handle, offset: run.offset, ..Request::new(Op::Stage) };
        let posted =
            self.run_posted(&request, &sheet.path, run.bytes.len() as u64, || self.post_quietly(&request, &run.bytes));
        run.bytes.clear();
        posted
    }

    fn count_reads(&self, hits: u64, misses: u64) {
        let CacheUse { hits: before, misses: missed } = self.cache.get();
        self.cache.set(CacheUse { hits: before + hits, misses: missed + misses });
    }
}

struct RemotePages {
    line: Rc<Line>,
    sheet: Rc<Sheet>,
}

impl RemotePages {
    fn request(&self, op: Op) -> Request {
        Request { handle: self.sheet.handle, ..Request::new(op) }
    }

    fn error(&self, kind: Kind, context: &str) -> Error {
        Error::new(kind, context).at(&self.sheet.path)
    }

    fn guest(&self, op: Op) -> Result<&Guest> {
        self.line.guest(op).map_err(|error| about(error, &self.sheet.path))
    }

    fn view(&self, doing: &str) -> Result<View> {
        self.sheet.view.get().ok_or_else(|| self.error(Kind::Invalid, &format!("{doing}: no view is held")))
    }

    fn is_writer(&self) -> bool {
        self.sheet.lock.get() != Held::No
    }

    /// Asks for the lock, and for a place in the queue; whether it was granted.
    fn ask_lock(&self, timeout: Duration) -> Result<bool> {
        let (line, sheet) = (&*self.line, &*self.sheet);
        // Rounded up: who asks for less than a millisecond means to wait.
        let timeout_ms = u32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        let request = Request { count: timeout_ms, ..self.request(Op::WaitLock) };
        let granted = line.run(&request, &sheet.path, || Ok((line.call_for(&request, &[], timeout)?.value != 0, 0)))?;
        sheet.queued.set(!granted);
        if granted {
            sheet.lock.set(Held::Granted);
        }
        Ok(granted)
    }

    /// Gives up what is staged, and the lock.
    fn let_go(&self) -> Result<()> {
        let sheet = &*self.sheet;
        sheet.unposted.borrow_mut().bytes.clear();
        let mut what = if sheet.staged.take().is_some() { wire::DISCARD } else { 0 };
        let held = sheet.lock.replace(Held::No);
        if held == Held::No {
            return Ok(());
        }
        let guest = self.guest(Op::Release)?;
        if held == Held::Granted || !guest.try_unlock(sheet.slot) {
            what |= wire::UNLOCK;
        }
        self.post_release(what)
    }

    fn post_release(&self, what: u32) -> Result<()> {
        let (line, request) = (&*self.line, Request { count: what, ..self.request(Op::Release) });
        match what {
            0 => Ok(()),
            wire::DISCARD => line.run_posted(&request, &self.sheet.path, 0, || line.post_quietly(&request, &[])),
            _ => line.run_posted(&request, &self.sheet.path, 0, || line.post(&request, &[])),
        }
    }

    /// Whether any of these bytes is staged.
    fn is_staged(&self, offset: u64, count: usize) -> bool {
        self.sheet.staged.borrow().as_ref().is_some_and(|staged| {
            let pages = offset / PAGE..(offset + count as u64).div_ceil(PAGE);
            pages.end > staged.from || pages.into_iter().any(|page| staged.pages.contains(&page))
        })
    }

    fn read_staged(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let line = &*self.line;
        line.post_run(&self.sheet)?;
        for (part, start) in buf.chunks_mut(line.capacity).zip((offset..).step_by(line.capacity)) {
            let request = Request { offset: start, count: part.len() as u32, ..self.request(Op::ReadStaged) };
            line.run(&request, &self.sheet.path, || {
                let answer = line.call(&request, &[])?;
                if answer.length != part.len() {
                    return Err(line.corrupt("what was staged is not there"));
                }
                line.caller.borrow().payload(0, part);
                Ok(((), part.len() as u64))
            })?;
        }
        Ok(())
    }

    /// Reads within one file's length at a view: from the cache, page by page, or all that is left from the first page
    /// on that is not there.
    fn read_view(&self, view: View, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (line, sheet) = (&*self.line, &*self.sheet);
        let guest = self.guest(Op::ReadPages)?;
        let mut done = 0;
        while done < buf.len() {
            let (page, start) = page_of(offset + done as u64);
            let end = buf.len().min(done + PAGE_BYTES - start);
            if guest.read(sheet.slot, page, view.seq, start, &mut buf[done..end]) {
                line.count_reads(1, 0);
                done = end;
            } else {
                let pages = (start + buf.len() - done).div_ceil(PAGE_BYTES).min(line.capacity / PAGE_BYTES);
                let end = buf.len().min(done + pages * PAGE_BYTES - start);
                self.fetch(view, (page, pages), start, &mut buf[done..end])?;
                line.count_reads(0, pages as u64);
                done = end;
            }
        }
        Ok(())
    }

    /// Asks for pages, and copies what lies in them from byte `start` on.
    fn fetch(&self, view: View, (page, pages): (u64, usize), start: usize, buf: &mut [u8]) -> Result<()> {
        let line = &*self.line;
        let request = Request { offset: page, count: pages as u32, ..self.request(Op::ReadPages) };
        line.run(&request, &self.sheet.path, || {
            let answer = line.call(&request, &view.seq.to_le_bytes())?;
            if answer.length != pages * PAGE_BYTES {
                return Err(line.corrupt("pages are missing"));
            }
            line.caller.borrow().payload(start, buf);
            Ok(((), buf.len() as u64))
        })
    }

    /// For a change: the staged file.
    fn staging(&self) -> Result<RefMut<'_, Staged>> {
        let View { len, .. } = self.view("writing")?;
        if !self.is_writer() {
            return Err(self.error(Kind::Invalid, "writing without the write lock"));
        }
        let fresh = || Staged { len, from: u64::MAX, pages: FxHashSet::default() };
        Ok(RefMut::map(self.sheet.staged.borrow_mut(), |staged| staged.get_or_insert_with(fresh)))
    }
}

fn page_of(offset: u64) -> (u64, usize) {
    (offset / PAGE, (offset % PAGE) as usize)
}

impl Paged for RemotePages {
    fn id(&self) -> u32 {
        self.sheet.handle
    }

    fn begin(&self) -> Result<View> {
        let (line, sheet) = (&*self.line, &*self.sheet);
        if let Some(view) = sheet.view.get() {
            return Ok(view);
        }
        let view = self.guest(Op::ReadPages)?.view(sheet.slot).map_err(|error| line.shut(error))?;
        sheet.view.set(Some(view));
        Ok(view)
    }

    fn lock(&self) -> Result<()> {
        let sheet = &*self.sheet;
        let view = self.view("locking")?;
        let guest = self.guest(Op::WaitLock)?;
        let had = self.is_writer();
        if !had && sheet.queued.get() {
            self.ask_lock(Duration::ZERO)?;
        } else if !had && guest.try_lock(sheet.slot) {
            sheet.lock.set(Held::Taken);
        }
        // Under the lock the answer stays what it is.
        if !guest.is_newest(sheet.slot, view).map_err(|error| self.line.shut(error))? {
            if !had && sheet.lock.get() == Held::Taken {
                self.let_go()?;
            }
            return Err(self.error(Kind::Conflict, "locking: the file was changed after the view was taken"));
        }
        if self.is_writer() { Ok(()) } else { Err(self.error(Kind::Busy, "locking: another writes")) }
    }

    fn wait(&self, timeout: Duration) -> Result<bool> {
        let sheet = &*self.sheet;
        if sheet.view.get().is_some() {
            return Err(self.error(Kind::Invalid, "waiting for the write lock while a view is held"));
        }
        let guest = self.guest(Op::WaitLock)?;
        if self.is_writer() {
            return Ok(true);
        }
        if !sheet.queued.get() && guest.try_lock(sheet.slot) {
            sheet.lock.set(Held::Taken);
            return Ok(true);
        }
        self.ask_lock(timeout)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let view = self.view("reading")?;
        let len = self.len()?;
        let count = len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let buf = &mut buf[..count];
        if self.is_staged(offset, count) {
            self.read_staged(offset, buf)?
        } else {
            self.read_view(view, offset, buf)?
        }
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let line = &*self.line;
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= i64::MAX as u64).ok_or_else(|| {
            self.error(Kind::Invalid, &format!("writing {} bytes at {offset}: that is no place", bytes.len()))
        })?;
        let mut staged = self.staging()?;
        staged.len = staged.len.max(end);
        staged.pages.extend(offset / PAGE..end.div_ceil(PAGE));
        let limit = RUN_BYTES.min(line.capacity / 4);
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = end - rest.len() as u64;
            let mut run = self.sheet.unposted.borrow_mut();
            if run.bytes.len() >= limit || run.end() != at {
                drop(run);
                line.post_run(&self.sheet)?;
                self.sheet.unposted.borrow_mut().offset = at;
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(limit - run.bytes.len()));
            run.bytes.extend_from_slice(part);
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let line = &*self.line;
        let mut staged = self.staging()?;
        if len < staged.len {
            staged.from = staged.from.min(len / PAGE);
        }
        staged.len = len;
        line.post_run(&self.sheet)?;
        let request = Request { offset: len, ..self.request(Op::StageLen) };
        line.run_posted(&request, &self.sheet.path, 0, || line.post_quietly(&request, &[]))
    }

    fn len(&self) -> Result<u64> {
        let view = self.view("asking for the length")?;
        Ok(self.sheet.staged.borrow().as_ref().map_or(view.len, |staged| staged.len))
    }

    fn discard(&self) -> Result<()> {
        self.let_go()
    }

    fn end(&self) -> Result<()> {
        let sheet = &*self.sheet;
        let mut ended = self.let_go();
        if sheet.queued.replace(false) {
            ended = ended.and(self.post_release(wire::LEAVE));
        }
        if let (Some(view), Ok(guest)) = (sheet.view.take(), self.guest(Op::Release)) {
            guest.unpin(view);
        }
        ended
    }
}

impl Drop for RemotePages {
    fn drop(&mut self) {
        self.line.sheets.borrow_mut().remove(&self.sheet.handle);
        let request = self.request(Op::Detach);
        // A failure closes the line, and that releases what the client held.
        let _ = self.end();
        let _ = self.line.run(&request, &self.sheet.path, || Ok((self.line.post(&request, &[])?, 0)));
    }
}
