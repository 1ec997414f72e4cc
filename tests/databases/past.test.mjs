/** Databases of every version that there was are opened by today's code, and go to every version and back. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { contents, failing, IDBFactory, names, open, openRaw, request } from './place.mjs';
import { restore, sample, take } from './sample.mjs';

const DATABASES = { statik_memory: 2, statik_state: 1, statik_logs: 1 };

/** Without what a version change is entitled to change: the number, and the history. */
function substance({ stores }) {
  return stores.filter(({ name }) => name !== 'statik_meta');
}

/** Without the fields that are ours. */
function own(values) {
  return values.map((value) => Object.fromEntries(Object.entries(value).filter(([name]) => !name.startsWith('_'))));
}

test('there is a frozen database of every version', () => {
  const frozen = readdirSync(new URL('samples', import.meta.url));
  for (const [name, newest] of Object.entries(DATABASES)) {
    for (let version = 1; version <= newest; version++) assert.ok(frozen.includes(`${name}-v${version}.json`), `${name} ${version}`);
  }
});

test('statik_memory of version 1 gets its indexes, and keeps every record, odd ones too', async (context) => {
  const factory = new IDBFactory();
  await restore(factory, sample('statik_memory-v1'));
  const before = await contents(factory, 'statik_memory');
  const steps = [];
  const databases = await open(context, { factory, onMigration: (progress) => steps.push(progress) });
  assert.deepEqual(steps.filter(({ database }) => database === 'statik_memory'), [{ step: 1, of: 1, version: 2, name: 'indexes by time, salience, tags and name', direction: 'up', database: 'statik_memory' }]);
  assert.deepEqual(await databases.validateSchema('statik_memory'), []);
  const after = await contents(factory, 'statik_memory');
  for (const store of ['episodes', 'concepts', 'skills']) assert.deepEqual(own(after[store].values), before[store].values);
  const { memory } = databases;
  const ids = async (query) => (await memory.queryEpisodes({ order: 'asc', ...query })).items.map(({ id }) => id);
  const expected = (accepts) => before.episodes.values.filter((each) => Number.isFinite(each.timestamp) && accepts(each)).sort((a, b) => a.timestamp - b.timestamp || (a.id < b.id ? -1 : 1)).map(({ id }) => id);
  assert.deepEqual(await ids({}), expected(() => true));
  assert.deepEqual(await ids({ tags: ['a', 'c'], from: 1003 }), expected(({ tags, timestamp }) => tags.includes('a') && tags.includes('c') && timestamp >= 1003));
  assert.deepEqual(await ids({ salience: { min: 0.5 } }), expected(({ salience }) => salience >= 0.5));
  assert.equal((await memory.queryConcepts({ name: 'name 1' })).items.length, 2);
  // They can be read, and mended.
  assert.deepEqual(await memory.getEpisode('bare'), { id: 'bare' });
  assert.equal((await failing(memory.updateEpisode('odd', { timestamp: 1 }))).code, 'Invalid');
  await memory.updateEpisode('odd', { timestamp: 1, salience: 0, tags: [] });
  assert.deepEqual(await ids({ to: 1 }), ['odd']);
});

for (const [name, newest] of Object.entries(DATABASES)) {
  for (let from = 1; from <= newest; from++) {
    test(`${name} goes from version ${from} to every other and back, data included`, async (context) => {
      for (let to = 0; to <= newest; to++) {
        const factory = new IDBFactory();
        const frozen = sample(`${name}-v${from}`);
        await restore(factory, frozen);
        const databases = await open(context, { factory });
        const opened = await take(factory, name);
        const result = await databases.migrateTo(name, to);
        assert.deepEqual([result.from, result.to], [newest, to]);
        const moved = await take(factory, name);
        if (to === from) assert.deepEqual(substance(moved), substance(frozen), 'what it was frozen as');
        await databases.migrateTo(name, newest);
        assert.deepEqual(await databases.validateSchema(name), []);
        if (to > 0) assert.deepEqual(substance(await take(factory, name)), substance(opened));
        const status = (await databases.status()).databases.find((each) => each.name === name);
        assert.deepEqual([status.version, status.generation], [newest, 1]);
        assert.equal(status.history.length, newest + 2 * (newest - to));
        await databases.close();
      }
    });
  }
}

