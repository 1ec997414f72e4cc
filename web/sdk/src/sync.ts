/**
 * `statik-storage/sync`: the same verbs inside a dedicated worker, returning values. Opening is a promise, since workers
 * and files are opened by promises; after that every call is synchronous.
 *
 * ```ts
 * const statik = await open({ name: 'app' });      // this worker's own store, or …
 * const shared = await open({ port });             // … the page's, by the port from its `statik.port()`
 * const db = statik.sqlite.open('app.db');
 * const rows = db.all('SELECT * FROM note');
 * ```
 *
 * Bridge mode keeps the files in an I/O worker beside this thread (or the page's). Direct mode keeps them here, and must
 * open every file before it is needed: existing databases when the store is opened, new ones named in `databases`.
 */
import { compile, wasmUrl } from './compile.js';
import { START_MS, within } from './deadline.js';
import { asyncDispose } from './dispose.js';
import { failure, StatikError } from './errors.js';
import { LocalJournals } from './sync-journal.js';
import { hold, holdStore, lifeLock } from './locks.js';
import { report, storeMetrics } from './metrics.js';
import { migrateSync } from './migrations/sqlite.js';
import { databaseOptions, emit, settings, storeConfig, type Settings } from './options.js';
import type { BridgeConfig, PortMethods, StorageFound } from './protocol.js';
import { newDoorbell, Ring } from './ring.js';
import { Remote } from './rpc.js';
import { LocalDatabase } from './sync-database.js';
import { Tender } from './tend.js';
import { Engine, enter, enterAsync, instantiate } from './wasm.js';
import { startIo } from './workers.js';
import type {
  DatabaseInfo, DatabaseOptions, Metrics, MigrateOptions, MigrationResult, Mode, OpenOptions, Storage, SyncDatabase, SyncOpenOptions,
  SyncSqlite, SyncSqliteMigration, SyncStatik,
} from './types.js';

export { StatikError };
export type * from './types.js';

/** A store, as this thread reaches it. */
interface Joined extends StorageFound {
  name: string;
  mode: Mode;
  engine: Engine;
  /** Lets go of everything but the engine, which is closed before. */
  leave(): Promise<void>;
}

/** Opens a store for this worker, or joins the page's. Fails as `open` of `statik-storage` does. */
export async function open(options: SyncOpenOptions): Promise<SyncStatik> {
  if (!('DedicatedWorkerGlobalScope' in globalThis)) {
    throw failure('Unsupported', 'statik-storage/sync works in dedicated workers only: it blocks its thread');
  }
  const { port, databases = [], journals = [], name, ...rest } = options;
  if ((name === undefined) === (port === undefined)) throw failure('Invalid', 'open: give either option name or option port');
  // With a port the name is the page's to say; the checks of the others want one.
  const set = settings({ ...rest, name: name ?? 'port' } satisfies OpenOptions, location);
  if (port !== undefined) return new LocalStatik(await join(port, set), set);
  const isolated = globalThis.crossOriginIsolated && typeof SharedArrayBuffer === 'function';
  if (set.mode === 'bridge' && !isolated) {
    throw failure('Unsupported', 'option mode is "bridge", but the page is not cross-origin isolated, so there is no SharedArrayBuffer');
  }
  if (!isolated) {
    emit(set, { type: 'mode', mode: 'direct', reason: 'the page is not cross-origin isolated, so there is no SharedArrayBuffer' });
  }
  const joined = await (isolated && set.mode !== 'direct' ? own(set) : ownDirectly(set, databases, journals, rest.recover));
  const { storage, reason = 'OPFS was refused' } = joined;
  if (storage === 'memory') emit(set, { type: 'fallback', storage, reason });
  if (joined.damage) emit(set, { type: 'damaged', ...joined.damage });
  return new LocalStatik(joined, set);
}

/** Bridge mode: an I/O worker of our own. */
async function own(set: Settings): Promise<Joined> {
  const { name, deadlineMs, verbosity } = set;
  const ring = new Ring();
  const doorbell = newDoorbell();
  const [io, module] = await Promise.all([
    startIo(name, set.workersUrl, {
      onDeath: (reason) => {
        ring.markDead();
        emit(set, { type: 'died', worker: 'io', reason });
      },
    }),
    compile(wasmUrl(set.wasmUrl)),
  ]);
  try {
    const limitMs = set.waitMs + START_MS;
    const started = io.remote.call('start', module, storeConfig(set), doorbell, set.cacheBytes, set.waitMs);
    const { board, ...found } = await within(limitMs, started, `the I/O worker did not open store "${name}" within ${limitMs} ms`);
    const lock = lifeLock(name, 'engine');
    const release = await hold(lock);
    await within(START_MS, io.remote.call('addClient', 1, ring.buffer, lock), `the I/O worker did not take on a client within ${START_MS} ms`);
    const engine = await bridgeEngine(module, { ring: ring.buffer, doorbell, board, client: 1, deadlineMs, verbosity });
    const leave = async () => {
      await within(deadlineMs, io.remote.call('stop'), `the I/O worker did not stop within ${deadlineMs} ms; it was ended`).finally(() => {
        io.stop();
        release();
      });
    };
    return { ...found, name, mode: 'bridge', engine, leave };
  } catch (error) {
    io.stop();
    throw error;
  }
}

