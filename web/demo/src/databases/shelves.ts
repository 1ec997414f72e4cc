/**
 * The stores of the databases by what the page does with them: what can be asked, what a row shows, what is added, and
 * whether a single record can go.
 */
import type { Databases, EpisodeQuery, LogQuery, LogStore, NewConcept, NewEpisode, NewLogEntry, RecordPage, RecordQuery } from 'statik-storage/databases';
import type { RowArray } from 'statik-storage';
import type { Field } from '../fields.js';
import { moment } from '../format.js';
import { brief } from './value.js';

export type StoredRecord = Record<string, unknown>;

/** Some records, and where the next ones are. */
export interface Page {
  items: StoredRecord[];
  cursor?: string;
}

export interface Shelf {
  database: string;
  store: string;
  /** What one of its records is called. */
  noun: string;
  columns: readonly string[];
  query: readonly Field[];
  page: (databases: Databases, asked: Record<string, unknown>, cursor: string | undefined) => Promise<Page>;
  row: (record: StoredRecord) => RowArray;
  form: readonly Field[];
  /** `filled` is the form with the object of further fields unpacked. */
  add: (databases: Databases, filled: StoredRecord) => Promise<unknown>;
  /** Missing where records go only by age and number. */
  remove?: (databases: Databases, id: string) => Promise<boolean>;
}

/** Records that are fetched together. */
const PAGE_RECORDS = 200;

const SPAN: readonly Field[] = [{ name: 'from', label: 'From', kind: 'moment' }, { name: 'to', label: 'To', kind: 'moment' }];
const ORDER: Field = { name: 'order', label: 'Order', kind: 'choice', choices: [['desc', 'Descending'], ['asc', 'Ascending']] };
const FURTHER: Field = { name: 'further', label: 'Further fields', kind: 'object' };
const SALIENCE = { kind: 'number', min: 0, max: 1, step: 'any' } as const;

/** The cell of what has no column of its own. */
function rest(record: StoredRecord, shown: readonly string[]): string {
  return brief(Object.fromEntries(Object.entries(record).filter(([name]) => !shown.includes(name))));
}

const EPISODES: Shelf = {
  database: 'statik_memory', store: 'episodes', noun: 'episode',
  columns: ['time', 'salience', 'tags', 'fields', 'id'],
  query: [
    ...SPAN,
    { name: 'tags', label: 'All of the tags', kind: 'list' },
    { name: 'min', label: 'Salience from', ...SALIENCE },
    { name: 'max', label: 'Salience to', ...SALIENCE },
    { name: 'by', label: 'By', kind: 'choice', choices: [['timestamp', 'Time'], ['salience', 'Salience']] },
    ORDER,
  ],
  page: (databases, { min, max, ...asked }, cursor) => {
    const salience = { ...(min !== undefined && { min: min as number }), ...(max !== undefined && { max: max as number }) };
    return databases.memory.queryEpisodes({ ...asked as EpisodeQuery, salience, limit: PAGE_RECORDS, ...(cursor !== undefined && { cursor }) });
  },
  row: (record) => [moment(record['timestamp'] as number), record['salience'] as number, (record['tags'] as string[]).join(', '), rest(record, ['id', 'timestamp', 'salience', 'tags']), record['id'] as string],
  form: [
    { name: 'text', label: 'What happened', kind: 'long' },
    { name: 'salience', label: 'How much it matters, from 0 to 1', ...SALIENCE, required: true, value: '0.5' },
    { name: 'tags', label: 'Tags', kind: 'list' },
    { name: 'timestamp', label: 'When; now, if left empty', kind: 'moment' },
    FURTHER,
  ],
  add: (databases, filled) => databases.memory.storeEpisode(filled as NewEpisode),
  remove: (databases, id) => databases.memory.deleteEpisode(id),
};

