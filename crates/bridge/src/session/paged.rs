//! A client's files of pages, as the server sees them.

use std::time::Duration;

use statik_disk::{Error, Result};

use super::{Ask, Broken, Outcome, Reply, Request, Session, no_such, open_as_file};
use crate::metrics::Op;
use crate::pages::PAGE_BYTES;
use crate::paging::Part;
use crate::server::{Host, Service};
use crate::wire;

/// No page of a file lies behind this one: its bytes would have no number.
const MAX_PAGE: u64 = i64::MAX as u64 / PAGE_BYTES as u64;

/// Who goes on and on gets so many times the first read ahead.
const MOST_AHEAD: usize = 4;

pub(super) struct PagedFile {
    /// The store's number.
    file: u32,
    /// Why the next commit fails: a change that could not be staged.
    failure: Option<Error>,
    /// The page behind the last ones that were not in the cache.
    next_page: u64,
    /// How many of those were read ahead.
    ahead: usize,
}

impl Session {
    /// What `host` attached becomes one of the client's files; the answer is its place on the board.
    pub(super) fn attached<H: Host>(&mut self, service: &Service<H>, handle: u32, file: u32, path: &str) -> Reply {
        let store = service.host.pages();
        if service.opened.has(path) {
            // It was opened while it was attached.
            store.detach(file);
            store.settle(path)?;
            return Err(open_as_file(path));
        }
        let slot = service.paging.borrow_mut().open(store, file).inspect_err(|_| store.detach(file))?;
        self.paged.insert(handle, PagedFile { file, failure: None, next_page: u64::MAX, ahead: 0 });
        Ok((slot.into(), Vec::new()))
    }

    /// Releases all that the client has of pages.
    pub(super) fn detach_all<H: Host>(&mut self, service: &Service<H>) {
        let paging = &mut *service.paging.borrow_mut();
        let store = service.host.pages();
        // First what nobody may pass on to this client itself.
        for (handle, PagedFile { file, .. }) in &self.paged {
            paging.release(store, self.id, *handle, *file, wire::LEAVE);
        }
        paging.remove_client(store, self.id);
        for (handle, PagedFile { file, .. }) in self.paged.drain() {
            paging.close(store, self.id, handle, file);
        }
    }

    /// Stages a change; a failure is told by the commit.
    pub(super) fn stage<H: Host>(
        &mut self,
        service: &Service<H>,
        request: &Request,
        payload: &[u8],
    ) -> Result<Result<u64>, Broken> {
        let paged = self.paged.get_mut(&request.handle).ok_or_else(|| no_such(request))?;
        if let Some(error) = &paged.failure {
            return Ok(Err(error.clone()));
        }
        let store = service.host.pages();
        let (file, offset) = (paged.file, request.offset);
        let staged = service.paging.borrow_mut().stage(store, self.id, file, |store| match request.op {
            Op::StageLen => store.stage_len(file, offset),
            _ => store.stage(file, offset, payload),
        });
        paged.failure = staged.clone().err();
        Ok(staged.map(|()| payload.len() as u64))
    }

    /// Gives up what the client says.
    pub(super) fn give_up<H: Host>(&mut self, service: &Service<H>, request: &Request) -> Result<(), Broken> {
        let paged = self.paged.get_mut(&request.handle).ok_or_else(|| no_such(request))?;
        if request.count > wire::DISCARD | wire::UNLOCK | wire::LEAVE {
            return Err(format!("a release of {}", request.count));
        }
        paged.failure = None;
        let store = service.host.pages();
        service.paging.borrow_mut().release(store, self.id, request.handle, paged.file, request.count);
        Ok(())
    }

    pub(super) fn detach<H: Host>(&mut self, service: &Service<H>, request: &Request) -> Result<(), Broken> {
        let PagedFile { file, .. } = self.paged.remove(&request.handle).ok_or_else(|| no_such(request))?;
        service.paging.borrow_mut().close(service.host.pages(), self.id, request.handle, file);
        Ok(())
    }

