/** IndexedDB's migrations, on an IndexedDB in memory: all or nothing, back and forth, and several migrators at once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IDBFactory } from 'fake-indexeddb';
import { mulberry32 } from '../e2e/random.mjs';
import { load } from './load.mjs';

const { migrate, request, schemaOf, validateSchema, StatikError, META, SCHEMA } = await load(
  "export * from './migrations/indexeddb.js'; export * from './migrations/schema.js'; export { StatikError } from './errors.js'",
);

const SEED = 20260207;
const NAME = 'statik_memory';

/** How a tab opens the database: it lets go of it when another wants to upgrade. */
function opener(factory) {
  return (version, upgrade) => new Promise((resolve, reject) => {
    const opening = factory.open(NAME, version);
    opening.onupgradeneeded = () => void upgrade(opening.result, opening.transaction);
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      database.onversionchange = () => database.close();
      resolve(database);
    };
  });
}

/** A database to be migrated: `to` migrates it, `image` says all that is in it. */
function subject() {
  const factory = new IDBFactory();
  const open = opener(factory);
  const to = async (migrations, options) => {
    const { database, ...result } = await migrate(open, migrations, options);
    database.close();
    return result;
  };
  const image = async () => {
    const [known] = await factory.databases();
    if (known === undefined) return undefined;
    const database = await open(undefined, () => assert.fail('it is there'));
    const names = [...database.objectStoreNames];
    const tx = database.transaction(names);
    const stores = {};
    for (const name of names) stores[name] = [await request(tx.objectStore(name).getAllKeys()), await request(tx.objectStore(name).getAll())];
    const found = { version: database.version, schema: schemaOf(database), stores };
    database.close();
    return structuredClone(found);
  };
  /** Changes records behind the migrations' back. */
  const edit = async (store, change) => {
    const database = await open(undefined, () => assert.fail('it is there'));
    const tx = database.transaction(store, 'readwrite');
    await change(tx.objectStore(store));
    database.close();
  };
  return { factory, open, to, image, edit };
}

/** The first two are the list form of the seed; the third moves data, the fourth rebuilds a store under another key. */
const MIGRATIONS = [
  {
    version: 1,
    checksum: 'v1',
    upgrade: (db) => {
      db.createObjectStore('episodes', { keyPath: 'id' });
      db.createObjectStore('concepts', { keyPath: 'id' });
    },
    down: (db) => {
      db.deleteObjectStore('episodes');
      db.deleteObjectStore('concepts');
    },
  },
  {
    version: 2,
    checksum: 'v2',
    upgrade: (db) => {
      const store = db.transaction.objectStore('episodes');
      store.createIndex('timestamp', 'timestamp');
      store.createIndex('salience', 'salience');
    },
    down: (db) => {
      db.objectStore('episodes').deleteIndex('timestamp');
      db.objectStore('episodes').deleteIndex('salience');
    },
  },
  {
    version: 3,
    checksum: 'v3',
    name: 'tags are a list',
    upgrade: (db) => rewrite(db.objectStore('episodes'), ({ tag, ...rest }) => ({ ...rest, tags: [tag] })),
    down: (db) => rewrite(db.objectStore('episodes'), ({ tags, ...rest }) => ({ ...rest, tag: tags[0] })),
  },
  {
    version: 4,
    checksum: 'v4',
    upgrade: async (db, tx) => {
      const concepts = await request(tx.objectStore('concepts').getAll());
      db.deleteObjectStore('concepts');
      const store = db.createObjectStore('concepts', { keyPath: 'name' });
      store.createIndex('id', 'id', { unique: true });
      for (const concept of concepts) await request(store.add(concept));
    },
    down: async (db, tx) => {
      const concepts = await request(tx.objectStore('concepts').getAll());
      db.deleteObjectStore('concepts');
      const store = db.createObjectStore('concepts', { keyPath: 'id' });
      await Promise.all(concepts.map((concept) => request(store.add(concept))));
    },
  },
];

/** Replaces every record, by a cursor. */
async function rewrite(store, change) {
  const cursors = store.openCursor();
  for (let cursor = await request(cursors); cursor; cursor = await request(cursors)) {
    await request(cursor.update(change(cursor.value)));
    cursor.continue();
  }
}