/** Concepts and skills, which are alike. */
function named(store: 'concepts' | 'skills', noun: string, does: Pick<Shelf, 'add' | 'remove'> & { ask: (databases: Databases, query: RecordQuery) => Promise<RecordPage<StoredRecord>> }): Shelf {
  const { ask, ...changes } = does;
  return {
    database: 'statik_memory', store, noun,
    columns: ['name', 'fields', 'id'],
    query: [{ name: 'name', label: 'Name', kind: 'text' }],
    page: (databases, asked, cursor) => ask(databases, { ...asked, limit: PAGE_RECORDS, ...(cursor !== undefined && { cursor }) }),
    row: (record) => [record['name'] as string, rest(record, ['id', 'name']), record['id'] as string],
    form: [{ name: 'name', label: 'Name', kind: 'text', required: true }, FURTHER],
    ...changes,
  };
}

const STATE: Pick<Shelf, 'columns' | 'row'> = {
  columns: ['saved', 'state'],
  row: ({ savedMs, state }) => [moment(savedMs as number), brief(state)],
};
const UNIT: Field = { name: 'unit', label: 'Unit', kind: 'text', required: true, value: 'planner' };
const STATE_FIELD: Field = { name: 'state', label: 'State', kind: 'object', required: true };

const UNIT_STATES: Shelf = {
  ...STATE, database: 'statik_state', store: 'unit_states', noun: 'state',
  query: [UNIT],
  page: async (databases, { unit }) => ({ items: unit === undefined ? [] : (await databases.state.unitStateHistory(unit as string)).map((each) => ({ ...each })) }),
  form: [UNIT, STATE_FIELD],
  add: (databases, { unit, state }) => databases.state.saveUnitState(unit as string, state),
};

const KERNEL_STATE: Shelf = {
  ...STATE, database: 'statik_state', store: 'kernel_state', noun: 'state',
  query: [],
  page: async (databases) => ({ items: (await databases.state.kernelStateHistory()).map((each) => ({ ...each })) }),
  form: [STATE_FIELD],
  add: (databases, { state }) => databases.state.saveKernelState(state),
};

function log(store: LogStore, noun: string, first: Field, add: Shelf['add']): Shelf {
  return {
    database: 'statik_logs', store, noun,
    columns: ['time', first.name, 'fields', 'number'],
    query: [...SPAN, ORDER],
    page: (databases, asked, cursor) => databases.logs.queryLogs(store, { ...asked as LogQuery, limit: PAGE_RECORDS, ...(cursor !== undefined && { cursor }) }),
    row: (record) => [moment(record['timestamp'] as number), brief(record[first.name]), rest(record, ['id', 'timestamp', first.name]), record['id'] as number],
    form: [first, FURTHER],
    add,
  };
}

export const SHELVES: readonly Shelf[] = [
  EPISODES,
  named('concepts', 'concept', {
    ask: (databases, query) => databases.memory.queryConcepts(query),
    add: (databases, filled) => databases.memory.storeConcept(filled as NewConcept),
    remove: (databases, id) => databases.memory.deleteConcept(id),
  }),
  named('skills', 'skill', {
    ask: (databases, query) => databases.memory.querySkills(query),
    add: (databases, filled) => databases.memory.storeSkill(filled as NewConcept),
    remove: (databases, id) => databases.memory.deleteSkill(id),
  }),
  UNIT_STATES,
  KERNEL_STATE,
  log('deltas', 'delta', { name: 'path', label: 'What has changed', kind: 'text', required: true }, (databases, filled) => databases.logs.logDelta(filled as NewLogEntry)),
  log('errors', 'error', { name: 'message', label: 'Message', kind: 'long', required: true }, (databases, filled) => databases.logs.logError(filled as NewLogEntry & { message: string })),
  log('actions', 'action', { name: 'type', label: 'What was done', kind: 'text', required: true }, (databases, filled) => databases.logs.logAction(filled as NewLogEntry & { type: string })),
];
