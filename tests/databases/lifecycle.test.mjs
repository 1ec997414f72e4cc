/** From opening to closing: where the databases lie, what they take, and how one is put in another's place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contents, failing, IDBFactory, initializeDatabases, names, open, openRaw, WASM } from './place.mjs';

/** A factory whose `open` does something else. */
function factoryThat(open, factory = new IDBFactory()) {
  return new Proxy(factory, {
    get(target, property) {
      const value = target[property];
      if (property !== 'open') return typeof value === 'function' ? value.bind(target) : value;
      return open;
    },
  });
}

function requestThatFails(name) {
  const pending = Object.assign(new EventTarget(), { error: new DOMException('no', name), result: undefined, transaction: null });
  queueMicrotask(() => pending.onerror?.(Object.assign(new Event('error'), {})));
  return pending;
}

const BROKEN = {
  'there is none': () => null,
  'it is denied by a SecurityError': () => factoryThat(() => { throw new DOMException('denied', 'SecurityError'); }),
  'opening fails with an UnknownError': () => factoryThat(() => requestThatFails('UnknownError')),
  'opening fails with an InvalidStateError': () => factoryThat(() => requestThatFails('InvalidStateError')),
  'opening is never answered': () => factoryThat(() => new EventTarget()),
};

for (const [how, broken] of Object.entries(BROKEN)) {
  test(`where IndexedDB cannot be used (${how}) everything is in memory, and says so`, async (context) => {
    const options = { factory: broken(), deadlineMs: 300 };
    const databases = await open(context, options);
    assert.equal(databases.storage, 'memory');
    const { storage, reason } = await databases.status();
    assert.equal(storage, 'memory');
    assert.ok(reason.length > 10, reason);
    assert.deepEqual(databases.events.filter(({ type }) => type === 'fallback'), [{ type: 'fallback', database: '', reason }]);
    await databases.memory.storeEpisode({ id: 'e', salience: 1, tags: ['a'] });
    await databases.state.saveKernelState(1);
    assert.deepEqual([(await databases.memory.queryEpisodes({ tags: ['a'] })).items.length, await databases.state.loadKernelState(), await databases.logs.logDelta({})], [1, 1, 1]);
    assert.equal((await databases.vacuumDatabase('statik_memory')).generation, 2);
    assert.equal((await databases.memory.getEpisode('e')).salience, 1);
    const another = await open(context, { factory: broken(), deadlineMs: 300 });
    assert.equal(await another.memory.countEpisodes(), 0, 'each has a memory of its own');
    const error = await failing(open(context, { factory: broken(), deadlineMs: 300, fallback: 'error' }));
    assert.equal(error.message, reason);
  });
}

test('who is in the way, a full disk and a newer catalog do not send anybody to memory', async (context) => {
  for (const [name, code] of [['QuotaExceededError', 'Quota'], ['ConstraintError', 'Conflict'], ['NotSupportedError', 'Unsupported']]) {
    const error = await failing(open(context, { factory: factoryThat(() => requestThatFails(name)) }));
    assert.ok(error.code === code || (name === 'ConstraintError' && error.code === 'Unsupported'), `${name}: ${error.code}`);
  }
});

test('options that are wrong are refused, and named', async () => {
  for (const [options, named] of [
    [null, 'null'], [{ name: '' }, 'field name'], [{ name: 'a/b' }, 'field name'], [{ name: 'a@b' }, 'field name'], [{ name: 'a#2' }, 'field name'], [{ name: 7 }, 'field name is 7'], [{ name: 'x'.repeat(65) }, 'field name'],
    [{ deadlineMs: 0 }, 'field deadlineMs'], [{ deadlineMs: Infinity }, 'field deadlineMs'], [{ keepStates: 0 }, 'field keepStates'], [{ fallback: 'none' }, 'field fallback'],
  ]) {
    const error = await failing(initializeDatabases(options === null ? null : { wasm: WASM, factory: new IDBFactory(), ...options }));
    assert.ok(error.code === 'Invalid' && error.message.includes(named), `${JSON.stringify(options)}: ${error.message}`);
  }
});

test('names keep apps of one origin apart, and all tabs of one app together', async (context) => {
  const factory = new IDBFactory();
  const [plain, app, same] = [await open(context, { factory }), await open(context, { factory, name: 'app' }), await open(context, { factory, name: 'app' })];
  await app.memory.storeConcept({ id: 'c', name: 'of the app' });
  assert.equal(await plain.memory.getConcept('c'), undefined);
  assert.equal((await same.memory.getConcept('c')).name, 'of the app');
  assert.deepEqual(await names(factory), ['statik_catalog', 'statik_logs', 'statik_logs@app', 'statik_memory', 'statik_memory@app', 'statik_state', 'statik_state@app']);
});

