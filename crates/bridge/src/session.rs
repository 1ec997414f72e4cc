//! One client as the server sees it: its ring, its open files and locks, and what it has not been told yet.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use statik_disk::{Error, File, Kind, Result, validate_path};

use crate::locks::{Lock, Locks};
use crate::metrics::Op;
use crate::ring::{Answerer, Broken, End, Request};
use crate::server::{Host, Service};
use crate::wire;

/// How many files and locks one client may hold.
const MAX_HANDLES: usize = 4096;

pub(crate) struct Session {
    ring: Answerer,
    leaving: bool,
    ended: bool,
    files: HashMap<u32, OpenFile>,
    locks: HashMap<u32, Box<dyn Lock>>,
    failure: Option<Failure>,
    waiting: Option<Waiting>,
    /// What [`Op::List`] found, which the client fetches part by part.
    names: Vec<String>,
    payload: Vec<u8>,
}

/// A posted write that failed, of which the client was not told yet.
struct Failure {
    error: Error,
    /// How many writes after it were not carried out.
    dropped: usize,
}

struct OpenFile {
    file: Rc<dyn File>,
    path: String,
    /// The failure that cost it a write, until a call about this file told the client.
    lost: Option<Error>,
}

/// An asynchronous request on its way.
struct Waiting {
    sequence: u32,
    request: Request,
    start_ms: f64,
    future: Found,
}

/// What an asynchronous request will yield.
type Found = Pin<Box<dyn Future<Output = Result<Yield>>>>;

enum Yield {
    File(OpenFile),
    Names(Vec<String>),
    Nothing,
}

/// What a client waits for: a number and bytes.
type Reply = Result<(u64, Vec<u8>)>;

impl Session {
    pub(crate) fn new(ring: Answerer) -> Self {
        Session {
            ring,
            leaving: false,
            ended: false,
            files: HashMap::new(),
            locks: HashMap::new(),
            failure: None,
            waiting: None,
            names: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Whether an asynchronous request is on its way.
    pub(crate) fn waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether nothing will happen here any more.
    pub(crate) fn ended(&self) -> bool {
        !self.waiting() && (self.ended || self.ring.hung_up() && !self.ring.has_next())
    }

    /// Carries out what the client posted until now, and nothing later, and releases what it held.
    pub(crate) fn leave<H: Host + 'static>(&mut self, service: &Service<H>) {
        self.leaving = true;
        self.ring.end(End::Stopped);
        while self.step(service) {}
    }

    /// Carries out the next request, if there is one and none is on its way. Whether there was.
    pub(crate) fn step<H: Host + 'static>(&mut self, service: &Service<H>) -> bool {
        if self.ended || self.waiting() {
            return false;
        }
        let mut payload = std::mem::take(&mut self.payload);
        let stepped = match self.ring.next(&mut payload) {
            Ok(None) => Ok(false),
            Ok(Some((sequence, request))) => self.carry_out(service, sequence, request, &mut payload).map(|()| true),
            Err(broken) => Err(broken),
        };
        self.payload = payload;
        match stepped {
            Ok(true) => true,
            Ok(false) => {
                if self.leaving {
                    self.release();
                }
                false
            }
            Err(broken) => {
                self.ring.refuse(&broken);
                self.release();
                true
            }
        }
    }

