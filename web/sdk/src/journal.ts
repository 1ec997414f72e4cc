/**
 * `statik.journal` on the page: journals, all in one engine of the store.
 *
 * Invariants: the engine is taken with the first journal and given back with the last; the calls of a journal are carried
 * out in the order in which they were made.
 */
import { asyncDispose } from './dispose.js';
import { ignoreClosed, type StatikError } from './errors.js';
import { frameBytes, frameNumber, journalOptions } from './options.js';
import type { EngineMethods } from './protocol.js';
import type { Remote } from './rpc.js';
import type { Engine, Engines } from './sqlite.js';
import type { Journal, JournalDamage, JournalFrame, JournalOptions, Journals } from './types.js';

/** The engine that all journals share, while there are any. */
interface Shared {
  readonly engine: Promise<Engine>;
  users: number;
}

/** The journals of a store. */
export class RemoteJournals implements Journals {
  readonly #engines: Engines;
  readonly #open = new Set<RemoteJournal>();
  #shared: Shared | undefined;
  #closed: StatikError | undefined;

  constructor(engines: Engines) {
    this.#engines = engines;
  }

  async open(name: string, options?: JournalOptions): Promise<Journal> {
    const checked = journalOptions(options);
    if (this.#closed) throw this.#closed;
    const shared = this.#shared ??= { engine: this.#engines.take(), users: 0 };
    shared.users += 1;
    try {
      const { remote } = await shared.engine;
      const { id, damage } = await remote.call('openJournal', String(name), checked);
      const journal = new RemoteJournal(name, damage, remote, id, async () => {
        this.#open.delete(journal);
        await this.#leave(shared);
      });
      this.#open.add(journal);
      return journal;
    } catch (error) {
      await this.#leave(shared);
      throw error;
    }
  }

  /** Opens nothing more, and closes every journal. */
  async close(error: StatikError): Promise<void> {
    this.#closed = error;
    await Promise.all([...this.#open].map((journal) => journal.close()));
  }

  async #leave(shared: Shared): Promise<void> {
    shared.users -= 1;
    const engine = await shared.engine.catch(() => undefined);
    // A dead one is not asked again, even if somebody still has a journal in it.
    const over = shared.users === 0 || engine === undefined || engine.remote.ended.aborted;
    if (over && this.#shared === shared) this.#shared = undefined;
    if (shared.users === 0 && engine !== undefined) this.#engines.give(engine);
  }
}

class RemoteJournal implements Journal {
  readonly name: string;
  readonly damage: JournalDamage | undefined;
  readonly #remote: Remote<EngineMethods>;
  readonly #id: number;
  readonly #onClose: () => Promise<void>;
  #closing: Promise<void> | undefined;

  constructor(
    name: string, damage: JournalDamage | undefined, remote: Remote<EngineMethods>, id: number, onClose: () => Promise<void>,
  ) {
    this.name = name;
    this.damage = damage;
    this.#remote = remote;
    this.#id = id;
    this.#onClose = onClose;
  }

  async append(frame: Uint8Array | string): Promise<number> {
    const bytes = frameBytes('append', frame);
    return this.#remote.send('appendJournal', [this.#id, bytes], { transfer: [bytes.buffer] }).result;
  }

  flush(): Promise<number> {
    return this.#remote.call('flushJournal', this.#id);
  }

  async snapshot(state: Uint8Array | string): Promise<number> {
    const bytes = frameBytes('snapshot', state);
    return this.#remote.send('snapshotJournal', [this.#id, bytes], { transfer: [bytes.buffer] }).result;
  }

  async* cursor(from?: number): AsyncIterableIterator<JournalFrame> {
    const cursor = await this.#remote.call('openFrames', this.#id, frameNumber(from));
    try {
      for (;;) {
        const frames = await this.#remote.call('readFrames', cursor);
        if (frames.length === 0) return;
        yield* frames;
      }
    } finally {
      await this.#remote.call('closeFrames', cursor).catch(ignoreClosed);
    }
  }

  async recover(): Promise<{ snapshot?: JournalFrame; frames: AsyncIterableIterator<JournalFrame>; damage?: JournalDamage }> {
    const snapshot = await this.#remote.call('readSnapshot', this.#id);
    return {
      ...(snapshot !== undefined && { snapshot }),
      frames: this.cursor(snapshot === undefined ? 1 : snapshot.seq + 1),
      ...(this.damage !== undefined && { damage: this.damage }),
    };
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    try {
      await this.#remote.call('closeJournal', this.#id).catch(ignoreClosed);
    } finally {
      await this.#onClose();
    }
  }
}