/** The schema at each version. */
const EPISODES = { keyPath: 'id', indexes: { timestamp: { keyPath: 'timestamp' }, salience: { keyPath: 'salience' } } };
const SHAPES = [
  { stores: {} },
  { stores: { episodes: { keyPath: 'id' }, concepts: { keyPath: 'id' } } },
  { stores: { episodes: EPISODES, concepts: { keyPath: 'id' } } },
  { stores: { episodes: EPISODES, concepts: { keyPath: 'id' } } },
  { stores: { episodes: EPISODES, concepts: { keyPath: 'name', indexes: { id: { keyPath: 'id', unique: true } } } } },
];

const episode = (id, version) => ({ id, timestamp: id * 10, salience: id / 10, ...(version < 3 ? { tag: `t${id}` } : { tags: [`t${id}`] }) });

async function shapeOf({ open }) {
  const database = await open(undefined, () => assert.fail('it is there'));
  const found = SHAPES.map((shape) => validateSchema(database, shape));
  database.close();
  return found;
}

test('a new database is made at the newest version in its first upgrade, and then there is nothing to do', async () => {
  const { to, image } = subject();
  const told = [];
  const before = Date.now();
  const { applied, ...range } = await to(MIGRATIONS, { onProgress: (progress) => told.push(progress) });
  assert.deepEqual(range, { from: 0, to: 4 });
  assert.deepEqual(applied.map(({ appliedMs, ...rest }) => rest), MIGRATIONS.map(({ version, name = '', checksum }) => ({ version, name, checksum, direction: 'up' })));
  assert.ok(applied.every(({ appliedMs }) => appliedMs >= before && appliedMs <= Date.now()));
  assert.deepEqual(told[2], { step: 3, of: 4, version: 3, name: 'tags are a list', direction: 'up' });
  const made = await image();
  assert.equal(made.version, 1);
  assert.deepEqual(made.stores[META], [[SCHEMA], [{ version: 4, history: applied }]]);
  assert.deepEqual(await to(MIGRATIONS), { from: 4, to: 4, applied: [] });
  assert.deepEqual(await image(), made);
});

test('a database of every past version is brought to every other, with its data', async () => {
  for (let from = 1; from <= 4; from++) {
    for (let target = 0; target <= 4; target++) {
      const { to, image, edit, ...rest } = subject();
      await to(MIGRATIONS.slice(0, from));
      for (const id of [1, 2, 3]) await edit('episodes', (store) => request(store.put(episode(id, from))));
      await edit('concepts', (store) => request(store.put({ id: 7, name: 'seven' })));
      const result = await to(MIGRATIONS, { target });
      assert.deepEqual([result.from, result.to, result.applied.length], [from, target, Math.abs(from - target)]);
      const { version, stores } = await image();
      assert.equal(version, from === target ? 1 : 2, 'IndexedDB\'s number rises by one, up or down');
      assert.deepEqual((await shapeOf(rest))[target], [], `${from} to ${target}`);
      if (target === 0) continue;
      assert.deepEqual(stores.episodes[1], [1, 2, 3].map((id) => episode(id, target)), `${from} to ${target}`);
      assert.deepEqual(stores.concepts, [[target === 4 ? 'seven' : 7], [{ id: 7, name: 'seven' }]]);
    }
  }
});

test('a random walk through the versions keeps the data and the whole history', async () => {
  const random = mulberry32(SEED);
  const { to, image, edit } = subject();
  let stands = 0;
  let steps = 0;
  await to(MIGRATIONS, { target: 0 });
  for (let turn = 0; turn < 40; turn++) {
    const target = 1 + Math.floor(random() * 4);
    const { from, applied } = await to(MIGRATIONS, { target });
    assert.equal(from, stands, `seed ${SEED}, turn ${turn}`);
    steps += applied.length;
    stands = target;
    await edit('episodes', (store) => request(store.put(episode(turn, target))));
    const { stores } = await image();
    assert.deepEqual(stores.episodes[1], Array.from({ length: turn + 1 }, (_, id) => episode(id, target)), `seed ${SEED}, turn ${turn}`);
    assert.equal(stores[META][1][0].history.length, steps);
  }
});

