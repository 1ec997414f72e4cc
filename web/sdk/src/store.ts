/**
 * A store as the page runs it: which workers there are, who owns the files, what happens when one dies.
 *
 * Invariants: the worker that has the files (the I/O worker, or the one engine of direct mode) holds the store's Web Lock;
 * when it dies everything fails with `Closed`, including workers that joined by a port; when an engine dies, what it was
 * doing does. Each death is one event.
 */
import { START_MS, within } from './deadline.js';
import { failure, ignoreClosed, StatikError } from './errors.js';
import { lifeLock, watch } from './locks.js';
import { emit, storeConfig, type Settings } from './options.js';
import type { BridgeConfig, Counters, EngineMethods, Invitation, IoMethods, PortMethods, StorageFound } from './protocol.js';
import { newDoorbell, Ring } from './ring.js';
import { invoke, serve } from './rpc.js';
import { RingFuse, UrlFuse, type Fuse } from './session.js';
import type { Engine, Engines } from './sqlite.js';
import { compile, wasmUrl } from './compile.js';
import { startEngine, startIo, type Listener, type Thread } from './workers.js';

/** What the two modes have in common. */
export interface Store extends Engines {
  readonly found: StorageFound;
  counters(): Promise<Counters>;
  durable(): Promise<void>;
  /** Bridge mode only. */
  port(): MessagePort;
  /** Ends all threads. Databases are closed before. */
  close(): Promise<void>;
}

/** How long metrics wait for an engine that is busy; after that, what it counted before is told. */
const BUSY_MS = 50;

/** Pages found in the shared cache, and asked for. */
interface CacheUse {
  hits: number;
  misses: number;
}

class EngineThread implements Engine {
  readonly thread: Thread<EngineMethods>;
  readonly databases: Engine['databases'] = new Set();
  readonly newFuse: () => Fuse;
  /** It has joined the store. */
  ready = false;
  /** As of its last answer. */
  cacheUse: CacheUse = { hits: 0, misses: 0 };
  #asking: Promise<void> | undefined;

  constructor(thread: Thread<EngineMethods>, newFuse: () => Fuse) {
    this.thread = thread;
    this.newFuse = newFuse;
  }

  get remote(): Engine['remote'] {
    return this.thread.remote;
  }

