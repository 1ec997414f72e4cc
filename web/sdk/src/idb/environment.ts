/**
 * Where IndexedDB databases lie: in the browser's, or in memory where that cannot be used.
 *
 * Invariant: memory is told by an event and by `storage`, never silently taken.
 */
import { failure, StatikError } from '../errors.js';
import type { IdbEnvironment } from '../records.js';
import { loadRecords, translated, type Records, type WasmSource } from '../records-wasm.js';
import { look } from './room.js';
import type { IdbEvent } from './types.js';

/** What opens, reads and writes. */
export interface Environment {
  readonly records: Records;
  readonly factory: IDBFactory;
  readonly keyRanges: typeof IDBKeyRange;
  readonly storage: 'indexeddb' | 'memory';
  readonly deadlineMs: number;
  readonly onEvent: (event: IdbEvent) => void;
}

export interface EnvironmentOptions {
  deadlineMs: number;
  onEvent: (event: IdbEvent) => void;
  wasm: WasmSource;
  /** What to do where IndexedDB cannot be used. */
  fallback: 'memory' | 'error';
  /** In place of the browser's. */
  factory?: IDBFactory | undefined;
}

/** The catalog is what everything begins with: who cannot open it has no IndexedDB. */
export async function environment(options: EnvironmentOptions, probe: (environment: Environment) => Promise<void>): Promise<Environment> {
  const { deadlineMs, fallback } = options;
  const [records] = await Promise.all([loadRecords(options.wasm), look()]);
  // What a listener throws is the app's.
  const onEvent = (event: IdbEvent) => queueMicrotask(() => options.onEvent(event));
  const common = { records, deadlineMs, onEvent };
  const usable = async (): Promise<Environment | StatikError> => {
    try {
      // Where it is denied, some browsers throw when it is asked for.
      const factory = options.factory ?? globalThis.indexedDB;
      if (!factory) return failure('Unsupported', 'this context has no indexedDB');
      const found: Environment = { ...common, factory, keyRanges: globalThis.IDBKeyRange, storage: 'indexeddb' };
      await probe(found);
      return found;
    } catch (error) {
      const known = StatikError.from(translated(error));
      // These say that it works: somebody else is at it, there is no room, or what is there is a newer app's.
      if (['Busy', 'Conflict', 'Quota', 'Unsupported'].includes(known.code)) throw known;
      return known;
    }
  };
  const found = await usable();
  if (!(found instanceof StatikError)) return found;
  if (fallback === 'error') throw found;
  const { IDBFactory: Factory, IDBKeyRange: keyRanges } = await import('./memory-indexeddb.js');
  const memory: Environment = { ...common, factory: new Factory(), keyRanges, storage: 'memory' };
  await probe(memory);
  onEvent({ type: 'fallback', database: '', reason: found.message });
  return memory;
}

/** What the module needs of an environment. */
export function bindings({ factory, keyRanges, onEvent, deadlineMs }: Environment): IdbEnvironment {
  return { factory, keyRanges, onEvent, deadlineMs };
}
