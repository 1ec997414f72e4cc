/**
 * Whether a backup's records are such as the three databases hold: who reads those relies on it, and anybody can write a
 * backup. Only the fields that queries use are looked at; what is sealed has its own proof.
 */
import type { BackupRecord } from './backup-format.js';
import * as field from './fields.js';

type Check = (doing: string, record: Readonly<Record<string, unknown>>) => void;

const NAMED: Check = (doing, { id, name }) => {
  field.text(doing, 'id', id);
  field.text(doing, 'name', name);
};
const LOGGED: Check = (doing, { id, timestamp }) => {
  field.count(doing, 'id', id);
  field.time(doing, 'timestamp', timestamp);
};
const SAVED: Check = (doing, { n, savedMs }) => {
  field.count(doing, 'n', n);
  field.time(doing, 'savedMs', savedMs);
};

/** By database and store. */
const CHECKS: Readonly<Record<string, Readonly<Record<string, Check>>>> = {
  statik_memory: {
    episodes: (doing, { id, timestamp, salience, tags }) => {
      field.text(doing, 'id', id);
      field.time(doing, 'timestamp', timestamp);
      field.share(doing, 'salience', salience);
      field.texts(doing, 'tags', tags);
    },
    concepts: NAMED,
    skills: NAMED,
  },
  statik_state: {
    unit_states: (doing, record) => {
      SAVED(doing, record);
      field.text(doing, 'unitId', record.unitId);
    },
    kernel_state: SAVED,
  },
  statik_logs: { deltas: LOGGED, errors: LOGGED, actions: LOGGED },
};

/** `Invalid` for a record that the store cannot hold; the message names the field. Stores of the app's own hold anything. */
export function checkRecords(doing: string, database: string, store: string, records: readonly BackupRecord[]): void {
  const check = CHECKS[database]?.[store];
  if (check === undefined) return;
  for (const { value } of records) {
    const where = `${doing}: a record of ${database}.${store}`;
    const record = field.record(where, value);
    if (record._sealed === undefined) check(where, record);
  }
}
