//! The bridge between two real workers: the test's own serves the origin private file system, the other one, which
//! loads the same WebAssembly module, is the client and may block.

use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Promise, Reflect, SharedArrayBuffer};
use statik_bridge::pages::{PageStore, mem::MemPages};
use statik_bridge::{AsyncDisk, Client, ClientOptions, Host, Server, board};
use statik_browser::{Doorbell, Opfs, OpfsOptions, SharedCells, clock};
use statik_disk::{Disk, File, Kind, Open, Result, contract};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;
use web_sys::MessageEvent;

use crate::worker;

/// Loads the module, runs the task, and posts what came of it. A panic has posted its message before it traps.
const CLIENT: &str = "onmessage = async ({ data: [origin, task, ring, doorbell, board] }) => {
    try {
        const module = await import(`${origin}/wasm-bindgen-test`);
        await module.default({ module_or_path: `${origin}/wasm-bindgen-test_bg.wasm` });
        module[task](ring, doorbell, board);
        postMessage('done');
    } catch (error) {
        postMessage(String(error));
    }
};";

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = postMessage)]
    fn post_message(message: &str);
    #[wasm_bindgen(js_namespace = location, js_name = origin, thread_local_v2)]
    static ORIGIN: String;
}

/// Files in the origin private file system, pages in memory.
struct Served {
    opfs: Opfs,
    pages: MemPages,
}

impl AsyncDisk for Served {
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

impl Host for Served {
    async fn attach(&self, path: &str, open: Open) -> Result<u32> {
        self.pages.attach(path, open)
    }

    fn pages(&self) -> &dyn PageStore {
        &self.pages
    }
}

/// Serves a new store to a worker that runs `task`, until that ends, and answers what it said.
async fn serve(store: &str, task: &str) -> String {
    let opfs = Opfs::open(store, OpfsOptions::default()).await.expect("the store opens");
    let (ring, doorbell) = (SharedArrayBuffer::new((2 << 20) + 4096), SharedArrayBuffer::new(64));
    let board = SharedArrayBuffer::new(board::bytes(64) as u32);
    let server = Server::new(Served { opfs, pages: MemPages::new() }, SharedCells::new(&board), clock::now_ms);
    let server = server.expect("a new board");
    server.add_client(1, SharedCells::new(&ring)).expect("a ring");

    let worker = worker(CLIENT);
    let said = Promise::new(&mut |resolve, _| {
        worker.set_onmessage(Some(&resolve));
        worker.set_onerror(Some(&resolve));
    });
    let origin = ORIGIN.with(|origin| JsValue::from_str(origin));
    worker.post_message(&Array::of5(&origin, &task.into(), &ring, &doorbell, &board)).expect("post");

    let doorbell = Doorbell::new(&doorbell);
    let client = async {
        let event = JsFuture::from(said).await.expect("nothing rejects it");
        server.stop();
        event
    };
    let (served, event) = futures_util::join!(server.serve(&doorbell), client);
    worker.terminate();
    served.expect("the last flush");
    server.host().opfs.close().expect("close");
    match event.dyn_ref::<MessageEvent>() {
        Some(message) => message.data().as_string().expect("a string"),
        None => format!("{:?}", Reflect::get(&event, &"message".into())),
    }
}

/// The client in the other worker.
fn client(ring: &SharedArrayBuffer, doorbell: &SharedArrayBuffer, board: &SharedArrayBuffer) -> Client {
    std::panic::set_hook(Box::new(|panic| post_message(&panic.to_string())));
    let options = ClientOptions { deadline: Duration::from_secs(20), ..ClientOptions::default() };
    let [ring, doorbell, board] = [ring, doorbell, board].map(SharedCells::new);
    Client::new(ring, doorbell, board, 1, options, clock::now_ms).expect("a client")
}

#[wasm_bindgen]
pub fn keep_the_contract(ring: &SharedArrayBuffer, doorbell: &SharedArrayBuffer, board: &SharedArrayBuffer) {
    let client = client(ring, doorbell, board);
    contract::disk(|| {
        for path in client.list().expect("list") {
            client.remove(&path).expect("the last check closed its files");
        }
        Box::new(client.clone())
    });
}

#[wasm_bindgen_test]
async fn the_contract_holds_across_workers() {
    assert_eq!(serve("contract", "keep_the_contract").await, "done");
}

#[wasm_bindgen]
pub fn leave_a_file_behind(ring: &SharedArrayBuffer, doorbell: &SharedArrayBuffer, board: &SharedArrayBuffer) {
    let client = client(ring, doorbell, board);
    let file = Disk::open(&client, "dir/left", Open::CreateNew).expect("open");
    file.write_at(0, b"behind").expect("write");
    file.flush().expect("flush");
}

#[wasm_bindgen]
pub fn find_the_file_left_behind(ring: &SharedArrayBuffer, doorbell: &SharedArrayBuffer, board: &SharedArrayBuffer) {
    let client = client(ring, doorbell, board);
    assert_eq!(Disk::open(&client, "left", Open::Existing).err().map(|error| error.kind()), Some(Kind::NotFound));
    let mut bytes = [0; 7];
    let file = Disk::open(&client, "dir/left", Open::Existing).expect("open");
    assert_eq!(file.read_at(0, &mut bytes).expect("read"), 6);
    assert_eq!(&bytes, b"behind\0");
}

#[wasm_bindgen_test]
async fn what_one_client_flushed_the_next_server_serves() {
    assert_eq!(serve("behind", "leave_a_file_behind").await, "done");
    assert_eq!(serve("behind", "find_the_file_left_behind").await, "done");
}

#[wasm_bindgen]
pub fn panic_as_asked(ring: &SharedArrayBuffer, doorbell: &SharedArrayBuffer, board: &SharedArrayBuffer) {
    let error = client(ring, doorbell, board).open("none", Open::Existing).err().expect("there is no such file");
    panic!("{error}");
}

/// A failure in the other worker reaches this one: without that, the tests above could not fail.
#[wasm_bindgen_test]
async fn a_panic_of_the_client_is_told() {
    let said = serve("panic", "panic_as_asked").await;
    assert!(said.contains("bridge.rs") && said.contains("(none)"), "{said}");
}
