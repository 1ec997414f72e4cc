/**
 * Values as text, for adapters under test: JSON, with what it lacks in a tagged form. It takes what the tests use, and
 * fails for the rest.
 */

/** @type {(value: unknown) => unknown} */
function plain(value) {
  if (value === undefined) return { $: 'undefined' };
  if (typeof value === 'bigint') return { $: 'bigint', v: String(value) };
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) return { $: 'number', v: Object.is(value, -0) ? '-0' : String(value) };
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Date) return { $: 'Date', v: plain(value.getTime()) };
  if (value instanceof Uint8Array) return { $: 'Uint8Array', v: [...value] };
  if (value instanceof Map) return { $: 'Map', v: [...value].map(([k, v]) => [plain(k), plain(v)]) };
  if (value instanceof Set) return { $: 'Set', v: [...value].map(plain) };
  if (typeof value === 'object') return { $: 'Object', v: Object.entries(value).map(([k, v]) => [k, plain(v)]) };
  throw new Error(`a ${typeof value} cannot be kept`);
}

/** @type {Record<string, (v: any) => unknown>} */
const TAGS = {
  undefined: () => undefined,
  bigint: (v) => BigInt(v),
  number: (v) => Number(v),
  Date: (v) => new Date(/** @type {number} */ (live(v))),
  Uint8Array: (v) => new Uint8Array(v),
  Map: (v) => new Map(v.map(([key, value]) => [live(key), live(value)])),
  Set: (v) => new Set(v.map(live)),
  Object: (v) => Object.fromEntries(v.map(([key, value]) => [key, live(value)])),
};

/** @type {(value: any) => unknown} */
function live(value) {
  if (Array.isArray(value)) return value.map(live);
  return value !== null && typeof value === 'object' ? TAGS[value.$](value.v) : value;
}

export const codec = {
  encode: (/** @type {unknown} */ value) => JSON.stringify(plain(value)),
  decode: (/** @type {string} */ text) => live(JSON.parse(text)),
};
