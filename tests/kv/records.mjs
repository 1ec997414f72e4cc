/** The contract's cases about records: what is kept, which one stays, and that all of a call lands or nothing. */
import { equal, fails, ok } from './assert.mjs';
import { stamp, told } from './bench.mjs';

/** One of each kind that a value may be. */
const VALUES = [
  undefined, null, true, false, 0, -0, 1, -1.5, 1e308, 5e-324, NaN, Infinity, -Infinity, 2n ** 80n, -1n,
  '', 'text', 'a\0b', 'ä €, 日本語, 👩‍👩‍👧', 'lone \ud800', '"\\\n', [], [1, [undefined, null]], {}, { a: { b: [{}] }, '': 1 },
  new Date(0), new Date(NaN), new Uint8Array(0), new Uint8Array([0, 255, 1]), new Map([['a', new Map([[1, new Set([2])]])]]), new Set([1, 'a']),
];

/** Records that only something other than the stamp tells apart, from the least to the greatest. */
const ONE_STAMP = [
  { value: 'a', hlc: stamp(1), expiresMs: Number.MAX_SAFE_INTEGER - 1 },
  { value: 'a', hlc: stamp(1), expiresMs: Number.MAX_SAFE_INTEGER },
  { value: 'a', hlc: stamp(1) },
  { value: 'b', hlc: stamp(1), expiresMs: Number.MAX_SAFE_INTEGER },
  { value: '\uffff', hlc: stamp(1) },
  // Above U+FFFF comes last by code points, and not by UTF-16 units.
  { value: '😀', hlc: stamp(1) },
  { value: undefined, hlc: stamp(1), isDeleted: true, expiresMs: Number.MAX_SAFE_INTEGER },
  { value: undefined, hlc: stamp(1), isDeleted: true },
  { value: 'a', hlc: stamp(1, 0, 'ffffffffffffffff') },
  { value: 'a', hlc: stamp(1, 1) },
  { value: 'a', hlc: stamp(2) },
];

