/**
 * The I/O worker: takes the store's Web Lock, then lets the Rust server answer the rings of its clients. It forgets a
 * client whose own Web Lock is free, since its thread is gone.
 */
import { hold, holdStore, watch, type Release } from '../web/sdk/src/locks.js';
import type { Counters, IoMethods, StorageFound } from '../web/sdk/src/protocol.js';
import { failFatally, invoke, serve, type Port } from '../web/sdk/src/rpc.js';
import { enter, enterAsync, instantiate, IoServer, isTrapped, type StoreConfig } from '../web/sdk/src/wasm.js';

class IoHost implements IoMethods {
  readonly #clients = new Map<number, Release>();
  #server!: IoServer;
  #serving!: Promise<void>;

  async hold(lock: string): Promise<void> {
    await hold(lock);
  }

  async start(
    module: WebAssembly.Module, config: StoreConfig, doorbell: SharedArrayBuffer, cacheBytes: number, waitMs: number,
  ): Promise<StorageFound & { board: SharedArrayBuffer }> {
    const [release] = await Promise.all([holdStore(config.name, waitMs), instantiate(module)]);
    const board = new SharedArrayBuffer(enter(() => IoServer.boardBytes(cacheBytes)));
    this.#server = await enterAsync(() => IoServer.open({ ...config, doorbell, board }));
    const { storage, reason, damage } = this.#server;
    // Memory is this tab's alone.
    if (storage === 'memory') release();
    this.#serving = enterAsync(() => this.#server.serve());
    this.#serving.catch((error: unknown) => failFatally(port, error));
    return { storage, reason, damage, board };
  }

  addClient(id: number, ring: SharedArrayBuffer, lock: string): void {
    enter(() => this.#server.addClient(id, ring));
    const unwatch = watch(lock, () => {
      // By now its id may be another's.
      if (this.#clients.get(id) === unwatch) this.removeClient(id);
    });
    this.#clients.set(id, unwatch);
  }

  removeClient(id: number): void {
    const unwatch = this.#clients.get(id);
    if (unwatch === undefined) return;
    this.#clients.delete(id);
    unwatch();
    enter(() => this.#server.removeClient(id));
  }

  metrics(): Counters {
    return enter(() => ({ operations: this.#server.metrics(), usage: this.#server.usage() }));
  }

  durable(): void {
    enter(() => this.#server.durable());
  }

  async stop(): Promise<void> {
    enter(() => this.#server.stop());
    await this.#serving;
  }
}

const port = globalThis as unknown as Port;
const host = new IoHost();
serve(port, (request) => invoke(host, request), { isFatal: isTrapped });
