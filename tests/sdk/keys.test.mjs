/**
 * Keyfiles: what is locked opens by its secret alone, by the same keys for ever, and what is no keyfile is refused by
 * the name of the field. And that WebCrypto agrees with the frozen sample of sealed bytes.
 */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { load } from './load.mjs';
import { agree, blocks, checkOf, fromHex, open, seal, toHex } from './sealed.mjs';

const { createKeyfile, unlock, changeSecret, addDataKey, dropDataKey } = await load("export * from './databases/keys.js'");

const SAMPLE = await readFile(new URL('../../crates/store/tests/sealed-v1.txt', import.meta.url), 'utf8');
const { subtle } = globalThis.crypto;
const PASSPHRASE = 'correct horse battery staple';

/** A secret that cannot be extracted, and costs no time. */
const appKey = async () => subtle.generateKey({ name: 'AES-KW', length: 256 }, false, ['wrapKey', 'unwrapKey']);

/** @param {() => Promise<unknown>} call @param {string} code @param {RegExp} message */
const refuses = (call, code, message) => assert.rejects(call, (error) => {
  assert.ok(error instanceof Error);
  assert.equal(error.name, 'StatikError');
  assert.equal(/** @type {any} */ (error).code, code, error.message);
  assert.match(error.message, message);
  return true;
});

/** @param {{ keys: Map<number, Uint8Array>, current: number, names: Uint8Array }} unlocked */
const plain = ({ keys, current, names }) => ({ keys: [...keys].map(([id, key]) => [id, toHex(key)]), current, names: toHex(names) });

test('WebCrypto opens the frozen sample, and seals it to the same bytes', async () => {
  assert.equal(await agree(subtle, SAMPLE), 24);
});

test('what WebCrypto seals it opens in the same context, under the same key, unchanged, and not otherwise', async () => {
  const [key, other] = [fromHex('11'.repeat(32)), fromHex('12'.repeat(32))];
  const context = { store: 'notes', key: fromHex('01'), version: 1 };
  const sealed = await seal(subtle, key, context, fromHex('c0ffee'));
  assert.equal(toHex(await open(subtle, key, context, sealed)), 'c0ffee');
  await assert.rejects(open(subtle, other, context, sealed));
  for (const elsewhere of [{ ...context, store: 'diary' }, { ...context, key: fromHex('02') }, { ...context, version: 2 }]) {
    await assert.rejects(open(subtle, key, elsewhere, sealed));
  }
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = sealed.slice();
    changed[at] = /** @type {number} */ (changed[at]) ^ 1;
    await assert.rejects(open(subtle, key, context, changed), `byte ${at}`);
  }
});

test('the check of a data key is the format\'s', async () => {
  const secret = await appKey();
  const keyfile = await createKeyfile(secret);
  const { keys, names } = await unlock(keyfile, secret);
  for (const { id, check } of keyfile.keys) {
    assert.equal(toHex(await checkOf(subtle, keys.get(id))), toHex(check));
    assert.equal(id, new DataView(check.buffer).getUint32(0, true));
  }
  assert.equal(toHex(await checkOf(subtle, names)), toHex(keyfile.names.check));
  const [sample] = blocks(SAMPLE);
  assert.equal(toHex(await checkOf(subtle, fromHex(sample?.get('data-key') ?? ''))), sample?.get('check'));
});

test('a passphrase unlocks, and another is told', async () => {
  const keyfile = await createKeyfile(PASSPHRASE, { nowMs: 1234 });
  assert.deepEqual({ name: keyfile.kdf.name, iterations: keyfile.kdf.iterations }, { name: 'PBKDF2-HMAC-SHA-256', iterations: 600_000 });
  assert.equal(keyfile.keys[0].createdMs, 1234);
  const unlocked = await unlock(keyfile, PASSPHRASE);
  assert.deepEqual([...unlocked.keys.keys()], [keyfile.current]);
  assert.equal(unlocked.keys.get(unlocked.current).length, 32);
  // As IndexedDB keeps it.
  assert.deepEqual(plain(await unlock(structuredClone(keyfile), PASSPHRASE)), plain(unlocked));
  await refuses(() => unlock(keyfile, `${PASSPHRASE} `), 'Permission', /secret opens none/);
  await refuses(() => unlock(keyfile, ''), 'Invalid', /empty/);
  const key = await appKey();
  await refuses(() => unlock(keyfile, key), 'Permission', /a passphrase, not a CryptoKey/);
});

