/**
 * `statik-storage`: a store of SQLite databases in the browser, for the page (or a worker that would rather not block).
 * Every call is a promise; the work is done in workers. Inside a dedicated worker `statik-storage/sync` has the same
 * verbs, returning values.
 *
 * ```ts
 * const statik = await open({ name: 'app' });
 * const db = await statik.sqlite.open('app.db');
 * await db.exec('CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, text TEXT)');
 * await db.run('INSERT INTO note(text) VALUES (?)', ['hello']);
 * const notes = await db.all<{ id: number; text: string }>('SELECT * FROM note');
 * ```
 */
import { asyncDispose } from './dispose.js';
import { failure, StatikError } from './errors.js';
import { report, storeMetrics } from './metrics.js';
import { RemoteJournals } from './journal.js';
import { emit, settings, type Settings } from './options.js';
import { RemoteSqlite } from './sqlite.js';
import { BridgeStore, DirectStore, type Store } from './store.js';
import type { Metrics, Mode, OpenOptions, Statik, Status, Storage } from './types.js';

export { StatikError };
export type * from './types.js';

/**
 * Opens a store, creating it if there is none. A store belongs to one tab at a time: while another has it this waits for
 * `waitMs`, then fails with `Busy`. Where OPFS is refused it fails with `Unsupported`, unless `fallback` says otherwise.
 */
export async function open(options: OpenOptions): Promise<Statik> {
  const set = settings(options, location);
  if (typeof Worker !== 'function') {
    throw failure('Unsupported', 'open() needs a window or a dedicated worker: there are no workers to be had here');
  }
  const mode = modeFor(set);
  const store = await (mode === 'bridge' ? BridgeStore : DirectStore).open(set);
  const { storage, reason = 'OPFS was refused' } = store.found;
  if (storage === 'memory') emit(set, { type: 'fallback', storage, reason });
  const { damage } = store.found;
  if (damage) emit(set, { type: 'damaged', ...damage });
  return new RemoteStatik(set, mode, store);
}

function modeFor(set: Settings): Mode {
  if (set.mode === 'direct') return 'direct';
  if (globalThis.crossOriginIsolated && typeof SharedArrayBuffer === 'function') return 'bridge';
  const reason = 'the page is not cross-origin isolated, so there is no SharedArrayBuffer';
  if (set.mode === 'bridge') throw failure('Unsupported', `option mode is "bridge", but ${reason}`);
  emit(set, { type: 'mode', mode: 'direct', reason });
  return 'direct';
}

class RemoteStatik implements Statik {
  readonly name: string;
  readonly mode: Mode;
  readonly storage: Storage;
  readonly sqlite: RemoteSqlite;
  readonly journal: RemoteJournals;
  readonly #store: Store;
  #closing: Promise<void> | undefined;

  readonly #stopReporting: () => void;

  constructor(set: Settings, mode: Mode, store: Store) {
    this.name = set.name;
    this.mode = mode;
    this.storage = store.found.storage;
    this.sqlite = new RemoteSqlite(store, set.slowQueryMs);
    this.journal = new RemoteJournals(store);
    this.#store = store;
    this.#stopReporting = report(set, () => this.metrics());
  }

  async status(): Promise<Status> {
    this.#checkOpen();
    const { mode, storage } = this;
    // No storage manager: not a secure context.
    const { usage, quota } = await navigator.storage?.estimate() ?? {};
    const persisted = await navigator.storage?.persisted();
    return {
      mode,
      storage,
      ...(usage !== undefined && { usageBytes: usage }),
      ...(quota !== undefined && { quotaBytes: quota }),
      ...(persisted !== undefined && { persisted }),
    };
  }

  async metrics(): Promise<Metrics> {
    this.#checkOpen();
    return storeMetrics(await this.#store.counters(), this.sqlite.pools);
  }

  async durable(): Promise<void> {
    this.#checkOpen();
    return this.#store.durable();
  }

  async persist(): Promise<boolean> {
    this.#checkOpen();
    // Only a window can ask; in a worker the method is missing.
    return await navigator.storage?.persist?.() ?? false;
  }

  async port(): Promise<MessagePort> {
    this.#checkOpen();
    return this.#store.port();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#stopReporting();
    try {
      await Promise.all([this.sqlite.close(this.#closed()), this.journal.close(this.#closed())]);
    } finally {
      await this.#store.close();
    }
  }

  #checkOpen(): void {
    if (this.#closing) throw this.#closed();
  }

  #closed(): StatikError {
    return failure('Closed', `store "${this.name}" is closed`);
  }
}
