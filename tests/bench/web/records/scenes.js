/**
 * What is timed. `data()` is made before, by a fixed seed; `run(db, data)` is what counts; `check(db, data, answer)` throws
 * if it was not done, or done wrong. `stored(db)` writes what is read, once before all rounds: scenes with it only read.
 * Only in those that are `isSealable` encryption has a part.
 */

import { generator } from '../generator.js';

const BULK = 10_000;
const SINGLES = 1_000;
const STORED = 100_000;
const FOUND = 1_000;
const QUERIES = 10;

const RECORD_BYTES = 200;
const DAY_MS = 86_400_000;

/** Records of 200 bytes as JSON, whose timestamps are their order. */
function makeRecords(count) {
  const random = generator(count);
  return Array.from({ length: count }, (_, i) => {
    const record = { id: `record-${String(i).padStart(8, '0')}`, timestamp: i, salience: random(1_000) / 1_000, tags: [`day-${random(30)}`, `kind-${random(10)}`], text: '' };
    while (record.text.length < RECORD_BYTES) record.text += random(0xffffffff).toString(36);
    record.text = record.text.slice(0, RECORD_BYTES - JSON.stringify({ ...record, text: '' }).length);
    return record;
  });
}

function expect(what, actual, expected) {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (got !== wanted) throw new Error(`wrong result: ${what}: expected ${wanted?.slice(0, 200)}, got ${got?.slice(0, 200)}`);
}

async function isStored(db, records) {
  expect('records that are stored', await db.count(), records.length);
}

const storeEpisodes = (db, records) => (db.episodes ?? db.bulk)(records);

/** Ranges that spread over the whole, and what each of them has. */
const ranges = Array.from({ length: QUERIES }, (_, i) => i * (STORED / QUERIES) + 17);

const INDEXES = ['timestamp', 'salience', '*tags'];

/** By name. */
export const scenes = {
  bulk: {
    title: `${BULK.toLocaleString('en')} records of ${RECORD_BYTES} bytes written together`,
    indexes: [],
    data: () => makeRecords(BULK),
    run: (db, records) => db.bulk(records),
    async check(db, records) {
      await isStored(db, records);
      expect('what was written', await db.all(), records);
    },
  },
  episodes: {
    title: `the same with indexes by time, salience and tags; by statik: storeEpisodes`,
    indexes: INDEXES,
    data: () => makeRecords(BULK),
    isSealable: true,
    run: storeEpisodes,
    check: isStored,
  },
  singles: {
    title: `${SINGLES.toLocaleString('en')} records, each written by a call of its own, called together`,
    indexes: [],
    data: () => makeRecords(SINGLES),
    run: (db, records) => db.singles(records),
    check: isStored,
  },
  query: {
    title: `${FOUND.toLocaleString('en')} of ${STORED.toLocaleString('en')} records by an index, ${QUERIES} times`,
    indexes: ['timestamp'],
    async stored(db) {
      const records = makeRecords(STORED);
      for (let i = 0; i < STORED; i += BULK) await db.bulk(records.slice(i, i + BULK));
    },
    data: () => ranges,
    async run(db, lowers) {
      const answers = [];
      for (const lower of lowers) answers.push(await db.between('timestamp', lower, lower + FOUND - 1));
      return answers;
    },
    check(db, lowers, answers) {
      expect('timestamps found', answers.map((items) => items.map(({ timestamp }) => timestamp)), lowers.map((lower) => Array.from({ length: FOUND }, (_, i) => lower + i)));
    },
  },
  recall: {
    title: `${BULK.toLocaleString('en')} records read by the index on time; by statik: queryEpisodes`,
    indexes: INDEXES,
    stored: (db) => storeEpisodes(db, makeRecords(BULK)),
    isSealable: true,
    data: () => [0, BULK - 1],
    run: (db, [from, to]) => (db.recall ? db.recall(from, to) : db.between('timestamp', from, to)),
    check(db, data, items) {
      expect('records read', items, makeRecords(BULK));
    },
  },
};
