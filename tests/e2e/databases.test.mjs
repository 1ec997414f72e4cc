/**
 * The structured databases where only browsers can tell: real IndexedDB, several tabs and workers, tabs that die, disks that
 * are full. It needs no isolation, so each browser runs it once.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { build } from 'esbuild';
import { until } from './browsers.mjs';
import { CHECKOUT, matrix } from './matrix.mjs';

const SAMPLE = readFileSync(`${CHECKOUT}tests/databases/samples/statik_memory-v1.json`, 'utf8');
const QUOTA_BYTES = 10 * 1024 * 1024;

/** In KiB and for all sites; one may have a fifth of it, and at least 10 MiB. */
const FIREFOX_PREFERENCES = { 'dom.quotaManager.temporaryStorage.fixedLimit': QUOTA_BYTES / 1024 * 4 };

/** Gives the page `databases(options)`, `events`, `code(work)`, and a database of its own by `own(list)`. */
const SETUP = async () => {
  const api = await import('/statik/databases.js');
  const name = new URL(location.href).searchParams.get('store');
  const events = [];
  const databases = (options) => api.initializeDatabases({ name, onEvent: (event) => events.push(event), ...options });
  const code = (work) => Promise.resolve().then(work).then(() => 'well', (error) => (error instanceof api.StatikError && error.code !== 'Io' ? error.code : `${error}`));
  const migrations = [{
    version: 1, checksum: '1',
    upgrade: (db) => {
      db.createObjectStore('out');
      const store = db.createObjectStore('indexed', { keyPath: 'id' });
      store.createIndex('group', 'group');
      store.createIndex('words', 'words', { multiEntry: true });
      store.createIndex('unique', 'unique', { unique: true });
    },
  }];
  const own = async (list = migrations, options = {}) => (await databases(options)).database('own', list);
  /** A connection that lets go of nothing. */
  const raw = (physical, version, upgrade = () => {}) => new Promise((resolve, reject) => {
    const opening = indexedDB.open(physical, version);
    opening.onupgradeneeded = () => upgrade(opening.result);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  Object.assign(globalThis, { api, name, events, databases, code, migrations, own, raw });
};

/** In the page: puts the frozen `statik_memory` of version 1 where this page's is; what its values are made of does not matter. */
const restore = async (sample) => {
  const { version, stores } = JSON.parse(sample);
  const connection = await raw(`statik_memory@${name}`, version, (db) => {
    for (const { name, keyPath, autoIncrement, keys, values } of stores) {
      const store = db.createObjectStore(name, { keyPath, autoIncrement });
      for (const [at, value] of values.entries()) store.put(value, ...(keyPath === null ? [keys[at]] : []));
    }
  });
  connection.close();
};

/** In the page: fills the disk. */
const fillDisk = async () => {
  const { memory } = globalThis.opened = await databases();
  await memory.storeEpisode({ id: 'before', salience: 1, bytes: new Uint8Array(1000) });
  const large = () => crypto.getRandomValues(new Uint8Array(65_536));
  const huge = () => { const bytes = new Uint8Array(1 << 20); for (let at = 0; at < bytes.length; at += 65_536) bytes.set(large(), at); return bytes; };
  const batch = await code(() => memory.storeEpisodes(Array.from({ length: 24 }, (_, n) => ({ id: `batch${n}`, salience: 1, bytes: huge() }))));
  // Values that Firefox keeps in its SQLite database, not in files of their own; some are there before, and must stay what they are.
  const own = await opened.database('own', migrations);
  for (let n = 0; n < 3; n++) await own.put('indexed', { id: n * 30, before: true });
  const small = () => Array.from({ length: 90 }, (_, id) => ({ store: 'indexed', put: { id, bytes: huge().subarray(0, 200_000).slice() } }));
  const smalls = [await code(() => own.write(small())), await code(() => own.write(small()))];
  const rest = (await own.query('indexed')).items.map(({ id, before }) => `${id} ${before}`).join();
  const single = await Promise.all(Array.from({ length: 24 }, (_, n) => code(() => own.put('out', huge(), n))));
  const body = await code(() => own.transaction(['out'], 'readwrite', async (tx) => {
    for (let n = 100; n < 124; n++) await api.request(tx.objectStore('out').put(huge(), n));
  }));
  // Of single writes some may fit: those that are told as stored are there.
  const stored = single.flatMap((each, n) => (each === 'well' ? [n] : []));
  const isThere = JSON.stringify((await own.keys('out')).items) === JSON.stringify(stored);
  return { batch, smalls, rest, single: single.at(-1), body, episodes: (await memory.queryEpisodes()).items.map(({ id, bytes }) => `${id} ${bytes.length}`), isThere };
};

function checkFull(found) {
  assert.deepEqual(found, { batch: 'Quota', smalls: ['Quota', 'Quota'], rest: '0 true,30 true,60 true', single: 'Quota', body: 'Quota', episodes: ['before 1000'], isThere: true });
}

matrix('databases', (place) => {
  const newTab = async (options) => {
    const tab = await place.tab(options);
    await tab.run(SETUP);
    return tab;
  };
  const heard = (topic) => new Promise((resolve) => { place.server.told.once(topic, resolve); });

  test('single writes of one tick share a transaction, and each fails alone; durability is passed on', async () => {
    const found = await (await newTab()).run(async () => {
      const idb = await own();
      const begun = [];
      const { transaction } = IDBDatabase.prototype;
      IDBDatabase.prototype.transaction = function (stores, mode, options) {
        begun.push([mode, options?.durability]);
        return transaction.call(this, stores, mode, options);
      };
      await idb.put('indexed', { id: -1, unique: 'taken' });
      const alone = begun.splice(0);
      const results = await Promise.all(Array.from({ length: 200 }, (_, id) => code(() => (id === 77 ? idb.add('indexed', { id: -1 }) : id === 78 ? idb.put('indexed', { id, unique: 'taken' }) : idb.put('indexed', { id, unique: id })))));
      const grouped = begun.splice(0);
      await idb.write([{ store: 'out', put: 1, key: 1 }], { durability: 'strict' });
      await idb.transaction(['out'], 'readwrite', (tx) => tx.objectStore('out').put(1, 2), { durability: 'strict' });
      const strict = begun.splice(0);
      const durability = await idb.transaction(['out'], 'readwrite', (tx) => tx.durability, { durability: 'strict' });
      IDBDatabase.prototype.transaction = transaction;
      const batch = await code(() => idb.write([{ store: 'out', put: 1, key: 3 }, { store: 'indexed', add: { id: 1000 } }, { store: 'indexed', add: { id: -1 } }, { store: 'out', put: 1, key: 4 }]));
      return { alone, results: [results[77], results[78], ...new Set(results)], grouped, strict, durability, count: await idb.count('indexed'), batch, left: await idb.count('out') };
    });
    assert.deepEqual(found, {
      alone: [['readwrite', 'relaxed']], results: ['Conflict', 'Conflict', 'well', 'Conflict'], grouped: [['readwrite', 'relaxed']],
      strict: [['readwrite', 'strict'], ['readwrite', 'strict']], durability: 'strict', count: 199, batch: 'Conflict', left: 2,
    });
  });

  test('keys of every kind, ranges and pages are as a model has them', async () => {
    const found = await (await newTab()).run(async () => {
      const idb = await own();
      await idb.close();
      const wrong = [];
      const again = await own();
      // The first call of a connection that is not there yet takes the platform's own ranges, too.
      await again.delete('out', IDBKeyRange.lowerBound(0));
      const keys = [-Infinity, 0, new Date(0), '', 'a', new Uint8Array(0), new Uint8Array([1]), [], ['a', [1]]];
      await again.write(keys.map((key, put) => ({ store: 'out', put, key })));
      for (const [value, key] of keys.entries()) {
        const seen = [await again.get('out', key), (await again.query('out', { range: key })).items, (await again.query('out', { range: key, direction: 'prev' })).items, await again.count('out', { range: key })];
        if (JSON.stringify(seen) !== JSON.stringify([value, [value], [value], 1])) wrong.push([String(key), seen]);
      }
      await again.delete('out', new Uint8Array(0));
      const left = await again.count('out');
      const records = Array.from({ length: 40 }, (_, id) => ({ id, group: (id * 7) % 5, words: ['x', 'y', 'z'].filter((_, at) => ((id * 5) >> at) & 1) }));
      await again.write(records.map((put) => ({ store: 'indexed', put })));
      const keyed = { undefined: ({ id }) => [id], group: ({ group }) => [group], words: ({ words }) => words };
      for (const index of [undefined, 'group', 'words']) for (const direction of ['next', 'prev']) for (const limit of [1, 7, 40]) for (const what of ['query', 'keys']) for (const range of [undefined, { upper: index === 'words' ? 'y' : 3 }]) {
        const expected = records.flatMap((each) => keyed[index](each).filter((key) => range === undefined || key <= range.upper).map((key) => ({ key, id: each.id })));
        expected.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.id - b.id));
        if (direction === 'prev') expected.reverse();
        const ids = [];
        for (let cursor; ids.length <= expected.length;) {
          const page = await again[what]('indexed', { direction, limit, ...(index && { index }), ...(range && { range }), ...(cursor && { cursor }) });
          ids.push(...page.items.map((each) => (what === 'keys' ? each : each.id)));
          if ((cursor = page.cursor) === undefined) break;
        }
        if (JSON.stringify(ids) !== JSON.stringify(expected.map(({ id }) => id))) wrong.push([index, direction, limit, what, range, ids.length, expected.length]);
      }
      return { wrong, left };
    });
    assert.deepEqual(found, { wrong: [], left: 8 });
  });

  test('values of every kind that structured clone knows come back after a reload', async () => {
    const tab = await newTab();
    const make = async () => {
      const cyclic = { list: [1, , 3] };
      cyclic.self = cyclic;
      return {
        nothing: null, missing: undefined, yes: true, numbers: [0, -0, NaN, Infinity, -Infinity, 1e300], big: [0n, -(2n ** 80n)], text: 'ü\u0000\ud800😀', boxed: [new Boolean(false), new Number(-0), new String('s')],
        date: new Date(12), never: new Date(NaN), pattern: /a(b)/giu, map: new Map([[{ k: 1 }, new Set([1n])]]), error: new RangeError('r', { cause: 'c' }),
        buffer: new Uint8Array([1, 2]).buffer, none: new ArrayBuffer(0), views: [new Uint8Array([9, 8]).subarray(1), new Float64Array([0.5]), new BigInt64Array([-1n]), new DataView(new ArrayBuffer(3), 1)],
        blob: new Blob(['blob'], { type: 'text/x' }), file: new File(['file'], 'name.txt', { type: 'text/y', lastModified: 7 }), image: new ImageData(1, 1), rectangle: new DOMRect(1, 2, 3, 4),
        key: await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt']), cyclic,
      };
    };
    const tell = async (value, own = globalThis.told = new Map()) => {
      if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : `${typeof value} ${String(value)}`;
      if (own.has(value)) return `#${own.get(value)}`;
      own.set(value, own.size);
      const kind = Object.prototype.toString.call(value);
      if (value instanceof Blob) return [kind, value.type, value.name, value.lastModified, await value.text()];
      if (ArrayBuffer.isView(value)) return [kind, value.byteOffset, value.byteLength, await tell(value.buffer)];
      if (value instanceof ArrayBuffer) return [kind, new Uint8Array(value).join()];
      if (value instanceof CryptoKey) return [kind, value.extractable, value.usages, JSON.stringify(value.algorithm)];
      if (value instanceof Map || value instanceof Set) return [kind, await tell([...value].flat(), own)];
      if (value instanceof ImageData) return [kind, value.width, value.data.join()];
      if (value instanceof Error) return [kind, value.name, value.message];
      if (value instanceof DOMRect) return [kind, JSON.stringify(value)];
      const fields = [];
      for (const [field, each] of Object.entries(value)) fields.push([field, await tell(each, own)]);
      return [kind, /Object|Array/.test(kind) ? value.length : String(value.valueOf()), fields];
    };
    const stored = await tab.run(async (make, tell) => {
      const values = await (0, eval)(make)();
      const { memory, state } = await databases();
      await memory.storeEpisode({ id: 'values', salience: 1, values });
      await state.saveKernelState(values);
      return JSON.stringify(await (0, eval)(tell)(values));
    }, make.toString(), tell.toString());
    await tab.reload();
    await tab.run(SETUP);
    const [episode, kernel] = await tab.run(async (tell) => {
      const { memory, state } = await databases();
      return [JSON.stringify(await (0, eval)(tell)((await memory.getEpisode('values')).values)), JSON.stringify(await (0, eval)(tell)(await state.loadKernelState()))];
    }, tell.toString());
    assert.equal(episode, stored);
    assert.equal(kernel, stored);
  });

  test('tabs that upgrade at once take each step once; one that is open lets another upgrade, and goes on', async () => {
    const first = await newTab();
    const second = await newTab({ store: first.store });
    await first.run(restore, SAMPLE);
    const connect = async () => {
      let steps = 0;
      globalThis.opened = await databases({ onMigration: ({ database }) => { if (database.startsWith('statik_memory')) steps++; } });
      return { steps, version: (await opened.status()).databases[0].version };
    };
    const results = await Promise.all([first.run(connect), second.run(connect)]);
    // A step is announced again where another tab was faster.
    assert.deepEqual(results.map(({ version }) => version), [2, 2]);
    const state = await first.run(async () => ({ history: (await opened.status()).databases[0].history.length, differences: await opened.validateSchema('statik_memory'), count: await opened.memory.countConcepts() }));
    assert.deepEqual(state, { history: 2, differences: [], count: 4 });
    await second.run(() => opened.memory.storeConcept({ id: 'second', name: 'n' }));
    const moved = await first.run(async () => [await opened.migrateTo('statik_memory', 1), await opened.migrateTo('statik_memory', 2)].map(({ from, to }) => [from, to]));
    assert.deepEqual(moved, [[2, 1], [1, 2]]);
    const after = await second.run(async () => ({ name: (await opened.memory.getConcept('second')).name, types: events.map(({ type }) => type) }));
    assert.equal(after.name, 'n');
    assert.ok(after.types.includes('versionchange') && after.types.includes('reopened'), after.types.join());
    assert.equal(await first.run(async () => (await opened.memory.getConcept('second')).name), 'n');
  });

  test('a tab that does not let go makes others Busy, harms nothing, and once it is gone all goes well', async () => {
    const tab = await newTab();
    const stubborn = await newTab({ store: tab.store });
    await tab.run(restore, SAMPLE);
    await stubborn.run(async () => { globalThis.held = await raw(`statik_memory@${name}`); });
    const busy = await tab.run(async () => ({ code: await code(() => databases({ deadlineMs: 1000 })), blocked: events.filter(({ type }) => type === 'blocked').map(({ database }) => database === `statik_memory@${name}`) }));
    assert.deepEqual(busy, { code: 'Busy', blocked: [true] });
    const held = await stubborn.run(async () => {
      const found = [held.version, held.transaction('episodes').objectStore('episodes').indexNames.length, [...held.objectStoreNames].length];
      held.close();
      return found;
    });
    assert.deepEqual(held, [1, 0, 4]);
    const after = await tab.run(async () => {
      const { memory, ...opened } = await databases();
      const { items } = await memory.queryEpisodes({ tags: ['a'] });
      return [items.length, await memory.countConcepts(), await memory.countEpisodes()];
    });
    assert.deepEqual(after, [15, 4, 32]);
  });

  test('a tab that dies in the middle of a migration leaves nothing of it, and the next one completes it', async () => {
    const dying = await newTab();
    const living = await newTab({ store: dying.store });
    await dying.run(async () => { const idb = await own(); await idb.put('out', 'kept', 'k'); });
    const inside = heard('inside');
    await dying.start(() => own([...migrations, {
      version: 2, checksum: '2',
      upgrade: async (db) => {
        const store = db.createObjectStore('made');
        for (let n = 0; n < 500; n++) await api.request(store.put(n, n));
        void tell('inside');
        for (;;) await api.request(store.put('more', 'more'));
      },
    }]));
    await inside;
    await dying.close();
    const found = await living.run(async () => {
      const idb = await own([...migrations, { version: 2, checksum: '2', upgrade: async (db) => { const store = db.createObjectStore('made'); await api.request(store.put('whole', 1)); } }]);
      return [(await idb.query('made')).items, await idb.get('out', 'k'), (await idb.get('statik_meta', 'schema')).history.length];
    });
    assert.deepEqual(found, [['whole'], 'kept', 2]);
  });

  test('a connection that is lost is told of, and the next call works', async () => {
    const tab = await newTab();
    await tab.run(async () => {
      const { transaction } = IDBDatabase.prototype;
      IDBDatabase.prototype.transaction = function (...args) {
        globalThis.used = this;
        return transaction.apply(this, args);
      };
      globalThis.opened = await databases();
      await opened.memory.storeConcept({ id: 'c', name: 'before' });
    });
    if (place.browserName === 'chrome') {
      const protocol = await tab.page.createCDPSession();
      await protocol.send('Storage.clearDataForOrigin', { origin: place.server.origin, storageTypes: 'indexeddb' });
    } else {
      await tab.run(async () => {
        used.close();
        used.dispatchEvent(new Event('close'));
      });
    }
    await until(() => tab.run(() => events.some(({ type }) => type === 'lost')), 10_000, 'the loss is told');
    const found = await tab.run(async () => {
      await opened.memory.storeConcept({ id: 'd', name: 'after' });
      return { name: (await opened.memory.getConcept('d')).name, types: events.filter(({ database }) => database.startsWith('statik_memory')).map(({ type }) => type) };
    });
    assert.deepEqual(found, { name: 'after', types: ['lost', 'reopened'] });
  });

  test('a vacuum loses nothing that another tab has been told as stored', async () => {
    const tab = await newTab();
    const writing = await newTab({ store: tab.store });
    await tab.run(async () => { globalThis.opened = await databases(); await opened.memory.storeEpisodes(Array.from({ length: 1500 }, (_, n) => ({ id: `old${n}`, salience: 0, text: 'x'.repeat(100) }))); });
    const begun = heard('begun');
    await writing.start(async () => {
      const { memory } = await databases();
      const stored = [];
      const failures = [];
      globalThis.stop = new Promise((resolve) => { globalThis.halt = resolve; });
      let isStopped = false;
      void stop.then(() => { isStopped = true; });
      for (let n = 0; !isStopped; n++) {
        const ids = [`${n}a`, `${n}b`, `${n}c`];
        await Promise.all(ids.map((id, at) => (at < 2 ? memory.storeEpisode({ id, salience: 1 }) : memory.storeEpisodes([{ id, salience: 1 }])).then(() => stored.push(id), (error) => failures.push(String(error)))));
        if (n === 3) void tell('begun');
      }
      globalThis.outcome = { stored, failures };
    });
    await begun;
    const reports = await tab.run(async () => [await opened.vacuumDatabase('statik_memory'), await opened.vacuumDatabase('statik_memory'), await opened.vacuumDatabase('statik_memory')]);
    assert.deepEqual(reports.map(({ generation }) => generation), [2, 3, 4]);
    assert.ok(reports[0].records > 1500);
    await writing.run(() => halt());
    await until(() => writing.run(() => globalThis.outcome !== undefined), 20_000, 'the other tab has stopped');
    const { stored, failures } = await writing.run(() => outcome);
    assert.deepEqual(failures, []);
    const found = await tab.run(async (ids) => {
      const lost = [];
      for (const id of ids) if (await opened.memory.getEpisode(id) === undefined) lost.push(id);
      const names = (await indexedDB.databases()).map((each) => each.name).filter((each) => each.startsWith(`statik_memory@${name}`));
      return { lost, names: names.map((each) => each.split('#')[1]), count: await opened.memory.countEpisodes() };
    }, stored);
    assert.deepEqual(found, { lost: [], names: ['4'], count: 1500 + stored.length });
  });

  test('a call is over by its deadline, and what was given up is not done later', async () => {
    const tab = await newTab();
    const other = await newTab({ store: tab.store });
    await tab.run(async () => { globalThis.idb = await own(migrations, { deadlineMs: 800 }); await idb.put('out', 'before', 'k'); });
    await other.run(async () => {
      const connection = await raw(`own@${name}`);
      const store = connection.transaction('out', 'readwrite').objectStore('out');
      globalThis.isHolding = true;
      globalThis.released = new Promise((resolve) => { store.transaction.oncomplete = resolve; });
      const hold = () => { if (isHolding) store.get('k').onsuccess = hold; };
      hold();
    });
    const codes = await tab.run(() => Promise.all([
      code(() => idb.put('out', 1, 'k')), code(() => idb.write([{ store: 'out', put: 2, key: 'k' }])), code(() => idb.transaction(['out'], 'readwrite', (tx) => tx.objectStore('out').put(3, 'k'))), code(() => idb.get('out', 'k')),
    ]));
    assert.deepEqual(codes, ['Timeout', 'Timeout', 'Timeout', 'Timeout']);
    await other.run(async () => { globalThis.isHolding = false; await released; });
    const found = await tab.run(async () => [await idb.get('out', 'k'), await idb.put('out', 'after', 'k'), await idb.get('out', 'k'), events.map(({ type }) => type)]);
    assert.deepEqual(found, ['before', 'k', 'after', ['lost', 'reopened']]);
  });
}, { modes: ['direct'] });

