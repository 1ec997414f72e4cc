/**
 * Backup and restore over a whole IndexedDB, in memory: what goes in comes out, what is refused touches nothing, and a
 * restore that fails half-way leaves what was there. Real browsers are tests/e2e/backup.test.mjs's.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { createHash } from 'node:crypto';
import { IDBFactory, IDBKeyRange, IDBObjectStore } from 'fake-indexeddb';
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

test('a selection has what its flags say, and leaves the other stores alone when it is imported', async (t) => {
  const from = await databasesIn(t);
  await filled(from, { count: 4 });
  await (await from.database('own', OWN)).put('notes', { id: 1, text: 'x' });
  const stores = async (selection) => {
    const { databases } = await inspectBackup(await from.backup.exportSelective(selection));
    return Object.fromEntries(databases.map(({ name, stores }) => [name, stores.map((store) => `${store.name} ${store.records}`).sort()]));
  };
  const memory = ['concepts 4', 'episodes 4', 'skills 4'];
  assert.deepEqual(await stores({ memories: true, patterns: false, logs: false }), { statik_memory: ['episodes 4'] });
  assert.deepEqual(await stores({ memories: true }), { statik_memory: memory });
  assert.deepEqual(await stores({ patterns: true, skills: false }), { statik_memory: ['concepts 4'] });
  assert.deepEqual(await stores({ memories: true, episodes: false, state: true }), {
    statik_memory: ['concepts 4', 'skills 4'], statik_state: ['kernel_state 5', 'unit_states 5'],
  });
  assert.deepEqual(await stores({ logs: true, databases: ['own'], from: 1, to: 2 }), {
    statik_logs: ['actions 2', 'deltas 2', 'errors 2'], own: ['loose 0', 'notes 1', 'numbered 0', 'titles 0'],
  });
  for (const [selection, code] of [[{ memory: true }, 'Invalid'], [{ memories: 1 }, 'Invalid'], [{}, 'Invalid'], [{ logs: false }, 'Invalid'],
    [{ databases: ['none'] }, 'NotFound'], [{ logs: true, from: 'x' }, 'Invalid']]) {
    await assert.rejects(from.backup.exportSelective(selection), ({ code: came }) => came === code, JSON.stringify(selection));
  }

  const to = await databasesIn(t);
  await to.memory.storeEpisode({ id: 'mine', salience: 1, timestamp: 9 });
  await to.memory.storeConcept({ id: 'mine', name: 'mine' });
  await to.logs.logDelta({ mine: true });
  await to.backup.importData(await from.backup.exportSelective({ episodes: true }), { confirm: yes });
  assert.equal(await to.memory.getEpisode('mine'), undefined);
  assert.equal(await to.memory.countEpisodes(), 4);
  assert.deepEqual(await to.memory.getConcept('mine'), { id: 'mine', name: 'mine' });
  assert.equal(await to.logs.countLogs('deltas'), 1);
  const some = await from.backup.exportSelective({ logs: true, from: 2 });
  assert.deepEqual((await inspectBackup(some)).metadata.selection, { from: 2 });
  await refuses(to, some, 'Invalid', /merge/);
  await to.backup.importData(some, { confirm: yes, mode: 'merge' });
  assert.equal(await to.logs.countLogs('deltas'), 3);
});

test('a merge keeps what only one side has, and of one key what it is told to', async (t) => {
  const from = await databasesIn(t);
  const entry = (n) => ({ timestamp: n, n });
  await from.memory.storeEpisodes([{ id: 'both', salience: 0.1, timestamp: 1 }, { id: 'theirs', salience: 0.1, timestamp: 1 }]);
  for (const n of [1, 2, 3]) await from.logs.logDelta(entry(n));
  for (const [unit, n] of [['both', 1], ['theirs', 2], ['both', 3]]) await from.state.saveUnitState(unit, { theirs: n });
  await from.state.saveKernelState('theirs');
  const numbered = await from.database('own', OWN);
  await numbered.write([{ store: 'numbered', put: 'same' }, { store: 'numbered', put: 'theirs' }, { store: 'loose', put: 1, key: 'k' }]);
  const blob = await from.backup.exportAllData();
  for (const onConflict of ['overwrite', 'keep']) {
    const to = await databasesIn(t);
    await to.memory.storeEpisodes([{ id: 'both', salience: 0.9, timestamp: 2 }, { id: 'mine', salience: 0.9, timestamp: 2 }]);
    // The first is the same one, and the others have numbers that the backup has as well.
    for (const n of [1, 20, 30, 40]) await to.logs.logDelta(entry(n));
    for (const [unit, n] of [['mine', 1], ['both', 2], ['both', 3], ['both', 4]]) await to.state.saveUnitState(unit, { mine: n });
    await to.state.saveKernelState('mine');
    const own = await to.database('own', OWN);
    await own.write([{ store: 'numbered', put: 'same' }, { store: 'numbered', put: 'mine' }, { store: 'loose', put: 2, key: 'k' }, { store: 'loose', put: 3, key: 'l' }]);
    await to.backup.importData(blob, { confirm: yes, mode: 'merge', ...(onConflict === 'keep' && { onConflict }) });
    const isTheirs = onConflict === 'overwrite';
    const { items } = await to.memory.queryEpisodes({ by: 'salience', order: 'asc' });
    assert.deepEqual(items.map(({ id, salience }) => [id, salience]).sort(), [['both', isTheirs ? 0.1 : 0.9], ['mine', 0.9], ['theirs', 0.1]]);
    const logged = await to.logs.queryLogs('deltas', { order: 'asc' });
    assert.deepEqual(logged.items.map(({ id, n }) => [id, n]), [[1, 1], [5, 2], [6, 3], [2, 20], [3, 30], [4, 40]]);
    assert.equal(await to.logs.logDelta(entry(50)), 7);
    const states = async (unit) => (await to.state.unitStateHistory(unit)).map(({ state }) => state);
    assert.deepEqual(await states('both'), isTheirs ? [{ theirs: 3 }, { theirs: 1 }] : [{ mine: 4 }, { mine: 3 }, { mine: 2 }]);
    assert.deepEqual([await states('mine'), await states('theirs')], [[{ mine: 1 }], [{ theirs: 2 }]]);
    assert.equal(await to.state.loadKernelState(), isTheirs ? 'theirs' : 'mine');
    assert.equal((await to.state.kernelStateHistory()).length, 1);
    await to.state.saveUnitState('both', 'newer');
    assert.equal(await to.state.loadUnitState('both'), 'newer');
    assert.deepEqual([await own.get('loose', 'k'), await own.get('loose', 'l')], [isTheirs ? 1 : 2, 3]);
    assert.deepEqual((await own.query('numbered')).items, ['same', 'mine', 'theirs']);
    // Again, and nothing is there twice.
    const before = await contents(to);
    await to.backup.importData(await to.backup.exportAllData(), { confirm: yes, mode: 'merge', onConflict });
    const after = await contents(to);
    assert.deepEqual(after.statik_logs, before.statik_logs);
    assert.deepEqual(after.statik_memory, before.statik_memory);
    assert.equal(after.statik_state.unit_states.length, before.statik_state.unit_states.length);
  }
});

test('records of an older schema are migrated, in a merge too; those of a newer or another one are refused', async (t) => {
  const older = await databasesIn(t);
  const notes = await older.database('own', OWN.slice(0, 1));
  await notes.write([{ store: 'notes', put: { id: 1, text: 'older' } }, { store: 'loose', put: 5, key: 'k' }]);
  const blob = await older.backup.exportAllData();
  for (const mode of ['replace', 'merge']) {
    const to = await databasesIn(t);
    const own = await to.database('own', OWN);
    await own.write([{ store: 'notes', put: { id: 2, text: 'newer', size: 5 } }, { store: 'titles', put: { id: 2, title: 'new' } }]);
    await to.backup.importData(blob, { confirm: yes, mode });
    const mine = mode === 'merge';
    assert.deepEqual((await own.query('notes', { index: 'size' })).items.map(({ id, size }) => [id, size]), mine ? [[1, 5], [2, 5]] : [[1, 5]]);
    assert.deepEqual((await own.query('titles')).items, [{ id: 1, title: 'old' }, ...(mine ? [{ id: 2, title: 'new' }] : [])]);
    assert.equal(await own.get('loose', 'k'), 5);
    const { history, version } = (await to.status()).databases.find(({ name }) => name === 'own');
    assert.deepEqual(history.slice(0, 1), (await older.status()).databases.find(({ name }) => name === 'own').history);
    assert.equal(version, 2);
  }
  const newer = await databasesIn(t);
  await (await newer.database('own', OWN)).put('notes', { id: 1, text: 'x' });
  const ofNewer = await newer.backup.exportAllData();
  await refuses(older, ofNewer, 'Unsupported', /newer app/);
  const other = await databasesIn(t);
  await other.database('own', [{ version: 1, name: 'another', upgrade: (db) => { db.createObjectStore('notes'); } }, OWN[1]]);
  await refuses(other, ofNewer, 'Conflict', /was changed after/);
  const none = await databasesIn(t);
  await refuses(none, ofNewer, 'NotFound', /"own".*define/);
  await none.backup.importData(ofNewer, { confirm: yes, databases: NAMES });
  await refuses(none, ofNewer, 'NotFound', /"missing"/, { databases: ['missing'] });
});

/** Made by Statik when it was young, by the schemas of then. It stays as it is. */
const SAMPLES = new URL('samples/', import.meta.url);