test('a step that fails leaves everything as it was: stores, data, history, number', async () => {
  const failing = {
    'throws at once': () => { throw new RangeError('no'); },
    'throws after requests': async (db, tx) => {
      db.deleteObjectStore('concepts');
      await request(tx.objectStore('episodes').clear());
      throw new RangeError('no');
    },
    'awaits a request that fails': (db, tx) => request(tx.objectStore('episodes').add(episode(1, 1))),
    'lets a request fail unheard': (db, tx) => void tx.objectStore('episodes').add(episode(1, 1)),
    'makes a store that is there': (db) => void db.createObjectStore('episodes'),
    'makes an index that the data forbids': (db) => void db.objectStore('episodes').createIndex('same', 'same', { unique: true }),
    'deletes the history': (db) => void db.deleteObjectStore(META),
    'deletes the history behind our back': (db, tx) => void tx.db.deleteObjectStore(META),
    'aborts': (db, tx) => tx.abort(),
  };
  for (const [what, upgrade] of Object.entries(failing)) {
    const { to, image, edit } = subject();
    await to(MIGRATIONS.slice(0, 1));
    for (const id of [1, 2]) await edit('episodes', (store) => request(store.put({ ...episode(id, 1), same: 'x' })));
    const before = await image();
    const list = [...MIGRATIONS.slice(0, 2), { version: 3, name: 'bad', checksum: 'bad', upgrade }];
    await assert.rejects(to(list), (error) => {
      assert.ok(error instanceof StatikError, what);
      assert.match(error.message, /^migration 3 \(bad\), up, of database "statik_memory" failed, and nothing was changed: /, what);
      return true;
    });
    assert.deepEqual(await image(), before, what);
    assert.equal((await to(MIGRATIONS)).to, 4, `${what}: the way is free afterwards`);
  }
});

test('a failure says what failed: the code of the cause, with the cause', async () => {
  const fails = async (upgrade) => {
    const { to, edit } = subject();
    await to(MIGRATIONS.slice(0, 1));
    await edit('episodes', (store) => request(store.put(episode(1, 1))));
    return to([MIGRATIONS[0], { version: 2, upgrade }]).then(() => assert.fail('it went well'), (error) => error);
  };
  const own = new RangeError('no');
  assert.equal((await fails(() => { throw own; })).cause, own);
  for (const add of [(db, tx) => void tx.objectStore('episodes').add(episode(1, 1)), (db, tx) => request(tx.objectStore('episodes').add(episode(1, 1)))]) {
    const { code, message } = await fails(add);
    assert.equal(code, 'Conflict');
    assert.match(message, /ConstraintError/);
  }
});

test('a step may await something else, as long as it asks for nothing after', async () => {
  const { to, image } = subject();
  const slow = async (db) => {
    db.createObjectStore('made');
    await new Promise((resolve) => { setImmediate(() => setImmediate(resolve)); });
  };
  await to([{ version: 1, upgrade: slow }, { version: 2, upgrade: (db) => void db.createObjectStore('after') }]);
  assert.deepEqual(Object.keys((await image()).stores), ['after', 'made', META]);
});

test('a step may go on after a request that failed, if it heard of that', async () => {
  const { to, image, edit } = subject();
  await to(MIGRATIONS.slice(0, 1));
  await edit('episodes', (store) => request(store.put(episode(1, 1))));
  const heard = async (db, tx) => {
    await assert.rejects(request(tx.objectStore('episodes').add(episode(1, 1))), { name: 'StatikError', code: 'Conflict' });
    await request(tx.objectStore('episodes').add(episode(2, 1)));
  };
  await to([MIGRATIONS[0], { version: 2, upgrade: heard }]);
  assert.deepEqual((await image()).stores.episodes[0], [1, 2]);
});

test('a new database whose first migration fails does not come to be', async () => {
  const { to, image } = subject();
  await assert.rejects(to([MIGRATIONS[0], { version: 2, upgrade: () => { throw new Error('no'); } }]), { message: /^migration 2, up/ });
  assert.equal(await image(), undefined);
  assert.equal((await to(MIGRATIONS)).from, 0);
});

