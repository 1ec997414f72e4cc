/**
 * Backup and restore over a whole IndexedDB, in memory: what goes in comes out, what is refused touches nothing, and a
 * restore that fails half-way leaves what was there. Real browsers are tests/e2e/backup.test.mjs's.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { createHash } from 'node:crypto';
import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { mulberry32 } from '../e2e/random.mjs';
import { values } from '../sdk/values.mjs';
import { initializeDatabases, inspectBackup, StatikError } from '../../dist/databases.js';

globalThis.IDBKeyRange = IDBKeyRange;

const SEED = 404;
const wasm = new WebAssembly.Module(readFileSync(new URL('../../dist/records_bg.wasm', import.meta.url)));
const yes = () => true;

/** Databases in a factory of their own; they are closed when the test has ended. */
async function databasesIn(context, options = {}) {
  const databases = await initializeDatabases({ wasm, factory: new IDBFactory(), fallback: 'error', ...options });
  context.after(() => databases.close());
  return databases;
}

/** An app's own database, whose first version has a store that the second one splits and gives an index. */
const OWN = [
  {
    version: 1,
    name: 'notes',
    upgrade: (db) => {
      db.createObjectStore('notes', { keyPath: 'id' });
      db.createObjectStore('loose');
      db.createObjectStore('numbered', { autoIncrement: true });
    },
  },
  {
    version: 2,
    name: 'titles',
    upgrade: async (db, tx) => {
      const titles = db.createObjectStore('titles', { keyPath: 'id' });
      const notes = tx.objectStore('notes');
      notes.createIndex('size', 'size');
      await new Promise((resolve, reject) => {
        const opened = notes.openCursor();
        opened.onerror = () => reject(opened.error);
        opened.onsuccess = () => {
          const cursor = opened.result;
          if (cursor === null) return resolve();
          titles.put({ id: cursor.value.id, title: cursor.value.text.slice(0, 3) });
          cursor.update({ ...cursor.value, size: cursor.value.text.length });
          cursor.continue();
        };
      });
    },
  },
];

/** Some of everything. */
async function filled(databases, { seed = SEED, count = 60 } = {}) {
  const next = values(seed);
  const random = mulberry32(seed);
  const { memory, state, logs } = databases;
  for (let i = 0; i < count; i++) {
    await memory.storeEpisode({ id: `e${i}`, timestamp: i, salience: random(), tags: [`t${i % 3}`], value: next() });
    await memory.storeConcept({ id: `c${i}`, name: `n${i % 7}`, value: next() });
    await memory.storeSkill({ id: `s${i}`, name: 'skill', value: next() });
    await logs.logDelta({ timestamp: i, value: next() });
    await logs.logAction({ timestamp: i, type: 'a', value: next() });
    await logs.logError({ timestamp: i, message: 'm', value: next() });
  }
  for (let i = 0; i < 5; i++) {
    await state.saveUnitState(`u${i % 2}`, { i, value: next() });
    await state.saveKernelState({ i, value: next() });
  }
}

/** All records of all databases, by database and store, as a backup has them. */
async function contents(databases) {
  return JSON.parse(await (await databases.backup.exportAllData({ compress: false })).text()).databases;
}
const NAMES = ['statik_memory', 'statik_state', 'statik_logs'];

const blobOf = (stream) => new Response(stream).blob();
const textOf = async (blob) => gunzipSync(Buffer.from(await blob.arrayBuffer())).toString();

/** The same contents under a hash that is right again. */
function resealed(text) {
  const lines = text.split('\n').slice(0, -2).map((line) => `${line}\n`).join('');
  return new Blob([`${lines}"sha256":"${createHash('sha256').update(lines).digest('hex')}"}\n`]);
}

async function refuses(databases, blob, code, message = /./, options = {}) {
  const before = await contents(databases);
  await assert.rejects(databases.backup.importData(blob, { confirm: yes, ...options }), (error) => {
    assert.ok(error instanceof StatikError, String(error?.stack));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
  assert.deepEqual(await contents(databases), before, 'nothing was touched');
}

test('everything comes back as it was, in another instance', async (t) => {
  const from = await databasesIn(t);
  await filled(from);
  const own = await from.database('own', OWN);
  const next = values(SEED + 1);
  const loose = [['k', next()], [7, next()], [new Date(3), next()], [['a', 1], next()], ['none', undefined]];
  await own.write([
    { store: 'notes', put: { id: 1, text: 'hello', size: 5 } },
    ...loose.map(([key, put]) => ({ store: 'loose', put, key })),
    ...[0, 1, 2].map(() => ({ store: 'numbered', put: next() })),
  ]);
  const blob = await from.backup.exportAllData({ reason: 'move' });
  const summary = await inspectBackup(blob);
  assert.equal(summary.metadata.export_reason, 'move');
  assert.match(summary.metadata.instance_id, /^[0-9a-f-]{36}$/);
  assert.equal(summary.metadata.instance_id, (await inspectBackup(await from.backup.exportAllData())).metadata.instance_id);
  assert.deepEqual(summary.databases.map(({ name, schema }) => [name, schema.version]), [['statik_memory', 2], ['statik_state', 1], ['statik_logs', 1], ['own', 2]]);

  const to = await databasesIn(t);
  const there = await to.database('own', OWN);
  await to.memory.storeEpisode({ id: 'old', salience: 0 });
  const asked = [];
  const report = await to.backup.importData(blob, { confirm: (told) => { asked.push(told); return true; } });
  assert.deepEqual(asked, [summary]);
  assert.equal(report.imported, true);
  assert.deepEqual(report.databases.map(({ name, generation }) => [name, generation]), [['statik_memory', 2], ['statik_state', 2], ['statik_logs', 2], ['own', 2]]);
  assert.equal(report.databases.reduce((sum, { records }) => sum + records, 0), summary.records);
  assert.deepEqual(await contents(to), await contents(from));
  for (const id of ['e0', 'e59']) assert.deepEqual(await to.memory.getEpisode(id), await from.memory.getEpisode(id));
  assert.equal(await to.memory.getEpisode('old'), undefined);
  for (const [key, value] of loose) assert.deepEqual(await there.get('loose', key), value);
  assert.deepEqual((await to.status()).databases.map(({ history }) => history), (await from.status()).databases.map(({ history }) => history));
  for (const name of NAMES) assert.deepEqual(await to.validateSchema(name), []);
  // It goes on with numbers of its own.
  assert.equal(await to.logs.logDelta({}), 61);
  assert.deepEqual((await to.memory.queryEpisodes({ tags: ['t1'], from: 40 })).items.map(({ id }) => id), ['e58', 'e55', 'e52', 'e49', 'e46', 'e43', 'e40']);
});
