/** The layer that all databases stand on, by a database of the app's own: keys, pages, groups, transactions, loss. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../e2e/random.mjs';
import { contents, failing, IDBFactory, IDBKeyRange, names, open, openRaw, pages, request, SEED, StatikError } from './place.mjs';

const MIGRATIONS = [{
  version: 1, checksum: '1',
  upgrade: (db) => {
    db.createObjectStore('out');
    db.createObjectStore('in', { keyPath: 'id' });
    db.createObjectStore('numbered', { keyPath: 'n', autoIncrement: true });
    const indexed = db.createObjectStore('indexed', { keyPath: 'id' });
    indexed.createIndex('group', 'group');
    indexed.createIndex('words', 'words', { multiEntry: true });
    indexed.createIndex('unique', 'unique', { unique: true });
    const nested = db.createObjectStore('nested', { keyPath: 'at.id' });
    nested.createIndex('pair', ['a', 'b']);
    nested.createIndex('plain', 'a');
  },
}];

async function app(context, options = {}) {
  const databases = await open(context, options);
  const idb = await databases.database('app', MIGRATIONS);
  return { databases, idb };
}

/** Gives every connection of a factory that is opened from now on to `hook`. */
function hookConnections(factory, hook) {
  const { open: opening } = factory;
  factory.open = (...args) => {
    const pending = opening.apply(factory, args);
    pending.addEventListener('success', () => hook(pending.result));
    return pending;
  };
}

test('every kind of key is one key, bounds are bounds, and nothing is taken for all', async (context) => {
  const { idb } = await app(context);
  const keys = [-Infinity, 0, 1.5, new Date(0), new Date(7), '', 'a', '\u0000', new Uint8Array([1]), new Uint8Array([1, 2]).buffer, [], [1], ['a', [new Date(1)]]];
  await idb.write(keys.map((key, put) => ({ store: 'out', put, key })));
  for (const [value, key] of keys.entries()) {
    assert.equal(await idb.get('out', key), value);
    assert.deepEqual((await idb.query('out', { range: key })).items, [value], String(key));
    assert.equal(await idb.count('out', { range: key }), 1);
    assert.deepEqual((await idb.query('out', { range: key, direction: 'prev' })).items, [value]);
    assert.deepEqual((await idb.query('out', { range: IDBKeyRange.only(key) })).items, [value]);
  }
  assert.equal(await idb.count('out', { range: {} }), keys.length);
  assert.deepEqual((await idb.query('out', { range: { lower: 0, upper: 1.5, upperOpen: true } })).items, [1]);
  assert.deepEqual((await idb.query('out', { range: { lower: '', lowerOpen: true, upper: 'b' } })).items, [7, 6]);
  for (const bad of [{}, null, undefined, NaN, true, () => {}]) assert.equal((await failing(idb.delete('out', bad))).code, 'Invalid', String(bad));
  assert.equal((await failing(idb.query('out', { range: { lower: 2, upper: 1 } }))).code, 'Invalid');
  // The stand-in takes no empty bytes for a key. That they are not all keys is what counts; tests/e2e has the rest.
  for (const call of [() => idb.query('out', { range: new Uint8Array(0) }), () => idb.count('out', { range: new ArrayBuffer(0) })]) assert.equal((await failing(call)).code, 'Invalid');
  assert.equal(await idb.count('out'), keys.length);
  await idb.delete('out', IDBKeyRange.bound('', '\uffff'));
  assert.equal(await idb.count('out'), keys.length - 3);
  await idb.delete('out', { lower: [] });
  assert.equal(await idb.count('out'), keys.length - 6);
  assert.deepEqual(await idb.getMany('out', [0, 'none', 1.5]), [1, undefined, 2]);
  assert.deepEqual(await idb.getMany('out', []), []);
});

