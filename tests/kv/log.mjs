/** The contract's cases about the op-log, its peers and its pruning, and about input that is no good. */
import { equal, fails, ok } from './assert.mjs';
import { stamp, told } from './bench.mjs';

/** @param {any} adapter @param {number} count */
async function append(adapter, count) {
  const ids = [];
  for (let at = 0; at < count; at += 1) ids.push(await adapter.appendOpLog({ key: `k${at}`, opType: 'put', value: at, hlc: stamp(at) }));
  return ids;
}

const pending = async (adapter, ...args) => (await adapter.getPendingOps(...args)).map(({ id }) => id);

/** Bad input for a call, by the word that the error has to have. @type {[string, unknown[], string[]][]} */
const BAD = [
  ['put', ['k'], ['put', '"k"', 'object']],
  ['put', ['k', null], ['null']],
  ['put', ['k', { value: 1 }], ['put', '"k"', 'hlc']],
  ['put', ['k', { value: 1, hlc: stamp(1).toUpperCase() }], ['hlc', 'lower-case']],
  ['put', ['k', { value: 1, hlc: `${stamp(1)} ` }], ['hlc']],
  ['put', ['k', { value: 1, hlc: stamp(1), isDeleted: 'yes' }], ['isDeleted']],
  ['put', ['k', { value: 1, hlc: stamp(1), isDeleted: true }], ['value', 'isDeleted']],
  ['put', ['k', { value: 1, hlc: stamp(1), expiresMs: 1.5 }], ['expiresMs', '1.5']],
  ['put', ['k', { value: 1, hlc: stamp(1), expiresMs: '5' }], ['expiresMs', 'string']],
  ['put', ['k', { value: Symbol('x'), hlc: stamp(1) }], ['"k"', 'value']],
  ['batchPut', [], ['batchPut', 'Map']],
  ['batchPut', [[['k', { value: 1, hlc: stamp(1) }]]], ['Map']],
  ['batchPut', [{ k: { value: 1, hlc: stamp(1) } }], ['Map']],
  ['commit', [undefined, []], ['commit', 'Map']],
  ['commit', [new Map(), undefined], ['commit', 'ops']],
  ['commit', [new Map(), [{ key: 'k', opType: 'remove', hlc: stamp(1) }, null]], ['operation 1', 'null']],
  ['appendOpLog', [undefined], ['appendOpLog', 'object']],
  ['appendOpLog', [{ opType: 'put', hlc: stamp(1) }], ['key']],
  ['appendOpLog', [{ key: 'k', opType: 'delete', hlc: stamp(1) }], ['opType', '"delete"']],
  ['appendOpLog', [{ key: 'k', hlc: stamp(1) }], ['opType', 'undefined']],
  ['appendOpLog', [{ key: 'k', opType: 'put', value: 1 }], ['hlc']],
  ['appendOpLog', [{ key: 'k', opType: 'put', value: () => {}, hlc: stamp(1) }], ['value']],
  ['appendOpLog', [{ key: 'k', opType: 'remove', value: 1, hlc: stamp(1) }], ['value']],
  ['appendOpLog', [{ id: 1, key: 'k', opType: 'remove', hlc: stamp(1) }], ['id']],
  ['getPendingOps', [''], ['peer', 'empty']],
  ['getPendingOps', [5], ['peer']],
  ['getPendingOps', [undefined, 0], ['limit', '0']],
  ['getPendingOps', [undefined, 1.5], ['limit']],
  ['getPendingOps', [undefined, '1'], ['limit', 'string']],
  ['pruneOpLog', [], ['lastSyncedId']],
  ['pruneOpLog', [-1], ['lastSyncedId', '-1']],
  ['pruneOpLog', [NaN], ['lastSyncedId']],
  ['registerPeer', [], ['peer']],
  ['registerPeer', [''], ['peer', 'empty']],
  ['registerPeer', ['\ud800'], ['peer', 'surrogate']],
  ['acknowledge', ['p'], ['id']],
  ['acknowledge', ['p', -1], ['id', '-1']],
  ['acknowledge', ['', 1], ['peer']],
  ['forgetPeer', [null], ['peer']],
];

