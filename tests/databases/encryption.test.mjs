/**
 * Encryption of the three databases: what lies there says nothing, what was moved or changed is refused, and keys change
 * while all go on.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { numbersBelow } from '../e2e/random.mjs';
import { newKey, newWorld } from './world.mjs';

/** @typedef {import('./world.mjs').World} World */

const MARKER = 'MARKER-5b1f';
const key = await newKey();
const encryption = { key };

const DATABASES = ['statik_memory', 'statik_state', 'statik_logs', 'statik_catalog'];
const SEALED = /** @type {[string, string[]][]} */ ([
  ['statik_memory', ['episodes', 'concepts', 'skills']], ['statik_state', ['unit_states', 'kernel_state']], ['statik_logs', ['deltas', 'errors', 'actions']],
]);

/** Something in every store. @param {any} databases @param {string} text */
async function fill({ memory, state, logs }, text) {
  await memory.storeEpisode({ id: 'e', timestamp: 1, salience: 0.5, tags: ['tag'], text });
  await memory.storeConcept({ id: 'c', name: 'concept', text });
  await memory.storeSkill({ id: 's', name: 'skill', text, nested: { when: new Date(0), bytes: new Uint8Array([1, 2]), big: 10n, map: new Map([[text, text]]) } });
  await state.saveUnitState('unit', { text });
  await state.saveKernelState(text);
  await logs.logDelta({ text });
  await logs.logError(new Error(text));
  await logs.logAction({ type: text });
}

/** @param {any} databases */
async function read({ memory, state, logs }) {
  const items = async (/** @type {string} */ store) => (await logs.queryLogs(store)).items;
  return {
    episodes: (await memory.queryEpisodes()).items, concepts: (await memory.queryConcepts()).items, skills: (await memory.querySkills()).items,
    unit: await state.unitStateHistory('unit'), kernel: await state.kernelStateHistory(),
    deltas: await items('deltas'), errors: await items('errors'), actions: await items('actions'),
  };
}

/** Whether a value has the text anywhere: in its strings, names, bytes. @param {unknown} value @param {string} text @returns {boolean} */
function has(value, text) {
  if (typeof value === 'string') return value.includes(text);
  if (value instanceof Uint8Array) return Buffer.from(value).includes(text);
  if (typeof value !== 'object' || value === null) return false;
  const parts = value instanceof Map || value instanceof Set ? [...value.entries()].flat() : Object.entries(value).flat();
  return parts.some((part) => has(part, text));
}

/** @param {World} world @param {string} text */
async function found(world, text) {
  const places = [];
  for (const database of DATABASES) {
    for (const store of await world.stores(database)) {
      for (const [at, value] of await world.dump(database, store)) if (has(at, text) || has(value, text)) places.push(`${database}.${store}`);
    }
  }
  return places;
}

/** The ids of the data keys that records are sealed by, '' for those that are not sealed. @param {World} world */
async function sealedBy(world) {
  const ids = new Set();
  for (const [database, stores] of SEALED) {
    for (const store of stores) {
      for (const [, { _sealed: sealed }] of await world.dump(database, store)) {
        ids.add(sealed === undefined ? '' : new DataView(sealed.buffer, sealed.byteOffset).getUint32(4, true).toString(16).padStart(8, '0'));
      }
    }
  }
  return [...ids];
}

test('nothing of a record is to be read in what is stored, and all of it comes back', async () => {
  const [world, plain] = [newWorld(), newWorld()];
  const [sealed, clear] = [await world.open({ encryption }), await plain.open()];
  await fill(sealed, MARKER);
  await fill(clear, MARKER);
  assert.deepEqual(await found(world, MARKER), []);
  assert.equal((await found(plain, MARKER)).length, 8, 'the walk finds what is there');
  const [a, b] = [await read(sealed), await read(clear)];
  for (const each of [a, b]) for (const entry of [...each.unit, ...each.kernel]) delete entry.savedMs;
  for (const each of [a, b]) for (const entry of [...each.deltas, ...each.errors, ...each.actions]) delete entry.timestamp, delete entry.stack;
  assert.deepEqual(a, b);
  assert.deepEqual(Object.keys((await world.dump('statik_memory', 'episodes'))[0]?.[1]), ['id', 'timestamp', 'salience', 'tags', '_tagTimes', '_sealed']);
});