test('backups of every earlier schema are restored, and migrated to today\'s', async (t) => {
  const databases = await databasesIn(t);
  const { memory, state, logs } = databases;
  await databases.backup.importData(new Blob([readFileSync(new URL('databases-1.json.gz', SAMPLES))]), { confirm: yes });
  for (const name of NAMES) assert.deepEqual(await databases.validateSchema(name), []);
  const { items } = await memory.queryEpisodes({ tags: ['work'], from: 5 });
  assert.deepEqual(items, [{ id: 'b', timestamp: 7, salience: 0.5, tags: ['work', 'home'], bytes: Uint8Array.of(1, 2), when: new Date(3), n: 5n, map: new Map([['k', undefined]]) }]);
  assert.deepEqual((await memory.queryConcepts({ name: 'tree' })).items, [{ id: 'c', name: 'tree' }]);
  assert.deepEqual((await memory.querySkills({ name: 'climb' })).items, [{ id: 's', name: 'climb' }]);
  assert.deepEqual((await state.unitStateHistory('unit')).map((each) => each.state), [{ step: 2 }, { step: 1 }]);
  assert.deepEqual(await state.loadKernelState(), 'kernel');
  assert.deepEqual((await logs.queryLogs('errors')).items, [{ id: 1, timestamp: 4, message: 'broken' }]);
  assert.deepEqual((await databases.status()).databases.map(({ version, history }) => [version, history[0].appliedMs]), [[2, 1.7e12], [1, 1.7e12], [1, 1.7e12]]);
});

