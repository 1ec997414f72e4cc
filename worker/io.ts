/**
 * The I/O worker: takes the store's Web Lock, then lets the Rust server answer the rings of its clients. It forgets a
 * client whose own Web Lock is free, since its thread is gone.
 */
import { hold, holdStore, watch, type Release } from '../web/sdk/src/locks.js';
import type { IoMethods, StorageFound } from '../web/sdk/src/protocol.js';
import { failFatally, invoke, serve, type Port } from '../web/sdk/src/rpc.js';
import { enter, enterAsync, instantiate, IoServer, isTrapped, type StoreConfig } from '../web/sdk/src/wasm.js';
import type { Operations } from '../web/sdk/src/types.js';

class IoHost implements IoMethods {
  readonly #clients = new Map<number, Release>();
  #server!: IoServer;
  #serving!: Promise<void>;

  async hold(lock: string): Promise<void> {
    await hold(lock);
  }

  async start(
    module: WebAssembly.Module, config: StoreConfig, doorbell: SharedArrayBuffer, waitMs: number,
  ): Promise<StorageFound> {
    const [release] = await Promise.all([holdStore(config.name, waitMs), instantiate(module)]);
    this.#server = await enterAsync(() => IoServer.open({ ...config, doorbell }));
    const { storage, reason } = this.#server;
    // Memory is this tab's alone.
    if (storage === 'memory') release();
    this.#serving = enterAsync(() => this.#server.serve());
    this.#serving.catch((error: unknown) => failFatally(port, error));
    return { storage, reason };
  }

  addClient(id: number, ring: SharedArrayBuffer, lock: string): void {
    enter(() => this.#server.addClient(id, ring));
    this.#clients.set(id, watch(lock, () => this.removeClient(id)));
  }

  removeClient(id: number): void {
    const unwatch = this.#clients.get(id);
    if (unwatch === undefined) return;
    this.#clients.delete(id);
    unwatch();
    enter(() => this.#server.removeClient(id));
  }

  metrics(): Operations {
    return enter(() => this.#server.metrics());
  }

  async stop(): Promise<void> {
    enter(() => this.#server.stop());
    await this.#serving;
  }
}

const port = globalThis as unknown as Port;
const host = new IoHost();
serve(port, (request) => invoke(host, request), { isFatal: isTrapped });