test('migrators at once: one migrates, the others find it done', async () => {
  for (const past of [0, 1, 3]) {
    const { to, open, image } = subject();
    if (past > 0) await to(MIGRATIONS.slice(0, past));
    let runs = 0;
    const counted = MIGRATIONS.map((each) => ({ ...each, upgrade: (db, tx) => { runs += 1; return each.upgrade(db, tx); } }));
    const results = await Promise.all(Array.from({ length: 5 }, () => migrate(open, counted)));
    assert.equal(runs, 4 - past, 'each step was taken once');
    assert.deepEqual(results.map(({ applied }) => applied.length).sort(), [0, 0, 0, 0, 4 - past]);
    assert.ok(results.every((result) => result.to === 4 && result.database.version === results[0].database.version));
    for (const { database } of results) database.close();
    assert.equal((await image()).stores[META][1][0].history.length, 4);
  }
});

test('migrators with different targets at once: each step is taken from where the one before left it', async () => {
  const { to, image } = subject();
  await to(MIGRATIONS);
  await Promise.all([to(MIGRATIONS, { target: 1 }), to(MIGRATIONS, { target: 3 }), to(MIGRATIONS)]);
  const [, [{ version, history }]] = (await image()).stores[META];
  assert.equal(version, history.reduce((stands, { direction }) => stands + (direction === 'up' ? 1 : -1), 0));
  assert.equal((await to(MIGRATIONS)).from, version);
});

test('who looked before another upgraded twice begins anew', async () => {
  const { to, open, factory } = subject();
  await to(MIGRATIONS.slice(0, 1));
  let openings = 0;
  const overtaken = async (version, upgrade) => {
    openings += 1;
    if (openings === 2) {
      await to(MIGRATIONS);
      await to(MIGRATIONS, { target: 2 });
    }
    return open(version, upgrade);
  };
  const { database, from, to: reached } = await migrate(overtaken, MIGRATIONS);
  assert.deepEqual([from, reached, database.version], [2, 4, 4]);
  database.close();
  assert.equal(openings, 4);
  assert.deepEqual(await factory.databases(), [{ name: NAME, version: 4 }]);
});

test('who is overtaken by a newer app is refused inside its upgrade, and harms nothing', async () => {
  const { to, open, image, factory } = subject();
  await to(MIGRATIONS.slice(0, 1));
  let before;
  let openings = 0;
  const overtaken = async (version, upgrade) => {
    openings += 1;
    if (openings === 2) {
      // The number is what it was, the content is not: the database was deleted and made again.
      await request(factory.deleteDatabase(NAME));
      await to(MIGRATIONS);
      before = await image();
    }
    return open(version, upgrade);
  };
  await assert.rejects(migrate(overtaken, MIGRATIONS.slice(0, 2)), { code: 'Unsupported', message: /schema version 4/ });
  assert.deepEqual(await image(), before);
});

test('what is refused is left as it was, number included', async () => {
  const changed = MIGRATIONS.map((each) => (each.version === 2 ? { ...each, checksum: 'other' } : each));
  const oneWay = MIGRATIONS.map(({ down, ...each }) => (each.version === 3 ? each : { ...each, down }));
  const cases = [
    ['Unsupported', /schema version 4, .*knows versions up to 2/, MIGRATIONS.slice(0, 2), {}],
    ['Conflict', /^migration 2 was changed/, changed, {}],
    ['Conflict', /^migration 2 was changed/, changed, { target: 0 }],
    ['Unsupported', /^migration 3 \(tags are a list\) has no down step/, oneWay, { target: 1 }],
    ['Invalid', /^option target/, MIGRATIONS, { target: 5 }],
  ];
  for (const [code, message, list, options] of cases) {
    const { to, image } = subject();
    await to(MIGRATIONS);
    const before = await image();
    await assert.rejects(to(list, options), { name: 'StatikError', code, message });
    assert.deepEqual(await image(), before);
  }
  const { to, image } = subject();
  await assert.rejects(to(MIGRATIONS, { target: 5 }), { code: 'Invalid' });
  assert.equal(await image(), undefined);
});

test('a damaged history is refused', async () => {
  const { to, image, edit } = subject();
  await to(MIGRATIONS);
  const [, [good]] = (await image()).stores[META];
  const damages = [
    null, 7, 'x', {}, { version: 4 }, { version: 3, history: good.history }, { version: '4', history: good.history },
    { version: 4, history: good.history.slice(1) }, { version: 4, history: [...good.history, good.history[3]] }, { version: 4, history: { length: 4 } },
  ];
  for (const damage of damages) {
    await edit(META, (store) => request(store.put(damage, SCHEMA)));
    const before = await image();
    await assert.rejects(to(MIGRATIONS, { target: 1 }), { code: 'Corrupt', message: /"statik_memory"/ });
    assert.deepEqual(await image(), before);
  }
});