test('pages of a store and of indexes, records and keys, there and back: complete, in order, nothing twice', async (context) => {
  const { idb } = await app(context);
  const random = mulberry32(SEED);
  const below = (limit) => Math.floor(random() * limit);
  const records = Array.from({ length: 120 }, (_, id) => ({ id, group: below(6), words: ['x', 'y', 'z'].filter(() => random() < 0.5) }));
  await idb.write(records.map((put) => ({ store: 'indexed', put })));
  const keyed = { undefined: (each) => [each.id], group: (each) => [each.group], words: (each) => each.words };
  for (let round = 0; round < 150; round++) {
    const index = [undefined, 'group', 'words'][below(3)];
    const [direction, limit, keysOnly] = [random() < 0.5 ? 'next' : 'prev', 1 + below(round % 2 ? 5 : 130), random() < 0.5];
    const bounds = (index === 'words' ? ['x', 'y', 'z'][below(3)] : index === 'group' ? below(6) : below(120));
    const range = [undefined, bounds, { lower: bounds }, { upper: bounds, upperOpen: true }][below(4)];
    const isIn = (key) => range === undefined || (typeof range !== 'object' ? key === range : range.lower !== undefined ? key >= range.lower : key < range.upper);
    const expected = records.flatMap((each) => keyed[index](each).filter(isIn).map((key) => ({ key, each })));
    expected.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.each.id - b.each.id));
    if (direction === 'prev') expected.reverse();
    const what = `seed ${SEED}, round ${round}: ${JSON.stringify({ index, direction, limit, keysOnly, range })}`;
    const found = await pages((cursor) => idb[keysOnly ? 'keys' : 'query']('indexed', { direction, limit, ...(index && { index }), ...(range !== undefined && { range }), ...(cursor && { cursor }) }));
    assert.deepEqual(found.flat(), expected.map(({ each }) => (keysOnly ? each.id : each)), what);
  }
});

