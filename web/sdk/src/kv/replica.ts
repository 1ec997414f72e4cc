/**
 * Making two replicas of a key-value store alike, whatever they have missed of each other.
 *
 * Each side fingerprints ranges of its keys and stamps; a few messages find what differs, and only that is sent. How
 * messages travel is the app's business: `Peer` is what the other side can be asked for.
 *
 * ```ts
 * const here = await Replica.of(adapter);
 * const { sent, received } = await reconcile(here, { respond: (message) => send('respond', message), … });
 * ```
 *
 * Invariant: records are merged, never overwritten, so a reconciliation that breaks off half-way has done no harm, and
 * one that is repeated goes on.
 */
import { loadRecords, translated, type WasmSource } from '../records-wasm.js';
import type { Reconciler } from '../records.js';
import type { IStorageAdapter, KvRecord } from './types.js';

/** The other side: what it is asked, and told. A `Replica` is one, too. */
export interface ReplicaPeer {
  /** The answer to a message. */
  respond(message: Uint8Array): Promise<Uint8Array>;
  /** The records of these ids. */
  records(ids: readonly Uint8Array[]): Promise<ReadonlyMap<string, KvRecord>>;
  /** Takes records that it did not have. */
  accept(records: ReadonlyMap<string, KvRecord>): Promise<void>;
}

/** How many records travel together. */
const BATCH = 500;

/** An adapter's records as they were when this was made: one is good for one reconciliation. */
export class Replica implements ReplicaPeer {
  readonly #adapter: IStorageAdapter;
  readonly #reconciler: Reconciler;

  private constructor(adapter: IStorageAdapter, reconciler: Reconciler) {
    this.#adapter = adapter;
    this.#reconciler = reconciler;
  }

  /** `wasm` is where `records_bg.wasm` lies, if not beside the module; or the module itself. */
  static async of(adapter: IStorageAdapter, { wasm }: { wasm?: WasmSource } = {}): Promise<Replica> {
    const { Reconciler } = await loadRecords(wasm);
    const keys: string[] = [];
    const stamps: string[] = [];
    await adapter.iterateKeys((key, { hlc }) => {
      keys.push(key);
      stamps.push(hlc);
    });
    return new Replica(adapter, entered(() => new Reconciler(keys, stamps)));
  }

  async respond(message: Uint8Array): Promise<Uint8Array> {
    return entered(() => this.#reconciler.respond(message));
  }

  async records(ids: readonly Uint8Array[]): Promise<Map<string, KvRecord>> {
    return this.recordsOf(ids.map((id) => entered(() => this.#reconciler.key(id))).filter((key) => key !== undefined));
  }

  async accept(records: ReadonlyMap<string, KvRecord>): Promise<void> {
    await this.#adapter.batchPut(records);
  }

  /** The first message of the side that begins. */
  initiate(): Uint8Array {
    return entered(() => this.#reconciler.initiate());
  }

  /** What an answer tells. */
  finish(answer: Uint8Array): ReturnType<Reconciler['finish']> {
    return entered(() => this.#reconciler.finish(answer));
  }

  /** Those that are still there. */
  async recordsOf(keys: readonly string[]): Promise<Map<string, KvRecord>> {
    const found = await Promise.all(keys.map(async (key) => [key, await this.#adapter.get(key)] as const));
    return new Map(found.filter((each): each is [string, KvRecord] => each[1] !== undefined));
  }
}

/** What a reconciliation has cost, and done. */
export interface Reconciled {
  exchanges: number;
  sent: number;
  received: number;
}

/** Makes `here` and `there` alike. */
export async function reconcile(here: Replica, there: ReplicaPeer, { signal }: { signal?: AbortSignal } = {}): Promise<Reconciled> {
  const done: Reconciled = { exchanges: 0, sent: 0, received: 0 };
  let message: Uint8Array | undefined = here.initiate();
  while (message !== undefined) {
    signal?.throwIfAborted();
    const { have, need, next } = here.finish(await there.respond(message));
    done.exchanges++;
    for (let at = 0; at < need.length; at += BATCH) {
      const received = await there.records(need.slice(at, at + BATCH));
      await here.accept(received);
      done.received += received.size;
    }
    for (let at = 0; at < have.length; at += BATCH) {
      const sent = await here.recordsOf(have.slice(at, at + BATCH));
      await there.accept(sent);
      done.sent += sent.size;
    }
    message = next;
  }
  return done;
}

function entered<T>(job: () => T): T {
  try {
    return job();
  } catch (error) {
    throw translated(error);
  }
}