/** @type {Record<string, (bench: import('./bench.mjs').Bench) => Promise<void>>} */
export const recordCases = {
  'a record comes back as it was put': async (bench) => {
    const adapter = await bench.open();
    const record = { value: { a: [1, 'b'] }, hlc: adapter.clock.tick(), expiresMs: bench.nowMs + 1 };
    equal(await adapter.put('k', record), undefined);
    equal(await adapter.get('k'), record);
    equal(await adapter.get('other'), undefined);
  },

  'values of every kind come back': async (bench) => {
    const adapter = await bench.open();
    for (const [at, value] of VALUES.entries()) await adapter.put(`k${at}`, { value, hlc: stamp(at) });
    for (const [at, value] of VALUES.entries()) equal(await adapter.get(`k${at}`), { value, hlc: stamp(at) }, `value ${at}`);
    const all = new Map([['all', { value: VALUES, hlc: stamp(100) }]]);
    await adapter.commit(all, [{ key: 'all', opType: 'put', value: VALUES, hlc: stamp(100) }]);
    equal((await adapter.get('all')).value, VALUES);
    equal((await adapter.getPendingOps())[0].value, VALUES);
  },

  'large values come back': async (bench) => {
    const adapter = await bench.open();
    const value = 'ä1'.repeat(500_000);
    await adapter.put('large', { value, hlc: stamp(1) });
    ok((await adapter.get('large')).value === value, 'the same text');
    equal(await told(adapter), [['large', { hlc: stamp(1), isDeleted: false }]]);
  },

  'what is changed after the call changes nothing': async (bench) => {
    const adapter = await bench.open();
    const record = { value: { list: [1] }, hlc: stamp(1) };
    const op = { key: 'k', opType: 'put', value: record.value, hlc: stamp(1) };
    const puts = new Map([['k', record]]);
    const done = adapter.commit(puts, [op]);
    record.value.list.push(2);
    record.hlc = stamp(9);
    op.key = 'other';
    puts.clear();
    await done;
    equal(await adapter.get('k'), { value: { list: [1] }, hlc: stamp(1) });
    equal(await adapter.getPendingOps(), [{ id: 1, key: 'k', opType: 'put', value: { list: [1] }, hlc: stamp(1) }]);
  },

  'the last writer stays, in whatever order they come': async (bench) => {
    const adapter = await bench.open();
    const [older, newer] = [{ value: 'zzz', hlc: stamp(1) }, { value: 'aaa', hlc: stamp(2) }];
    for (const [key, records] of Object.entries({ rising: [older, newer], falling: [newer, older] })) {
      for (const record of records) await adapter.put(key, record);
      equal(await adapter.get(key), newer, key);
    }
  },

  'records are ordered to the last, in whatever order they come': async (bench) => {
    const adapter = await bench.open();
    for (let a = 0; a < ONE_STAMP.length; a += 1) {
      for (let b = 0; b <= a; b += 1) {
        for (const [key, records] of Object.entries({ rising: [ONE_STAMP[b], ONE_STAMP[a]], falling: [ONE_STAMP[a], ONE_STAMP[b]] })) {
          for (const record of records) await adapter.put(`${a} ${b} ${key}`, record);
          equal(await adapter.get(`${a} ${b} ${key}`), ONE_STAMP[a], `${b} and ${a}, ${key}`);
        }
      }
    }
  },

  'putting a record again changes nothing': async (bench) => {
    const adapter = await bench.open();
    for (let times = 0; times < 3; times += 1) await adapter.put('k', { value: new Map([[1, 2]]), hlc: stamp(1) });
    equal(await adapter.get('k'), { value: new Map([[1, 2]]), hlc: stamp(1) });
  },

  'removing leaves a tombstone above the record': async (bench) => {
    const adapter = await bench.open({ node: '00000000000000aa' });
    await adapter.put('k', { value: 1, hlc: stamp(0) });
    await adapter.remove('k');
    const tombstone = await adapter.get('k');
    equal({ ...tombstone, hlc: '' }, { value: undefined, hlc: '', isDeleted: true });
    ok(tombstone.hlc > stamp(0) && tombstone.hlc.endsWith('-00000000000000aa'), tombstone.hlc);
    await adapter.put('k', { value: 2, hlc: stamp(0, 0, '0000000000000001') });
    equal(await adapter.get('k'), tombstone, 'an older write does not bring it back');
    await adapter.put('k', { value: 3, hlc: adapter.clock.tick() });
    equal((await adapter.get('k')).value, 3, 'a newer one does');
    await adapter.remove('never');
    equal((await adapter.get('never')).isDeleted, true, 'a tombstone for what was not there');
  },

  'removing wins over a record from ahead, and of another adapter': async (bench) => {
    const [first, second] = [await bench.open(), await bench.open()];
    await first.put('k', { value: 1, hlc: stamp(50_000, 65_535, 'ffffffffffffffff') });
    await second.remove('k');
    const { isDeleted, hlc } = await first.get('k');
    ok(isDeleted && hlc > stamp(50_000, 65_535, 'ffffffffffffffff'), hlc);
    ok(first.clock.tick() > hlc, 'what was read is below what is written next');
  },

  'a batch lands whole': async (bench) => {
    const adapter = await bench.open();
    const entries = new Map(Array.from({ length: 333 }, (_, at) => [`k${at}`, at % 3 === 0 ? { value: undefined, hlc: stamp(at), isDeleted: true } : { value: at, hlc: stamp(at) }]));
    await adapter.put('k7', { value: 'newer', hlc: stamp(1000) });
    await adapter.batchPut(entries);
    await adapter.batchPut(new Map());
    for (const [key, record] of entries) equal(await adapter.get(key), key === 'k7' ? { value: 'newer', hlc: stamp(1000) } : record, key);
  },

  'of a batch with a bad entry nothing lands': async (bench) => {
    const adapter = await bench.open();
    const good = Array.from({ length: 120 }, (_, at) => [`good${at}`, { value: at, hlc: stamp(1) }]);
    const bad = {
      hlc: { value: 1, hlc: 'yesterday' }, value: { value: () => {}, hlc: stamp(1) }, expiresMs: { value: 1, hlc: stamp(1), expiresMs: -1 },
      isDeleted: { value: undefined, hlc: stamp(1), isDeleted: 1 }, object: undefined, ahead: { value: 1, hlc: stamp(60_001) },
    };
    for (const [word, record] of Object.entries(bad)) {
      await fails(() => adapter.batchPut(new Map([...good, ['bad', record], ['last', { value: 1, hlc: stamp(1) }]])), 'Invalid', word);
      await fails(() => adapter.commit(new Map([...good, ['bad', record]]), [{ key: 'good', opType: 'put', value: 1, hlc: stamp(1) }]), 'Invalid', word);
    }
    equal(await told(adapter), []);
    equal(await adapter.getPendingOps(), []);
  },

  'a record and its operation land together, or neither': async (bench) => {
    const adapter = await bench.open();
    const [hlc] = [adapter.clock.tick()];
    await adapter.commit(new Map([['k', { value: 1, hlc }]]), [{ key: 'k', opType: 'put', value: 1, hlc }, { key: 'gone', opType: 'remove', hlc }]);
    equal(await adapter.get('k'), { value: 1, hlc });
    const ops = await adapter.getPendingOps();
    equal(ops, [{ id: 1, key: 'k', opType: 'put', value: 1, hlc }, { id: 2, key: 'gone', opType: 'remove', hlc }]);
    await fails(() => adapter.commit(new Map([['k', { value: 2, hlc: stamp(5) }]]), [{ key: 'k', opType: 'rename', hlc }]), 'Invalid', 'opType');
    equal(await adapter.get('k'), { value: 1, hlc });
    equal(await adapter.getPendingOps(), ops);
    await adapter.commit(new Map(), []);
  },

  'of concurrent puts to one key the last writer stays': async (bench) => {
    const adapter = await bench.open();
    const order = Array.from({ length: 60 }, (_, at) => (at * 37) % 60);
    await Promise.all(order.map((at) => adapter.put('k', { value: at, hlc: stamp(at) })));
    equal(await adapter.get('k'), { value: 59, hlc: stamp(59) });
  },

  'concurrent calls of two adapters lose nothing': async (bench) => {
    const adapters = [await bench.open(), await bench.open()];
    await Promise.all(Array.from({ length: 60 }, async (_, at) => {
      const adapter = adapters[at % 2];
      const hlc = adapter.clock.tick();
      await adapter.commit(new Map([[`k${at}`, { value: at, hlc }], ['shared', { value: at, hlc }]]), [{ key: `k${at}`, opType: 'put', value: at, hlc }]);
    }));
    const ops = await adapters[0].getPendingOps();
    equal(ops.map(({ id }) => id), Array.from({ length: 60 }, (_, at) => at + 1));
    equal(ops.map(({ value }) => value).sort((a, b) => a - b), Array.from({ length: 60 }, (_, at) => at));
    const newest = ops.reduce((newest, op) => (op.hlc > newest.hlc ? op : newest));
    equal(await adapters[1].get('shared'), { value: newest.value, hlc: newest.hlc });
    equal((await told(adapters[1])).length, 61);
  },

  'all is there after closing and opening again': async (bench) => {
    const adapter = await bench.open({ node: '00000000000000aa' });
    await adapter.commit(new Map([['k', { value: 1, hlc: stamp(1) }]]), [{ key: 'k', opType: 'put', value: 1, hlc: stamp(1) }, { key: 'l', opType: 'remove', hlc: stamp(1) }]);
    await adapter.remove('l');
    await adapter.registerPeer('p');
    await adapter.acknowledge('p', 1);
    const look = async (each) => [await each.get('k'), await each.get('l'), await each.getPendingOps(), await each.getPendingOps('p'), await each.peers(), await told(each)];
    const before = await look(adapter);
    await adapter.close();
    equal(await look(await bench.open()), before, 'another adapter');
    await adapter.initialize(bench.database());
    equal(await look(adapter), before, 'the same adapter');
  },

  'the clock goes on where it was, though time went back': async (bench) => {
    const adapter = await bench.open();
    await adapter.remove('k');
    const { hlc } = await adapter.get('k');
    await adapter.close();
    bench.nowMs -= 3_600_000;
    const second = await bench.open();
    ok(second.clock.tick() > hlc, 'a stamp above that of a removal');
    bench.nowMs += 3_600_000;
    await second.put('other', { value: 1, hlc: stamp(55_000) });
    await second.close();
    bench.nowMs -= 3_600_000;
    const third = await bench.open();
    ok(third.clock.tick() > stamp(55_000), 'a stamp above what was put');
    await third.put('other', { value: 2, hlc: third.clock.tick() });
    equal((await third.get('other')).value, 2);
  },

  'a stamp from too far ahead is refused, and moves nothing': async (bench) => {
    const adapter = await bench.open({ maxDriftMs: 1000 });
    const before = adapter.clock.last;
    await fails(() => adapter.put('k', { value: 1, hlc: stamp(1001) }), 'Invalid', 'hlc', '1000 ms');
    await fails(() => adapter.appendOpLog({ key: 'k', opType: 'remove', hlc: stamp(1001) }), 'Invalid', 'hlc');
    equal(adapter.clock.last, before);
    equal(await adapter.get('k'), undefined);
    await adapter.put('k', { value: 1, hlc: stamp(1000) });
    ok(adapter.clock.tick() > stamp(1000), 'the clock is above what it took');
  },

  'replicas that have seen the same records hold the same': async (bench) => {
    const replicas = [await bench.open({ database: 'a' }), await bench.open({ database: 'b' }), await bench.open({ database: 'c' })];
    let seed = 7;
    const draw = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    const records = Array.from({ length: 150 }, () => {
      const isDeleted = draw(4) === 0;
      return [`k${draw(8)}`, { value: isDeleted ? undefined : draw(5), hlc: stamp(draw(4), draw(2)), ...(isDeleted && { isDeleted }) }];
    });
    for (const replica of replicas) {
      const order = records.map((record) => [draw(1_000_000), record]).sort(([a], [b]) => a - b).map(([, record]) => record);
      for (const [key, record] of order.slice(0, 75)) await replica.put(key, record);
      for (const [key, record] of order.slice(75)) await replica.batchPut(new Map([[key, record]]));
    }
    for (let key = 0; key < 8; key += 1) {
      const [first, ...others] = await Promise.all(replicas.map((replica) => replica.get(`k${key}`)));
      ok(first !== undefined, `k${key} is there`);
      for (const other of others) equal(other, first, `k${key}`);
    }
  },

  'what has expired reads as missing, and can be dropped': async (bench) => {
    const adapter = await bench.open();
    await adapter.batchPut(new Map([
      ['soon', { value: 1, hlc: stamp(1), expiresMs: bench.nowMs + 10 }],
      ['grave', { value: undefined, hlc: stamp(1), isDeleted: true, expiresMs: bench.nowMs + 10 }],
      ['later', { value: 2, hlc: stamp(1), expiresMs: bench.nowMs + 11 }],
      ['never', { value: 3, hlc: stamp(1) }],
    ]));
    bench.nowMs += 9;
    equal(await adapter.pruneExpired(), 0);
    equal((await adapter.get('soon')).value, 1);
    bench.nowMs += 1;
    equal([await adapter.get('soon'), await adapter.get('grave')], [undefined, undefined]);
    equal((await told(adapter)).map(([key]) => key), ['later', 'never']);
    await adapter.put('soon', { value: 0, hlc: stamp(0) });
    equal(await adapter.get('soon'), undefined, 'until it is dropped it takes part in merges');
    equal(await adapter.pruneExpired(), 2);
    equal(await adapter.pruneExpired(), 0);
    await adapter.put('soon', { value: 0, hlc: stamp(0) });
    equal([(await adapter.get('soon')).value, (await adapter.get('later')).value], [0, 2]);
  },

  'a closed adapter says so': async (bench) => {
    const adapter = bench.create();
    const record = { value: 1, hlc: stamp(1) };
    const calls = {
      get: ['k'], put: ['k', record], remove: ['k'], batchPut: [new Map([['k', record]])], iterateKeys: [() => {}], pruneExpired: [],
      appendOpLog: [{ key: 'k', opType: 'put', value: 1, hlc: stamp(1) }], getPendingOps: [], pruneOpLog: [1], commit: [new Map(), []],
      registerPeer: ['p'], acknowledge: ['p', 0], forgetPeer: ['p'], peers: [],
    };
    const all = async () => {
      for (const [method, args] of Object.entries(calls)) await fails(() => adapter[method](...args), 'Closed', method);
    };
    await all();
    await adapter.close();
    await adapter.initialize(bench.database());
    await adapter.batchPut(new Map(Array.from({ length: 1200 }, (_, at) => [`k${at}`, record])));
    const keys = [];
    const begun = [adapter.iterateKeys((key) => keys.push(key)), adapter.put('begun', record), adapter.get('begun')];
    await adapter.close();
    await Promise.all(begun);
    ok(keys.length >= 1200, `${keys.length} of 1,200 keys were told`);
    await all();
    await adapter.close();
    await adapter.initialize(bench.database());
    equal(await adapter.get('begun'), record, 'what had begun was finished');
  },

  'an adapter is opened once, by a name': async (bench) => {
    const adapter = bench.create();
    for (const name of ['', undefined, 5, null]) await fails(() => adapter.initialize(name), 'Invalid', 'dbName');
    const opening = adapter.initialize(bench.database());
    await fails(() => adapter.initialize(bench.database()), 'Invalid', 'already');
    await opening;
    await fails(() => adapter.initialize(bench.database()), 'Invalid', 'already');
    await Promise.all([adapter.close(), adapter.close()]);
    const again = adapter.initialize(bench.database());
    await adapter.close();
    await again;
    await fails(() => adapter.get('k'), 'Closed');
  },
};