matrix('databases in workers', (place) => {
  before(async () => {
    const contents = `
      import { initializeDatabases } from './databases.js';
      self.addEventListener('install', () => self.skipWaiting?.());
      const opened = new Map();
      const databases = (name) => opened.get(name) ?? opened.set(name, initializeDatabases({ name, wasm: '/statik/records_bg.wasm' })).get(name);
      async function answer({ data: { name, id } }) {
        try {
          const { memory, storage } = await databases(name);
          const { items } = await memory.queryEpisodes({ tags: ['page'], salience: { min: 0.5 } });
          await memory.storeEpisode({ id, salience: 0.25, tags: ['worker'], map: new Map([[id, 1n]]) });
          return { storage, items };
        } catch (error) { return { error: String(error) }; }
      }
      self.addEventListener('message', (event) => {
        const done = answer(event).then((found) => event.ports[0].postMessage(found));
        event.waitUntil?.(done);
      });`;
    const { outputFiles: [output] } = await build({ stdin: { contents, resolveDir: `${CHECKOUT}dist` }, bundle: true, format: 'iife', target: 'es2022', write: false, logLevel: 'error' });
    place.server.files.set('databases-worker.js', Buffer.from(output.contents));
  });

  for (const kind of ['service worker', 'dedicated worker']) {
    test(`a ${kind} reads what the page has stored, and the page what the ${kind} has`, async () => {
      const tab = await place.tab();
      await tab.run(SETUP);
      const talk = async (kind, id) => {
        const { memory } = globalThis.opened ??= await databases();
        await memory.storeEpisode({ id: `page ${id}`, salience: 0.75, tags: ['page'], at: new Date(7) });
        if (kind === 'service worker') await navigator.serviceWorker.register('/files/databases-worker.js');
        const { active, waiting, installing } = await navigator.serviceWorker.getRegistration('/files/') ?? {};
        const worker = active ?? waiting ?? installing ?? new Worker('/files/databases-worker.js');
        const channel = new MessageChannel();
        const answered = new Promise((resolve) => { channel.port1.onmessage = ({ data }) => resolve(data); });
        worker.postMessage({ name, id }, [channel.port2]);
        const { storage, items, error } = await answered;
        if (error) throw new Error(error);
        const made = await memory.getEpisode(id);
        return { storage, ids: items.map((each) => each.id).sort(), date: items[0].at.getTime(), map: made.map.get(id) };
      };
      const first = await tab.run(talk, kind, 'first');
      assert.deepEqual(first, { storage: 'indexeddb', ids: ['page first'], date: 7, map: 1n });
      await tab.reload();
      await tab.run(SETUP);
      const second = await tab.run(talk, kind, 'second');
      assert.deepEqual(second, { storage: 'indexeddb', ids: ['page first', 'page second'], date: 7, map: 1n });
      await tab.run(async () => { for (const each of await navigator.serviceWorker.getRegistrations()) await each.unregister(); });
    });
  }
}, { modes: ['direct'] });