    /// Carries out what the client waits for, unless it is not about pages, or asynchronous.
    pub(super) fn on_pages<H: Host>(
        &mut self,
        service: &Service<H>,
        sequence: u32,
        request: &Request,
        payload: &[u8],
        now_ms: f64,
    ) -> Result<Option<Outcome>, Broken> {
        let ask = Ask { client: self.id, sequence };
        let store = service.host.pages();
        let paging = &service.paging;
        Ok(Some(match request.op {
            Op::ReadPages => Some(self.read_pages(service, request, payload)?),
            Op::ReadStaged => Some(self.read_staged(service, request)?),
            Op::WaitLock => {
                let file = self.paged.get(&request.handle).ok_or_else(|| no_such(request))?.file;
                let until_ms = now_ms + Duration::from_millis(request.count.into()).as_secs_f64() * 1000.0;
                paging.borrow_mut().wait_lock(ask, request.handle, file, until_ms, now_ms)
            }
            Op::Commit => self.commit(service, ask, request, payload, now_ms)?,
            Op::Durable => paging.borrow_mut().durable(store, ask, now_ms),
            Op::Checkpoint => paging.borrow_mut().checkpoint(ask),
            Op::Usage => Some(Ok((0, wire::encode_usage(&paging.borrow().usage(store))))),
            Op::Committed => {
                let id = wire::decode_id(payload).ok_or("a question for what is no id")?;
                Some(Ok((store.committed(id).unwrap_or(0), Vec::new())))
            }
            _ => return Ok(None),
        }))
    }

    fn read_pages<H: Host>(&mut self, service: &Service<H>, request: &Request, seq: &[u8]) -> Result<Reply, Broken> {
        let paged = self.paged.get_mut(&request.handle).ok_or_else(|| no_such(request))?;
        let [seq] = wire::decode_numbers(seq).and_then(|seq| seq.try_into().ok()).ok_or("a view is one number")?;
        let (page, count) = (request.offset, request.count as usize);
        if count == 0 || count > self.ring.capacity() / PAGE_BYTES || page > MAX_PAGE {
            return Err(format!("a read of {count} pages from {page} on"));
        }
        let first = service.read_ahead.get();
        let ahead = if paged.next_page == page { (paged.ahead * 2).clamp(first, first * MOST_AHEAD) } else { 0 };
        let paging = &mut *service.paging.borrow_mut();
        if seq > paging.newest() {
            return Err(format!("a read at commit {seq}, which is not there"));
        }
        let read = paging.read(service.host.pages(), self.id, paged.file, seq, (page, count), ahead);
        (paged.next_page, paged.ahead) = (page + (count + ahead) as u64, ahead);
        Ok(read.map(|bytes| (0, bytes)))
    }

    fn read_staged<H: Host>(&mut self, service: &Service<H>, request: &Request) -> Result<Reply, Broken> {
        let paged = self.paged.get(&request.handle).ok_or_else(|| no_such(request))?;
        let count = request.count as usize;
        if count > self.ring.capacity() {
            return Err(format!("a read of {count} bytes"));
        }
        if let Some(error) = &paged.failure {
            return Ok(Err(error.clone()));
        }
        let mut bytes = vec![0; count];
        let paging = &mut *service.paging.borrow_mut();
        let read = paging.read_staged(service.host.pages(), self.id, paged.file, request.offset, &mut bytes);
        Ok(read.map(|count| {
            bytes.truncate(count);
            (0, bytes)
        }))
    }

    fn commit<H: Host>(
        &mut self,
        service: &Service<H>,
        ask: Ask,
        request: &Request,
        payload: &[u8],
        now_ms: f64,
    ) -> Result<Outcome, Broken> {
        let durability = wire::decode_durability(request.count).ok_or("no such durability")?;
        let (id, parts) = wire::decode_commit(request.offset, payload).ok_or("a commit whose id is none")?;
        let handles = wire::decode_parts(parts).ok_or("a commit of what are not files")?;
        let paging = &mut *service.paging.borrow_mut();
        let mut failure = None;
        let mut parts = Vec::with_capacity(handles.len());
        for (handle, locked) in handles {
            let paged =
                self.paged.get_mut(&handle).ok_or_else(|| format!("a commit of {handle}, which is not open"))?;
            if locked && !paging.holds(paged.file, self.id) {
                return Err(format!("a commit of {handle} without its write lock"));
            }
            failure = failure.or(paged.failure.take());
            parts.push(Part { file: paged.file, locked });
        }
        let store = service.host.pages();
        if let Some(error) = failure {
            paging.refuse_commit(store, self.id, &parts);
            return Ok(Some(Err(error)));
        }
        Ok(paging.commit(store, ask, parts, durability, id, now_ms))
    }
}
