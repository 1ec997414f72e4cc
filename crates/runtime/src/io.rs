//! The I/O worker's side: the store's one owner, who serves every client of the tab.

use js_sys::{Object, SharedArrayBuffer};
use statik_bridge::pages::PageStore;
use statik_bridge::{CacheUse, Server, board};
use statik_browser::{Doorbell, SharedCells, clock};
use statik_disk::Kind;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::convert::{JsResult, Options, invalid, thrown};
use crate::owner::{Owner, OwnerOptions};
use crate::values::{damage_out, metrics_out, usage_out};

/// Serves a store to clients over their rings.
#[wasm_bindgen]
pub struct IoServer {
    server: Server<Owner>,
    doorbell: Doorbell,
}

pub fn shared_buffer(options: &Options<'_>, name: &str) -> JsResult<SharedArrayBuffer> {
    let buffer = options.required(name)?.dyn_into::<SharedArrayBuffer>();
    buffer.map_err(|_| invalid(format!("the option {name} is not a SharedArrayBuffer")))
}

#[wasm_bindgen]
impl IoServer {
    /// The size of a board whose cache has about `cache_bytes`.
    #[wasm_bindgen(js_name = boardBytes)]
    pub fn board_bytes(cache_bytes: f64) -> u32 {
        board::bytes((cache_bytes / statik_bridge::pages::PAGE_BYTES as f64) as usize) as u32
    }

    /// Opens the store. The caller holds its Web Lock.
    pub async fn open(options: JsValue) -> JsResult<IoServer> {
        let options = Options(&options);
        let doorbell = Doorbell::new(&shared_buffer(&options, "doorbell")?);
        let board = SharedCells::new(&shared_buffer(&options, "board")?);
        let owner = Owner::open(&OwnerOptions::parse(&options)?).await.map_err(thrown)?;
        let server = Server::new(owner, board, clock::now_ms).map_err(thrown)?;
        Ok(IoServer { server, doorbell })
    }

    /// `opfs` or `memory`.
    #[wasm_bindgen(getter)]
    pub fn storage(&self) -> String {
        self.server.host().storage().to_owned()
    }

    /// Why memory, if it is.
    #[wasm_bindgen(getter)]
    pub fn reason(&self) -> Option<String> {
        self.server.host().reason()
    }

    /// What recovery found damaged, as `Damage`.
    #[wasm_bindgen(getter)]
    pub fn damage(&self) -> Option<Object> {
        self.server.host().damage().map(|damage| damage_out(&damage))
    }

    /// Serves one more client.
    #[wasm_bindgen(js_name = addClient)]
    pub fn add_client(&self, id: u32, ring: &SharedArrayBuffer) -> JsResult<()> {
        self.server.add_client(id, SharedCells::new(ring)).map_err(thrown)
    }

    /// The client's worker is gone: its locks, views and files are let go.
    #[wasm_bindgen(js_name = removeClient)]
    pub fn remove_client(&self, id: u32) {
        self.server.remove_client(id);
    }

    /// Serves until [`IoServer::stop`], then flushes and closes every handle.
    pub async fn serve(&self) -> JsResult<()> {
        let served = match self.server.serve(&self.doorbell).await {
            // Where the log is damaged nothing is copied from it, which is not news.
            Err(error) if error.kind() == Kind::ReadOnly && self.server.host().damage().is_some() => Ok(()),
            served => served,
        };
        let closed = self.server.host().close();
        served.and(closed).map_err(thrown)
    }

    /// Ends [`IoServer::serve`] once everything that is queued is answered.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Counts and timings of what clients asked for, as `Operations`.
    pub fn metrics(&self) -> Object {
        metrics_out(self.server.metrics())
    }

    /// What the store tells of itself, as `Usage` without what only clients know.
    pub fn usage(&self) -> Object {
        usage_out(&self.server.usage(), CacheUse::default())
    }

    /// Makes every commit acknowledged so far durable.
    pub fn durable(&self) -> JsResult<()> {
        self.server.host().store().flush().map(|_| ()).map_err(thrown)
    }
}