test('pages go on from keys that are not fields of the record: nested, of several parts, or out of line', async (context) => {
  const { idb } = await app(context);
  const records = Array.from({ length: 9 }, (_, id) => ({ at: { id }, a: id % 2, b: id % 3 }));
  await idb.write(records.flatMap((put) => [{ store: 'nested', put }, { store: 'out', put, key: `key ${put.at.id}` }]));
  const ids = async (store, query) => (await pages((cursor) => idb.query(store, { ...query, ...(cursor && { cursor }) }))).flat().map(({ at }) => at.id);
  for (const limit of [1, 2, 4, 9]) {
    assert.deepEqual(await ids('nested', { limit }), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert.deepEqual(await ids('nested', { limit, index: 'pair' }), [0, 6, 4, 2, 8, 3, 1, 7, 5]);
    assert.deepEqual(await ids('nested', { limit, index: 'plain' }), [0, 2, 4, 6, 8, 1, 3, 5, 7]);
    assert.deepEqual(await ids('out', { limit }), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  }
});

test('a batch is done or not; of single writes of one tick each fails alone, in few transactions', async (context) => {
  const { idb } = await app(context);
  const kept = await idb.add('indexed', { id: 1, unique: 'a' });
  assert.equal(kept, 1);
  const batch = await failing(idb.write([{ store: 'out', put: 1, key: 1 }, { store: 'indexed', add: { id: 2, unique: 'b' } }, { store: 'indexed', add: { id: 3, unique: 'a' } }]));
  assert.equal(batch.code, 'Conflict');
  assert.match(batch.message, /writing 3 records to store out, indexed of "app"/);
  assert.deepEqual([await idb.count('out'), await idb.count('indexed')], [0, 1]);
  for (const bad of [[{}], [null], [{ store: 'out' }], [{ store: 'none', put: 1, key: 1 }], [{ put: 1 }], [{ store: 'in', put: {} }], [{ store: 'in', put: { id: 1 }, key: 1 }], [{ store: 'out', put: 1 }], [{ store: 'out', put: () => {}, key: 1 }]]) {
    const { code } = await failing(idb.write([{ store: 'out', put: 1, key: 1 }, ...bad]));
    assert.ok(code === 'Invalid' || code === 'NotFound', `${JSON.stringify(bad)}: ${code}`);
  }
  assert.equal(await idb.count('out'), 0);
  const results = await Promise.allSettled([
    idb.add('indexed', { id: 1 }), idb.add('indexed', { id: 4, unique: 'a' }), idb.put('indexed', { id: 5, unique: 'c' }), idb.put('indexed', {}), idb.put('indexed', { id: 6, run: () => {} }),
    idb.add('numbered', { a: 1 }), idb.add('numbered', { a: 2 }), idb.put('out', 'v', 'k'), idb.put('none', 1), idb.put('indexed', { id: 7 }), idb.put('out', 1, {}),
  ]);
  assert.deepEqual(results.map(({ value, reason }) => value ?? reason.code), ['Conflict', 'Conflict', 5, 'Invalid', 'Invalid', 1, 2, 'k', 'NotFound', 7, 'Invalid']);
  assert.ok(results.every(({ reason }) => reason === undefined || (reason instanceof StatikError && /of "app"/.test(reason.message))));
  assert.deepEqual((await idb.keys('indexed')).items, [1, 5, 7]);
});

test('single writes, batches and transactions that are not awaited take effect in their order', async (context) => {
  const { idb } = await app(context);
  for (const isOpen of [false, true]) {
    const calls = [
      idb.put('out', 1, 'k'), idb.get('out', 'k'), idb.delete('out', 'k'), idb.get('out', 'k'), idb.put('out', 2, 'k'),
      idb.transaction(['out'], 'readwrite', async (tx) => {
        const found = await request(tx.objectStore('out').get('k'));
        await request(tx.objectStore('out').put(found * 10, 'k'));
        return found;
      }),
      idb.write([{ store: 'out', put: 'batch', key: 'b' }, { store: 'out', put: 3, key: 'k' }]), idb.put('out', 4, 'k'), idb.get('out', 'k'),
    ];
    const results = await Promise.all(calls);
    assert.deepEqual([results[1], results[3], results[5], results[8]], [1, undefined, 2, 4], `open: ${isOpen}`);
    assert.equal(await idb.get('out', 'k'), 4);
    await idb.write([{ store: 'out', clear: true }]);
  }
});

test('values are copied when the call is made, and may call back while they are', async (context) => {
  const { idb } = await app(context);
  const bytes = new Uint8Array(4);
  const writes = [];
  for (let n = 0; n < 3; n++) writes.push(idb.put('out', bytes.fill(n), n));
  for (let n = 3; n < 6; n++) writes.push(idb.write([{ store: 'out', put: bytes.fill(n), key: n }]));
  await Promise.all(writes);
  assert.deepEqual((await idb.query('out')).items.map(([first]) => first), [0, 1, 2, 3, 4, 5]);
  const inner = [];
  const value = {
    get calls() {
      inner.push(idb.put('in', { id: 'nested' }).then(() => 'put', ({ code }) => code), idb.put('out', 1, 'nested').then(() => 'put', ({ code }) => code), idb.count('out').then(() => 'count', ({ code }) => code));
      return 1;
    },
  };
  await idb.put('out', value, 'outer');
  assert.deepEqual(await idb.get('out', 'outer'), { calls: 1 });
  // A request in the very transaction that is copying is refused by the platform; nothing crashes.
  assert.deepEqual([(await Promise.all(inner))[0], (await Promise.all(inner))[2]], ['put', 'count']);
});

test('a transaction is done or not, whatever its body does', async (context) => {
  const { idb } = await app(context);
  const own = new RangeError('mine');
  const put = (tx, value) => request(tx.objectStore('out').put(value, 'k'));
  await assert.rejects(idb.transaction(['out'], 'readwrite', async (tx) => { await put(tx, 1); throw own; }), (error) => error === own);
  await assert.rejects(idb.transaction(['out'], 'readwrite', () => { throw own; }), (error) => error === own);
  assert.equal((await failing(idb.transaction(['out'], 'readwrite', async (tx) => { await put(tx, 1); tx.abort(); }))).code, 'Aborted');
  assert.equal((await failing(idb.transaction(['indexed'], 'readwrite', (tx) => { for (const id of [1, 1]) tx.objectStore('indexed').add({ id }); }))).code, 'Conflict');
  assert.equal((await failing(idb.transaction(['out'], 'readonly', (tx) => put(tx, 1)).catch((error) => { throw error instanceof StatikError ? error : new StatikError({ code: 'ReadOnly', message: error.name }); }))).code, 'ReadOnly');
  assert.equal((await failing(idb.transaction(['none'], 'readonly', () => {}))).code, 'NotFound');
  assert.equal((await failing(idb.transaction([], 'readonly', () => {}))).code, 'Invalid');
  assert.equal(await idb.get('out', 'k'), undefined);
  let isDone = false;
  const answer = await idb.transaction(['out'], 'readwrite', async (tx) => {
    tx.oncomplete = () => { isDone = true; };
    tx.onabort = () => assert.fail('it is not aborted');
    await put(tx, 2);
    return 'answer';
  });
  assert.deepEqual([answer, isDone, await idb.get('out', 'k')], ['answer', true, 2], 'its events are the body\'s to listen to');
  assert.equal(await idb.transaction(['out'], 'readonly', () => 'nothing'), 'nothing');
});

test('a connection that the browser closes is told of and made again; a write in flight is not told as done', async (context) => {
  const factory = new IDBFactory();
  const connections = [];
  hookConnections(factory, (connection) => connections.push(connection));
  const { idb, databases } = await app(context, { factory });
  const current = () => connections.filter(({ name }) => name === 'app').at(-1);
  await idb.put('out', 1, 'k');
  current().onclose(new Event('close'));
  assert.equal(await idb.get('out', 'k'), 1);
  const told = () => databases.events.map(({ type, database }) => `${type} ${database}`);
  assert.deepEqual(told(), ['lost app', 'reopened app']);
  // Closed behind the layer's back: it finds out by the next call, of whatever kind.
  for (const call of [() => idb.get('out', 'k'), () => idb.put('out', 1, 'k'), () => idb.write([{ store: 'out', put: 1, key: 'k' }]), () => idb.count('out'), () => idb.transaction(['out'], 'readwrite', () => {})]) {
    databases.events.length = 0;
    current().close();
    await call();
    assert.deepEqual(told(), ['lost app', 'reopened app'], String(call));
  }
  // Many at once, and values that change meanwhile.
  current().close();
  const value = { n: 0 };
  const all = Array.from({ length: 10 }, (_, n) => {
    value.n = n;
    return n % 2 ? idb.put('out', value, n) : idb.write([{ store: 'out', put: value, key: n }]);
  });
  value.n = -1;
  await Promise.all(all);
  assert.deepEqual((await idb.query('out', { range: { lower: 0, upper: 9 } })).items.map(({ n }) => n), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const before = connections.filter(({ name }) => name === 'app').length;
  await idb.close();
  for (const call of [() => idb.get('out', 1), () => idb.put('out', 1, 1), () => idb.write([{ store: 'out', clear: true }]), () => idb.query('out')]) assert.equal((await failing(call)).code, 'Closed');
  assert.equal(connections.filter(({ name }) => name === 'app').length, before);
});

test('a call that is not answered is over by its deadline, has no effect, and the next has another connection', async (context) => {
  const factory = new IDBFactory();
  const { databases, idb } = await app(context, { factory, deadlineMs: 200 });
  await idb.put('out', 0, 'k');
  const raw = await openRaw(factory, 'app');
  // Somebody else writes, and does not end.
  const blocking = raw.transaction('out', 'readwrite');
  let isBlocking = true;
  const keep = () => { if (isBlocking) blocking.objectStore('out').get('k').onsuccess = keep; };
  keep();
  const calls = await Promise.allSettled([
    idb.put('out', 1, 'k'), idb.write([{ store: 'out', put: 2, key: 'k' }]), idb.transaction(['out'], 'readwrite', (tx) => request(tx.objectStore('out').put(3, 'k'))), idb.get('out', 'k'),
  ]);
  assert.deepEqual(calls.map(({ reason }) => reason?.code), ['Timeout', 'Timeout', 'Timeout', 'Timeout']);
  assert.ok(calls.every(({ reason }) => /no answer within 200 ms/.test(reason.message)));
  isBlocking = false;
  assert.equal(await idb.get('out', 'k'), 0);
  raw.close();
  assert.deepEqual(databases.events.map(({ type }) => type), ['lost', 'reopened']);
  assert.equal((await contents(factory, 'app')).out.values[0], 0);
  assert.equal((await failing(idb.transaction(['out'], 'readwrite', async (tx) => { await request(tx.objectStore('out').put(9, 'k')); await new Promise(() => {}); }))).code, 'Timeout');
});

test('a deadline of years is one', async (context) => {
  const { idb } = await app(context, { deadlineMs: 2 ** 40 });
  await idb.put('out', 1, 1);
  assert.equal(await idb.get('out', 1), 1);
});

test('names that could be those of others are refused, and a list that failed can be mended', async (context) => {
  const factory = new IDBFactory();
  const { databases, idb } = await app(context, { factory });
  await idb.put('out', 'mine', 'k');
  for (const name of ['app#2', 'app@x', 'statik_own', '', 7]) assert.equal((await failing(databases.database(name, MIGRATIONS))).code, 'Invalid', String(name));
  assert.equal(await databases.database('app', MIGRATIONS), idb);
  await failing(databases.database('other', [{ version: 1, upgrade: () => { throw new Error('no'); } }]));
  assert.deepEqual((await databases.status()).databases.map(({ name }) => name), ['statik_memory', 'statik_state', 'statik_logs', 'app']);
  const mended = await databases.database('other', MIGRATIONS);
  await mended.put('out', 1, 1);
  assert.ok((await names(factory)).includes('other'));
});

test('the message of a failure names what was done, the store and the database', async (context) => {
  const { idb } = await app(context);
  for (const [work, message] of [
    [() => idb.get('none', 1), /^reading from store none of "app": /], [() => idb.query('out', { index: 'none' }), /^querying store out of "app": /], [() => idb.get('out', {}), /^reading from store out of "app": /],
    [() => idb.count('none'), /^counting in store none of "app": /], [() => idb.put('none', 1, 1), /^writing to store none of "app": /], [() => idb.query('out', { limit: 0 }), /^query of store out of "app": limit is 0/],
    [() => idb.query('out', { cursor: '?' }), /^query of store out of "app": the cursor/], [() => idb.transaction(['none'], 'readwrite', () => {}), /^a transaction over store none of "app": /],
  ]) assert.match((await failing(work)).message, message);
});