test('keyfiles of version 1 still open', async () => {
  const { keyfiles, wrapping, keys, current, names } = JSON.parse(
    await readFile(new URL('./keyfile-v1.json', import.meta.url), 'utf8'),
    (_, value) => (typeof value?.hex === 'string' ? fromHex(value.hex) : value),
  );
  const secret = await subtle.importKey('raw', wrapping, 'AES-KW', false, ['wrapKey', 'unwrapKey']);
  const expected = { keys: Object.entries(keys).map(([id, key]) => [Number(id), toHex(key)]), current, names: toHex(names) };
  assert.deepEqual(plain(await unlock(keyfiles[0], PASSPHRASE)), expected);
  assert.deepEqual(plain(await unlock(keyfiles[1], secret)), expected);
});

test('a passphrase is the same however its letters are composed', async () => {
  const keyfile = await createKeyfile('gr\u00fc\u00df');
  assert.deepEqual(plain(await unlock(keyfile, 'gru\u0308\u00df')), plain(await unlock(keyfile, 'gr\u00fc\u00df')));
});

test('a CryptoKey that cannot be extracted unlocks, and another is told', async () => {
  const [secret, other] = [await appKey(), await appKey()];
  const keyfile = await createKeyfile(secret);
  assert.equal(keyfile.kdf, undefined);
  assert.equal((await unlock(keyfile, secret)).keys.size, 1);
  await refuses(() => unlock(keyfile, other), 'Permission', /secret opens none/);
  await refuses(() => unlock(keyfile, PASSPHRASE), 'Permission', /a CryptoKey, not a passphrase/);
});

test('what is no secret is refused', async () => {
  const gcm = await subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
  const half = await subtle.generateKey({ name: 'AES-KW', length: 256 }, false, ['unwrapKey']);
  await refuses(() => createKeyfile(gcm), 'Invalid', /algorithm AES-KW.*AES-GCM with encrypt, decrypt/);
  await refuses(() => createKeyfile(half), 'Invalid', /AES-KW with unwrapKey/);
  for (const secret of [undefined, null, 7, {}, '']) await refuses(() => createKeyfile(secret), 'Invalid', /a secret must be/);
  for (const iterations of [1, 599_999, 10_000_001, 1e9, 600_000.5, NaN]) {
    await refuses(() => createKeyfile(PASSPHRASE, { iterations }), 'Invalid', /option iterations .* from 600000 to 10000000/);
  }
  const secret = await appKey();
  await refuses(() => createKeyfile(secret, { nowMs: NaN }), 'Invalid', /option nowMs/);
});

test('where there is no WebCrypto, that is said', async () => {
  const secret = await appKey();
  const keyfile = await createKeyfile(secret);
  const globals = ['crypto', 'CryptoKey'].map((name) => /** @type {const} */ ([name, /** @type {any} */ (Object.getOwnPropertyDescriptor(globalThis, name))]));
  try {
    // As in a page that is not a secure context.
    for (const [name] of globals) Object.defineProperty(globalThis, name, { value: undefined, configurable: true });
    Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues: (/** @type {unknown} */ bytes) => bytes }, configurable: true });
    for (const call of [() => createKeyfile(secret), () => createKeyfile(PASSPHRASE), () => unlock(keyfile, secret)]) {
      await refuses(call, 'Unsupported', /HTTPS/);
    }
  } finally {
    for (const [name, descriptor] of globals) Object.defineProperty(globalThis, name, descriptor);
  }
});

test('each key is random, as are wrapped keys and salts', async () => {
  const secret = await appKey();
  const files = await Promise.all(Array.from({ length: 20 }, () => createKeyfile(secret)));
  const unlocked = await Promise.all(files.map((keyfile) => unlock(keyfile, secret)));
  const raw = unlocked.flatMap(({ keys, names }) => [...keys.values(), names].map(toHex));
  assert.equal(new Set(raw).size, 40);
});

