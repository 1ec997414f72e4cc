//! One client as the server sees it: its ring, its open files, and what it has not been told yet.
//!
//! Raw files are here; files of pages in `paged`.

pub(crate) mod opened;
mod paged;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use statik_disk::{Error, File, Kind, Result, validate_path};

use crate::metrics::Op;
use crate::paging::{Ask, Outcome, Reply};
use crate::ring::{Answerer, Broken, End, Request};
use crate::server::{Host, Service};
use crate::wire;
use opened::Opened;
use paged::PagedFile;

/// How many files one client may hold.
const MAX_HANDLES: usize = 4096;

pub(crate) struct Session {
    id: u32,
    ring: Answerer,
    leaving: bool,
    ended: bool,
    files: HashMap<u32, OpenFile>,
    paged: HashMap<u32, PagedFile>,
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
    /// Counted among the open files of all clients until it is dropped.
    _open: Opened,
    /// The failure that cost it a write, until a call about this file told the client.
    lost: Option<Lost>,
}

struct Lost {
    error: Error,
    /// The first byte that may not be what was written.
    offset: u64,
}

impl OpenFile {
    fn lose(&mut self, error: &Error, offset: u64) {
        let lost = self.lost.get_or_insert_with(|| Lost { error: error.clone(), offset });
        lost.offset = lost.offset.min(offset);
    }
}

/// A request that was not answered yet.
struct Waiting {
    sequence: u32,
    request: Request,
    start_ms: f64,
    /// What is asynchronous; without, `paging` will answer.
    future: Option<Found>,
}

/// What an asynchronous request will yield.
type Found = Pin<Box<dyn Future<Output = Result<Yield>>>>;

enum Yield {
    File(OpenFile),
    /// The store's number of an attached file, and its path.
    Attached(u32, String),
    Names(Vec<String>),
    Nothing,
}

impl Session {
    pub(crate) fn new(id: u32, ring: Answerer) -> Self {
        Session {
            id,
            ring,
            leaving: false,
            ended: false,
            files: HashMap::new(),
            paged: HashMap::new(),
            failure: None,
            waiting: None,
            names: Vec::new(),
            payload: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether an asynchronous request is on its way.
    pub(crate) fn waiting(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.future.is_some())
    }

    /// Whether nothing will happen here any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended && !self.waiting()
    }