test('a signal, and progress that throws, stop the migration as if it had never begun', async () => {
  for (const at of [1, 2, 3]) {
    const { to, image } = subject();
    await to(MIGRATIONS.slice(0, 1));
    const before = await image();
    const abort = new AbortController();
    const reason = new Error('enough');
    const stops = [
      { signal: AbortSignal.abort(reason) },
      { signal: abort.signal, onProgress: ({ step }) => { if (step === at) abort.abort(reason); } },
      { onProgress: ({ step }) => { if (step === at) throw reason; } },
    ];
    for (const options of stops) {
      await assert.rejects(to(MIGRATIONS, options), (error) => error === reason);
      assert.deepEqual(await image(), before);
    }
  }
  const { to, image } = subject();
  const abort = new AbortController();
  const hangs = () => {
    abort.abort();
    return new Promise(() => {});
  };
  await assert.rejects(to([{ version: 1, upgrade: hangs }], { signal: abort.signal }), { name: 'AbortError' });
  assert.equal(await image(), undefined);
});

test('what an opening fails with is passed on', async () => {
  const blocked = new StatikError({ code: 'Busy', message: 'another tab has it' });
  await assert.rejects(migrate(async () => { throw blocked; }, MIGRATIONS), (error) => error === blocked);
  await assert.rejects(migrate(async () => { throw new DOMException('full', 'QuotaExceededError'); }, MIGRATIONS), { name: 'StatikError', code: 'Quota' });
  const { open, to } = subject();
  await to(MIGRATIONS);
  const never = (version, upgrade) => (version === undefined ? open(version, upgrade) : Promise.reject(new DOMException('lower', 'VersionError')));
  await assert.rejects(migrate(never, MIGRATIONS, { target: 0 }), { code: 'Busy' });
});

test('validateSchema tells every difference, and none where there is none', async () => {
  const factory = new IDBFactory();
  const made = {
    version: 1,
    upgrade: (db) => {
      const store = db.createObjectStore('episodes', { keyPath: ['a', 'b'] });
      store.createIndex('tags', 'tags', { multiEntry: true });
      store.createIndex('extra', ['x', 'y']);
      db.createObjectStore('plain', { autoIncrement: true });
    },
  };
  const { database } = await migrate(opener(factory), [made]);
  const tags = { keyPath: 'tags', unique: false, multiEntry: true };
  const extra = { keyPath: ['x', 'y'], unique: false, multiEntry: false };
  const plain = { keyPath: null, autoIncrement: true, indexes: {} };
  const is = { stores: { episodes: { keyPath: ['a', 'b'], autoIncrement: false, indexes: { tags, extra } }, plain } };
  assert.deepEqual(schemaOf(database), is);
  assert.deepEqual(validateSchema(database, is), []);
  assert.deepEqual(validateSchema(database, { stores: {
    episodes: { keyPath: ['a', 'b'], indexes: { tags: { keyPath: 'tags', multiEntry: true }, extra: { keyPath: ['x', 'y'] } } },
    plain: { autoIncrement: true },
  } }), []);
  const expected = { stores: {
    episodes: { keyPath: ['b', 'a'], autoIncrement: true, indexes: { tags: { keyPath: 'tags', unique: true }, lacks: { keyPath: 'l' } } },
    missing: {},
  } };
  assert.deepEqual(validateSchema(database, expected), [
    { path: 'stores.episodes.keyPath', expected: ['b', 'a'], found: ['a', 'b'] },
    { path: 'stores.episodes.autoIncrement', expected: true, found: false },
    { path: 'stores.episodes.indexes.tags.unique', expected: true, found: false },
    { path: 'stores.episodes.indexes.tags.multiEntry', expected: false, found: true },
    { path: 'stores.episodes.indexes.lacks', expected: { keyPath: 'l', unique: false, multiEntry: false }, found: undefined },
    { path: 'stores.episodes.indexes.extra', expected: undefined, found: extra },
    { path: 'stores.missing', expected: { keyPath: null, autoIncrement: false, indexes: {} }, found: undefined },
    { path: 'stores.plain', expected: undefined, found: plain },
  ]);
  database.close();
});
