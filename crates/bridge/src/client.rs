//! The client's stubs: a [`Disk`] and [`Pages`](crate::pages::Pages) whose calls go through a ring to a
//! [`Server`](crate::Server), unless its board answers them.
//!
//! Invariants:
//! - One request at a time is waited for; the sequence number of an answer is the request's.
//! - After a fault (a deadline missed, a broken format, a dead server) nothing is asked any more: an answer that comes
//!   late is never taken for another's.
//! - Writes and closes are posted. What becomes of them the next call that waits reports: see
//!   `docs/ring-format.md`.
//!
//! Files of pages are in `paged`.

mod paged;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use statik_disk::{Disk, Error, File, Kind, Open, Result, validate_path};

use crate::Cells;
use crate::board::Guest;
use crate::metrics::{Metrics, Op};
use crate::ring::{Answer, Caller, Deadline, Fault, Request};
use crate::wire::{self, MIN_CAPACITY};
use paged::Sheet;

pub use paged::CacheUse;

/// How a client waits.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How long one call may take before it fails with [`Kind::Timeout`].
    pub deadline: Duration,
    /// How often to look for the answer before blocking, as long as it comes in that time: 0 blocks at once.
    pub spin: u32,
}

impl Default for ClientOptions {
    /// Thirty seconds, and some tens of microseconds of looking.
    fn default() -> Self {
        ClientOptions { deadline: Duration::from_secs(30), spin: 1000 }
    }
}

/// A disk and a store of pages, in another thread. Clones share the ring; dropping the last of them, and of their files,
/// tells the server to let go of all that they held.
#[derive(Clone)]
pub struct Client {
    line: Rc<Line>,
}

impl Client {
    /// The client of a zeroed `ring` that was or will be given to a server as that of the client `id`. The server's
    /// loop waits on `doorbell`, and it shows what it has on `board`. `clock` tells milliseconds and never goes back.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the ring is too small (33 KiB are needed) or had a client before.
    pub fn new(
        ring: impl Cells + 'static,
        doorbell: impl Cells + 'static,
        board: impl Cells + 'static,
        id: u32,
        options: ClientOptions,
        clock: fn() -> f64,
    ) -> Result<Self> {
        let invalid = |why: String| Error::new(Kind::Invalid, format!("connecting to the I/O worker: {why}"));
        let caller = Caller::new(Box::new(ring), Box::new(doorbell), options.spin).map_err(invalid)?;
        if caller.capacity() < MIN_CAPACITY {
            return Err(invalid(format!("the ring holds {} bytes each way, not {MIN_CAPACITY}", caller.capacity())));
        }
        let line = Line {
            capacity: caller.capacity(),
            caller: RefCell::new(caller),
            closed: OnceCell::new(),
            board: Cell::new(Some(Box::new(board))),
            id,
            guest: OnceCell::new(),
            sheets: RefCell::default(),
            cache: Cell::default(),
            next_handle: Cell::new(0),
            deadline: options.deadline,
            clock,
            metrics: Metrics::new(),
        };
        Ok(Client { line: Rc::new(line) })
    }

    /// What this client's calls did and how long they waited.
    pub fn metrics(&self) -> &Metrics {
        &self.line.metrics
    }

    /// Some of the names from the `skip`th on, and how many are left then.
    fn names(&self, skip: u64) -> Result<(Vec<String>, u64)> {
        let request = Request { offset: skip, ..Request::new(Op::List) };
        self.line.run(&request, "", || {
            let answer = self.line.call(&request, &[])?;
            let mut payload = vec![0; answer.length];
            self.line.caller.borrow().payload(0, &mut payload);
            let names = wire::decode_names(&payload).ok_or_else(|| self.line.corrupt("a list is not one"))?;
            if names.is_empty() && answer.value > 0 {
                return Err(self.line.corrupt("a list does not go on"));
            }
            Ok(((names, answer.value), 0))
        })
    }
}