    /// Carries out what the client posted until now, and nothing later, and releases what it held.
    pub(crate) fn leave<H: Host + 'static>(&mut self, service: &Service<H>) {
        self.leaving = true;
        self.ring.end(End::Stopped);
        while self.step(service) {}
    }

    /// Carries out the next request, if there is one and none is on its way. Whether there was.
    pub(crate) fn step<H: Host + 'static>(&mut self, service: &Service<H>) -> bool {
        let going = self.leaving || self.ring.hung_up();
        if going && self.waiting.as_ref().is_some_and(|waiting| waiting.future.is_none()) {
            // Nobody waits for the answer any more.
            service.paging.borrow_mut().cancel(self.id);
            self.waiting = None;
        }
        if self.ended || self.waiting.is_some() {
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
                if going {
                    self.release(service);
                }
                false
            }
            Err(broken) => {
                self.ring.refuse(&broken);
                self.release(service);
                true
            }
        }
    }

    /// Whether the request on its way, if there is one, came to its end.
    pub(crate) fn poll_waiting<H: Host>(&mut self, service: &Service<H>, context: &mut Context) -> bool {
        let Some(Waiting { future: Some(future), .. }) = &mut self.waiting else { return false };
        let Poll::Ready(result) = future.as_mut().poll(context) else { return false };
        let Some(Waiting { sequence, request, start_ms, .. }) = self.waiting.take() else { return false };
        let reply = result.and_then(|found| match found {
            Yield::Nothing => Ok((0, Vec::new())),
            Yield::File(file) => {
                self.files.insert(request.handle, file);
                Ok((0, Vec::new()))
            }
            Yield::Attached(file, path) => self.attached(service, request.handle, file, &path),
            Yield::Names(names) => {
                self.names = names;
                Ok(self.list(0))
            }
        });
        self.answer(service, sequence, &request, start_ms, reply);
        true
    }

    /// Delivers what `paging` answered.
    pub(crate) fn deliver<H>(&mut self, service: &Service<H>, sequence: u32, reply: Reply) {
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.future.is_none() && waiting.sequence == sequence)
        {
            self.answer(service, sequence, &waiting.request, waiting.start_ms, reply);
        }
    }

    fn release<H: Host>(&mut self, service: &Service<H>) {
        if !self.ended {
            self.ended = true;
            self.files.clear();
            self.detach_all(service);
        }
    }

    fn carry_out<H: Host + 'static>(
        &mut self,
        service: &Service<H>,
        sequence: u32,
        request: Request,
        payload: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        // Nobody waits for these, and the clock costs as much as most of them take.
        if let Some(result) = self.posted(service, &request, payload)? {
            service.metrics.record(request.op, 0.0, result.ok());
            return Ok(());
        }
        let start_ms = (service.clock)();
        let reply = if let Some(outcome) = self.on_pages(service, sequence, &request, payload, start_ms)? {
            outcome
        } else if let Some(error) = self.untold(&request) {
            Some(Err(error))
        } else {
            match request.op {
                Op::Read | Op::Flush | Op::SetLen | Op::Len => Some(self.on_file(&request)?),
                Op::List if request.offset > 0 => Some(Ok(self.list(request.offset))),
                _ => {
                    let future = Some(self.begin(service, &request, payload)?);
                    self.waiting = Some(Waiting { sequence, request, start_ms, future });
                    self.poll_waiting(service, &mut Context::from_waker(Waker::noop()));
                    return Ok(());
                }
            }
        };
        match reply {
            Some(reply) => self.answer(service, sequence, &request, start_ms, reply),
            None => self.waiting = Some(Waiting { sequence, request, start_ms, future: None }),
        }
        Ok(())
    }

    fn answer<H>(&self, service: &Service<H>, sequence: u32, request: &Request, start_ms: f64, reply: Reply) {
        let reads = matches!(request.op, Op::Read | Op::ReadPages | Op::ReadStaged);
        let bytes = reply.as_ref().ok().map(|(_, payload)| if reads { payload.len() as u64 } else { 0 });
        service.metrics.record(request.op, (service.clock)() - start_ms, bytes);
        match reply {
            Ok((value, payload)) => self.ring.answer(sequence, 0, value, &payload),
            Err(error) => {
                let (status, payload) = wire::encode_error(&error);
                self.ring.answer(sequence, status, 0, &payload);
            }
        }
    }

    /// Carries out what the client does not wait for: the bytes written, or the failure, which is remembered. `None` if
    /// the client does wait.
    fn posted<H: Host>(
        &mut self,
        service: &Service<H>,
        request: &Request,
        payload: &mut Vec<u8>,
    ) -> Result<Option<Result<u64>>, Broken> {
        match request.op {
            Op::Write => return self.write(request, payload).map(Some),
            Op::Stage | Op::StageLen => return self.stage(service, request, payload).map(Some),
            Op::Release => self.give_up(service, request)?,
            Op::Detach => self.detach(service, request)?,
            Op::Close => drop(self.files.remove(&request.handle).ok_or_else(|| no_such(request))?),
            _ => return Ok(None),
        }
        Ok(Some(Ok(0)))
    }

    /// Writes, in one go with the writes to the bytes behind these that are posted already.
    fn write(&mut self, request: &Request, payload: &mut Vec<u8>) -> Result<Result<u64>, Broken> {
        let file = self.files.get_mut(&request.handle).ok_or_else(|| no_such(request))?;
        if let Some(failure) = &mut self.failure {
            failure.dropped += 1;
            file.lose(&failure.error, request.offset);
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
            file.lose(&error, request.offset);
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
            (None, Some(file)) if request.op == Op::Flush => (file.lost.as_ref()?.error.clone(), 0),
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
        let open = self.files.get_mut(&request.handle).ok_or_else(|| no_such(request))?;
        let file = &open.file;
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
            Op::SetLen => file.set_len(request.offset).map(|()| {
                // What was lost was to lie where nothing is to lie now.
                open.lost.take_if(|lost| request.offset <= lost.offset);
                (0, Vec::new())
            }),
            _ => file.flush().map(|()| (0, Vec::new())),
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
        let opened = service.opened.clone();
        let path = text(payload)?.to_owned();
        match request.op {
            Op::Attach => {
                let open = wire::decode_open(request.count).ok_or("no such way to open")?;
                let no_room = self.no_room(request.handle)?;
                Ok(Box::pin(async move {
                    validate_path(&path)?;
                    if let Some(error) = no_room {
                        return Err(error.at(path));
                    }
                    if opened.has(&path) {
                        return Err(open_as_file(&path));
                    }
                    host.attach(&path, open).await.map(|file| Yield::Attached(file, path))
                }))
            }
            Op::Open => {
                let open = wire::decode_open(request.count).ok_or("no such way to open")?;
                let no_room = self.no_room(request.handle)?;
                Ok(Box::pin(async move {
                    validate_path(&path)?;
                    if let Some(error) = no_room {
                        return Err(error.at(path));
                    }
                    host.pages().settle(&path)?;
                    let file = host.open(&path, open).await?;
                    // Somebody may have attached it meanwhile.
                    host.pages().settle(&path)?;
                    let _open = opened.open(&path);
                    Ok(Yield::File(OpenFile { file, path, _open, lost: None }))
                }))
            }
            Op::Remove => Ok(Box::pin(async move {
                validate_path(&path)?;
                host.pages().settle(&path)?;
                host.remove(&path).await.map(|()| Yield::Nothing)
            })),
            Op::Rename => {
                let (from, to) = path.split_at_checked(request.count as usize).ok_or("a rename that ends early")?;
                let (from, to) = (from.to_owned(), to.to_owned());
                Ok(Box::pin(async move {
                    validate_path(&from)?;
                    validate_path(&to)?;
                    host.pages().settle(&from)?;
                    host.pages().settle(&to)?;
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

    /// Why a new file cannot be had, if the client has too many.
    fn no_room(&self, handle: u32) -> Result<Option<Error>, Broken> {
        if self.files.contains_key(&handle) || self.paged.contains_key(&handle) {
            return Err(format!("the number {handle} is taken"));
        }
        let full = self.files.len() + self.paged.len() >= MAX_HANDLES;
        Ok(full.then(|| Error::new(Kind::Busy, format!("opening: {MAX_HANDLES} files are open already"))))
    }
}

fn open_as_file(path: &str) -> Error {
    Error::new(Kind::Busy, "attaching: the path is open as a file").at(path)
}

fn text(payload: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(payload).map_err(|_| "a name that is not UTF-8".to_owned())
}

fn no_such(request: &Request) -> Broken {
    format!("{} of {}, which is not open", request.op.name(), request.handle)
}
