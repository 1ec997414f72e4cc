/** The contract's cases about keys: which there may be, and telling all of them in order. */
import { equal, fails, ok } from './assert.mjs';
import { stamp, told } from './bench.mjs';

/** Parts that keys are made of, in no order of any kind. */
const PARTS = ['', '\0', 'a', 'A', 'ä', '\u07ff', '\u0800', '日本', '\ud7ff', '\ue000', '\uff21', '\uffff', '\u{10000}', '😀', '\u{10ffff}', '/', ' ', '%', "'"];

/** The order of UTF-8 bytes, found without the code under test. @param {string} a @param {string} b */
function byBytes(a, b) {
  const [x, y] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  const at = x.findIndex((byte, index) => byte !== y[index]);
  return at === -1 ? x.length - y.length : x[at] - (y[at] ?? -1);
}

/** @type {Record<string, (bench: import('./bench.mjs').Bench) => Promise<void>>} */
export const keyCases = {
  'keys may be empty, long, and of any characters': async (bench) => {
    const adapter = await bench.open();
    const keys = [...PARTS, 'x'.repeat(65_536), '😀'.repeat(32_768), '__proto__', 'e\u0301', '\u00e9', '1', '01', 'a\0b', 'a\0c', 'null'];
    for (const [at, key] of keys.entries()) {
      await adapter.commit(new Map([[key, { value: at, hlc: stamp(at) }]]), [{ key, opType: 'put', value: at, hlc: stamp(at) }]);
    }
    for (const [at, key] of keys.entries()) equal(await adapter.get(key), { value: at, hlc: stamp(at) }, `key ${at}`);
    equal((await adapter.getPendingOps()).map(({ key }) => key), keys);
    await adapter.remove('');
    equal((await adapter.get('')).isDeleted, true);
    ok(!(await adapter.get('\0')).isDeleted, 'another key');
  },

  'keys that some storage cannot keep are refused': async (bench) => {
    const adapter = await bench.open();
    for (const key of [undefined, null, 5, ['a'], {}, 'lone \ud800', '\udc00', '\udc00\ud800', 'x'.repeat(65_537)]) {
      await fails(() => adapter.get(key), 'Invalid', 'get', 'key');
      await fails(() => adapter.remove(key), 'Invalid', 'remove', 'key');
      await fails(() => adapter.put(key, { value: 1, hlc: stamp(1) }), 'Invalid', 'put', 'key');
      await fails(() => adapter.batchPut(new Map([['a', { value: 1, hlc: stamp(1) }], [key, { value: 1, hlc: stamp(1) }]])), 'Invalid', 'batchPut', 'key');
      await fails(() => adapter.appendOpLog({ key, opType: 'remove', hlc: stamp(1) }), 'Invalid', 'appendOpLog', 'key');
    }
    equal(await told(adapter), []);
  },

  'iterateKeys tells each of 2,000 keys once, in the order of code points': async (bench) => {
    const adapter = await bench.open();
    const keys = new Set();
    for (const a of PARTS) for (const b of PARTS) for (const c of PARTS.slice(0, 13)) keys.add(a + b + c);
    for (let at = 0; keys.size < 2000; at += 1) keys.add(`key ${at}`);
    const all = [...keys].slice(-2000);
    const isGrave = (key) => key.length % 5 === 0;
    await adapter.batchPut(new Map(all.map((key, at) => [key, isGrave(key) ? { value: undefined, hlc: stamp(at), isDeleted: true } : { value: at, hlc: stamp(at) }])));
    const expected = all.map((key, at) => [key, { hlc: stamp(at), isDeleted: isGrave(key) }]).sort(([a], [b]) => byBytes(a, b));
    const found = await told(adapter);
    equal(found.map(([key]) => key).findIndex((key, at) => key !== expected[at][0]), -1, 'the first that is out of order');
    equal(found, expected);
  },

  'iterateKeys tells a full page, and an empty database': async (bench) => {
    const adapter = await bench.open();
    equal(await told(adapter), []);
    const keys = Array.from({ length: 1000 }, (_, at) => `k${String(at).padStart(4, '0')}`);
    await adapter.batchPut(new Map(keys.map((key) => [key, { value: null, hlc: stamp(1) }])));
    equal((await told(adapter)).map(([key]) => key), keys);
  },

  'a callback that throws ends iterateKeys, and nothing else': async (bench) => {
    const adapter = await bench.open();
    await adapter.batchPut(new Map(['a', 'b', 'c'].map((key) => [key, { value: 1, hlc: stamp(1) }])));
    const seen = [];
    const enough = new Error('enough');
    const thrown = await adapter.iterateKeys((key) => {
      seen.push(key);
      if (key === 'b') throw enough;
    }).catch((error) => error);
    ok(thrown === enough, `what was thrown: ${thrown}`);
    equal(seen, ['a', 'b']);
    for (const callback of [undefined, 5, {}]) await fails(() => adapter.iterateKeys(callback), 'Invalid', 'callback');
    equal((await told(adapter)).length, 3);
  },
};
