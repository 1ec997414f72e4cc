/**
 * The SQL that every engine runs, with the data it runs on and the answers it must give.
 *
 * Data come from a seeded generator, so every engine, round and browser gets the same bytes. What each workload must
 * leave behind is computed here in JavaScript, not by any engine, so that none can win by not doing the work.
 * `prepare` makes the data and `check` reads the result; only `run` is timed. The workloads build on each other and
 * run in this order; what does not depend on an earlier one's rows says so by naming its tables. Those marked `aside` are
 * timed and reported, but not part of the set whose total is compared.
 *
 * Writing transactions say BEGIN IMMEDIATE, because OPFSWriteAheadVFS refuses writes in a deferred one.
 */

import { generator } from './generator.js';

const ITEMS = 100_000;
const KEYS = 1_000;
const COMMITS = 500;
const POINT_READS = 2_000;
const INDEX_READS = 200;
const SCANS = 10;
const CHANGES = 10_000;
const BLOBS = 64;
const BLOB_BYTES = 1024 * 1024;
const DOCUMENTS = 5_000;
const WORDS = 2_000;
const WORDS_PER_DOCUMENT = 60;
const SEARCHES = 200;

export const schema = `
  CREATE TABLE item(id INTEGER PRIMARY KEY, k INTEGER NOT NULL, cents INTEGER NOT NULL, name TEXT NOT NULL);
  CREATE INDEX item_k ON item(k);
  CREATE TABLE event(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
  CREATE TABLE draft(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
  CREATE TABLE attachment(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
  CREATE VIRTUAL TABLE document USING fts5(body);`;

/** Compares numbers, strings and arrays of them. The message shows where long lists begin to differ. */
function expectEqual(what, actual, expected) {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (got === wanted) return;
  let at = 0;
  while (got[at] === wanted[at]) at += 1;
  const around = (text) => text.slice(Math.max(0, at - 50), at + 50);
  throw new Error(`wrong result: ${what}: expected ${around(wanted)}, got ${around(got)}`);
}

const numbers = (row) => row.map(Number);

async function transaction(db, body) {
  await db.exec('BEGIN IMMEDIATE');
  await body();
  await db.exec('COMMIT');
}

/** Checks the table `item` as a whole against the model: ids, keys, prices. */
async function checkItems(db, model) {
  const expected = [0, 0, 0, 0];
  for (const [id, item] of model.items) {
    expected[0] += 1;
    expected[1] += id;
    expected[2] += item.k;
    expected[3] += item.cents;
  }
  const [row] = await db.all('SELECT count(*), sum(id), sum(k), sum(cents) FROM item');
  expectEqual('item: count, sum(id), sum(k), sum(cents)', numbers(row), expected);
  // Through the index alone, which a lazy engine could have left behind.
  const [viaIndex] = await db.all('SELECT count(k), sum(k) FROM item INDEXED BY item_k WHERE k >= 0');
  expectEqual('item by index: count, sum(k)', numbers(viaIndex), [expected[0], expected[2]]);
}

const bulkInsert = {
  name: 'bulk-insert',
  title: `bulk insert, ${ITEMS.toLocaleString('en')} rows with an index, one transaction`,
  prepare(model) {
    const random = generator(1);
    model.items = new Map();
    return Array.from({ length: ITEMS }, (_, i) => {
      const item = { k: random(KEYS), cents: random(100_000) };
      model.items.set(i + 1, item);
      return [i + 1, item.k, item.cents, `item ${i + 1} of shelf ${item.k}, ${'#'.repeat(random(40))}`];
    });
  },
  run: (db, rows) => transaction(db, () => db.runEach('INSERT INTO item VALUES(?, ?, ?, ?)', rows)),
  check: checkItems,
};

/** Rows for a table like `event`, and what their check expects. */
function eventRows() {
  const random = generator(2);
  const rows = Array.from({ length: COMMITS }, (_, i) => [i + 1, random(1_000_000), `event ${i + 1}`]);
  return { rows, sum: rows.reduce((sum, row) => sum + row[1], 0) };
}

async function checkEvents(db, table) {
  const [row] = await db.all(`SELECT count(*), sum(at) FROM ${table}`);
  expectEqual(`${table}: count, sum(at)`, numbers(row), [COMMITS, eventRows().sum]);
}

const singleCommits = {
  name: 'commits',
  title: `${COMMITS} commits of one row`,
  prepare: () => eventRows().rows,
  run: (db, rows) => db.runEach('INSERT INTO event VALUES(?, ?, ?)', rows),
  check: (db) => checkEvents(db, 'event'),
};

/** The last of all: the connection stays at NORMAL. */
const relaxedCommits = {
  name: 'commits-normal',
  title: `${COMMITS} commits of one row under synchronous=NORMAL`,
  aside: true,
  async prepare(model, db) {
    await db.exec('PRAGMA synchronous = NORMAL');
    return eventRows().rows;
  },
  run: (db, rows) => db.runEach('INSERT INTO draft VALUES(?, ?, ?)', rows),
  check: (db) => checkEvents(db, 'draft'),
};