test('what each database and store takes is measured record by record', async (context) => {
  const databases = await open(context);
  await databases.memory.storeEpisodes(Array.from({ length: 1100 }, (_, n) => ({ id: `e${n}`, timestamp: n, salience: 0, bytes: new Uint8Array(100) })));
  await databases.memory.storeConcept({ id: 'c', name: 'ü' });
  const { databases: usages } = await databases.getStorageUsage();
  assert.deepEqual(usages.map(({ name }) => name), ['statik_memory', 'statik_state', 'statik_logs']);
  const [memory] = usages;
  assert.deepEqual([memory.stores.episodes.records, memory.stores.concepts.records, memory.stores.skills.records], [1100, 1, 0]);
  assert.equal(memory.stores.concepts.bytes, 8 + 2 + 1 + 4 + 2);
  assert.ok(memory.stores.episodes.bytes > 1100 * 130 && memory.stores.episodes.bytes < 1100 * 300, String(memory.stores.episodes.bytes));
  assert.equal(memory.bytes, Object.values(memory.stores).reduce((sum, { bytes }) => sum + bytes, 0));
  assert.equal(memory.records, Object.values(memory.stores).reduce((sum, { records }) => sum + records, 0));
});

/** Fills all three, and an app's own. */
async function fill(databases) {
  const own = await databases.database('own', [{ version: 1, checksum: '1', upgrade: (db) => { db.createObjectStore('out'); db.createObjectStore('deep', { keyPath: 'a.b', autoIncrement: true }); db.createObjectStore('auto', { autoIncrement: true }); } }]);
  await own.write([...Array.from({ length: 1203 }, (_, n) => ({ store: 'out', put: { n }, key: n })), { store: 'out', put: 1, key: ['array', new Date(0)] }]);
  for (const store of ['deep', 'auto']) {
    const keys = await own.write([1, 2, 3].map((n) => ({ store, add: { n } })));
    await own.delete(store, keys.at(-1));
  }
  await databases.memory.storeEpisodes(Array.from({ length: 30 }, (_, n) => ({ id: `e${n}`, timestamp: n, salience: n / 30, tags: ['a'], map: new Map([[n, new Date(n)]]) })));
  await databases.state.saveKernelState({ n: 1n });
  return own;
}

test('a vacuum leaves all that was there, under a new generation, and the old one is gone', async (context) => {
  const factory = new IDBFactory();
  const [databases, other] = [await open(context, { factory }), await open(context, { factory })];
  const own = await fill(databases);
  for (let generation = 2; generation <= 4; generation++) {
    for (const name of ['statik_memory', 'own']) {
      const before = await contents(factory, generation === 2 ? name : `${name}#${generation - 1}`);
      const told = [];
      const report = await databases.vacuumDatabase(name, { onProgress: (records) => told.push(records) });
      const records = Object.values(before).reduce((sum, { keys }) => sum + keys.length, 0);
      assert.deepEqual([report.name, report.records, report.generation, told.at(-1)], [name, records, generation, records]);
      assert.deepEqual(await contents(factory, `${name}#${generation}`), before);
    }
    assert.deepEqual(await names(factory), [`own#${generation}`, 'statik_catalog', 'statik_logs', `statik_memory#${generation}`, 'statik_state']);
    assert.equal((await other.memory.getEpisode('e7')).timestamp, 7, 'another tab finds the new one');
    await other.memory.updateEpisode('e7', { seen: generation });
    assert.equal((await databases.memory.getEpisode('e7')).seen, generation);
  }
  assert.deepEqual([await own.add('deep', {}), await own.add('auto', {})], [4, 4], 'numbers go on');
  assert.deepEqual(await databases.validateSchema('statik_memory'), []);
  const status = await databases.status();
  assert.deepEqual(status.databases.map(({ name, version, generation }) => `${name} ${version} ${generation}`), ['statik_memory 2 4', 'statik_state 1 1', 'statik_logs 1 1', 'own 1 4']);
  assert.equal((await failing(databases.vacuumDatabase('none'))).code, 'NotFound');
});