test('another secret is for the same keys, and the old one opens nothing more', async () => {
  const [first, second] = [await appKey(), await appKey()];
  const before = await addDataKey(await createKeyfile(first), first);
  const original = structuredClone(before);
  const after = await changeSecret(before, first, second);
  assert.deepEqual(before, original);
  assert.deepEqual(plain(await unlock(after, second)), plain(await unlock(before, first)));
  await refuses(() => unlock(after, first), 'Permission', /none/);
  await refuses(() => changeSecret(before, second, first), 'Permission', /none/);
  const byPassphrase = await changeSecret(after, second, PASSPHRASE, { iterations: 600_001 });
  assert.equal(byPassphrase.kdf.iterations, 600_001);
  assert.deepEqual(plain(await unlock(byPassphrase, PASSPHRASE)), plain(await unlock(before, first)));
  const salted = await changeSecret(byPassphrase, PASSPHRASE, PASSPHRASE);
  assert.notEqual(toHex(salted.kdf.salt), toHex(byPassphrase.kdf.salt));
  const back = await changeSecret(salted, PASSPHRASE, first);
  assert.equal('kdf' in back, false);
  assert.deepEqual(plain(await unlock(back, first)), plain(await unlock(before, first)));
});

test('a data key more seals, and the others stay until they are dropped', async () => {
  const secret = await appKey();
  const one = await createKeyfile(secret, { nowMs: 1 });
  const two = await addDataKey(one, secret, { nowMs: 2 });
  assert.deepEqual(two.keys.map((/** @type {any} */ key) => key.createdMs), [1, 2]);
  assert.equal(two.current, two.keys[1].id);
  const [first, both] = [await unlock(one, secret), await unlock(two, secret)];
  assert.equal(toHex(both.keys.get(one.current)), toHex(first.keys.get(one.current)));
  assert.equal(toHex(both.names), toHex(first.names));
  const dropped = await dropDataKey(two, one.current);
  assert.deepEqual([...(await unlock(dropped, secret)).keys.keys()], [two.current]);
  await refuses(() => dropDataKey(two, two.current), 'Invalid', /the one that seals/);
  await refuses(() => dropDataKey(two, 1), 'NotFound', /none with that id/);
  await refuses(async () => addDataKey(one, await appKey()), 'Permission', /none/);
});

/**
 * A keyfile with some change, and a digest that is right again: what somebody makes who knows how.
 * @param {any} keyfile @param {(file: any) => void} change
 */
async function forged(keyfile, change) {
  const file = structuredClone(keyfile);
  change(file);
  const both = (/** @type {any} */ { wrapped, check }) => [[...wrapped], [...check]];
  const { version, kdf, keys, current, names } = file;
  const text = JSON.stringify([
    version, kdf ? [kdf.name, [...kdf.salt], kdf.iterations] : null,
    keys.map((/** @type {any} */ key) => [key.id, ...both(key), key.createdMs]), current, both(names),
  ]);
  return { ...file, digest: new Uint8Array(await subtle.digest('SHA-256', new TextEncoder().encode(text))) };
}

