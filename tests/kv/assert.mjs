/** What the contract's cases judge with: small, and without anything that only Node or only a browser has. */

/** @param {unknown} condition @param {string} message */
export function ok(condition, message) {
  if (!condition) throw new Error(message);
}

/** @param {unknown} actual @param {unknown} expected @param {string} [message] */
export function equal(actual, expected, message = 'not the same') {
  ok(same(actual, expected), `${message}: ${text(actual)}, expected ${text(expected)}`);
}

/**
 * Fails unless the call fails with this code, and a message that has all of these words.
 * @param {() => Promise<unknown>} call
 * @param {string} code
 * @param {...string} words
 */
export async function fails(call, code, ...words) {
  let result;
  try {
    result = await call();
  } catch (error) {
    equal([error.name, error.code], ['StatikError', code], `how it failed (${error.stack ?? error})`);
    for (const word of words) ok(error.message.includes(word), `the message lacks "${word}": ${error.message}`);
    return;
  }
  throw new Error(`expected ${code} (${words.join(', ')}), and it gave ${text(result)}`);
}

/** Whether two values are alike, through what structured clone keeps. @type {(a: any, b: any) => boolean} */
export function same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const kind = Object.prototype.toString.call(a);
  if (kind !== Object.prototype.toString.call(b)) return false;
  if (a instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (ArrayBuffer.isView(a)) return same([...new Uint8Array(a.buffer, a.byteOffset, a.byteLength)], [...new Uint8Array(b.buffer, b.byteOffset, b.byteLength)]);
  if (a instanceof Map || a instanceof Set) return same([...a], [...b]);
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

/** @param {unknown} value */
function text(value) {
  const json = JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}n` : each instanceof Map ? [...each] : each));
  return String(json).slice(0, 500);
}