test('a vacuum that fails in the middle leaves the old database, and takes no room', async (context) => {
  const factory = new IDBFactory();
  const databases = await open(context, { factory });
  await fill(databases);
  const before = await contents(factory, 'own');
  const thrown = new Error('enough');
  await assert.rejects(databases.vacuumDatabase('own', { onProgress: () => { throw thrown; } }), (error) => error === thrown);
  assert.deepEqual(await contents(factory, 'own'), before);
  assert.deepEqual(await names(factory), ['own', 'statik_catalog', 'statik_logs', 'statik_memory', 'statik_state']);
  const own = await databases.database('own', []);
  assert.deepEqual(await own.get('out', 7), { n: 7 });
  assert.equal((await databases.vacuumDatabase('own')).generation, 2);
});

test('what a crash left over, half a new database or an old one, is never meant, and goes with the next vacuum', async (context) => {
  const factory = new IDBFactory();
  const databases = await open(context, { factory });
  await fill(databases);
  // Before the switch: half of the new one.
  const half = await openRaw(factory, 'statik_memory#2', 9, (db) => { db.createObjectStore('episodes').put('rubbish', 'k'); });
  half.close();
  const before = await contents(factory, 'statik_memory');
  await databases.vacuumDatabase('statik_memory');
  assert.deepEqual(await contents(factory, 'statik_memory#2'), before);
  // After the switch: the old one is still there.
  (await openRaw(factory, 'statik_memory', 9, (db) => { db.createObjectStore('episodes').put('old', 'k'); })).close();
  const again = await open(context, { factory });
  assert.equal(await again.memory.countEpisodes(), 30);
  await again.vacuumDatabase('statik_memory');
  assert.deepEqual((await names(factory)).filter((name) => name.startsWith('statik_memory')), ['statik_memory#3']);
  assert.equal(await databases.memory.countEpisodes(), 30);
});

test('a full disk during a vacuum is Quota, and the half that was copied is gone', async (context) => {
  const factory = new IDBFactory();
  const databases = await open(context, { factory });
  await fill(databases);
  const { open: opening } = factory;
  factory.open = (name, ...rest) => {
    const pending = opening.call(factory, name, ...rest);
    if (name !== 'own#2') return pending;
    pending.addEventListener('success', () => {
      const { result: connection } = pending;
      const { transaction } = connection;
      connection.transaction = (...args) => {
        const begun = transaction.apply(connection, args);
        if (args[1] === 'readwrite') {
          queueMicrotask(() => begun.abort());
          Object.defineProperty(begun, 'error', { value: new DOMException('full', 'QuotaExceededError') });
        }
        return begun;
      };
    });
    return pending;
  };
  const error = await failing(databases.vacuumDatabase('own'));
  assert.equal(error.code, 'Quota');
  factory.open = opening;
  assert.ok(!(await names(factory)).includes('own#2'));
  assert.equal(await (await databases.database('own', [])).count('out'), 1204);
});

test('who does not let go keeps a vacuum from beginning, or the old database from going, and nothing else', async (context) => {
  const factory = new IDBFactory();
  const databases = await open(context, { factory, deadlineMs: 400 });
  await fill(databases);
  const stubborn = await openRaw(factory, 'own');
  stubborn.onversionchange = null;
  const busy = await failing(databases.vacuumDatabase('own'));
  assert.equal(busy.code, 'Busy');
  assert.ok(databases.events.some(({ type, database }) => type === 'blocked' && database === 'own'));
  stubborn.close();
  const own = await databases.database('own', []);
  assert.equal(await own.count('out'), 1204);
  assert.equal((await databases.vacuumDatabase('own')).generation, 2);
  assert.equal(await own.count('out'), 1204);
});

test('closed is closed, and a close during the opening leaves no connection behind', async () => {
  const factory = new IDBFactory();
  const databases = await initializeDatabases({ wasm: WASM, factory });
  const late = databases.memory.storeEpisode({ id: 'e', salience: 1 });
  await databases.close();
  await late;
  for (const call of [() => databases.memory.getEpisode('e'), () => databases.logs.logDelta({}), () => databases.state.saveKernelState(1), () => databases.status()]) assert.equal((await failing(call)).code, 'Closed');
  const half = await initializeDatabases({ wasm: WASM, factory });
  (await openRaw(factory, 'statik_memory', 20)).close();
  const reading = failing(half.memory.getEpisode('e'));
  await half.close();
  assert.equal((await reading).code, 'Closed');
  for (const name of await names(factory)) await new Promise((resolve, reject) => Object.assign(factory.deleteDatabase(name), { onsuccess: resolve, onblocked: () => reject(new Error(`${name} is held`)) }));
});