test('damage to any byte is told as that, without a secret', async () => {
  const secret = await appKey();
  const keyfile = await addDataKey(await createKeyfile(secret), secret);
  /** @param {any} file @returns {Uint8Array[]} */
  const places = (file) => [file.digest, ...[...file.keys, file.names].flatMap(({ wrapped, check }) => [wrapped, check])];
  for (const [field, bytes] of places(keyfile).entries()) {
    for (let at = 0; at < bytes.length; at += 1) {
      const damaged = structuredClone(keyfile);
      /** @type {any} */ (places(damaged)[field])[at] ^= 1 << (at % 8);
      await refuses(() => unlock(damaged, secret), 'Corrupt', /the keyfile's (digest|keys\[\d\]\.id)/);
    }
  }
});

test('a field that is not as it should be is named', async () => {
  const keyfile = await createKeyfile(PASSPHRASE);
  const cases = /** @type {[RegExp, (file: any) => void][]} */ ([
    [/version must be 1; it is undefined/, (file) => delete file.version],
    [/version must be 1; it is "1"/, (file) => { file.version = '1'; }],
    [/version must be 1; it is 0/, (file) => { file.version = 0; }],
    [/kdf must be an object; it is null/, (file) => { file.kdf = null; }],
    [/kdf\.name must be "PBKDF2-HMAC-SHA-256"; it is "plain"/, (file) => { file.kdf.name = 'plain'; }],
    [/kdf\.iterations must be .* from 600000 to 10000000; it is 1000000000/, (file) => { file.kdf.iterations = 1e9; }],
    [/kdf\.iterations .* it is 1$/, (file) => { file.kdf.iterations = 1; }],
    [/kdf\.iterations .* it is Infinity/, (file) => { file.kdf.iterations = Infinity; }],
    [/kdf\.iterations .* it is "600000"/, (file) => { file.kdf.iterations = '600000'; }],
    [/kdf\.salt must be a Uint8Array of 16 bytes; it is 15 bytes/, (file) => { file.kdf.salt = file.kdf.salt.slice(1); }],
    [/kdf\.salt .* it is an array of 16/, (file) => { file.kdf.salt = [...file.kdf.salt]; }],
    [/keys must be an array of 1 to 1000 keys; it is an array of 0/, (file) => { file.keys = []; }],
    [/keys must be an array of 1 to 1000 keys; it is an array of 4294967295/, (file) => { file.keys = new Array(2 ** 32 - 1); }],
    [/keys .* it is an object/, (file) => { file.keys = { length: 1 }; }],
    [/keys must be keys with ids that differ/, (file) => file.keys.push(file.keys[0])],
    [/keys\[0\] must be an object; it is null/, (file) => { file.keys[0] = null; }],
    [/keys\[0\]\.id must be what its check begins with/, (file) => { file.keys[0].id += 1; }],
    [/keys\[0\]\.wrapped must be a Uint8Array of 40 bytes; it is 1000000 bytes/, (file) => { file.keys[0].wrapped = new Uint8Array(1e6); }],
    [/keys\[0\]\.check must be a Uint8Array of 16 bytes; it is undefined/, (file) => delete file.keys[0].check],
    [/keys\[0\]\.createdMs must be a number of milliseconds; it is NaN/, (file) => { file.keys[0].createdMs = NaN; }],
    [/names must be an object; it is undefined/, (file) => delete file.names],
    [/names\.wrapped must be/, (file) => { file.names.wrapped = 'a'.repeat(40); }],
    [/current must be the id of one of its keys; it is 7/, (file) => { file.current = 7; }],
    [/current .* it is undefined/, (file) => delete file.current],
    [/digest must be a Uint8Array of 32 bytes/, (file) => delete file.digest],
    [/digest must be the SHA-256/, (file) => { file.kdf.salt[3] ^= 1; }],
    [/digest must be the SHA-256/, (file) => { file.keys[0].createdMs += 1; }],
    [/digest must be the SHA-256/, (file) => { file.kdf.iterations += 1; }],
    [/digest must be the SHA-256/, (file) => delete file.kdf],
  ]);
  for (const [message, change] of cases) {
    const file = structuredClone(keyfile);
    change(file);
    await refuses(() => unlock(file, PASSPHRASE), 'Corrupt', message);
    await refuses(() => dropDataKey(file, 1), 'Corrupt', message);
  }
  for (const other of [undefined, null, 7, 'keyfile', () => 1]) await refuses(() => unlock(other, PASSPHRASE), 'Corrupt', /the keyfile must be an object/);
  await refuses(() => unlock({ ...keyfile, version: 2 }, PASSPHRASE), 'Unsupported', /version 2; this code reads version 1/);
});

test('what was forged opens nothing that its keys do not vouch for', async () => {
  const secret = await appKey();
  const keyfile = await addDataKey(await createKeyfile(secret), secret);
  const swapped = await forged(keyfile, ({ keys: [a, b] }) => { [a.wrapped, b.wrapped] = [b.wrapped, a.wrapped]; });
  await refuses(() => unlock(swapped, secret), 'Corrupt', /keys\[0\]\.check must be the check of the key beside it/);
  const asNames = await forged(keyfile, ({ keys: [a], names }) => { names.wrapped = a.wrapped; });
  await refuses(() => unlock(asNames, secret), 'Corrupt', /names\.check/);
  const one = await forged(keyfile, ({ keys: [, b] }) => { b.wrapped[9] ^= 1; });
  await refuses(() => unlock(one, secret), 'Corrupt', /keys\[1\]\.wrapped must be a key that this secret wrapped/);
  const all = await forged(keyfile, ({ keys, names }) => [...keys, names].forEach((key) => { key.wrapped[9] ^= 1; }));
  await refuses(() => unlock(all, secret), 'Permission', /none/);
});
