/**
 * `statik_logs`: what changed, what failed, what was done. Entries are appended and never changed; they are read by time,
 * and go by age and number.
 */
import type { Idb } from '../idb/types.js';
import { request, type IndexedDbMigration } from '../migrations/indexeddb.js';
import type { DatabaseShape } from '../migrations/schema.js';
import * as field from './fields.js';
import { ownFields, RecordForm, type Sealing, type Stored } from './record-form.js';
import type { LogEntry, LogPage, LogQuery, LogRetention, LogStore, NewLogEntry } from './types.js';

export const LOG_STORES: readonly LogStore[] = ['deltas', 'errors', 'actions'];

export const LOGS_MIGRATIONS: readonly IndexedDbMigration[] = [
  {
    version: 1,
    name: 'stores',
    checksum: 'statik_logs 1',
    upgrade: (db) => {
      for (const store of LOG_STORES) db.createObjectStore(store, { keyPath: 'id', autoIncrement: true }).createIndex('timestamp', 'timestamp');
    },
    down: (db) => {
      for (const store of LOG_STORES) db.deleteObjectStore(store);
    },
  },
];

const LOG = { keyPath: 'id', autoIncrement: true, indexes: { timestamp: { keyPath: 'timestamp' } } };

export const LOGS_SHAPE: DatabaseShape = { stores: { deltas: LOG, errors: LOG, actions: LOG } };

/** How many entries are deleted in one transaction, which must end within the deadline. */
const PRUNED = 2000;

/** Entries have no key before they are stored, so sealed ones are bound to their store alone, and a nonce of their own. */
const ENTRY = '';

export class LogDatabase {
  readonly #idb: Idb;
  readonly #forms: Record<LogStore, RecordForm>;

  constructor(idb: Idb, sealing: Sealing | undefined) {
    this.#idb = idb;
    const form = (store: LogStore) => new RecordForm(idb.name, store, ['id', 'timestamp'], sealing);
    this.#forms = { deltas: form('deltas'), errors: form('errors'), actions: form('actions') };
  }

  /** Appends what changed. Answers the entry's number. */
  async logDelta(delta: NewLogEntry): Promise<number> {
    return this.#append('deltas', entry('logDelta', delta));
  }

  /** Appends what failed: an Error, with what it carries that can be stored, or an object with a `message`. */
  async logError(error: Error | (NewLogEntry & { message: string })): Promise<number> {
    const doing = 'logError';
    const fields = entry(doing, error instanceof Error ? ofError(error) : error);
    if (typeof fields.message !== 'string') throw field.wrong(doing, 'message', fields.message, 'a string');
    return this.#append('errors', fields);
  }

  /** Appends what was done: an object with a `type`. */
  async logAction(action: NewLogEntry & { type: string }): Promise<number> {
    const fields = entry('logAction', action);
    field.text('logAction', 'type', fields.type);
    return this.#append('actions', fields);
  }

  /** Entries by time, newest first if nothing else is asked for. */
  async queryLogs(store: LogStore, query: LogQuery = {}): Promise<LogPage> {
    const doing = `querying ${storeOf('queryLogs', store)}`;
    const { from, to, order = 'desc', limit = 100, cursor } = field.record(doing, query) as LogQuery;
    const range = {
      ...(from !== undefined && { lower: field.time(doing, 'from', from) }),
      ...(to !== undefined && { upper: field.time(doing, 'to', to) }),
    };
    const direction = field.oneOf(doing, 'order', order, ['asc', 'desc']) === 'asc' ? 'next' : 'prev';
    field.count(doing, 'limit', limit);
    if (from !== undefined && to !== undefined && from > to) return { items: [] };
    const page = await this.#idb.query<Stored>(store, { index: 'timestamp', range, direction, limit, ...(cursor !== undefined && { cursor }) });
    const items = page.items.map((stored) => this.#forms[store].fromStored<LogEntry>(stored, ENTRY));
    return { items, ...(page.cursor !== undefined && { cursor: page.cursor }) };
  }

  async countLogs(store: LogStore): Promise<number> {
    return this.#idb.count(storeOf('countLogs', store));
  }

  /** Deletes entries that are too old, and the oldest of those that are too many. Answers how many of each store. */
  async pruneLogs(retention: LogRetention): Promise<Record<LogStore, number>> {
    const doing = 'pruneLogs';
    const { maxAgeMs, maxCount, stores = LOG_STORES } = field.record(doing, retention) as LogRetention;
    if (maxAgeMs !== undefined && field.time(doing, 'maxAgeMs', maxAgeMs) < 0) throw field.wrong(doing, 'maxAgeMs', maxAgeMs, 'a number from 0');
    if (maxCount !== undefined) field.count(doing, 'maxCount', maxCount, 0);
    for (const store of field.texts(doing, 'stores', stores)) storeOf(doing, store as LogStore);
    const before = maxAgeMs === undefined ? undefined : Date.now() - maxAgeMs;
    const deleted: Record<LogStore, number> = { deltas: 0, errors: 0, actions: 0 };
    for (const store of stores) {
      let pruned: number;
      do {
        pruned = await this.#prune(store, before, maxCount);
        deleted[store] += pruned;
      } while (pruned === PRUNED);
    }
    return deleted;
  }

  async #append(store: LogStore, fields: Stored): Promise<number> {
    return await this.#idb.put(store, this.#forms[store].toStored(fields, ENTRY)) as number;
  }

  /** One transaction's worth. */
  async #prune(store: LogStore, before: number | undefined, most: number | undefined): Promise<number> {
    return this.#idb.transaction([store], 'readwrite', async (tx) => {
      const entries = tx.objectStore(store);
      const total = await request(entries.count());
      const opened = entries.index('timestamp').openKeyCursor();
      let deleted = 0;
      for (let cursor = await request(opened); cursor !== null && deleted < PRUNED; cursor = await request(opened)) {
        const isOld = before !== undefined && (cursor.key as number) < before;
        const isTooMany = most !== undefined && total - deleted > most;
        if (!isOld && !isTooMany) break;
        await request(entries.delete(cursor.primaryKey));
        deleted++;
        cursor.continue();
      }
      return deleted;
    });
  }
}

/** An Error as an entry. Not everything that libraries hang on theirs can be stored, and what cannot is left out. */
function ofError(error: Error): Stored {
  const carried = Object.entries(error).filter(([name, value]) => name !== 'id' && name !== 'timestamp' && !name.startsWith('_') && isCloneable(value));
  const { name, message, stack } = error;
  return { ...Object.fromEntries(carried), name: String(name), message: String(message), ...(stack !== undefined && { stack: String(stack) }) };
}

function isCloneable(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}

function storeOf(doing: string, store: LogStore): LogStore {
  return field.oneOf(doing, 'store', store, LOG_STORES);
}

function entry(doing: string, given: object): Stored {
  const { id, timestamp = Date.now(), ...fields } = ownFields(doing, field.record(doing, given));
  if (id !== undefined) throw field.wrong(doing, 'id', id, 'left out: entries are numbered as they come');
  return { ...fields, timestamp: field.time(doing, 'timestamp', timestamp) };
}
