/** `statik.journal` of `statik-storage/sync`: journals in this thread. */
import { dispose } from './dispose.js';
import { failure } from './errors.js';
import { frameBytes, frameNumber, journalOptions } from './options.js';
import { enter, type Engine, type Journal } from './wasm.js';
import type { JournalDamage, JournalFrame, JournalOptions, SyncJournal, SyncJournals } from './types.js';

/** Frames fetched at once have about so many bytes. */
const BATCH_BYTES = 64 * 1024;

/** The journals of a store. */
export class LocalJournals implements SyncJournals {
  readonly #store: string;
  readonly #engine: Engine;
  readonly #open = new Set<LocalJournal>();
  #closed = false;

  constructor({ name, engine }: { name: string; engine: Engine }) {
    this.#store = name;
    this.#engine = engine;
  }

  open(name: string, options?: JournalOptions): SyncJournal {
    if (this.#closed) throw failure('Closed', `store "${this.#store}" is closed`);
    const checked = journalOptions(options);
    const opened = enter(() => this.#engine.openJournal(String(name), checked));
    const journal = new LocalJournal(name, opened, () => this.#open.delete(journal));
    this.#open.add(journal);
    return journal;
  }

  /** Opens nothing more, and closes every journal. */
  close(): void {
    this.#closed = true;
    for (const journal of this.#open) journal.close();
  }
}

class LocalJournal implements SyncJournal {
  readonly name: string;
  readonly damage: JournalDamage | undefined;
  readonly #journal: Journal;
  readonly #onClose: () => void;

  constructor(name: string, journal: Journal, onClose: () => void) {
    this.name = name;
    this.damage = enter(() => journal.damage);
    this.#journal = journal;
    this.#onClose = onClose;
  }

  append(frame: Uint8Array | string): number {
    const bytes = frameBytes('append', frame);
    return enter(() => this.#journal.append(bytes));
  }

  flush(): number {
    return enter(() => this.#journal.flush());
  }

  snapshot(state: Uint8Array | string): number {
    const bytes = frameBytes('snapshot', state);
    return enter(() => this.#journal.snapshot(bytes));
  }

  * cursor(from?: number): IterableIterator<JournalFrame> {
    const number = frameNumber(from);
    const cursor = enter(() => this.#journal.cursor(number));
    try {
      for (;;) {
        const frames = enter(() => cursor.read(BATCH_BYTES));
        if (frames.length === 0) return;
        yield* frames;
      }
    } finally {
      enter(() => cursor.free());
    }
  }

  recover(): { snapshot?: JournalFrame; frames: IterableIterator<JournalFrame>; damage?: JournalDamage } {
    const snapshot = enter(() => this.#journal.readSnapshot());
    return {
      ...(snapshot !== undefined && { snapshot }),
      frames: this.cursor(snapshot === undefined ? 1 : snapshot.seq + 1),
      ...(this.damage !== undefined && { damage: this.damage }),
    };
  }

  close(): void {
    enter(() => this.#journal.close());
    this.#onClose();
  }

  [dispose](): void {
    this.close();
  }
}