const pointReads = {
  name: 'point-reads',
  title: `${POINT_READS.toLocaleString('en')} reads by primary key`,
  needs: ['bulk-insert'],
  prepare() {
    const random = generator(3);
    return Array.from({ length: POINT_READS }, () => [1 + random(ITEMS)]);
  },
  run: (db, ids) => db.queryEach('SELECT id, k, cents FROM item WHERE id = ?', ids),
  check(db, model, rows, ids) {
    const expected = ids.map(([id]) => [id, model.items.get(id).k, model.items.get(id).cents]);
    expectEqual('rows by primary key', rows.map(numbers), expected);
  },
};

const indexReads = {
  name: 'index-reads',
  title: `${INDEX_READS} reads of 5 keys (about 500 rows) by index`,
  needs: ['bulk-insert'],
  prepare() {
    const random = generator(4);
    return Array.from({ length: INDEX_READS }, () => {
      const low = random(KEYS - 5);
      return [low, low + 4];
    });
  },
  run: (db, ranges) => db.queryEach('SELECT count(*), sum(cents) FROM item WHERE k BETWEEN ? AND ?', ranges),
  check(db, model, rows, ranges) {
    const counts = new Array(KEYS).fill(0);
    const cents = new Array(KEYS).fill(0);
    for (const item of model.items.values()) {
      counts[item.k] += 1;
      cents[item.k] += item.cents;
    }
    const total = (of, [low, high]) => of.slice(low, high + 1).reduce((sum, n) => sum + n, 0);
    const expected = ranges.map((range) => [total(counts, range), total(cents, range)]);
    expectEqual('aggregates by index', rows.map(numbers), expected);
  },
};

const scans = {
  name: 'scans',
  title: `${SCANS} scans of the whole table, with sums`,
  needs: ['bulk-insert'],
  prepare: () => Array.from({ length: SCANS }, (_, i) => [i]),
  run: (db, limits) => db.queryEach('SELECT count(*), sum(cents) FROM item WHERE cents >= ?', limits),
  check(db, model, rows, limits) {
    const all = [...model.items.values()];
    const expected = limits.map(([limit]) => {
      const over = all.filter(({ cents }) => cents >= limit);
      return [over.length, over.reduce((sum, { cents }) => sum + cents, 0)];
    });
    expectEqual('scans of item', rows.map(numbers), expected);
  },
};

const READS = [pointReads, indexReads, scans];

/** The three kinds of reads once more, after a first time that is not timed. */
const warmReads = {
  name: 'warm-reads',
  title: 'the three kinds of reads once more, all from a warm cache',
  aside: true,
  needs: ['bulk-insert'],
  async prepare(model, db) {
    const data = READS.map((workload) => workload.prepare());
    for (const [i, workload] of READS.entries()) await workload.run(db, data[i]);
    return data;
  },
  async run(db, data) {
    const answers = [];
    for (const [i, workload] of READS.entries()) answers.push(await workload.run(db, data[i]));
    return answers;
  },
  check: (db, model, answers, data) => READS.forEach((workload, i) => workload.check(db, model, answers[i], data[i])),
};

const updates = {
  name: 'updates',
  title: `${CHANGES.toLocaleString('en')} updates by primary key and one by index range, one transaction`,
  needs: ['bulk-insert'],
  prepare(model) {
    const random = generator(5);
    const rows = Array.from({ length: CHANGES }, () => [random(KEYS), random(100_000), 1 + random(ITEMS)]);
    for (const [k, cents, id] of rows) model.items.set(id, { k, cents });
    for (const item of model.items.values()) if (item.k >= 100 && item.k < 200) item.cents += 1;
    return rows;
  },
  run: (db, rows) =>
    transaction(db, async () => {
      await db.runEach('UPDATE item SET k = ?, cents = ? WHERE id = ?', rows);
      await db.exec('UPDATE item SET cents = cents + 1 WHERE k BETWEEN 100 AND 199');
    }),
  check: checkItems,
};

const deletes = {
  name: 'deletes',
  title: `${CHANGES.toLocaleString('en')} deletes by primary key and one by index range, one transaction`,
  needs: ['bulk-insert'],
  prepare(model) {
    const random = generator(6);
    const ids = new Set();
    while (ids.size < CHANGES) ids.add(1 + random(ITEMS));
    for (const id of ids) model.items.delete(id);
    for (const [id, item] of model.items) if (item.k >= 300 && item.k < 400) model.items.delete(id);
    return [...ids].map((id) => [id]);
  },
  run: (db, ids) =>
    transaction(db, async () => {
      await db.runEach('DELETE FROM item WHERE id = ?', ids);
      await db.exec('DELETE FROM item WHERE k BETWEEN 300 AND 399');
    }),
  check: checkItems,
};

function makeBlob(id) {
  const random = generator(1_000 + id);
  const words = new Uint32Array(BLOB_BYTES / 4);
  for (let i = 0; i < words.length; i += 1) words[i] = random(0xffffffff);
  return new Uint8Array(words.buffer);
}

