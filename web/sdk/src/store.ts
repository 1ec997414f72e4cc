/**
 * A store as the page runs it: which workers there are, who owns the files, what happens when one dies.
 *
 * Invariants: the worker that has the files (the I/O worker, or the one engine of direct mode) holds the store's Web Lock;
 * when it dies everything fails with `Closed`, including workers that joined by a port; when an engine dies, what it was
 * doing does. Each death is one event.
 */
import { failure, ignoreClosed, StatikError } from './errors.js';
import { lifeLock } from './locks.js';
import { emit, storeConfig, type Settings } from './options.js';
import type { EngineMethods, Invitation, IoMethods, PortMethods, StorageFound } from './protocol.js';
import { newDoorbell, Ring } from './ring.js';
import { invoke, serve } from './rpc.js';
import { RingFuse, UrlFuse, type Fuse } from './session.js';
import type { Engine, Engines } from './sqlite.js';
import type { Operations } from './types.js';
import { compile, wasmUrl } from './compile.js';
import { startEngine, startIo, type Thread } from './workers.js';

/** What the two modes have in common. */
export interface Store extends Engines {
  readonly found: StorageFound;
  metrics(): Promise<Operations>;
  /** Bridge mode only. */
  port(): MessagePort;
  /** Ends all threads. Databases are closed before. */
  close(): Promise<void>;
}

class EngineThread implements Engine {
  readonly thread: Thread<EngineMethods>;
  readonly databases: Engine['databases'] = new Set();
  readonly newFuse: () => Fuse;

  constructor(thread: Thread<EngineMethods>, newFuse: () => Fuse) {
    this.thread = thread;
    this.newFuse = newFuse;
  }

  get remote(): Engine['remote'] {
    return this.thread.remote;
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
  readonly #rings = new Map<number, Ring>();
  readonly #engines = new Map<number, EngineThread>();
  /** At most one engine that nobody uses, kept warm; the first may still be starting. */
  readonly #idle: Promise<EngineThread>[] = [];
  readonly #started: Promise<{ io: Thread<IoMethods>; module: WebAssembly.Module; found: StorageFound }>;
  #io!: Thread<IoMethods>;
  #found!: StorageFound;
  #lastClient = 0;
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

  metrics(): Promise<Operations> {
    return this.#io.remote.call('metrics');
  }

  port(): MessagePort {
    if (this.#ended) throw this.#ended;
    const { port1, port2 } = new MessageChannel();
    const { name } = this.#settings;
    const id = ++this.#lastClient;
    const lock = lifeLock(name, 'engine');
    const ring = new Ring();
    const methods: { [K in keyof PortMethods]: () => Promise<Awaited<ReturnType<PortMethods[K]>>> } = {
      invite: async (): Promise<Invitation> => {
        const { module } = await this.#started;
        return { ...this.#found, name, module, lock, bridge: this.#bridgeConfig(ring) };
      },
      join: () => this.#register(id, ring, lock),
      leave: async () => {
        this.#rings.delete(id);
        await this.#io.remote.call('removeClient', id);
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
    const closed = failure('Closed', `store "${this.#settings.name}" is closed`);
    this.#ended = closed;
    const { deadlineMs } = this.#settings;
    try {
      await Promise.all([...this.#engines.values()].map(({ remote }) => within(deadlineMs, remote.call('close'))));
    } finally {
      await within(deadlineMs, this.#io.remote.call('stop')).finally(() => this.#end(closed));
    }
  }

  async #start(): Promise<{ io: Thread<IoMethods>; module: WebAssembly.Module; found: StorageFound }> {
    const settings = this.#settings;
    const [io, module] = await Promise.all([
      startIo(settings.name, settings.workersUrl, (reason) => this.#onIoDeath(reason)).then((thread) => this.#io = thread),
      compile(wasmUrl(settings.wasmUrl)),
    ]);
    this.#found = await io.remote.call('start', module, storeConfig(settings), this.#doorbell, settings.waitMs);
    return { io, module, found: this.#found };
  }

  async #spawn(): Promise<EngineThread> {
    const { name, workersUrl } = this.#settings;
    const id = ++this.#lastClient;
    const ring = new Ring();
    const thread = await startEngine(name, workersUrl, (reason) => this.#onEngineDeath(id, reason));
    const engine = new EngineThread(thread, () => new RingFuse(ring));
    this.#engines.set(id, engine);
    try {
      const { module } = await this.#started;
      if (this.#ended) throw this.#ended;
      await this.#register(id, ring, thread.lock);
      await thread.remote.call('startBridge', module, this.#bridgeConfig(ring));
      return engine;
    } catch (error) {
      this.#engines.delete(id);
      thread.stop();
      throw error;
    }
  }

  async #register(id: number, ring: Ring, lock: string): Promise<void> {
    this.#rings.set(id, ring);
    await this.#io.remote.call('addClient', id, ring.buffer, lock);
  }

  #bridgeConfig(ring: Ring): Invitation['bridge'] {
    const { deadlineMs, verbosity } = this.#settings;
    return { ring: ring.buffer, doorbell: this.#doorbell, deadlineMs, verbosity };
  }

  async #dismiss(engine: EngineThread): Promise<void> {
    const [id] = [...this.#engines].find(([, each]) => each === engine)!;
    this.#engines.delete(id);
    this.#rings.delete(id);
    try {
      await engine.remote.call('close');
    } finally {
      // Its Web Lock is free then, by which the I/O worker forgets it.
      engine.thread.stop();
    }
  }

  #onEngineDeath(id: number, reason: string): void {
    const engine = this.#engines.get(id);
    this.#engines.delete(id);
    this.#rings.delete(id);
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
    const [thread, module] = await Promise.all([
      startEngine(settings.name, settings.workersUrl, (reason) => onDeath(reason)),
      compile(wasmUrl(settings.wasmUrl)),
    ]);
    try {
      const found = await thread.remote.call('startDirect', module, storeConfig(settings), settings.waitMs);
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

  metrics(): Promise<Operations> {
    return this.#engine.remote.call('metrics');
  }

  port(): MessagePort {
    throw failure('Unsupported', 'port() needs bridge mode; without SharedArrayBuffer a worker cannot share the store of its page');
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = failure('Closed', `store "${this.#settings.name}" is closed`);
    try {
      await within(this.#settings.deadlineMs, this.#engine.remote.call('close'));
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
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(failure('Timeout', `a worker did not close within ${ms} ms; it was ended`)), ms);
  });
  try {
    await Promise.race([work.catch(ignoreClosed), late]);
  } finally {
    clearTimeout(timer);
  }
}