/** Bridge mode: the I/O worker of the page. */
async function join(port: MessagePort, set: Settings): Promise<Joined> {
  const remote = new Remote<PortMethods>(port, () => {});
  const { name, module, lock, bridge, storage, reason, damage } = await answered(remote.call('invite'), set.waitMs);
  const release = await hold(lock);
  try {
    await answered(remote.call('join'), set.waitMs + START_MS);
    const engine = await bridgeEngine(module, bridge);
    const leave = async () => {
      await answered(remote.call('leave'), set.waitMs).finally(() => {
        port.close();
        release();
      });
    };
    return { name, storage, reason, damage, mode: 'bridge', engine, leave };
  } catch (error) {
    release();
    throw error;
  }
}

/** Direct mode: the files are ours. */
async function ownDirectly(
  set: Settings, databases: readonly string[], journals: readonly string[], recover: OpenOptions['recover'],
): Promise<Joined> {
  const [release] = await Promise.all([
    holdStore(set.name, set.waitMs),
    compile(wasmUrl(set.wasmUrl)).then(instantiate),
  ]);
  try {
    const engine = await enterAsync(() => Engine.direct(storeConfig(set)));
    const { storage, reason, damage } = engine;
    if (storage === 'memory') release();
    const existing = await enterAsync(() => engine.list());
    const names = new Set([...existing.map(({ name }) => name), ...databases]);
    await enterAsync(() => engine.prepare([...names]));
    for (const journal of journals) await enterAsync(() => engine.prepareJournal(journal, recover === undefined ? {} : { recover }));
    return { name: set.name, storage, reason, damage, mode: 'direct', engine, leave: async () => release() };
  } catch (error) {
    release();
    throw error;
  }
}

async function bridgeEngine(module: WebAssembly.Module, config: BridgeConfig): Promise<Engine> {
  await instantiate(module);
  return enter(() => Engine.bridge(config));
}

/** A port has no event for "nobody is there". */
function answered<T>(answer: Promise<T>, waitMs: number): Promise<T> {
  return within(waitMs, answer, `the page did not answer at its end of the port within ${waitMs} ms`);
}

class LocalStatik implements SyncStatik {
  readonly name: string;
  readonly mode: Mode;
  readonly storage: Storage;
  readonly sqlite: LocalSqlite;
  readonly journal: LocalJournals;
  readonly #joined: Joined;
  #closing: Promise<void> | undefined;

  readonly #stopReporting: () => void;

  constructor(joined: Joined, set: Settings) {
    this.name = joined.name;
    this.mode = joined.mode;
    this.storage = joined.storage;
    this.sqlite = new LocalSqlite(joined, set);
    this.journal = new LocalJournals(joined);
    this.#joined = joined;
    this.#stopReporting = report(set, async () => this.metrics());
  }

  metrics(): Metrics {
    return storeMetrics(this.#enter((engine) => ({ operations: engine.metrics(), usage: engine.usage() })), []);
  }

  durable(): void {
    this.#enter((engine) => engine.durable());
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  #enter<T>(job: (engine: Engine) => T): T {
    if (this.#closing) throw failure('Closed', `store "${this.name}" is closed`);
    return enter(() => job(this.#joined.engine));
  }

  async #close(): Promise<void> {
    this.#stopReporting();
    try {
      this.sqlite.close();
      this.journal.close();
      enter(() => this.#joined.engine.close());
    } finally {
      await this.#joined.leave();
    }
  }
}

class LocalSqlite implements SyncSqlite {
  readonly #store: string;
  readonly #mode: Mode;
  readonly #engine: Engine;
  readonly #settings: Settings;
  /** Over the bridge it has nothing to do. */
  readonly #tender = new Tender(() => enter(() => this.#engine.tend()));
  readonly #open = new Set<LocalDatabase>();
  #closed = false;

  constructor({ name, mode, engine }: Joined, set: Settings) {
    this.#store = name;
    this.#mode = mode;
    this.#engine = engine;
    this.#settings = set;
  }

  open(name: string, options?: Omit<DatabaseOptions, 'pool'>): SyncDatabase {
    const { slowQueryMs } = this.#settings;
    const checked = databaseOptions(options);
    // Without an I/O worker every connection is this thread's: waiting for one of them to let go is waiting in vain.
    if (this.#mode === 'direct') checked.busyTimeoutMs = 0;
    const connection = this.#enter((engine) => engine.open(name, { ...checked, slowQueryMs }));
    const database = new LocalDatabase(name, connection, {
      onClose: () => this.#open.delete(database),
      ...(this.#mode === 'direct' && { onRun: () => this.#tender.touch() }),
      ...(slowQueryMs !== undefined && { onSlow: (slow) => emit(this.#settings, { type: 'slowQuery', database: name, ...slow }) }),
    });
    this.#open.add(database);
    return database;
  }

  list(): DatabaseInfo[] {
    return this.#enter((engine) => engine.listSync());
  }

  exists(name: string): boolean {
    return this.#enter((engine) => engine.existsSync(name));
  }

  delete(name: string): void {
    this.#enter((engine) => engine.removeSync(name));
  }

  rename(from: string, to: string): void {
    this.#enter((engine) => engine.renameSync(from, to));
  }

  async migrate(db: SyncDatabase, migrations: readonly SyncSqliteMigration[], options?: Omit<MigrateOptions, 'signal'>): Promise<MigrationResult> {
    if (db instanceof LocalDatabase) return migrateSync(db, migrations, options);
    throw failure('Invalid', 'migrate: db must be a database, as sqlite.open gives it');
  }

  /** Opens nothing more, and closes every database. */
  close(): void {
    this.#closed = true;
    for (const database of this.#open) database.close();
    this.#tender.stop();
  }

  #enter<T>(job: (engine: Engine) => T): T {
    if (this.#closed) throw failure('Closed', `store "${this.#store}" is closed`);
    return enter(() => job(this.#engine));
  }
}
