/**
 * Sealed key-value adapters keep the contract of all adapters, say nothing of what they hold, and follow the keys.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contract } from '../kv/contract.mjs';
import { newKey, newWorld } from './world.mjs';

/** @type {any} */
const { IdbStorageAdapter, SealedStorageAdapter } = await import(new URL('../../dist/kv.js', import.meta.url).href);

const MARKER = 'MARKER-5b1f';
const encryption = { key: await newKey() };
const stamp = (/** @type {number} */ at) => `${at.toString(16).padStart(12, '0')}-0000-0000000000000001`;

/** @param {boolean} blindKeys */
async function opened(blindKeys) {
  const world = newWorld();
  const databases = await world.open({ encryption });
  const below = new IdbStorageAdapter({ databases, now: () => 1000 });
  const adapter = new SealedStorageAdapter(below, databases.encryption, { blindKeys });
  await adapter.initialize('kv');
  return { world, databases, below, adapter };
}

for (const blindKeys of [false, true]) {
  const world = newWorld();
  const databases = await world.open({ encryption });
  const subject = {
    create: (/** @type {any} */ options) => new SealedStorageAdapter(new IdbStorageAdapter({ databases, ...options }), databases.encryption, { blindKeys }),
    database: (/** @type {string} */ label) => label,
  };
  for (const { name, run } of contract(`sealed${blindKeys ? ', with blind keys' : ''}`, subject)) test(name, run);
}

/** @param {any} adapter */
async function keysOf(adapter) {
  /** @type {[string, boolean][]} */
  const keys = [];
  await adapter.iterateKeys((/** @type {string} */ key, /** @type {any} */ { isDeleted }) => keys.push([key, isDeleted]));
  return keys;
}

test('nothing is to be read of values, or of keys that are blind', async () => {
  for (const blindKeys of [false, true]) {
    const { world, adapter } = await opened(blindKeys);
    const secret = blindKeys ? MARKER : 'key';
    await adapter.commit(new Map([[secret, { value: { [MARKER]: MARKER }, hlc: stamp(1) }]]), [{ key: secret, opType: 'put', value: MARKER, hlc: stamp(1) }, { key: secret, opType: 'remove', hlc: stamp(2) }]);
    await adapter.remove(`${secret}2`);
    for (const store of ['data_store', 'op_log', 'meta_store']) {
      const text = JSON.stringify(await world.dump('kv', store), (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value));
      assert.ok(!text.includes(MARKER), `${store}: ${text}`);
    }
    assert.deepEqual(await keysOf(adapter), [[secret, false], [`${secret}2`, true]]);
    assert.deepEqual((await adapter.get(secret)).value, { [MARKER]: MARKER });
    assert.deepEqual((await adapter.getPendingOps()).map((/** @type {any} */ { key, opType, value }) => [key, opType, value]), [[secret, 'put', MARKER], [secret, 'remove', undefined]]);
  }
});

test('a value in another place is refused', async () => {
  const { world, below, adapter } = await opened(false);
  await adapter.put('a', { value: 1, hlc: stamp(1) });
  await adapter.put('b', { value: 2, hlc: stamp(1) });
  const [[, a] = [], [, b] = []] = await world.dump('kv', 'data_store');
  for (const moved of [{ ...a, value: b.value }, { ...a, hlc: stamp(2) }, { ...a, expiresMs: 1e15 }, { ...a, value: 5 }]) {
    await world.tamper('kv', 'data_store', moved);
    await assert.rejects(adapter.get('a'), { code: 'Corrupt' }, JSON.stringify(moved));
  }
  await world.tamper('kv', 'data_store', a);
  assert.equal((await adapter.get('a')).value, 1);
  assert.notEqual((await below.get('a')).value, 1);
});

test('a rotation seals values and names anew, and refuses to forget an adapter, or a log', async () => {
  for (const blindKeys of [false, true]) {
    const { databases, adapter } = await opened(blindKeys);
    for (let at = 0; at < 20; at += 1) await adapter.put(`${at}`, { value: at, hlc: stamp(1) });
    await adapter.remove('gone');
    await adapter.appendOpLog({ key: '1', opType: 'put', value: 1, hlc: stamp(1) });
    await assert.rejects(databases.encryption.rotate(), { code: 'Conflict', message: /"kv" is sealed with these keys too/ });
    await assert.rejects(databases.encryption.rotate({ adapters: [adapter] }), { code: 'Conflict', message: /1 operations in the log of "kv"/ });
    assert.equal((await databases.encryption.status()).keyIds.length, 2);
    await adapter.registerPeer('peer');
    await adapter.acknowledge('peer', 1);
    await adapter.pruneOpLog(1);
    await databases.encryption.rotate({ adapters: [adapter] });
    const { keyIds, current } = await databases.encryption.status();
    assert.deepEqual(keyIds, [current]);
    for (let at = 0; at < 20; at += 1) assert.deepEqual(await adapter.get(`${at}`), { value: at, hlc: stamp(1) });
    assert.equal((await keysOf(adapter)).length, 21);
  }
});

test('without encryption there is no sealed adapter', async () => {
  const world = newWorld();
  const databases = await world.open();
  assert.throws(() => new SealedStorageAdapter(new IdbStorageAdapter({ databases }), databases.encryption), { code: 'Permission' });
});
