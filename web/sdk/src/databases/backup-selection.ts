/** What of the databases goes into a backup, by the flags of `exportSelective`: the most special flag decides. */
import { failure } from '../errors.js';
import * as field from './fields.js';
import { LOG_STORES } from './logs.js';

/** What to export. What no flag names is left out. */
export interface BackupSelection {
  /** All of `statik_memory`, but for what the flags below say. */
  memories?: boolean;
  episodes?: boolean;
  /** Concepts and skills, but for what the next two flags say. */
  patterns?: boolean;
  concepts?: boolean;
  skills?: boolean;
  /** All of `statik_state`. */
  state?: boolean;
  /** All of `statik_logs`. */
  logs?: boolean;
  /** Databases of the app's own, by name: whole. */
  databases?: readonly string[];
  /** Episodes and log entries from this time on, in milliseconds; all others are there whatever their time. */
  from?: number;
  /** Up to this time, which counts. */
  to?: number;
}

/** What a selection means: stores by database; `all` of a database. And whether a record of them is taken. */
export interface Selected {
  stores: Map<string, readonly string[] | 'all'>;
  /** Missing where every record is taken. */
  times?: { from?: number; to?: number };
  accepts(database: string, store: string, value: unknown): boolean;
}

const FLAGS = ['memories', 'episodes', 'patterns', 'concepts', 'skills', 'state', 'logs'] as const;
/** The stores whose records have a time. */
const TIMED: Readonly<Record<string, readonly string[]>> = { statik_memory: ['episodes'], statik_logs: LOG_STORES };

/** `Invalid` for a flag that is not known, or if nothing is selected; `NotFound` for a database that is not among `known`. */
export function selected(doing: string, selection: BackupSelection, known: readonly string[]): Selected {
  const given = field.record(doing, selection);
  for (const name of Object.keys(given)) {
    field.oneOf(doing, 'name of a flag', name, [...FLAGS, 'databases', 'from', 'to']);
  }
  for (const flag of FLAGS) {
    if (given[flag] !== undefined && typeof given[flag] !== 'boolean') throw field.wrong(doing, flag, given[flag], 'true or false');
  }
  const { memories, patterns = memories, episodes = memories, concepts = patterns, skills = patterns, state, logs, databases, from, to } = selection;
  const stores: Selected['stores'] = new Map();
  const memory = [...(episodes ? ['episodes'] : []), ...(concepts ? ['concepts'] : []), ...(skills ? ['skills'] : [])];
  if (memory.length > 0) stores.set('statik_memory', memory.length === 3 ? 'all' : memory);
  if (state) stores.set('statik_state', 'all');
  if (logs) stores.set('statik_logs', 'all');
  for (const name of databases === undefined ? [] : field.texts(doing, 'databases', databases)) {
    if (!known.includes(name)) throw failure('NotFound', `${doing}: there is no database ${JSON.stringify(name)}; there are ${known.join(', ')}`);
    stores.set(name, 'all');
  }
  if (stores.size === 0) throw failure('Invalid', `${doing}: nothing is selected`);
  const times = {
    ...(from !== undefined && { from: field.time(doing, 'from', from) }),
    ...(to !== undefined && { to: field.time(doing, 'to', to) }),
  };
  return { stores, ...(Object.keys(times).length > 0 && { times }), accepts: accepting(from, to) };
}

/** Everything of all databases. */
export function everything(known: readonly string[]): Selected {
  return { stores: new Map(known.map((name) => [name, 'all'])), accepts: () => true };
}

function accepting(from = -Infinity, to = Infinity): Selected['accepts'] {
  if (from === -Infinity && to === Infinity) return () => true;
  return (database, store, value) => {
    if (!TIMED[database]?.includes(store)) return true;
    const { timestamp } = Object(value) as { timestamp?: unknown };
    return typeof timestamp === 'number' && timestamp >= from && timestamp <= to;
  };
}