test('a target that cannot be reached changes nothing, now and when it is opened again', async (context) => {
  const factory = new IDBFactory();
  const databases = await open(context, { factory });
  await databases.memory.storeConcept({ id: 'c', name: 'n' });
  for (const target of [3, 99]) assert.equal((await failing(databases.migrateTo('statik_memory', target))).code, 'Invalid');
  assert.equal((await failing(databases.migrateTo('statik_memory', -1))).code, 'Invalid');
  assert.equal((await failing(databases.migrateTo('none', 1))).code, 'NotFound');
  // Another tab makes it let go of its connection.
  (await openRaw(factory, 'statik_memory', 7)).close();
  assert.equal((await databases.memory.getConcept('c')).name, 'n');
});

test('what a newer app, or somebody else, has written is refused and left as it is', async (context) => {
  const histories = {
    newer: { version: 3, history: [1, 2, 3].map((version) => ({ version, name: '', checksum: `statik_memory ${version}`, appliedMs: 0, direction: 'up' })) },
    changed: { version: 1, history: [{ version: 1, name: '', checksum: 'other', appliedMs: 0, direction: 'up' }] },
    contradictory: { version: 2, history: [{ version: 1, name: '', checksum: 'statik_memory 1', appliedMs: 0, direction: 'up' }] },
    none: 'text',
  };
  const codes = { newer: 'Unsupported', changed: 'Conflict', contradictory: 'Corrupt', none: 'Corrupt' };
  for (const [kind, history] of Object.entries(histories)) {
    const factory = new IDBFactory();
    await restore(factory, sample('statik_memory-v2'));
    const raw = await openRaw(factory, 'statik_memory');
    await request(raw.transaction('statik_meta', 'readwrite').objectStore('statik_meta').put(history, 'schema'));
    raw.close();
    const before = await take(factory, 'statik_memory');
    assert.equal((await failing(open(context, { factory }))).code, codes[kind], kind);
    assert.deepEqual(await take(factory, 'statik_memory'), before, kind);
    // Nobody is left who holds a connection.
    for (const name of await names(factory)) await new Promise((resolve, reject) => Object.assign(factory.deleteDatabase(name), { onsuccess: resolve, onblocked: () => reject(new Error(`${kind}: ${name} is held`)) }));
  }
});

test('a catalog of before says which database is meant; one that is damaged, or of a newer app, opens nothing', async (context) => {
  const factory = new IDBFactory();
  await restore(factory, sample('statik_catalog-v1'));
  await restore(factory, sample('statik_memory-v2-replaced'));
  const databases = await open(context, { factory, name: 'app' });
  assert.deepEqual((await databases.memory.getConcept('c')).name, 'swapped');
  assert.equal((await databases.status()).databases[0].generation, 2);
  await databases.close();
  for (const entry of [null, 'text', 7, {}, { physical: 'statik_logs', generation: 1 }, { physical: 'statik_memory@app#2', generation: 3 }, { physical: 'statik_memory@app#2', generation: '2' }, { physical: 'statik_memory@app', generation: 0 }, { physical: '', generation: 2 }]) {
    const raw = await openRaw(factory, 'statik_catalog');
    await request(raw.transaction('databases', 'readwrite').objectStore('databases').put(entry, 'statik_memory@app'));
    raw.close();
    const before = await names(factory);
    const error = await failing(open(context, { factory, name: 'app' }));
    assert.equal(error.code, 'Corrupt', JSON.stringify(entry));
    assert.match(error.message, /catalog's entry of database "statik_memory@app"/);
    assert.deepEqual(await names(factory), before);
  }
  (await openRaw(factory, 'statik_catalog', 2)).close();
  const newer = await failing(open(context, { factory }));
  assert.deepEqual([newer.code, /newer version/.test(newer.message)], ['Unsupported', true], 'and nothing goes to memory instead');
});