    /// Whether the request on its way, if there is one, came to its end.
    pub(crate) fn poll_waiting<H>(&mut self, service: &Service<H>, context: &mut Context) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let Poll::Ready(result) = waiting.future.as_mut().poll(context) else { return false };
        let Some(Waiting { sequence, request, start_ms, .. }) = self.waiting.take() else { return false };
        let reply = result.map(|found| match found {
            Yield::Nothing => (0, Vec::new()),
            Yield::File(file) => {
                self.files.insert(request.handle, file);
                (0, Vec::new())
            }
            Yield::Names(names) => {
                self.names = names;
                self.list(0)
            }
        });
        self.answer(service, sequence, &request, start_ms, reply);
        true
    }

    fn release(&mut self) {
        self.ended = true;
        self.files.clear();
        self.locks.clear();
    }

    fn carry_out<H: Host + 'static>(
        &mut self,
        service: &Service<H>,
        sequence: u32,
        request: Request,
        payload: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let start_ms = (service.clock)();
        let reply = if matches!(request.op, Op::Write | Op::Close | Op::Unlock | Op::LockClose) {
            let result = self.posted(&request, payload)?;
            service.metrics.record(request.op, (service.clock)() - start_ms, result.ok());
            return Ok(());
        } else if let Some(error) = self.untold(&request) {
            Err(error)
        } else {
            match request.op {
                Op::Read | Op::Flush | Op::SetLen | Op::Len => self.on_file(&request)?,
                Op::LockOpen | Op::Lock | Op::Reserved => self.on_lock(service, &request, payload)?,
                Op::List if request.offset > 0 => Ok(self.list(request.offset)),
                _ => {
                    let future = self.begin(service, &request, payload)?;
                    self.waiting = Some(Waiting { sequence, request, start_ms, future });
                    self.poll_waiting(service, &mut Context::from_waker(Waker::noop()));
                    return Ok(());
                }
            }
        };
        self.answer(service, sequence, &request, start_ms, reply);
        Ok(())
    }

    fn answer<H>(&self, service: &Service<H>, sequence: u32, request: &Request, start_ms: f64, reply: Reply) {
        let bytes =
            reply.as_ref().ok().map(|(_, payload)| if request.op == Op::Read { payload.len() as u64 } else { 0 });
        service.metrics.record(request.op, (service.clock)() - start_ms, bytes);
        match reply {
            Ok((value, payload)) => self.ring.answer(sequence, 0, value, &payload),
            Err(error) => {
                let (status, payload) = wire::encode_error(&error);
                self.ring.answer(sequence, status, 0, &payload);
            }
        }
    }

    /// Carries out what the client does not wait for: the bytes written, or the failure, which is remembered.
    fn posted(&mut self, request: &Request, payload: &mut Vec<u8>) -> Result<Result<u64>, Broken> {
        match request.op {
            Op::Write => return self.write(request, payload),
            Op::Close => drop(self.files.remove(&request.handle).ok_or_else(|| no_such(request))?),
            Op::LockClose => drop(self.locks.remove(&request.handle).ok_or_else(|| no_such(request))?),
            _ => {
                let level = wire::decode_level(request.count).ok_or("no such level")?;
                let lock = self.locks.get(&request.handle).ok_or_else(|| no_such(request))?;
                lock.lower(level).map_err(|error| error.to_string())?;
            }
        }
        Ok(Ok(0))
    }

    /// Writes, in one go with the writes to the bytes behind these that are posted already.
    fn write(&mut self, request: &Request, payload: &mut Vec<u8>) -> Result<Result<u64>, Broken> {
        let file = self.files.get_mut(&request.handle).ok_or_else(|| no_such(request))?;
        if let Some(failure) = &mut self.failure {
            failure.dropped += 1;
            file.lost.get_or_insert_with(|| failure.error.clone());
            return Ok(Err(failure.error.clone()));
        }
        let limit = self.ring.capacity();
        loop {
            let length = payload.len();
            let joins = |next: &Request, more| {
                next.op == Op::Write
                    && next.handle == request.handle
                    && request.offset.checked_add(length as u64) == Some(next.offset)
                    && length + more <= limit
            };
            if self.ring.next_if(payload, joins)?.is_none() {
                break;
            }
        }
        let result = file.file.write_at(request.offset, payload).map(|()| payload.len() as u64);
        if let Err(error) = &result {
            let error = if error.path().is_some() { error.clone() } else { error.clone().at(&file.path) };
            file.lost.get_or_insert_with(|| error.clone());
            self.failure = Some(Failure { error, dropped: 0 });
        }
        Ok(result)
    }

    /// The failure that the client has to be told of in place of what it waits for. See `docs/ring-format.md`.
    fn untold(&mut self, request: &Request) -> Option<Error> {
        let file = match request.op {
            Op::Read | Op::Flush | Op::SetLen | Op::Len => self.files.get_mut(&request.handle),
            _ => None,
        };
        let (error, dropped) = match (self.failure.take(), &file) {
            (Some(failure), _) => (failure.error, failure.dropped),
            (None, Some(file)) if request.op == Op::Flush => (file.lost.clone()?, 0),
            (None, _) => return None,
        };
        if let Some(file) = file {
            file.lost = None;
        }
        let context = match dropped {
            0 => "a write posted earlier failed".to_owned(),
            _ => format!("a write posted earlier failed, and {dropped} after it were not carried out"),
        };
        let told = Error::new(error.kind(), context).because(error.clone());
        Some(match error.path() {
            Some(path) => told.at(path),
            None => told,
        })
    }

    fn on_file(&mut self, request: &Request) -> Result<Reply, Broken> {
        let file = &self.files.get(&request.handle).ok_or_else(|| no_such(request))?.file;
        Ok(match request.op {
            Op::Read => {
                let count = request.count as usize;
                if count > self.ring.capacity() {
                    return Err(format!("a read of {count} bytes"));
                }
                let mut bytes = vec![0; count];
                file.read_at(request.offset, &mut bytes).map(|count| {
                    bytes.truncate(count);
                    (0, bytes)
                })
            }
            Op::Len => file.len().map(|len| (len, Vec::new())),
            Op::SetLen => file.set_len(request.offset).map(|()| (0, Vec::new())),
            _ => file.flush().map(|()| (0, Vec::new())),
        })
    }

    fn on_lock<H>(&mut self, service: &Service<H>, request: &Request, payload: &[u8]) -> Result<Reply, Broken> {
        if request.op == Op::LockOpen {
            let path = text(payload)?;
            if let Some(error) = self.no_room(request.handle)? {
                return Ok(Err(error));
            }
            let lock = service.locks.open(path);
            return Ok(lock.map(|lock| {
                self.locks.insert(request.handle, lock);
                (0, Vec::new())
            }));
        }
        let lock = self.locks.get(&request.handle).ok_or_else(|| no_such(request))?;
        Ok(match request.op {
            Op::Reserved => lock.reserved().map(|reserved| (u64::from(reserved), Vec::new())),
            _ => {
                let level = wire::decode_level(request.count).ok_or("no such level")?;
                lock.raise(level).map(|()| (0, Vec::new()))
            }
        })
    }

    /// Begins an asynchronous request.
    fn begin<H: Host + 'static>(
        &self,
        service: &Service<H>,
        request: &Request,
        payload: &[u8],
    ) -> Result<Found, Broken> {
        let host = Rc::clone(&service.host);
        let path = text(payload)?.to_owned();
        match request.op {
            Op::Open => {
                let open = wire::decode_open(request.count).ok_or("no such way to open")?;
                let no_room = self.no_room(request.handle)?;
                Ok(Box::pin(async move {
                    validate_path(&path)?;
                    if let Some(error) = no_room {
                        return Err(error.at(path));
                    }
                    let file = host.open(&path, open).await?;
                    Ok(Yield::File(OpenFile { file, path, lost: None }))
                }))
            }
            Op::Remove => Ok(Box::pin(async move {
                validate_path(&path)?;
                host.remove(&path).await.map(|()| Yield::Nothing)
            })),
            Op::Rename => {
                let (from, to) = path.split_at_checked(request.count as usize).ok_or("a rename that ends early")?;
                let (from, to) = (from.to_owned(), to.to_owned());
                Ok(Box::pin(async move {
                    validate_path(&from)?;
                    validate_path(&to)?;
                    host.rename(&from, &to).await.map(|()| Yield::Nothing)
                }))
            }
            _ => Ok(Box::pin(async move { host.list().await.map(Yield::Names) })),
        }
    }

    /// Names from the `skip`th on, as many as an answer holds, and how many are left then.
    fn list(&mut self, skip: u64) -> (u64, Vec<u8>) {
        let rest = self.names.get(usize::try_from(skip).unwrap_or(usize::MAX)..).unwrap_or_default();
        let (count, payload) = wire::encode_names(rest, self.ring.capacity());
        let left = rest.len() - count;
        if left == 0 {
            self.names = Vec::new();
        }
        (left as u64, payload)
    }

    /// Why a new file or lock cannot be had, if the client has too many.
    fn no_room(&self, handle: u32) -> Result<Option<Error>, Broken> {
        if self.files.contains_key(&handle) || self.locks.contains_key(&handle) {
            return Err(format!("the number {handle} is taken"));
        }
        let full = self.files.len() + self.locks.len() >= MAX_HANDLES;
        Ok(full.then(|| Error::new(Kind::Busy, format!("opening: {MAX_HANDLES} files and locks are open already"))))
    }
}

fn text(payload: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(payload).map_err(|_| "a name that is not UTF-8".to_owned())
}

fn no_such(request: &Request) -> Broken {
    format!("{} of {}, which is not open", request.op.name(), request.handle)
}