test('nothing is touched without a yes, nor by anything that is no sound backup', async (t) => {
  const databases = await databasesIn(t);
  await filled(databases, { count: 3 });
  const blob = await databases.backup.exportAllData();
  const text = await textOf(blob);
  await databases.memory.storeEpisode({ id: 'since', salience: 0 });
  const before = await contents(databases);
  for (const answer of [false, undefined, 1, 'yes']) {
    assert.deepEqual(await databases.backup.importData(blob, { confirm: async () => answer }), { imported: false, databases: [], sqlite: [], files: [] });
  }
  await assert.rejects(databases.backup.importData(blob, { confirm: () => { throw new RangeError('asked'); } }), /asked/);
  assert.deepEqual(await contents(databases), before);
  for (const options of [{ confirm: true }, { mode: 'both' }, { onConflict: 'mine' }, { databases: 'statik_logs' }, { onFile: 1 }]) await refuses(databases, blob, 'Invalid', /field/, options);
  await refuses(databases, 'text', 'Invalid', /Blob/);
  await refuses(databases, new Blob(['garbage']), 'Invalid');
  await refuses(databases, new Blob([]), 'Invalid');
  await refuses(databases, blob.slice(0, blob.size - 9), 'Corrupt');
  await refuses(databases, new Blob([text.slice(0, -200)]), 'Corrupt');
  await refuses(databases, new Blob([text.replace('"e1"', '"e7"')]), 'Corrupt');
  // What somebody made on purpose: the hash is right.
  const planted = (from, to, what) => refuses(databases, resealed(text.replace(from, to)), 'Invalid', what);
  await planted('"id":"e1"', '"ix":"e1"', /statik_memory.episodes: field id/);
  await planted('"salience":', '"salience":7,"s":', /field salience/);
  await planted('"tags":[', '"tags":7,"t":[', /field tags/);
  await planted('"name":"skill"', '"name":7', /statik_memory.skills: field name/);
  await planted('"unitId":"u0"', '"unitId":{}', /field unitId/);
  await planted(/("actions":\[\n[^\n]*)"timestamp":0/, '$1"timestamp":"now"', /statik_logs.actions: field timestamp/);
  await planted(/(?<="kernel_state":\[\n)[^\n]*?(?=,?\n)/, '7', /is an object, not number/);
  await refuses(databases, resealed(text.replace('"id":"e1"', '"id":"e0"')), 'Corrupt', /only 2 different keys/);
  await refuses(databases, resealed(text.replace(/"concepts":(.|\n)*?"episodes":/, (part) => part.replace('concepts', 'secrets')).replace('"concepts":3', '"secrets":3')), 'Invalid', /secrets/);
  await refuses(databases, resealed(text.replaceAll('"concepts":', '"statik_meta":')), 'Corrupt', /statik_meta/);
  await refuses(databases, resealed(text.replace('"version":2,"history"', '"version":3,"history"')), 'Corrupt', /version 3/);
  await refuses(databases, resealed(text.replace('"history":[', '"history":[7,')), 'Corrupt', /history/);
});

test('a restore that fails half-way leaves what was there, and a later one works', async (t) => {
  const factory = new IDBFactory();
  const databases = await databasesIn(t, { factory });
  await filled(databases, { count: 20 });
  const blob = await databases.backup.exportAllData({ compress: false });
  await databases.memory.storeEpisode({ id: 'since', salience: 0 });
  const before = await contents(databases);
  /** Reads well until it was read whole, and then fails where it is told to. */
  class Failing extends Blob {
    #read = 0;
    constructor(limit) { super([blob]); this.limit = limit; }
    slice(start, end) {
      this.#read += Math.min(end, this.size) - start;
      if (this.#read > this.size + this.limit) throw new Error('unplugged');
      return super.slice(start, end);
    }
  }
  for (const mode of ['replace', 'merge']) {
    for (const share of [0, 0.1, 0.5, 0.9]) {
      await assert.rejects(databases.backup.importData(new Failing(blob.size * share), { confirm: yes, mode }), ({ code, message }) => code === 'Io' && /unplugged/.test(message));
      assert.deepEqual(await contents(databases), before);
    }
  }
  const { put } = IDBObjectStore.prototype;
  t.after(() => { IDBObjectStore.prototype.put = put; });
  for (const limit of [3, 10, 50, 120]) {
    let count = 0;
    IDBObjectStore.prototype.put = function (...args) {
      if (/#/.test(this.transaction.db.name) && count++ >= limit) throw new DOMException('the disk is full', 'QuotaExceededError');
      return put.apply(this, args);
    };
    await assert.rejects(databases.backup.importData(blob, { confirm: yes, mode: 'merge' }), ({ code }) => code === 'Quota', `after ${limit}`);
    IDBObjectStore.prototype.put = put;
    assert.deepEqual(await contents(databases), before);
  }
  const left = (await factory.databases()).map(({ name }) => name).sort();
  assert.deepEqual(left, ['statik_catalog', 'statik_logs', 'statik_memory', 'statik_state'], 'half of a restore is not left');
  const stop = new AbortController();
  const stopped = databases.backup.importData(blob, { confirm: yes, signal: stop.signal, onProgress: ({ phase }) => phase === 'databases' && stop.abort(new Error('no more')) });
  await assert.rejects(stopped, /no more/);
  assert.deepEqual(await contents(databases), before);
  // Another one, open over the same databases, goes on with what was restored.
  const other = await databasesIn(t, { factory });
  assert.equal((await other.memory.getEpisode('since')).id, 'since');
  const phases = [];
  await databases.backup.importData(blob, { confirm: yes, onProgress: ({ phase, doneBytes, totalBytes }) => doneBytes === totalBytes && phases.push(phase) });
  assert.deepEqual(phases, ['inspect', 'databases']);
  assert.equal(await other.memory.getEpisode('since'), undefined);
  assert.deepEqual(await other.memory.getEpisode('e7'), await databases.memory.getEpisode('e7'));
  await other.memory.storeEpisode({ id: 'after', salience: 1 });
  assert.equal((await databases.memory.getEpisode('after')).id, 'after');
  assert.deepEqual((await factory.databases()).map(({ name }) => name).sort(), ['statik_catalog', 'statik_logs#2', 'statik_memory#2', 'statik_state#2']);
  // What a crash leaves, before and after it was decided: whoever replaces next removes it.
  for (const name of ['statik_logs', 'statik_logs#3']) {
    await new Promise((resolve) => { factory.open(name).onsuccess = ({ target }) => resolve(target.result.close()); });
  }
  await databases.vacuumDatabase('statik_logs');
  assert.deepEqual((await factory.databases()).map(({ name }) => name).sort(), ['statik_catalog', 'statik_logs#3', 'statik_memory#2', 'statik_state#2']);
  assert.deepEqual(await contents(other), await contents(databases));
});

/** Reads a stream to its end, after what `meanwhile` does when the first chunk has come. */
async function readAround(stream, meanwhile) {
  const reader = stream.getReader();
  const chunks = [(await reader.read()).value];
  await meanwhile();
  for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value);
  return new Blob(chunks);
}

test('a database is exported as of one moment, however slowly it is read, and its writers wait', async (t) => {
  const databases = await databasesIn(t);
  const { memory } = databases;
  const many = (id) => ({ id, salience: 0, timestamp: 1, text: id.repeat(5_000) });
  await memory.storeEpisodes(Array.from({ length: 200 }, (_, i) => many(`e${1000 + i}`)));
  let isWritten = false;
  let writing;
  const blob = await readAround(databases.backup.exportStream({ compress: false }), async () => {
    writing = Promise.all([memory.storeEpisode(many('late')), memory.deleteEpisode('e1190'), memory.updateEpisode('e1150', { text: 'changed' })]).then(() => { isWritten = true; });
    // Other databases are written meanwhile.
    for (let n = 0; n < 50; n++) await databases.logs.logDelta({ n });
    assert.equal(isWritten, false);
  });
  await writing;
  const [database] = (await inspectBackup(blob)).databases;
  assert.equal(database.stores.find(({ name }) => name === 'episodes').records, 200);
  const text = await blob.text();
  assert.ok(text.includes('"e1190"') && !text.includes('"late"') && !text.includes('"changed"'));
  assert.equal((await memory.getEpisode('e1150')).text, 'changed');
});

test('writers wait no longer than they are made to; then it is told that the moments differ', async (t) => {
  const events = [];
  const databases = await databasesIn(t, { onEvent: (event) => events.push(event) });
  const { memory } = databases;
  await memory.storeEpisodes(Array.from({ length: 200 }, (_, i) => ({ id: `e${1000 + i}`, salience: 0, text: 'x'.repeat(30_000) })));
  const blob = await readAround(databases.backup.exportStream({ compress: false, holdMs: 0 }), async () => void await memory.storeEpisode({ id: 'late', salience: 0 }));
  assert.ok((await blob.text()).includes('"late"'));
  assert.deepEqual([events[0].type, events[0].database], ['backup', 'statik_memory']);
  assert.equal(events.length, new Set(events.map(({ database }) => database)).size, 'each database is told of once');
  assert.match(events[0].reason, /0 ms/);
  await assert.rejects(databases.backup.exportAllData({ holdMs: -1 }), ({ code }) => code === 'Invalid');
  // Replaced in between: what follows would be of another database.
  const torn = readAround(databases.backup.exportStream({ holdMs: 0 }), async () => void await databases.vacuumDatabase('statik_logs'));
  await assert.rejects(torn, ({ code, message }) => code === 'Conflict' && /statik_logs/.test(message));
});

test('an export that is given up frees the databases', async (t) => {
  const databases = await databasesIn(t);
  await filled(databases, { count: 40 });
  const stream = databases.backup.exportStream();
  const reader = stream.getReader();
  await reader.read();
  await reader.cancel();
  await databases.memory.storeEpisode({ id: 'a', salience: 0 });
  await databases.vacuumDatabase('statik_memory');
  const stop = new AbortController();
  const stopped = databases.backup.exportStream({ signal: stop.signal }).getReader();
  await stopped.read();
  stop.abort(new Error('enough'));
  await assert.rejects(stopped.read(), /enough/);
  await assert.rejects(databases.backup.exportAllData({ signal: stop.signal }), /enough/);
  await databases.memory.storeEpisode({ id: 'b', salience: 0 });
  await databases.vacuumDatabase('statik_memory');
  // Never read: never opened.
  databases.backup.exportStream();
  await databases.backup.exportStream().cancel();
  await databases.vacuumDatabase('statik_memory');
});

test('SQLite databases and files go along, each to its taker, before any database is touched', async (t) => {
  const from = await databasesIn(t);
  await from.memory.storeEpisode({ id: 'theirs', salience: 0 });
  const random = mulberry32(SEED);
  const bytes = (count) => Uint8Array.from({ length: count }, () => random() * 256);
  const files = { 'a.db': bytes(200_000), 'b.db': bytes(3), 'notes/a.txt': bytes(70_000), empty: bytes(0) };
  const opened = (name) => new Blob([files[name]]).stream();
  const blob = await from.backup.exportAllData({
    sqlite: { 'a.db': { export: async () => opened('a.db') }, 'b.db': { export: () => opened('b.db') } },
    files: (async function* () { yield { name: 'notes/a.txt', stream: opened('notes/a.txt') }; yield { name: 'empty', bytes: files.empty }; })(),
  });
  const broken = (file) => assert.rejects(from.backup.exportAllData({ files: [file] }), ({ code, message }) => code === 'Invalid' && /"x"/.test(message));
  await broken({ name: 'x' });
  await broken({ name: 'x', bytes: files.empty, stream: opened('a.db') });

  const to = await databasesIn(t);
  await refuses(to, blob, 'Invalid', /onSqlite/);
  await refuses(to, blob, 'Invalid', /onFile/, { onSqlite: () => {} });
  const got = {};
  const take = async (name, stream) => { got[name] = new Uint8Array(await new Response(stream).arrayBuffer()); };
  const unread = [];
  await to.backup.importData(blob, { confirm: () => false, onSqlite: take, onFile: take });
  assert.deepEqual(got, {});
  // One that fails: those before it are done, and no database is touched.
  await assert.rejects(to.backup.importData(blob, { confirm: yes, onSqlite: take, onFile: (name) => { throw new RangeError(name); } }), /notes\/a\.txt/);
  assert.deepEqual(Object.keys(got), ['a.db', 'b.db']);
  assert.equal(await to.memory.getEpisode('theirs'), undefined);
  // Takers that read nothing, or not all, or are done before the stream is.
  await to.backup.importData(blob, {
    confirm: yes, databases: [], onFile: take,
    onSqlite: async (name, stream) => { unread.push(name); if (name === 'a.db') void stream.getReader().read(); },
  });
  assert.deepEqual(unread, ['a.db', 'b.db']);
  assert.equal(await to.memory.getEpisode('theirs'), undefined);
  const statik = { sqlite: { import: take } };
  const report = await to.backup.importData(blob, { confirm: yes, statik, onFile: take });
  assert.deepEqual([report.sqlite, report.files], [['a.db', 'b.db'], ['notes/a.txt', 'empty']]);
  assert.deepEqual(got, files);
  assert.equal((await to.memory.getEpisode('theirs')).id, 'theirs');
  const none = await to.backup.importData(blob, { confirm: yes, onSqlite: false, onFile: false });
  assert.deepEqual([none.sqlite, none.files, none.databases.length], [[], [], 3]);
});

/** The settings of a catalog, whose connection the databases have: one more. */
async function settings(factory, change) {
  const database = await new Promise((resolve, reject) => {
    const opening = factory.open('statik_catalog');
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  const store = database.transaction('settings', 'readwrite').objectStore('settings');
  const request = change(store);
  const found = await new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
  database.close();
  return found;
}

test('sealed records are exported as they are stored, with their wrapped keys, and restored where those are known', async (t) => {
  const keyfile = (...ids) => ({ version: 1, keys: ids.map((id) => ({ id, wrapped: Uint8Array.of(id), check: Uint8Array.of(1), createdMs: 5 })), current: ids.at(-1) });
  const factory = new IDBFactory();
  const from = await databasesIn(t, { factory });
  await settings(factory, (store) => store.put(keyfile(7), 'keyfile'));
  const own = await from.database('own', OWN);
  const sealed = { id: 1, text: '', _sealed: Uint8Array.of(1, 2, 3) };
  await own.put('notes', sealed);
  const blob = await from.backup.exportAllData();
  assert.deepEqual((await inspectBackup(blob)).metadata.keyfile, keyfile(7));
  for (const [before, after] of [[undefined, keyfile(7)], [keyfile(7), keyfile(7)], [keyfile(7, 8), keyfile(7, 8)], [keyfile(8), 'Conflict']]) {
    const target = new IDBFactory();
    const to = await databasesIn(t, { factory: target });
    const there = await to.database('own', OWN);
    if (before !== undefined) await settings(target, (store) => store.put(before, 'keyfile'));
    if (after === 'Conflict') {
      await refuses(to, blob, 'Conflict', /keys/);
      continue;
    }
    await to.backup.importData(blob, { confirm: yes });
    assert.deepEqual(await there.get('notes', 1), sealed);
    assert.deepEqual(await settings(target, (store) => store.get('keyfile')), after);
  }
});

/** A clock that goes where it is set, and calls what is due. */
class Clock {
  nowMs = Date.UTC(2030, 0, 1);
  timers = new Set();
  now = () => this.nowMs;
  /** That a download's address is to be forgotten is of no interest here. */
  isDownloading = false;
  set = (call, delayMs) => {
    const timer = { call, atMs: this.nowMs + delayMs };
    if (!this.isDownloading) this.timers.add(timer);
    if (!this.isDownloading) this.#heard?.();
    this.isDownloading = false;
    return timer;
  };
  clear = (timer) => void this.timers.delete(timer);
  #heard;

  /** Goes on, timer by timer, until nothing is due before `ms` from now. */
  async pass(ms) {
    const endMs = this.nowMs + ms;
    for (;;) {
      await this.armed();
      const next = [...this.timers].sort((a, b) => a.atMs - b.atMs)[0];
      if (next.atMs > endMs) break;
      this.timers.delete(next);
      this.nowMs = next.atMs;
      next.call();
    }
    this.nowMs = endMs;
  }

  /** Once somebody waits for a time. */
  async armed() {
    while (this.timers.size === 0) await new Promise((resolve) => { this.#heard = resolve; });
  }
}

test('automatic backups need a consent, are made when due, survive a reload, and end when cancelled', async (t) => {
  const factory = new IDBFactory();
  const events = [];
  const downloads = [];
  const clock = new Clock();
  globalThis.document = { createElement: () => ({ click() { downloads.push(this.download); clock.isDownloading = true; } }) };
  t.after(() => { delete globalThis.document; });
  const options = { factory, timers: clock, onEvent: (event) => events.push(event) };
  const first = await databasesIn(t, options);
  const { backup } = first;
  for (const args of [[0], [NaN], ['1'], [1, { keep: 0 }], [1, { target: 'cloud' }], [1, { target: 'download', consent: false }]]) {
    await assert.rejects(backup.scheduleAutoBackup(...args), ({ code }) => code === 'Invalid', JSON.stringify(args));
  }
  await assert.rejects(backup.scheduleAutoBackup(1, { target: 'download' }), ({ code }) => code === 'Permission');
  assert.equal(clock.timers.size, 0);
  await backup.scheduleAutoBackup(2, { target: 'download', consent: true });
  const made = () => events.filter(({ type, error }) => type === 'backup' && error === undefined).length;
  await clock.pass(0);
  assert.deepEqual([made(), downloads.length], [1, 1], 'the first one is made at once');
  assert.match(downloads[0], /^[0-9a-f-]{36}-2030-01-01T00-00-00\.000Z\.json\.gz$/);
  await clock.pass(2 * 3_600_000 - 1);
  assert.equal(made(), 1);
  await clock.pass(1);
  assert.equal(made(), 2);
  // As if the page had been loaded anew, an hour later.
  await first.close();
  clock.timers.clear();
  clock.nowMs += 3_600_000;
  const second = await databasesIn(t, options);
  await clock.pass(3_600_000 - 1);
  assert.equal(made(), 2);
  await clock.pass(1);
  assert.equal(made(), 3);
  // What fails is told, and tried again within an hour; the consent is remembered.
  await second.backup.scheduleAutoBackup(24, { target: 'download' });
  const { createElement } = document;
  document.createElement = () => { throw new Error('no paper'); };
  await clock.pass(24 * 3_600_000);
  assert.equal(made(), 3);
  assert.match(events.at(-1).reason, /no paper/);
  assert.equal(events.at(-1).error.code, 'Io');
  document.createElement = createElement;
  await clock.pass(3_600_000);
  assert.equal(made(), 4);
  await second.backup.cancelAutoBackup();
  await assert.rejects(second.backup.scheduleAutoBackup(1, { target: 'download' }), ({ code }) => code === 'Permission');
  await second.close();
  clock.timers.clear();
  const third = await databasesIn(t, options);
  await third.memory.storeEpisode({ id: 'a', salience: 0 });
  assert.equal(clock.timers.size, 0, 'nothing is scheduled any more');
  assert.equal(made(), 4);
  await assert.rejects(third.backup.scheduleAutoBackup(1, { consent: true }), ({ code }) => code === 'Unsupported', 'there is no OPFS here');
  await assert.rejects(third.backup.listBackups(), ({ code }) => code === 'Unsupported');
});
