/**
 * Values on their way between a test and a page, as JSON: what JSON cannot say is tagged. Bytes go as base64 text, so a
 * test sends megabytes by /files/ instead.
 */
const TAG = '$';

/** @param {unknown} value */
export function encode(value) {
  return JSON.stringify(wrap(value));
}

/** @param {string} text */
export function decode(text) {
  return unwrap(JSON.parse(text));
}

function wrap(value) {
  if (value === undefined) return { [TAG]: 'undefined' };
  if (typeof value === 'bigint') return { [TAG]: 'bigint', text: String(value) };
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) return { [TAG]: 'number', text: Object.is(value, -0) ? '-0' : String(value) };
  if (value instanceof Uint8Array) return { [TAG]: 'bytes', text: btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join('')) };
  if (Array.isArray(value)) return value.map(wrap);
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, wrap(each)]));
  return value;
}

function unwrap(value) {
  if (Array.isArray(value)) return value.map(unwrap);
  if (typeof value !== 'object' || value === null) return value;
  switch (value[TAG]) {
    case 'undefined': return undefined;
    case 'bigint': return BigInt(value.text);
    case 'number': return Number(value.text);
    case 'bytes': return Uint8Array.from(atob(value.text), (char) => char.charCodeAt(0));
    default: return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unwrap(each)]));
  }
}