/** @type {Record<string, (bench: import('./bench.mjs').Bench) => Promise<void>>} */
export const logCases = {
  'operations are numbered from 1 and told in order': async (bench) => {
    const adapter = await bench.open();
    equal(await adapter.getPendingOps(), []);
    equal(await append(adapter, 3), [1, 2, 3]);
    await adapter.commit(new Map(), Array.from({ length: 120 }, (_, at) => ({ key: 'many', opType: 'put', value: at, hlc: stamp(at) })));
    equal(await adapter.appendOpLog({ key: 'last', opType: 'remove', hlc: stamp(1) }), 124);
    const ops = await adapter.getPendingOps();
    equal(ops.map(({ id }) => id), Array.from({ length: 124 }, (_, at) => at + 1));
    equal(ops[1], { id: 2, key: 'k1', opType: 'put', value: 1, hlc: stamp(1) });
    equal(ops.slice(3, 123).map(({ value }) => value), Array.from({ length: 120 }, (_, at) => at));
    equal(ops[123], { id: 124, key: 'last', opType: 'remove', hlc: stamp(1) });
    equal(await pending(adapter, undefined, 2), [1, 2]);
    equal(await told(adapter), [], 'the log is no record');
  },

  'numbers are never given twice': async (bench) => {
    const adapter = await bench.open();
    await append(adapter, 3);
    await adapter.registerPeer('p');
    await adapter.acknowledge('p', 3);
    equal(await adapter.pruneOpLog(3), 3);
    equal(await adapter.getPendingOps(), []);
    await adapter.acknowledge('p', 3);
    await adapter.close();
    const again = await bench.open();
    equal(await append(again, 1), [4]);
    equal(await pending(again, 'p'), [4]);
  },

  'a peer is told what it has not acknowledged': async (bench) => {
    const adapter = await bench.open();
    await adapter.registerPeer('p');
    await append(adapter, 5);
    equal(await pending(adapter, 'p'), [1, 2, 3, 4, 5]);
    await adapter.acknowledge('p', 3);
    equal(await pending(adapter, 'p'), [4, 5]);
    equal(await pending(adapter, 'p', 1), [4]);
    equal(await pending(adapter), [1, 2, 3, 4, 5]);
    await fails(() => adapter.getPendingOps('stranger'), 'NotFound', 'stranger');
  },

  'what a known peer has not acknowledged is not pruned': async (bench) => {
    const adapter = await bench.open();
    await append(adapter, 6);
    for (const peer of ['quick', 'slow', 'away']) await adapter.registerPeer(peer);
    await adapter.acknowledge('quick', 6);
    await adapter.acknowledge('slow', 2);
    equal(await adapter.pruneOpLog(6), 0, 'somebody has nothing yet');
    await adapter.acknowledge('away', 4);
    equal(await adapter.pruneOpLog(1), 1, 'no further than asked');
    equal(await adapter.pruneOpLog(6), 1, 'no further than the slowest');
    equal(await pending(adapter, 'slow'), [3, 4, 5, 6]);
    equal(await adapter.pruneOpLog(6), 0);
    await adapter.forgetPeer('slow');
    equal(await adapter.pruneOpLog(1_000_000), 2);
    equal([await pending(adapter), await pending(adapter, 'away'), await pending(adapter, 'quick')], [[5, 6], [5, 6], []]);
  },

  'a stale adapter cannot prune what a peer needs': async (bench) => {
    const [stale, fresh] = [await bench.open(), await bench.open()];
    await stale.registerPeer('known to both');
    await append(stale, 3);
    await stale.acknowledge('known to both', 3);
    await fresh.registerPeer('new');
    equal(await stale.pruneOpLog(3), 0);
    equal(await pending(fresh, 'new'), [1, 2, 3]);
  },

  'without known peers nothing is pruned': async (bench) => {
    const adapter = await bench.open();
    await append(adapter, 3);
    equal(await adapter.pruneOpLog(3), 0);
    await adapter.registerPeer('p');
    await adapter.acknowledge('p', 3);
    await adapter.forgetPeer('p');
    equal(await adapter.pruneOpLog(3), 0);
    equal(await pending(adapter), [1, 2, 3]);
  },

  'a watermark never goes back, nor beyond the log': async (bench) => {
    const adapter = await bench.open();
    await adapter.registerPeer('p');
    await fails(() => adapter.acknowledge('p', 1), 'Invalid', 'id', 'is 1');
    await append(adapter, 3);
    await fails(() => adapter.acknowledge('p', 4), 'Invalid', 'id', 'at most 3');
    await fails(() => adapter.acknowledge('stranger', 1), 'NotFound', 'stranger');
    await adapter.acknowledge('p', 2);
    await adapter.acknowledge('p', 1);
    await adapter.acknowledge('p', 0);
    equal((await adapter.peers())[0].acknowledged, 2);
    await adapter.registerPeer('p');
    equal((await adapter.peers())[0].acknowledged, 2, 'registering again');
  },

  'a new peer starts where the log does': async (bench) => {
    const adapter = await bench.open();
    await append(adapter, 4);
    await adapter.registerPeer('early');
    await adapter.acknowledge('early', 3);
    equal(await adapter.pruneOpLog(3), 3);
    await adapter.registerPeer('late');
    equal((await adapter.peers()).find(({ peer }) => peer === 'late').acknowledged, 3);
    equal(await pending(adapter, 'late'), [4]);
    await fails(() => adapter.forgetPeer('stranger'), 'NotFound', 'stranger');
    await adapter.forgetPeer('late');
    await fails(() => adapter.forgetPeer('late'), 'NotFound', 'late');
    await fails(() => adapter.getPendingOps('late'), 'NotFound', 'late');
  },

  'peers are told by name, with when they were seen': async (bench) => {
    const adapter = await bench.open();
    equal(await adapter.peers(), []);
    await append(adapter, 1);
    const start = bench.nowMs;
    for (const peer of ['😀', 'b', '\uffff', 'a']) await adapter.registerPeer(peer);
    bench.nowMs = start + 5;
    await adapter.acknowledge('a', 1);
    await adapter.registerPeer('b');
    bench.nowMs = start + 1;
    await adapter.acknowledge('b', 1);
    equal(await adapter.peers(), [
      { peer: 'a', acknowledged: 1, seenMs: start + 5 }, { peer: 'b', acknowledged: 1, seenMs: start + 5 },
      { peer: '\uffff', acknowledged: 0, seenMs: start }, { peer: '😀', acknowledged: 0, seenMs: start },
    ]);
  },

  'pruning loses no record': async (bench) => {
    const adapter = await bench.open();
    await adapter.registerPeer('p');
    await adapter.commit(new Map([['k', { value: 1, hlc: stamp(1) }]]), [{ key: 'k', opType: 'put', value: 1, hlc: stamp(1) }]);
    await adapter.acknowledge('p', 1);
    equal(await adapter.pruneOpLog(1), 1);
    equal(await adapter.get('k'), { value: 1, hlc: stamp(1) });
  },

  'input that is no good is refused by the name of the field': async (bench) => {
    const adapter = await bench.open();
    await adapter.registerPeer('p');
    for (const [method, args, words] of BAD) await fails(() => adapter[method](...args), 'Invalid', ...words);
    equal([await told(adapter), await adapter.getPendingOps(), (await adapter.peers()).length], [[], [], 1]);
  },

  'a clock that was never read makes no stamp twice': async (bench) => {
    const adapter = await bench.open();
    const stamps = Array.from({ length: 1000 }, () => adapter.clock.tick());
    ok(stamps.every((each, at) => at === 0 || each > stamps[at - 1]), 'stamps rise');
  },
};