matrix('databases on a full disk', (place) => {
  test('a batch that does not fit is Quota, and nothing of it is there; with more room it goes on', async () => {
    const tab = await place.tab();
    await tab.run(SETUP);
    const protocol = await tab.page.createCDPSession();
    const { origin } = place.server;
    await protocol.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: QUOTA_BYTES });
    checkFull(await tab.run(fillDisk));
    await protocol.send('Storage.overrideQuotaForOrigin', { origin });
    assert.deepEqual(await tab.run(async () => [await opened.memory.storeEpisode({ id: 'after', salience: 1, bytes: new Uint8Array(12_000_000) }), await opened.memory.countEpisodes()]), ['after', 2]);
  });
}, { browsers: ['chrome'], modes: ['direct'] });

matrix('databases on a full disk', (place) => {
  test('a batch that does not fit is Quota, and nothing of it is there; what fits goes on', async () => {
    const tab = await place.tab();
    await tab.run(SETUP);
    checkFull(await tab.run(fillDisk));
    assert.deepEqual(await tab.run(async () => [await opened.memory.storeEpisode({ id: 'after', salience: 1 }), await opened.memory.countEpisodes()]), ['after', 2]);
  });
}, { browsers: ['firefox'], modes: ['direct'], launch: { preferences: FIREFOX_PREFERENCES } });
