/**
 * Values that structured clone takes, many and strange, the same for the same seed; and whether two are alike in identity.
 * Invalid dates are not among them: node's assert finds no two alike.
 */

import assert from 'node:assert/strict';
import { mulberry32 } from '../e2e/random.mjs';

const VIEWS = [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array,
  BigInt64Array, BigUint64Array, DataView,
];
const KEYS = ['a', 'id', '$', '$$', '__proto__', 'constructor', 'toJSON', 'length', '0', '7', '-1', '', 'é', '\u{1f980}', '\ud800', 'a b', '\n', 'key', 'value'];
const TEXTS = ['', 'text', '$', 'Date', '\0', '\ud800', '\udc00x', '\u2028', '"\\', 'ünï\u{1f980}', '9'.repeat(300)];
const NUMBERS = [0, -0, 1, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 53), 5e-324, Number.MAX_VALUE, 1e21];
const BIGINTS = [0n, 1n, -1n, 2n ** 64n, -(2n ** 200n)];
const ERRORS = [Error, TypeError, RangeError, SyntaxError, EvalError, ReferenceError, URIError];

/**
 * A source of values: each call gives another.
 * @param {number} seed
 */
export function values(seed) {
  const random = mulberry32(seed);
  const below = (limit) => Math.floor(random() * limit);
  const one = (list) => list[below(list.length)];
  /** What a later place of the same value may point to again. */
  let made = [];
  const kept = (object) => { made.push(object); return object; };
  const bytes = (count) => Uint8Array.from({ length: count }, () => below(256));
  const fill = (object, depth) => {
    for (let i = below(5); i > 0; i--) {
      Object.defineProperty(object, one(KEYS.filter((key) => !Array.isArray(object) || key !== 'length')),
        { value: value(depth - 1), enumerable: true, configurable: true, writable: true });
    }
    return object;
  };
  const primitives = [
    () => null, () => undefined, () => random() < 0.5, () => one(NUMBERS), () => random() * 1e6, () => one(TEXTS), () => one(BIGINTS),
  ];
  const leaves = [
    () => kept(new Date(one([0, -1, 1.7e12, 8.64e15]))),
    () => kept(one([/a/, /[\\/]\u{1f980}/giu, new RegExp('', 'dgimsy')])),
    () => kept(bytes(below(40)).buffer),
    () => {
      const type = one(VIEWS);
      const unit = type.BYTES_PER_ELEMENT ?? 1;
      // Not from the start of its buffer, and not to the end.
      return kept(new type(bytes(unit * 8).buffer, unit * below(4), below(4)));
    },
    () => kept(Object(one([true, false, '', 'x', 1, -0, NaN]))),
  ];
  const holders = [
    (depth) => fill(kept({}), depth),
    (depth) => { const list = kept([]); for (let i = below(5); i > 0; i--) list.push(value(depth - 1)); return list; },
    (depth) => { const list = kept([]); list.length = below(9); return fill(list, depth); },
    (depth) => { const map = kept(new Map()); for (let i = below(5); i > 0; i--) map.set(value(depth - 1), value(depth - 1)); return map; },
    (depth) => { const set = kept(new Set()); for (let i = below(5); i > 0; i--) set.add(value(depth - 1)); return set; },
    (depth) => {
      // The cause comes first: V8 cannot clone one that leads back to its error.
      const cause = random() < 0.3 ? { cause: value(depth - 1) } : {};
      return kept(Object.assign(new (one(ERRORS))(one(TEXTS), cause), { stack: 'stack' }));
    },
  ];
  const value = (depth) => {
    const kind = random();
    if (kind < 0.1 && made.length > 0) return one(made);
    if (kind < 0.4 || depth === 0) return one(primitives)();
    return kind < 0.6 ? one(leaves)() : one(holders)(depth);
  };
  return () => { made = []; return value(5); };
}

/** Asserts that objects are the same ones at the same places in both. Compare contents with `assert.deepEqual`. */
export function sameIdentities(actual, expected) {
  const there = new Map();
  const back = new Map();
  const visit = (a, b) => {
    assert.equal(typeof a, typeof b);
    if (typeof a !== 'object' || a === null) return;
    if (there.has(a) || back.has(b)) {
      assert.equal(there.get(a), b);
      assert.equal(back.get(b), a);
      return;
    }
    there.set(a, b);
    back.set(b, a);
    const parts = (object) => object instanceof Map ? [...object].flat() : object instanceof Set ? [...object]
      : ArrayBuffer.isView(object) ? [] : [...Object.values(object), object instanceof Error ? object.cause : undefined];
    const [left, right] = [parts(a), parts(b)];
    assert.equal(left.length, right.length);
    left.forEach((part, i) => visit(part, right[i]));
  };
  visit(actual, expected);
}
