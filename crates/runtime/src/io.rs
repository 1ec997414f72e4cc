//! The I/O worker's side: the store's one owner, who serves every client of the tab.

use std::rc::Rc;

use js_sys::{Object, SharedArrayBuffer};
use statik_bridge::pages::{PageStore, mem::MemPages};
use statik_bridge::{AsyncDisk, DiskHost, Host, Server, board};
use statik_browser::{Doorbell, Opfs, SharedCells, clock};
use statik_disk::{File, MemDisk, Open, Result};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::convert::{JsResult, Options, invalid, metrics_out, thrown};
use crate::engine::StoreOptions;

/// Serves a store to clients over their rings.
#[wasm_bindgen]
pub struct IoServer {
    serving: Serving,
    doorbell: Doorbell,
    reason: Option<String>,
}

enum Serving {
    Opfs(Server<Files>, Opfs),
    Memory(Server<DiskHost<MemDisk>>),
}

/// Files in the origin private file system; no client asks for pages.
struct Files {
    opfs: Opfs,
    pages: MemPages,
}

impl AsyncDisk for Files {
    async fn open(&self, path: &str, open: Open) -> Result<Rc<dyn File>> {
        AsyncDisk::open(&self.opfs, path, open).await
    }

    async fn remove(&self, path: &str) -> Result<()> {
        AsyncDisk::remove(&self.opfs, path).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        AsyncDisk::rename(&self.opfs, from, to).await
    }

    async fn list(&self) -> Result<Vec<String>> {
        AsyncDisk::list(&self.opfs).await
    }
}

impl Host for Files {
    async fn attach(&self, path: &str, open: Open) -> Result<u32> {
        self.pages.attach(path, open)
    }

    fn pages(&self) -> &dyn PageStore {
        &self.pages
    }
}

/// Runs `$call` on the server, whatever it stands on.
macro_rules! with_server {
    ($serving:expr, $server:ident => $call:expr) => {
        match $serving {
            Serving::Opfs($server, _) => $call,
            Serving::Memory($server) => $call,
        }
    };
}

pub fn shared_cells(options: &Options<'_>, name: &str) -> JsResult<SharedCells> {
    let buffer = options.required(name)?.dyn_into::<SharedArrayBuffer>();
    Ok(SharedCells::new(&buffer.map_err(|_| invalid(format!("the option {name} is not a SharedArrayBuffer")))?))
}

#[wasm_bindgen]
impl IoServer {
    /// Opens the store. The caller holds its Web Lock.
    pub async fn open(options: JsValue) -> JsResult<IoServer> {
        let options = Options(&options);
        let doorbell = options.required("doorbell")?.dyn_into::<SharedArrayBuffer>();
        let doorbell = doorbell.map_err(|_| invalid("the option doorbell is not a SharedArrayBuffer"))?;
        let doorbell = Doorbell::new(&doorbell);
        let store = StoreOptions::parse(&options)?;
        let board = SharedCells::new(&SharedArrayBuffer::new(board::bytes(8) as u32));
        let (serving, reason) = match store.open().await.map_err(thrown)? {
            Ok(opfs) => {
                let files = Files { opfs: opfs.clone(), pages: MemPages::new() };
                (Serving::Opfs(Server::new(files, board, clock::now_ms).map_err(thrown)?, opfs), None)
            }
            Err(reason) => {
                let host = DiskHost::in_memory(MemDisk::new());
                (Serving::Memory(Server::new(host, board, clock::now_ms).map_err(thrown)?), Some(reason))
            }
        };
        Ok(IoServer { serving, doorbell, reason })
    }

    /// `opfs` or `memory`.
    #[wasm_bindgen(getter)]
    pub fn storage(&self) -> String {
        if self.reason.is_none() { "opfs" } else { "memory" }.to_owned()
    }

    /// Why memory, if it is.
    #[wasm_bindgen(getter)]
    pub fn reason(&self) -> Option<String> {
        self.reason.clone()
    }

    /// Serves one more client.
    #[wasm_bindgen(js_name = addClient)]
    pub fn add_client(&self, id: u32, ring: &SharedArrayBuffer) -> JsResult<()> {
        let ring = SharedCells::new(ring);
        with_server!(&self.serving, server => server.add_client(id, ring)).map_err(thrown)
    }

    /// The client's worker is gone: its locks and files are let go.
    #[wasm_bindgen(js_name = removeClient)]
    pub fn remove_client(&self, id: u32) {
        with_server!(&self.serving, server => server.remove_client(id));
    }

    /// Serves until [`IoServer::stop`], then flushes and closes every handle.
    pub async fn serve(&self) -> JsResult<()> {
        match &self.serving {
            Serving::Opfs(server, opfs) => {
                let served = server.serve(&self.doorbell).await;
                let closed = opfs.close();
                served.and(closed).map_err(thrown)
            }
            Serving::Memory(server) => server.serve(&self.doorbell).await.map_err(thrown),
        }
    }

    /// Ends [`IoServer::serve`] once everything that is queued is answered.
    pub fn stop(&self) {
        with_server!(&self.serving, server => server.stop());
    }

    /// Counts and timings of every operation, as `Metrics`.
    pub fn metrics(&self) -> Object {
        with_server!(&self.serving, server => metrics_out(server.metrics()))
    }
}
