/**
 * Sealed bytes by WebCrypto alone, from crates/store/docs/sealed-format.md and from nothing of the code that it
 * describes: what both agree on is the format. `agree` runs in a page as it does under Node.
 *
 * Only for tests: one record at a time, and no care for where keys stay in memory.
 */

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */
/** @typedef {{ store: string, key: Bytes, version: number }} Context */

const HEADER_BYTES = 8;
const NONCE_BYTES = 24;
const utf8 = new TextEncoder();

/** @param {...(Uint8Array | readonly number[])} parts @returns {Bytes} */
export function joined(...parts) {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** @param {string} text */
export function fromHex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** @param {Uint8Array} bytes */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {number} value @param {4 | 8} length @returns {Bytes} */
function littleEndian(value, length) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes.slice(0, length);
}

/** @param {SubtleCrypto} subtle @param {Bytes} key @param {Bytes} message @returns {Promise<Bytes>} */
async function hmac(subtle, key, message) {
  const keyed = await subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await subtle.sign('HMAC', keyed, message));
}

/** @param {SubtleCrypto} subtle @param {Bytes} dataKey @param {'records' | 'check' | 'names'} purpose */
function derived(subtle, dataKey, purpose) {
  return hmac(subtle, dataKey, utf8.encode(`statik sealed v1 ${purpose}`));
}

/** @param {SubtleCrypto} subtle @param {Bytes} dataKey @returns {Promise<Bytes>} */
export async function checkOf(subtle, dataKey) {
  return (await derived(subtle, dataKey, 'check')).slice(0, 16);
}

/** @param {SubtleCrypto} subtle @param {Bytes} namesKey @param {string} store @param {Bytes} name */
export async function blind(subtle, namesKey, store, name) {
  const inStore = utf8.encode(store);
  return hmac(subtle, await derived(subtle, namesKey, 'names'), joined(littleEndian(inStore.length, 8), inStore, name));
}

/**
 * XAES-256-GCM's key and nonce for AES-256-GCM. One block of AES is the first of AES-CBC with zeros before it.
 * @param {SubtleCrypto} subtle @param {Bytes} key @param {Bytes} nonce
 */
async function forNonce(subtle, key, nonce) {
  const aes = await subtle.importKey('raw', key, 'AES-CBC', false, ['encrypt']);
  /** @param {Bytes} block @returns {Promise<Bytes>} */
  const encrypt = async (block) => new Uint8Array(await subtle.encrypt({ name: 'AES-CBC', iv: new Uint8Array(16) }, aes, block)).slice(0, 16);
  const l = BigInt(`0x${toHex(await encrypt(new Uint8Array(16)))}`);
  const k1 = fromHex((((l << 1n) & ((1n << 128n) - 1n)) ^ (l >> 127n ? 0x87n : 0n)).toString(16).padStart(32, '0'));
  /** @param {number} counter */
  const half = (counter) => encrypt(joined([0, counter, 0x58, 0], nonce.subarray(0, 12)).map((byte, at) => byte ^ /** @type {number} */ (k1[at])));
  const subkey = await subtle.importKey('raw', joined(await half(1), await half(2)), 'AES-GCM', false, ['encrypt', 'decrypt']);
  return { subkey, iv: nonce.slice(12) };
}

/** @param {Bytes} header @param {Context} context */
function associated(header, { store, key, version }) {
  const inStore = utf8.encode(store);
  return joined(header, littleEndian(version, 4), littleEndian(inStore.length, 8), inStore, littleEndian(key.length, 8), key);
}

/**
 * @param {SubtleCrypto} subtle @param {Bytes} dataKey @param {Context} context @param {Bytes} plain
 * @param {Bytes} [nonce] only where the bytes are known beforehand
 */
export async function seal(subtle, dataKey, context, plain, nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))) {
  const header = joined(utf8.encode('SEL'), [1], (await checkOf(subtle, dataKey)).subarray(0, 4));
  const { subkey, iv } = await forNonce(subtle, await derived(subtle, dataKey, 'records'), nonce);
  const sealed = await subtle.encrypt({ name: 'AES-GCM', iv, additionalData: associated(header, context) }, subkey, plain);
  return joined(header, nonce, new Uint8Array(sealed));
}

/**
 * Rejects if the bytes were not sealed so.
 * @param {SubtleCrypto} subtle @param {Bytes} dataKey @param {Context} context @param {Bytes} sealed
 */
export async function open(subtle, dataKey, context, sealed) {
  const header = sealed.slice(0, HEADER_BYTES);
  const nonce = sealed.slice(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
  const { subkey, iv } = await forNonce(subtle, await derived(subtle, dataKey, 'records'), nonce);
  const rest = sealed.slice(HEADER_BYTES + NONCE_BYTES);
  return new Uint8Array(await subtle.decrypt({ name: 'AES-GCM', iv, additionalData: associated(header, context) }, subkey, rest));
}

/** The blocks of a sample: lines of a field and its value, a blank line after each block. @param {string} text */
export function blocks(text) {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  return lines.join('\n').split(/\n\n+/).filter((block) => block.trim() !== '').map((block) => {
    const fields = block.trim().split('\n').map((line) => /** @type {[string, string]} */ ([line.split(' ')[0], line.split(' ')[1] ?? '']));
    return new Map(fields);
  });
}

/**
 * Opens all that a sample has, and seals it again to the same bytes; how much that was. Throws where something differs.
 * @param {SubtleCrypto} subtle @param {string} sample the text of crates/store/tests/sealed-v1.txt
 */
export async function agree(subtle, sample) {
  let checked = 0;
  /** @param {string} what @param {Bytes} found @param {Bytes} expected */
  const same = (what, found, expected) => {
    if (toHex(found) !== toHex(expected)) throw new Error(`${what} is ${toHex(found)}, not ${toHex(expected)}`);
    checked += 1;
  };
  for (const block of blocks(sample)) {
    /** @param {string} name */
    const field = (name) => fromHex(block.get(name) ?? '');
    const store = new TextDecoder().decode(field('store'));
    const key = field('data-key');
    if (block.has('check')) {
      same('a check', await checkOf(subtle, key), field('check'));
    } else if (block.has('blind')) {
      same('a blind name', await blind(subtle, field('names-key'), store, field('name')), field('blind'));
    } else {
      const context = { store, key: field('key'), version: Number(block.get('version')) };
      const sealed = field('sealed');
      same('what was opened', await open(subtle, key, context, sealed), field('plain'));
      same('what was sealed', await seal(subtle, key, context, field('plain'), sealed.slice(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES)), sealed);
    }
  }
  return checked;
}
