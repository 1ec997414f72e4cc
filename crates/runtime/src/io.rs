//! The I/O worker's side: the store's one owner, who serves every client of the tab.

use js_sys::{Object, SharedArrayBuffer};
use statik_bridge::{DiskHost, Server};
use statik_browser::{Doorbell, Opfs, SharedCells, clock};
use statik_disk::MemDisk;
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
    Opfs(Server<Opfs>, Opfs),
    Memory(Server<DiskHost<MemDisk>>),
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
        let (serving, reason) = match store.open().await.map_err(thrown)? {
            Ok(opfs) => (Serving::Opfs(Server::new(opfs.clone(), clock::now_ms), opfs), None),
            Err(reason) => {
                let host = DiskHost(MemDisk::new());
                (Serving::Memory(Server::new(host, clock::now_ms)), Some(reason))
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
                server.serve(&self.doorbell).await;
                opfs.close().map_err(thrown)
            }
            Serving::Memory(server) => {
                server.serve(&self.doorbell).await;
                Ok(())
            }
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