test('with blind tags, tags and names are not to be read either', async () => {
  const world = newWorld();
  const databases = await world.open({ encryption, blindTags: true });
  await databases.memory.storeEpisode({ id: 'e', salience: 1, tags: [MARKER] });
  await databases.memory.storeConcept({ id: 'c', name: MARKER });
  await databases.memory.storeSkill({ id: 's', name: MARKER });
  assert.deepEqual(await found(world, MARKER), []);
  const [concept, skill] = [await world.dump('statik_memory', 'concepts'), await world.dump('statik_memory', 'skills')];
  assert.notEqual(concept[0]?.[1].name, skill[0]?.[1].name, 'a name is another one in each store');
  assert.deepEqual((await databases.memory.queryEpisodes({ tags: [MARKER] })).items.map((/** @type {any} */ { id, tags }) => [id, tags]), [['e', [MARKER]]]);
  assert.deepEqual((await databases.memory.queryConcepts({ name: MARKER })).items, [{ id: 'c', name: MARKER }]);
  await databases.memory.updateSkill('s', { level: 2 });
  assert.deepEqual((await databases.memory.querySkills({ name: MARKER })).items, [{ id: 's', name: MARKER, level: 2 }]);
});

test('a record in another one\'s place is refused: of another key, store, database or app', async () => {
  const world = newWorld();
  const { memory } = await world.open({ encryption });
  await memory.storeConcept({ id: 'a', name: 'same' });
  await memory.storeConcept({ id: 'b', name: 'same' });
  await memory.storeSkill({ id: 'a', name: 'same' });
  const stored = new Map((await world.dump('statik_memory', 'concepts')).map(([id, value]) => [id, value]));
  await world.tamper('statik_memory', 'concepts', { ...stored.get('b'), id: 'a' });
  await assert.rejects(memory.getConcept('a'), { code: 'Corrupt', message: /record "a" of store concepts of "statik_memory@/ });
  await world.tamper('statik_memory', 'skills', stored.get('a'));
  await assert.rejects(memory.getSkill('a'), { code: 'Corrupt' });
  await world.tamper('statik_memory', 'concepts', stored.get('a'));
  assert.deepEqual(await memory.getConcept('a'), { id: 'a', name: 'same' });
  const { state, logs } = await world.open({ encryption });
  await state.saveKernelState(1);
  await logs.logDelta({});
  const [[, { _sealed: foreign }] = [0, {}]] = await world.dump('statik_logs', 'deltas');
  const [[, saved] = []] = await world.dump('statik_state', 'kernel_state');
  await world.tamper('statik_state', 'kernel_state', { ...saved, _sealed: foreign });
  await assert.rejects(state.loadKernelState(), { code: 'Corrupt' });
  // Another app has other keys.
  const other = newWorld();
  await (await other.open({ encryption })).memory.storeConcept({ id: 'a', name: 'same' });
  const [[, theirs] = []] = await other.dump('statik_memory', 'concepts');
  await world.tamper('statik_memory', 'concepts', theirs);
  await assert.rejects(memory.getConcept('a'), { code: 'Permission', message: /it names the data key/ });
});

test('a backup of sealed databases is sealed, and read elsewhere, under another name, with the secret', async () => {
  const [world, elsewhere] = [newWorld(), newWorld()];
  const databases = await world.open({ encryption, blindTags: true });
  await fill(databases, MARKER);
  const blob = await databases.backup.exportAllData({ compress: false });
  assert.ok(!(await blob.text()).includes(MARKER));
  const target = await elsewhere.open();
  await target.backup.importData(blob, { confirm: () => true });
  await target.close();
  await assert.rejects(elsewhere.open({ encryption: { key: await newKey() } }), { code: 'Permission' });
  assert.deepEqual(await read(await elsewhere.open({ encryption, blindTags: true })), await read(databases));
});

test('what lies in clear beside a record cannot be changed', async () => {
  const world = newWorld();
  const databases = await world.open({ encryption });
  await fill(databases, 'x');
  for (const [database, store, changed, reading] of /** @type {[string, string, object, () => Promise<unknown>][]} */ ([
    ['statik_memory', 'episodes', { timestamp: 2 }, () => databases.memory.getEpisode('e')],
    ['statik_memory', 'episodes', { salience: 0.6 }, () => databases.memory.getEpisode('e')],
    ['statik_memory', 'episodes', { tags: ['tag', 'more'] }, () => databases.memory.getEpisode('e')],
    ['statik_memory', 'skills', { name: 'other' }, () => databases.memory.getSkill('s')],
    ['statik_state', 'unit_states', { savedMs: 2 }, () => databases.state.loadUnitState('unit')],
    ['statik_state', 'unit_states', { unitId: 'other' }, () => databases.state.loadUnitState('other')],
    ['statik_logs', 'deltas', { timestamp: 2 }, () => databases.logs.queryLogs('deltas')],
  ])) {
    await reading().catch(() => undefined);
    const [[, stored] = []] = await world.dump(database, store);
    await world.tamper(database, store, { ...stored, ...changed });
    await assert.rejects(reading(), { code: 'Corrupt' }, `${store} ${JSON.stringify(changed)}`);
    await world.tamper(database, store, stored);
    await reading();
  }
});

test('no flipped bit goes unseen', async () => {
  const world = newWorld();
  const { memory } = await world.open({ encryption });
  await memory.storeConcept({ id: 'a', name: 'n', v: 1 });
  const [[, stored] = []] = await world.dump('statik_memory', 'concepts');
  for (let bit = 0; bit < stored._sealed.length * 8; bit += 1) {
    const sealed = stored._sealed.slice();
    sealed[bit >> 3] ^= 1 << (bit & 7);
    await world.tamper('statik_memory', 'concepts', { ...stored, _sealed: sealed });
    await assert.rejects(memory.getConcept('a'), (/** @type {any} */ { code }) => ['Corrupt', 'Permission', 'Unsupported'].includes(code), `bit ${bit}`);
  }
  for (const sealed of ['text', new Uint8Array(), stored._sealed.slice(0, -1), new Uint8Array(1000)]) {
    await world.tamper('statik_memory', 'concepts', { ...stored, _sealed: sealed });
    await assert.rejects(memory.getConcept('a'), { code: 'Corrupt' });
  }
});

test('a wrong secret is refused when the databases are opened, and harms nothing', async () => {
  const world = newWorld();
  const databases = await world.open({ encryption: { passphrase: 'right' } });
  await fill(databases, 'x');
  const before = await Promise.all(DATABASES.map((database) => world.stores(database).then((stores) => Promise.all(stores.map((store) => world.dump(database, store))))));
  for (const wrong of [{ passphrase: 'wrong' }, { key }, { key: await newKey() }]) await assert.rejects(world.open({ encryption: wrong }), { code: 'Permission' });
  for (const wrong of [{ passphrase: '' }, {}, 'right', { passphrase: 'right', key }, { key: 'right' }, { passphrase: 5 }]) await assert.rejects(world.open({ encryption: wrong }), { code: 'Invalid' });
  await assert.rejects(world.open({ blindTags: true }), { code: 'Invalid' });
  const now = await Promise.all(DATABASES.map((database) => world.stores(database).then((stores) => Promise.all(stores.map((store) => world.dump(database, store))))));
  assert.deepEqual(now, before);
  assert.deepEqual(await read(await world.open({ encryption: { passphrase: 'right' } })), await read(databases));
});

test('without a secret, sealed records are refused by name and others are read', async () => {
  const world = newWorld();
  await fill(await world.open({ encryption, blindTags: true }), 'x');
  const databases = await world.open();
  assert.deepEqual(await databases.encryption.status(), { enabled: false });
  for (const doing of [() => databases.encryption.rotate(), () => databases.encryption.changeSecret({ key }, { key })]) await assert.rejects(doing(), { code: 'Unsupported' });
  await assert.rejects(databases.memory.getEpisode('e'), { code: 'Permission', message: `record "e" of store episodes of "statik_memory@${world.name}" is encrypted, and no key was given` });
  await assert.rejects(databases.memory.queryEpisodes(), { code: 'Permission', message: /"e"/ });
  await assert.rejects(databases.memory.updateEpisode('e', { salience: 0 }), { code: 'Permission' });
  await assert.rejects(databases.state.loadUnitState('unit'), { code: 'Permission', message: /"unit"/ });
  await assert.rejects(databases.logs.queryLogs('deltas'), { code: 'Permission', message: /store deltas/ });
  await databases.memory.storeConcept({ id: 'plain', name: 'n' });
  assert.deepEqual(await databases.memory.getConcept('plain'), { id: 'plain', name: 'n' });
});

test('who makes the keys at once, has the same', async () => {
  const world = newWorld();
  const tabs = await Promise.all([1, 2, 3, 4, 5].map(() => world.open({ encryption })));
  for (const [at, { memory }] of tabs.entries()) await memory.storeConcept({ id: `${at}`, name: 'n' });
  for (const { memory } of tabs) assert.equal((await memory.queryConcepts({ name: 'n' })).items.length, 5);
  assert.equal((await sealedBy(world)).length, 1);
  const contested = newWorld();
  const opened = await Promise.allSettled([{ key }, { key: await newKey() }, { passphrase: 'p' }].map((secret) => contested.open({ encryption: secret })));
  assert.deepEqual(opened.map(({ status }) => status).sort(), ['fulfilled', 'rejected', 'rejected']);
  for (const each of opened) if (each.status === 'rejected') assert.equal(each.reason.code, 'Permission');
});

test('a damaged keyfile is Corrupt', async () => {
  const world = newWorld();
  await world.open({ encryption });
  const [[name, file] = []] = await world.dump('statik_catalog', 'settings');
  for (const damaged of [{ ...file, current: 1 }, 'text', { ...file, digest: new Uint8Array(32) }]) {
    await world.tamper('statik_catalog', 'settings', damaged, name);
    await assert.rejects(world.open({ encryption }), { code: 'Corrupt' });
  }
});

test('records from before are read beside sealed ones; a rotation seals them, except what cannot be', async () => {
  const world = newWorld();
  const plain = await world.open();
  await fill(plain, MARKER);
  await plain.memory.storeConcept({ id: 'blob', name: 'n', blob: new Blob(['x']) });
  await plain.close();
  const databases = await world.open({ encryption });
  const before = await read(databases);
  assert.equal(before.episodes[0].text, MARKER);
  await databases.memory.storeConcept({ id: 'new', name: 'n' });
  await assert.rejects(databases.memory.storeConcept({ name: 'n', blob: new Blob(['x']) }), { code: 'Unsupported', message: /store concepts.*\.blob is a Blob/ });
  await databases.memory.updateEpisode('e', { salience: 0.6 });
  assert.deepEqual((await sealedBy(world)).length, 2);
  const report = await databases.encryption.rotate();
  assert.deepEqual([report.resealed, report.leftPlain], [9, 1]);
  assert.deepEqual(new Set(await sealedBy(world)), new Set(['', report.current]));
  assert.deepEqual(await found(world, MARKER), []);
  before.episodes[0].salience = 0.6;
  before.concepts.push({ id: 'new', name: 'n' });
  assert.deepEqual(await read(databases), before);
});

test('queries with blind tags answer as plain ones do, also where only some records have them', async () => {
  const seed = Number(process.env.STATIK_SEED ?? 20_251_128);
  console.log(`STATIK_SEED=${seed}`);
  const below = numbersBelow(seed);
  const [world, reference] = [newWorld(), await newWorld().open()];
  const forms = [{}, { encryption }, { encryption, blindTags: true }];
  const tabs = await Promise.all(forms.map((options) => world.open(options)));
  for (let at = 0; at < 60; at += 1) {
    const tags = ['a', 'b', 'c', 'ü', '\ud800'].filter(() => below(2) === 0);
    const episode = { id: `${at}`, timestamp: below(20), salience: below(5) / 4, tags, at };
    const concept = { id: `${at}`, name: ['x', 'y'][below(2)], at };
    for (const { memory } of [tabs[below(3)], reference]) {
      await memory.storeEpisode(episode);
      await memory.storeConcept(concept);
    }
  }
  for (const readers of [[tabs[1], tabs[2]], [tabs[2]]]) {
    for (let turn = 0; turn < 40; turn += 1) {
      const query = {
        ...(below(2) === 0 && { from: below(20) }), ...(below(2) === 0 && { to: below(20) }), ...(below(3) === 0 && { salience: { min: below(3) / 4 } }),
        tags: ['a', 'b', 'c', 'ü', '\ud800', 'none'].filter(() => below(3) === 0),
        by: ['timestamp', 'salience'][below(2)], order: ['asc', 'desc'][below(2)], limit: 1 + below(12),
      };
      if ((query.from ?? 0) > (query.to ?? Infinity)) continue;
      const expected = await all(reference.memory, 'queryEpisodes', query);
      for (const { memory } of readers) assert.deepEqual(await all(memory, 'queryEpisodes', query), expected, JSON.stringify(query));
      const named = { name: ['x', 'y', 'none'][below(3)], limit: 1 + below(12) };
      for (const { memory } of readers) assert.deepEqual(await all(memory, 'queryConcepts', named), await all(reference.memory, 'queryConcepts', named));
    }
    // The second time all are blind.
    await tabs[2].encryption.rotate();
    assert.equal((await world.dump('statik_memory', 'episodes')).every(([, { _blind: isBlind, tags }]) => isBlind && tags === undefined), true);
  }
  // And back: who opens them without blind tags, and rotates, has them in clear again.
  await tabs[1].encryption.rotate();
  assert.equal((await world.dump('statik_memory', 'episodes')).every(([, { _blind: isBlind, tags }]) => !isBlind && Array.isArray(tags)), true);
  assert.deepEqual(await all(tabs[1].memory, 'queryEpisodes', { tags: ['a'], limit: 7 }), await all(reference.memory, 'queryEpisodes', { tags: ['a'], limit: 7 }));
});

/** All pages of a query. @param {any} memory @param {string} name @param {object} query */
async function all(memory, name, query) {
  const pages = [];
  for (let cursor; ;) {
    /** @type {any} */
    const page = await memory[name]({ ...query, ...(cursor !== undefined && { cursor }) });
    if (page.items.length > 0) pages.push(page.items);
    if (page.cursor === undefined) return pages;
    cursor = page.cursor;
  }
}

test('sealed databases can be compacted, and migrated down and up again', async () => {
  const world = newWorld();
  const databases = await world.open({ encryption, blindTags: true });
  await fill(databases, 'x');
  const before = await read(databases);
  for (const name of ['statik_memory', 'statik_state', 'statik_logs']) await databases.vacuumDatabase(name);
  assert.deepEqual(await read(databases), before);
  await databases.migrateTo('statik_memory', 1);
  await databases.migrateTo('statik_memory', 2);
  assert.deepEqual((await databases.memory.queryEpisodes({ tags: ['tag'] })).items, before.episodes);
});