impl Disk for Client {
    fn open(&self, path: &str, open: Open) -> Result<Box<dyn File>> {
        let handle = self.line.handle();
        let request = Request { handle, count: wire::encode_open(open), ..Request::new(Op::Open) };
        self.line.ask_about(&request, path)?;
        Ok(Box::new(RemoteFile { line: Rc::clone(&self.line), handle, path: path.to_owned() }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.line.ask_about(&Request::new(Op::Remove), path).map(|_| ())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let request = Request { count: from.len() as u32, ..Request::new(Op::Rename) };
        self.line.run(&request, from, || {
            validate_path(from)?;
            validate_path(to)?;
            self.line.call(&request, [from, to].concat().as_bytes()).map(|_| ((), 0))
        })
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        loop {
            let (more, left) = self.names(names.len() as u64)?;
            names.extend(more);
            if left == 0 {
                return Ok(names);
            }
        }
    }
}

/// What a client and its files share.
struct Line {
    caller: RefCell<Caller>,
    capacity: usize,
    /// Why nothing is asked any more.
    closed: OnceCell<Error>,
    /// Until there is a `guest`: the server has not answered anything yet.
    board: Cell<Option<Box<dyn Cells>>>,
    id: u32,
    guest: OnceCell<Guest>,
    /// The open files of pages, by handle.
    sheets: RefCell<BTreeMap<u32, Rc<Sheet>>>,
    cache: Cell<CacheUse>,
    next_handle: Cell<u32>,
    deadline: Duration,
    clock: fn() -> f64,
    metrics: Metrics,
}

impl Line {
    /// A number for a file that no other has.
    fn handle(&self) -> u32 {
        let handle = self.next_handle.get();
        self.next_handle.set(handle.wrapping_add(1));
        handle
    }

    /// Runs, measures, and lets a failure name the file concerned. `run` returns the result and the bytes moved.
    fn run<T>(&self, request: &Request, path: &str, run: impl FnOnce() -> Result<(T, u64)>) -> Result<T> {
        let start_ms = (self.clock)();
        let result = run().map_err(|error| about(error, path));
        let bytes = result.as_ref().ok().map(|(_, bytes)| *bytes);
        self.metrics.record(request.op, (self.clock)() - start_ms, bytes);
        result.map(|(value, _)| value)
    }

    /// As [`Line::run`], for what is posted: it is counted, and takes no time worth the price of the clock.
    fn run_posted(&self, request: &Request, path: &str, bytes: u64, post: impl FnOnce() -> Result<()>) -> Result<()> {
        let posted = post().map_err(|error| about(error, path));
        self.metrics.record(request.op, 0.0, posted.is_ok().then_some(bytes));
        posted
    }

    /// A call whose payload is a path and whose answer says nothing but yes, or a number.
    fn ask_about(&self, request: &Request, path: &str) -> Result<u64> {
        self.run(request, path, || {
            validate_path(path)?;
            self.call(request, path.as_bytes()).map(|answer| (answer.value, 0))
        })
    }

    /// A call without payload whose answer is a number.
    fn ask(&self, request: &Request, path: &str) -> Result<u64> {
        self.run(request, path, || Ok((self.call(request, &[])?.value, 0)))
    }

    /// Asks and waits.
    fn call(&self, request: &Request, payload: &[u8]) -> Result<Answer> {
        self.call_for(request, payload, Duration::ZERO)
    }

    /// Asks and waits, so much longer than for another answer.
    fn call_for(&self, request: &Request, payload: &[u8], longer: Duration) -> Result<Answer> {
        let deadline = Deadline::after(self.deadline.saturating_add(longer), self.clock);
        let sequence = self.send(request, payload, &deadline)?;
        let answer = self.caller.borrow_mut().wait(sequence, &deadline);
        let answer = answer.map_err(|fault| self.close(request.op, fault))?;
        if answer.status == 0 {
            return Ok(answer);
        }
        let mut payload = vec![0; answer.length];
        self.caller.borrow().payload(0, &mut payload);
        match wire::decode_error(&payload) {
            Some(error) if answer.status == 1 + error.kind() as i32 => Err(error),
            _ => Err(self.corrupt("an answer is neither a result nor an error")),
        }
    }

    /// Asks and does not wait for an answer.
    fn post(&self, request: &Request, payload: &[u8]) -> Result<()> {
        self.send(request, payload, &Deadline::after(self.deadline, self.clock)).map(|_| ())
    }

    /// As [`Line::post`], for what need not be looked at soon.
    fn post_quietly(&self, request: &Request, payload: &[u8]) -> Result<()> {
        self.check_open(request.op)?;
        let deadline = Deadline::after(self.deadline, self.clock);
        let sent = self.caller.borrow_mut().post_quietly(request, payload, &deadline);
        sent.map(|_| ()).map_err(|fault| self.close(request.op, fault))
    }

    fn check_open(&self, op: Op) -> Result<()> {
        let Some(error) = self.closed.get() else { return Ok(()) };
        let context = format!("{}: the connection to the I/O worker is closed", op.name());
        Err(Error::new(Kind::Closed, context).because(error.clone()))
    }

    fn send(&self, request: &Request, payload: &[u8], deadline: &Deadline) -> Result<u32> {
        self.check_open(request.op)?;
        let sent = self.caller.borrow_mut().post(request, payload, deadline);
        sent.map_err(|fault| self.close(request.op, fault))
    }

    fn corrupt(&self, what: &str) -> Error {
        self.shut(Error::new(Kind::Corrupt, format!("the ring shared with the I/O worker is damaged: {what}")))
    }

    fn close(&self, op: Op, fault: Fault) -> Error {
        let op = op.name();
        let error = match fault {
            Fault::Timeout => {
                let limit = self.deadline.as_millis();
                Error::new(Kind::Timeout, format!("{op}: the I/O worker gave no answer within {limit} ms"))
            }
            Fault::Died => Error::new(Kind::Closed, format!("{op}: the I/O worker died")),
            Fault::Stopped => Error::new(Kind::Closed, format!("{op}: the I/O worker stopped")),
            Fault::Refused(why) => Error::new(Kind::Closed, format!("{op}: the I/O worker refused the ring: {why}")),
            Fault::Corrupt(what) => return self.corrupt(&format!("{op}: {what}")),
        };
        self.shut(error)
    }

    /// Lets nothing be asked any more, because of `error`.
    fn shut(&self, error: Error) -> Error {
        // An earlier reason stays: it is the cause of this one.
        if self.closed.set(error.clone()).is_ok() {
            self.caller.borrow_mut().hang_up();
        }
        error
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.caller.get_mut().hang_up();
    }
}

/// The failure, naming the file concerned unless it names one already.
fn about(error: Error, path: &str) -> Error {
    match error.path() {
        None if !path.is_empty() => error.at(path),
        _ => error,
    }
}

struct RemoteFile {
    line: Rc<Line>,
    handle: u32,
    path: String,
}

impl RemoteFile {
    fn request(&self, op: Op) -> Request {
        Request { handle: self.handle, ..Request::new(op) }
    }

    /// A call without payload whose answer is a number.
    fn ask(&self, request: Request) -> Result<u64> {
        self.line.ask(&request, &self.path)
    }

    fn read_part(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let request = Request { offset, count: buf.len() as u32, ..self.request(Op::Read) };
        let answer = self.line.call(&request, &[])?;
        if answer.length > buf.len() {
            return Err(self.line.corrupt("more bytes came than were asked for"));
        }
        self.line.caller.borrow().payload(0, &mut buf[..answer.length]);
        Ok(answer.length)
    }
}

impl File for RemoteFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.line.run(&self.request(Op::Read), &self.path, || {
            let mut done = 0;
            while done < buf.len() {
                let end = buf.len().min(done + self.line.capacity);
                let count = self.read_part(offset.saturating_add(done as u64), &mut buf[done..end])?;
                done += count;
                if done < end {
                    break;
                }
            }
            Ok((done, done as u64))
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.line.run(&self.request(Op::Write), &self.path, || {
            // A quarter, so that the server writes one part while the next is copied.
            let parts = bytes.chunks(self.line.capacity / 4);
            for (part, start) in parts.zip((0_u64..).step_by(self.line.capacity / 4)) {
                let offset = offset.checked_add(start).ok_or_else(|| {
                    Error::new(Kind::Invalid, format!("writing {} bytes at {offset}: that is no place", bytes.len()))
                })?;
                self.line.post(&Request { offset, ..self.request(Op::Write) }, part)?;
            }
            Ok(((), bytes.len() as u64))
        })
    }

    fn len(&self) -> Result<u64> {
        self.ask(self.request(Op::Len))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.ask(Request { offset: len, ..self.request(Op::SetLen) }).map(|_| ())
    }

    fn flush(&self) -> Result<()> {
        self.ask(self.request(Op::Flush)).map(|_| ())
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        let request = self.request(Op::Close);
        // A failure closes the line, of which the next call tells; the server lets go of the file then, too.
        let _ = self.line.run(&request, &self.path, || self.line.post(&request, &[]).map(|()| ((), 0)));
    }
}
