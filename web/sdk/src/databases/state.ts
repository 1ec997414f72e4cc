/**
 * `statik_state`: the states of units and of the kernel, each with the last few that came before.
 *
 * A save adds a state and takes those that are too old away, in one transaction; the newest one is what is loaded.
 */
import type { Idb, KeyRange } from '../idb/types.js';
import { request, type IndexedDbMigration } from '../migrations/indexeddb.js';
import type { DatabaseShape } from '../migrations/schema.js';
import * as field from './fields.js';
import { RecordForm, type Sealing, type Stored } from './record-form.js';
import type { SavedState } from './types.js';

export const STATE_MIGRATIONS: readonly IndexedDbMigration[] = [
  {
    version: 1,
    name: 'stores',
    checksum: 'statik_state 1',
    upgrade: (db) => {
      const units = db.createObjectStore('unit_states', { keyPath: 'n', autoIncrement: true });
      units.createIndex('unit', ['unitId', 'n']);
      db.createObjectStore('kernel_state', { keyPath: 'n', autoIncrement: true });
    },
    down: (db) => {
      db.deleteObjectStore('unit_states');
      db.deleteObjectStore('kernel_state');
    },
  },
];

export const STATE_SHAPE: DatabaseShape = {
  stores: {
    unit_states: { keyPath: 'n', autoIncrement: true, indexes: { unit: { keyPath: ['unitId', 'n'] } } },
    kernel_state: { keyPath: 'n', autoIncrement: true },
  },
};

/** The kernel's states are bound to this name when they are sealed. */
const KERNEL = 'kernel';

/** How many states are kept, if the app does not say. */
export const KEPT_STATES = 10;

export class StateDatabase {
  readonly #idb: Idb;
  readonly #keep: number;
  readonly #forms: { units: RecordForm; kernel: RecordForm };

  /** Of each unit, and of the kernel, the last `keep` states are kept. */
  constructor(idb: Idb, keep: number, sealing: Sealing | undefined) {
    this.#idb = idb;
    this.#keep = keep;
    this.#forms = {
      units: new RecordForm(idb.name, 'unit_states', ['n', 'unitId', 'savedMs'], sealing),
      kernel: new RecordForm(idb.name, 'kernel_state', ['n', 'savedMs'], sealing),
    };
  }

  async saveUnitState(unitId: string, state: unknown): Promise<void> {
    const doing = 'saveUnitState';
    const unit = field.text(doing, 'unitId', unitId);
    const stored = this.#forms.units.toStored({ unitId: unit, savedMs: Date.now(), state: something(doing, state) }, unit);
    await this.#idb.transaction(['unit_states'], 'readwrite', async (tx) => {
      await request(tx.objectStore('unit_states').put(stored));
      await trim(tx.objectStore('unit_states').index('unit'), this.#idb.range(of(unit)), this.#keep);
    });
  }

  /** The newest state; undefined if none was saved. */
  async loadUnitState<T = unknown>(unitId: string): Promise<T | undefined> {
    return (await this.unitStateHistory<T>(unitId, 1))[0]?.state;
  }

  /** The states that are kept, newest first. */
  async unitStateHistory<T = unknown>(unitId: string, limit = this.#keep): Promise<SavedState<T>[]> {
    const doing = 'unitStateHistory';
    const unit = field.text(doing, 'unitId', unitId);
    const { items } = await this.#idb.query<Stored>('unit_states', { index: 'unit', range: of(unit), direction: 'prev', limit: field.count(doing, 'limit', limit) });
    return items.map((stored) => this.#forms.units.fromStored<SavedState<T>>(stored, unit)).map(saved);
  }

  /** Takes all states of a unit away. */
  async deleteUnitState(unitId: string): Promise<void> {
    const unit = field.text('deleteUnitState', 'unitId', unitId);
    await this.#idb.transaction(['unit_states'], 'readwrite', (tx) => trim(tx.objectStore('unit_states').index('unit'), this.#idb.range(of(unit)), 0));
  }

  async saveKernelState(state: unknown): Promise<void> {
    const stored = this.#forms.kernel.toStored({ savedMs: Date.now(), state: something('saveKernelState', state) }, KERNEL);
    await this.#idb.transaction(['kernel_state'], 'readwrite', async (tx) => {
      await request(tx.objectStore('kernel_state').put(stored));
      await trim(tx.objectStore('kernel_state'), null, this.#keep);
    });
  }

  /** The newest state; undefined if none was saved. */
  async loadKernelState<T = unknown>(): Promise<T | undefined> {
    return (await this.kernelStateHistory<T>(1))[0]?.state;
  }

  /** The states that are kept, newest first. */
  async kernelStateHistory<T = unknown>(limit = this.#keep): Promise<SavedState<T>[]> {
    const { items } = await this.#idb.query<Stored>('kernel_state', { direction: 'prev', limit: field.count('kernelStateHistory', 'limit', limit) });
    return items.map((stored) => this.#forms.kernel.fromStored<SavedState<T>>(stored, KERNEL)).map(saved);
  }
}

/** The states of a unit in the index. */
function of(unit: string): KeyRange {
  return { lower: [unit], upper: [unit, []] };
}

/** Deletes all but the newest `keep` states of a range. */
async function trim(source: IDBObjectStore | IDBIndex, range: IDBKeyRange | null, keep: number): Promise<void> {
  const store = 'objectStore' in source ? source.objectStore : source;
  const opened = source.openKeyCursor(range, 'prev');
  for (let cursor = await request(opened), seen = 0; cursor !== null; cursor = await request(opened)) {
    if (++seen > keep) await request(store.delete(cursor.primaryKey));
    cursor.continue();
  }
}

/** The state as it is now. */
function something(doing: string, state: unknown): unknown {
  if (state === undefined) throw field.wrong(doing, 'state', state, 'a value');
  return field.cloned(doing, 'state', state);
}

function saved<T>({ state, savedMs }: SavedState<T>): SavedState<T> {
  return { state, savedMs };
}