const blobWrites = {
  name: 'blob-writes',
  title: `${BLOBS} blobs of 1 MiB, a commit each`,
  prepare: () => Array.from({ length: BLOBS }, (_, i) => [i + 1, makeBlob(i + 1)]),
  run: (db, rows) => db.runEach('INSERT INTO attachment VALUES(?, ?)', rows),
  async check(db) {
    const [row] = await db.all('SELECT count(*), sum(length(bytes)) FROM attachment');
    expectEqual('attachment: count, bytes', numbers(row), [BLOBS, BLOBS * BLOB_BYTES]);
  },
};

const blobReads = {
  name: 'blob-reads',
  title: `${BLOBS} blobs of 1 MiB read`,
  needs: ['blob-writes'],
  prepare: () => Array.from({ length: BLOBS }, (_, i) => [BLOBS - i]),
  run: (db, ids) => db.queryEach('SELECT bytes FROM attachment WHERE id = ?', ids),
  check(db, model, rows, ids) {
    expectEqual('blobs read', rows.length, ids.length);
    rows.forEach(([bytes], i) => {
      const expected = makeBlob(ids[i][0]);
      if (bytes.length !== expected.length || bytes.some((byte, at) => byte !== expected[at])) {
        throw new Error(`wrong result: blob ${ids[i][0]} differs from what was written`);
      }
    });
  },
};

const fts = {
  name: 'fts5',
  title: `FTS5: ${DOCUMENTS.toLocaleString('en')} documents in one transaction, ${SEARCHES} searches`,
  prepare(model) {
    const random = generator(7);
    // Squaring a uniform number makes low-numbered words frequent, as in prose.
    const word = () => `w${Math.floor((random(WORDS) * random(WORDS)) / WORDS)}`;
    const documents = Array.from({ length: DOCUMENTS }, (_, i) => [
      i + 1,
      Array.from({ length: WORDS_PER_DOCUMENT }, word).join(' '),
    ]);
    const searches = Array.from({ length: SEARCHES }, () => [word()]);
    const wordSets = documents.map(([, body]) => new Set(body.split(' ')));
    model.matches = searches.map(([term]) => [wordSets.filter((words) => words.has(term)).length]);
    return { documents, searches };
  },
  async run(db, { documents, searches }) {
    await transaction(db, () => db.runEach('INSERT INTO document(rowid, body) VALUES(?, ?)', documents));
    return db.queryEach('SELECT count(*) FROM document WHERE document MATCH ?', searches);
  },
  async check(db, model, rows) {
    expectEqual('documents that match', rows.map(numbers), model.matches);
    const [row] = await db.all('SELECT count(*) FROM document');
    expectEqual('document: count', numbers(row), [DOCUMENTS]);
  },
};

const vacuum = {
  name: 'vacuum',
  title: 'VACUUM after deleting half of the blobs',
  needs: ['blob-writes'],
  async prepare(model, db) {
    await db.exec('DELETE FROM attachment WHERE id % 2 = 0');
    model.pagesBefore = Number((await db.all('PRAGMA page_count'))[0][0]);
  },
  run: (db) => db.exec('VACUUM'),
  async check(db, model) {
    const pages = Number((await db.all('PRAGMA page_count'))[0][0]);
    const pageSize = Number((await db.all('PRAGMA page_size'))[0][0]);
    const freed = (model.pagesBefore - pages) * pageSize;
    if (freed < (BLOBS / 2) * BLOB_BYTES) throw new Error(`wrong result: VACUUM freed only ${freed} bytes`);
    expectEqual('free pages after VACUUM', numbers((await db.all('PRAGMA freelist_count'))[0]), [0]);
    const [row] = await db.all('SELECT count(*), sum(length(bytes)), sum(id) FROM attachment');
    expectEqual('attachment: count, bytes, sum(id)', numbers(row), [BLOBS / 2, (BLOBS / 2) * BLOB_BYTES, (BLOBS / 2) ** 2]);
  },
};

/** In the order in which they run. */
export const workloads = [
  bulkInsert, singleCommits, pointReads, indexReads, scans, warmReads, updates, deletes, blobWrites, blobReads, fts, vacuum,
  relaxedCommits,
];

/** The workloads of these names and those whose rows they need. */
export function select(names) {
  const wanted = new Set(names);
  for (const { name, needs = [] } of workloads) if (wanted.has(name)) for (const needed of needs) wanted.add(needed);
  return workloads.filter((workload) => wanted.has(workload.name));
}

/** Everything that the workloads left, read back after a close and a reopen. */
export async function checkReopened(db, model, names) {
  expectEqual('integrity_check', await db.all('PRAGMA integrity_check'), [['ok']]);
  if (names.includes('bulk-insert')) await checkItems(db, model);
  if (names.includes('commits')) await singleCommits.check(db);
  if (names.includes('commits-normal')) await relaxedCommits.check(db);
  if (names.includes('vacuum')) await vacuum.check(db, model);
  else if (names.includes('blob-writes')) await blobWrites.check(db);
  if (names.includes('fts5')) {
    const [row] = await db.all('SELECT count(*) FROM document');
    expectEqual('document: count', numbers(row), [DOCUMENTS]);
  }
}