  /** Brings `cacheUse` up to date. One that is gone has no more to tell. */
  async count(): Promise<void> {
    if (!this.ready) return;
    await (this.#asking ??= this.remote.call('metrics')
      .then(({ usage }) => void (this.cacheUse = { hits: usage.cacheHits, misses: usage.cacheMisses }), ignoreClosed)
      .finally(() => this.#asking = undefined));
  }

  die(error: StatikError): void {
    this.thread.stop(error);
    for (const database of this.databases) database.die(error);
  }
}

/** One I/O worker, and engines that reach it through rings. */
export class BridgeStore implements Store {
  readonly #settings: Settings;
  readonly #doorbell = newDoorbell();
  /** By the client's id, which is free again once the I/O worker has forgotten the client. */
  readonly #rings = new Map<number, Ring>();
  readonly #engines = new Map<number, EngineThread>();
  /** At most one engine that nobody uses, kept warm; the first may still be starting. */
  readonly #idle: Promise<EngineThread>[] = [];
  readonly #started: Promise<{ module: WebAssembly.Module; board: SharedArrayBuffer }>;
  #io!: Thread<IoMethods>;
  /** Of engines that are gone. */
  #cacheUse: CacheUse = { hits: 0, misses: 0 };
  #found!: StorageFound;
  readonly parallel = true;
  #ended: StatikError | undefined;

  private constructor(settings: Settings) {
    this.#settings = settings;
    this.#started = this.#start();
    const spare = this.#spawn();
    // Whoever takes it learns of its failure.
    spare.catch(() => {});
    this.#idle.push(spare);
  }

  /** Takes the store, and waits for it as long as the settings say. */
  static async open(settings: Settings): Promise<BridgeStore> {
    const store = new BridgeStore(settings);
    try {
      await store.#started;
    } catch (error) {
      store.#end(StatikError.from(error));
      throw error;
    }
    return store;
  }

  get found(): StorageFound {
    return this.#found;
  }

  async take(): Promise<Engine> {
    if (this.#ended) throw this.#ended;
    return this.#idle.pop() ?? this.#spawn();
  }

  give(engine: EngineThread): void {
    if (engine.thread.ended) return;
    if (this.#idle.length === 0) this.#idle.push(Promise.resolve(engine));
    // It has nothing open: that it did not end well concerns nobody.
    else this.#dismiss(engine).catch(() => {});
  }

  async counters(): Promise<Counters> {
    const counted = Promise.all([...this.#engines.values()].map((engine) => engine.count()));
    const patience = new Promise((resolve) => setTimeout(resolve, BUSY_MS));
    const [counters] = await Promise.all([this.#io.remote.call('metrics'), Promise.race([counted, patience])]);
    const uses = [this.#cacheUse, ...[...this.#engines.values()].map(({ cacheUse }) => cacheUse)];
    const cacheHits = uses.reduce((sum, { hits }) => sum + hits, 0);
    const cacheMisses = uses.reduce((sum, { misses }) => sum + misses, 0);
    return { ...counters, usage: { ...counters.usage, cacheHits, cacheMisses } };
  }

  durable(): Promise<void> {
    return this.#io.remote.call('durable');
  }

  port(): MessagePort {
    if (this.#ended) throw this.#ended;
    const { port1, port2 } = new MessageChannel();
    const { name } = this.#settings;
    const lock = lifeLock(name, 'engine');
    let client: { id: number; ring: Ring } | undefined;
    const methods: { [K in keyof PortMethods]: () => Promise<Awaited<ReturnType<PortMethods[K]>>> } = {
      invite: async (): Promise<Invitation> => {
        const { module, board } = await this.#started;
        const { id, ring } = client ??= this.#newClient();
        return { ...this.#found, name, module, lock, bridge: this.#bridgeConfig(id, ring, board) };
      },
      join: async () => {
        if (client === undefined) throw failure('Invalid', 'join comes after invite');
        const { id, ring } = client;
        await this.#register(id, ring, lock);
        // It may end without leaving.
        watch(lock, () => void this.#forget(id));
      },
      leave: async () => {
        if (client) await this.#forget(client.id);
      },
    };
    serve(port1, (request) => {
      if (this.#ended) throw this.#ended;
      return invoke(methods, request);
    });
    return port2;
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = failure('Closed', `store "${this.#settings.name}" is closed`);
    const { deadlineMs } = this.#settings;
    try {
      await Promise.all([...this.#engines.values()].map(({ remote }) => closed(deadlineMs, remote.call('close'))));
    } finally {
      await closed(deadlineMs, this.#io.remote.call('stop')).finally(() => this.#end(this.#ended!));
    }
  }

  async #start(): Promise<{ module: WebAssembly.Module; board: SharedArrayBuffer }> {
    const settings = this.#settings;
    const { name, workersUrl, cacheBytes, waitMs } = settings;
    const [io, module] = await Promise.all([
      startIo(name, workersUrl, { onDeath: (reason) => this.#onIoDeath(reason) }).then((thread) => this.#io = thread),
      compile(wasmUrl(settings.wasmUrl)),
    ]);
    const limitMs = waitMs + START_MS;
    const started = io.remote.call('start', module, storeConfig(settings), this.#doorbell, cacheBytes, waitMs);
    const { board, ...found } = await within(limitMs, started, `the I/O worker did not open store "${name}" within ${limitMs} ms`);
    this.#found = found;
    return { module, board };
  }

  async #spawn(): Promise<EngineThread> {
    const { name, workersUrl } = this.#settings;
    const { id, ring } = this.#newClient();
    const listener: Listener = {
      onDeath: (reason) => this.#onEngineDeath(id, reason),
      onEvent: (event) => emit(this.#settings, event),
    };
    let thread: Thread<EngineMethods> | undefined;
    try {
      thread = await startEngine(name, workersUrl, listener);
      const engine = new EngineThread(thread, () => new RingFuse(ring));
      this.#engines.set(id, engine);
      const { module, board } = await this.#started;
      if (this.#ended) throw this.#ended;
      await this.#register(id, ring, thread.lock);
      const started = thread.remote.call('startBridge', module, this.#bridgeConfig(id, ring, board));
      await within(START_MS, started, `the engine worker did not join store "${name}" within ${START_MS} ms`);
      engine.ready = true;
      return engine;
    } catch (error) {
      this.#engines.delete(id);
      thread?.stop();
      await this.#forget(id);
      throw error;
    }
  }

  /** The smallest id that is free: there is room for so many only. */
  #newClient(): { id: number; ring: Ring } {
    let id = 1;
    while (this.#rings.has(id)) id++;
    const ring = new Ring();
    this.#rings.set(id, ring);
    return { id, ring };
  }

  /** Counts an engine that ends with those that are gone. */
  #retire(id: number): void {
    const { hits = 0, misses = 0 } = this.#engines.get(id)?.cacheUse ?? {};
    this.#cacheUse = { hits: this.#cacheUse.hits + hits, misses: this.#cacheUse.misses + misses };
    this.#engines.delete(id);
  }

  async #register(id: number, ring: Ring, lock: string): Promise<void> {
    const added = this.#io.remote.call('addClient', id, ring.buffer, lock);
    await within(START_MS, added, `the I/O worker did not take on a client within ${START_MS} ms`);
  }

  /** Frees the id of a client whose thread has ended, or has let go. Nothing is left to forget once the store has ended. */
  async #forget(id: number): Promise<void> {
    // The I/O worker may not have been there yet.
    await this.#io?.remote.call('removeClient', id).catch(ignoreClosed);
    this.#rings.delete(id);
  }

  #bridgeConfig(client: number, ring: Ring, board: SharedArrayBuffer): BridgeConfig {
    const { deadlineMs, verbosity } = this.#settings;
    return { ring: ring.buffer, doorbell: this.#doorbell, board, client, deadlineMs, verbosity };
  }

  async #dismiss(engine: EngineThread): Promise<void> {
    const [id] = [...this.#engines].find(([, each]) => each === engine)!;
    try {
      await engine.count();
      await engine.remote.call('close');
    } finally {
      this.#retire(id);
      engine.thread.stop();
      await this.#forget(id);
    }
  }

  #onEngineDeath(id: number, reason: string): void {
    const engine = this.#engines.get(id);
    this.#retire(id);
    void this.#forget(id);
    this.#idle.length = 0;
    engine?.die(failure('Closed', `the engine worker died: ${reason}`));
    emit(this.#settings, { type: 'died', worker: 'engine', reason });
  }

  #onIoDeath(reason: string): void {
    this.#end(failure('Closed', `the I/O worker died: ${reason}`));
    emit(this.#settings, { type: 'died', worker: 'io', reason });
  }

  #end(error: StatikError): void {
    this.#ended ??= error;
    for (const ring of this.#rings.values()) ring.markDead();
    for (const engine of this.#engines.values()) engine.die(error);
    this.#rings.clear();
    this.#engines.clear();
    this.#io?.stop(error);
  }
}

/** One engine, which has the files itself. */
export class DirectStore implements Store {
  readonly found: StorageFound;
  readonly parallel = false;
  readonly #settings: Settings;
  readonly #engine: EngineThread;
  #ended: StatikError | undefined;

  private constructor(settings: Settings, engine: EngineThread, found: StorageFound) {
    this.#settings = settings;
    this.#engine = engine;
    this.found = found;
  }

  static async open(settings: Settings): Promise<DirectStore> {
    let onDeath = (_reason: string) => {};
    const listener: Listener = { onDeath: (reason) => onDeath(reason), onEvent: (event) => emit(settings, event) };
    const [thread, module] = await Promise.all([
      startEngine(settings.name, settings.workersUrl, listener),
      compile(wasmUrl(settings.wasmUrl)),
    ]);
    try {
      const limitMs = settings.waitMs + START_MS;
      const started = thread.remote.call('startDirect', module, storeConfig(settings), settings.waitMs);
      const found = await within(limitMs, started, `the engine worker did not open store "${settings.name}" within ${limitMs} ms`);
      const store = new DirectStore(settings, new EngineThread(thread, () => new UrlFuse()), found);
      onDeath = (reason) => store.#onDeath(reason);
      return store;
    } catch (error) {
      thread.stop();
      throw error;
    }
  }

  async take(): Promise<Engine> {
    if (this.#ended) throw this.#ended;
    return this.#engine;
  }

  give(): void {}

  counters(): Promise<Counters> {
    return this.#engine.remote.call('metrics');
  }

  durable(): Promise<void> {
    return this.#engine.remote.call('durable');
  }

  port(): MessagePort {
    throw failure('Unsupported', 'port() needs bridge mode; without SharedArrayBuffer a worker cannot share the store of its page');
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = failure('Closed', `store "${this.#settings.name}" is closed`);
    try {
      await closed(this.#settings.deadlineMs, this.#engine.remote.call('close'));
    } finally {
      this.#engine.die(this.#ended);
    }
  }

  #onDeath(reason: string): void {
    this.#ended ??= failure('Closed', `the engine worker died: ${reason}`);
    this.#engine.die(this.#ended);
    emit(this.#settings, { type: 'died', worker: 'engine', reason });
  }
}

/** A worker that hangs must not keep `close` from ending it; one that is dead is closed. */
function closed(ms: number, work: Promise<void>): Promise<void> {
  return within(ms, work.catch(ignoreClosed), `a worker did not close within ${ms} ms; it was ended`);
}
