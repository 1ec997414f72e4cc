/**
 * Rotation of the databases' keys: stopped wherever, gone on with by another tab, while others write, and never at the cost
 * of a record.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IDBDatabase } from 'fake-indexeddb';
import { numbersBelow } from '../e2e/random.mjs';
import { newKey, newWorld } from './world.mjs';

/** @typedef {import('./world.mjs').World} World */

const key = await newKey();
const encryption = { key };

const STORES = /** @type {[string, string][]} */ ([
  ['statik_memory', 'episodes'], ['statik_memory', 'concepts'], ['statik_memory', 'skills'],
  ['statik_state', 'unit_states'], ['statik_state', 'kernel_state'], ['statik_logs', 'deltas'], ['statik_logs', 'errors'], ['statik_logs', 'actions'],
]);

/** @param {any} databases @param {number} count */
async function fill({ memory, state, logs }, count) {
  for (let at = 0; at < count; at += 1) {
    await memory.storeConcept({ id: `${at}`, name: 'n', at });
    await logs.logDelta({ at });
  }
  await memory.storeEpisode({ id: 'e', timestamp: 1, salience: 1, tags: ['t'] });
  await state.saveUnitState('unit', { count });
}

/** @param {any} databases */
async function read({ memory, state, logs }) {
  const [concepts, episodes, deltas] = await Promise.all([memory.queryConcepts({ limit: 10_000 }), memory.queryEpisodes({ tags: ['t'] }), logs.queryLogs('deltas', { limit: 10_000 })]);
  return { concepts: concepts.items, episodes: episodes.items, deltas: deltas.items, unit: await state.loadUnitState('unit') };
}

/** The ids of the data keys that records are sealed by. @param {World} world */
async function sealedBy(world) {
  const ids = new Set();
  for (const [database, store] of STORES) {
    for (const [, { _sealed: sealed }] of await world.dump(database, store)) {
      ids.add(new DataView(sealed.buffer, sealed.byteOffset).getUint32(4, true).toString(16).padStart(8, '0'));
    }
  }
  return [...ids];
}

/** One key, under which everything is. @param {World} world @param {any} databases */
async function assertRotated(world, databases) {
  const status = await databases.encryption.status();
  assert.deepEqual(status.keyIds, [status.current]);
  assert.equal(status.rotating, false);
  assert.deepEqual(await sealedBy(world), [status.current]);
  return status.current;
}

/** Takes a lock; what lets go of it. @param {string} name @param {LockMode} mode @returns {Promise<() => void>} */
function held(name, mode) {
  return new Promise((resolve) => {
    void navigator.locks.request(name, { mode }, () => new Promise((release) => resolve(() => release(undefined))));
  });
}

/** Whether somebody waits for a lock of such a name. @param {string} prefix */
async function isAwaited(prefix) {
  const { pending = [] } = await navigator.locks.query();
  return pending.some(({ name = '' }) => name.startsWith(prefix));
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function withResolvers() {
  /** @type {(value: unknown) => void} */
  let resolve = () => {};
  const promise = new Promise((settle) => { resolve = settle; });
  return { promise, resolve };
}

const { transaction } = IDBDatabase.prototype;

/**
 * Runs `body`, in which the n-th transaction from now on cannot begin, nor any after it, as if the browser had died.
 * @template T @param {number} n @param {() => Promise<T>} body @returns {Promise<{ count: number, error: any }>}
 */
async function dyingAt(n, body) {
  let count = 0;
  IDBDatabase.prototype.transaction = function (...args) {
    count += 1;
    if (count >= n) throw new DOMException('planted', 'UnknownError');
    return transaction.apply(this, args);
  };
  try {
    const error = await body().then(() => undefined, (/** @type {unknown} */ thrown) => thrown);
    return { count, error };
  } finally {
    IDBDatabase.prototype.transaction = transaction;
  }
}

test('a rotation seals all anew, tells how far it is, and all tabs go on', async () => {
  const world = newWorld();
  const [a, b] = [await world.open({ encryption }), await world.open({ encryption })];
  await fill(a, 250);
  const before = await read(a);
  const { current } = await a.encryption.status();
  const progress = /** @type {any[]} */ ([]);
  const report = await a.encryption.rotate({ onProgress: (/** @type {any} */ at) => progress.push([at.pass, at.resealed]) });
  assert.notEqual(report.current, current);
  assert.equal(report.resealed, 502);
  assert.deepEqual(progress.slice(0, 4), [[0, 1], [0, 201], [0, 251], [0, 251]]);
  assert.equal(await assertRotated(world, a), report.current);
  for (const tab of [a, b, await world.open({ encryption })]) assert.deepEqual(await read(tab), before);
  await b.memory.storeConcept({ id: 'b', name: 'n' });
  await assertRotated(world, b);
});

test('stopped at any step, it is gone on with by another tab', async () => {
  const counting = newWorld();
  const whole = await counting.open({ encryption });
  await fill(whole, 3);
  const { count, error } = await dyingAt(Infinity, () => whole.encryption.rotate());
  assert.equal(error, undefined);
  assert.ok(count > 40, `${count} transactions`);
  for (const isClosed of [true, false]) {
    for (let step = 1; step <= count; step += isClosed ? 1 : 5) {
      const world = newWorld();
      const [first, second] = [await world.open({ encryption }), await world.open({ encryption })];
      await fill(first, 3);
      const before = await read(first);
      const died = await dyingAt(step, () => first.encryption.rotate());
      assert.ok(died.error, `step ${step}`);
      if (isClosed) await first.close();
      assert.deepEqual(await read(second), before, `step ${step}`);
      await second.encryption.rotate();
      await assertRotated(world, second);
      assert.deepEqual(await read(second), before, `step ${step}`);
      assert.deepEqual(await read(await world.open({ encryption })), before);
      await world.close();
    }
  }
});

test('stopped by its signal it goes on under the same key, with what is left', async () => {
  const world = newWorld();
  const databases = await world.open({ encryption });
  await fill(databases, 450);
  const controller = new AbortController();
  const reason = new Error('enough');
  const onProgress = ({ resealed = 0 }) => { if (resealed > 300) controller.abort(reason); };
  await assert.rejects(databases.encryption.rotate({ signal: controller.signal, onProgress }), reason);
  const stopped = await databases.encryption.status();
  assert.equal(stopped.keyIds.length, 2);
  assert.equal(stopped.rotating, true);
  await databases.close();
  const again = await world.open({ encryption });
  const report = await again.encryption.rotate();
  assert.deepEqual([report.current, report.resealed], [stopped.current, 902 - 401]);
  await assertRotated(world, again);
  await assert.rejects(again.encryption.rotate({ signal: AbortSignal.abort(reason) }), reason);
  assert.equal((await again.encryption.status()).keyIds.length, 1, 'what was stopped before it began has made no key');
});

test('what is written meanwhile, in all tabs, stays', async () => {
  const seed = Number(process.env.STATIK_SEED ?? 20_251_128);
  console.log(`STATIK_SEED=${seed}`);
  const below = numbersBelow(seed);
  const world = newWorld();
  const tabs = await Promise.all([1, 2, 3].map(() => world.open({ encryption })));
  const expected = new Map();
  for (let at = 0; at < 30; at += 1) {
    expected.set(`${at}`, { id: `${at}`, name: 'n', at: -1 });
    await tabs[0].memory.storeConcept(expected.get(`${at}`));
  }
  let isRotating = true;
  let writes = 0;
  const write = async (/** @type {any} */ { memory }, /** @type {number} */ tab) => {
    for (let turn = 0; isRotating || turn < 20; turn += 1) {
      // Each tab has ids of its own, so that what must be there in the end does not depend on who was first.
      const id = `${below(10) * 3 + tab}`;
      const kind = below(4);
      if (kind === 0) {
        await memory.deleteConcept(id);
        expected.delete(id);
      } else if (kind === 1 && expected.has(id)) {
        await memory.updateConcept(id, { turn });
        expected.get(id).turn = turn;
      } else {
        expected.set(id, { id, name: 'n', at: turn });
        await memory.storeConcept({ id, name: 'n', at: turn });
      }
      assert.deepEqual(await memory.getConcept(id), expected.get(id));
      writes += 1;
    }
  };
  const writing = tabs.map(write);
  for (let round = 0; round < 5; round += 1) await tabs[round % 3].encryption.rotate();
  isRotating = false;
  await Promise.all(writing);
  assert.ok(writes >= 60, `${writes} writes`);
  const { items } = await tabs[1].memory.queryConcepts({ limit: 1000 });
  assert.deepEqual(new Map(items.map((/** @type {any} */ item) => [item.id, item])), expected);
  await assertRotated(world, tabs[2]);
});

test('two tabs that rotate at once: one does, the other is told', async () => {
  const world = newWorld();
  const [a, b] = [await world.open({ encryption }), await world.open({ encryption })];
  await fill(a, 10);
  const [first, second] = await Promise.allSettled([a.encryption.rotate(), b.encryption.rotate()]);
  assert.deepEqual([first.status, second.status], ['fulfilled', 'rejected']);
  if (second.status === 'rejected') assert.equal(second.reason.code, 'Busy');
  await assertRotated(world, b);
  await b.encryption.rotate();
  await assertRotated(world, a);
});

test('who does not let go of an older key keeps it from being dropped', async () => {
  const world = newWorld();
  const databases = await world.open({ encryption });
  await fill(databases, 3);
  const { current } = await databases.encryption.status();
  const letGo = await held(`statik:sealing@${world.name}:${current}`, 'shared');
  const controller = new AbortController();
  const reason = new Error('waited long enough');
  let passes = 0;
  const rotating = databases.encryption.rotate({ signal: controller.signal, onProgress: (/** @type {any} */ { pass }) => { passes = pass; } });
  // Once all is sealed anew, it waits for whoever holds the lock.
  let isOver = false;
  void rotating.finally(() => { isOver = true; }).catch(() => undefined);
  while (!isOver && !await isAwaited('statik:sealing')) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(reason);
  await assert.rejects(rotating, reason);
  assert.equal(passes, 0);
  assert.equal((await databases.encryption.status()).keyIds.length, 2);
  letGo();
  await databases.encryption.rotate();
  await assertRotated(world, databases);
});

test('what another tab has sealed and not yet written is waited for', async () => {
  const world = newWorld();
  const [a, b] = [await world.open({ encryption }), await world.open({ encryption })];
  await fill(a, 3);
  // The tab loses its connection, and has to wait before it can open another one.
  const letGo = await held(`statik:databases:statik_memory@${world.name}`, 'exclusive');
  const { promise: lost, resolve } = withResolvers();
  IDBDatabase.prototype.transaction = function () {
    IDBDatabase.prototype.transaction = transaction;
    resolve(undefined);
    throw new DOMException('planted', 'InvalidStateError');
  };
  const writing = b.memory.storeEpisodes([{ id: 'late', salience: 0, tags: ['late'] }]);
  await lost;
  let isOver = false;
  const rotating = a.encryption.rotate().finally(() => { isOver = true; });
  while (!isOver && !await isAwaited('statik:sealing')) await new Promise((next) => setImmediate(next));
  assert.equal(isOver, false, 'it does not wait');
  letGo();
  await Promise.all([writing, rotating]);
  await assertRotated(world, a);
  assert.equal((await a.memory.queryEpisodes({ tags: ['late'] })).items.length, 1);
});

test('a tab that has read the keyfile, and takes its lock when all is over, reads it again', async () => {
  const world = newWorld();
  const a = await world.open({ encryption });
  await fill(a, 3);
  const { current } = await a.encryption.status();
  const { promise: asked, resolve: isAsked } = withResolvers();
  const { promise: rotated, resolve: go } = withResolvers();
  const { locks } = navigator;
  const request = locks.request.bind(locks);
  /** @type {any} */ (locks).request = async (/** @type {[string, ...any[]]} */ ...args) => {
    if (args[0] === `statik:sealing@${world.name}:${current}`) {
      delete (/** @type {any} */ (locks).request);
      isAsked(undefined);
      await rotated;
    }
    return /** @type {any} */ (request)(...args);
  };
  const opening = world.open({ encryption });
  await asked;
  await a.encryption.rotate();
  go(undefined);
  const late = await opening;
  await late.memory.storeConcept({ id: 'late', name: 'n' });
  await assertRotated(world, late);
});

test('a tab that hears nothing finds the new key when it meets it', async () => {
  const world = newWorld();
  const { BroadcastChannel: Channel } = globalThis;
  // @ts-expect-error It hears nothing and says nothing.
  globalThis.BroadcastChannel = class { postMessage() {} close() {} };
  const deaf = await world.open({ encryption });
  globalThis.BroadcastChannel = Channel;
  const other = await world.open({ encryption });
  await fill(other, 3);
  await other.memory.storeConcept({ id: 'c', name: 'n', v: 1 });
  const controller = new AbortController();
  // It stops before it would wait for the deaf one, whose lock of the old key is still held.
  const stopping = other.encryption.rotate({ signal: controller.signal, onProgress: (/** @type {any} */ { pass }) => { if (pass === 0) controller.abort(); } });
  await assert.rejects(stopping, { name: 'AbortError' });
  await other.memory.storeConcept({ id: 'c', name: 'n', v: 2 });
  await other.state.saveUnitState('unit', 'new');
  const met = [() => deaf.memory.updateConcept('c', { w: 1 }), () => deaf.memory.getConcept('c'), () => deaf.state.loadUnitState('unit')];
  assert.deepEqual(await met[0]?.(), { id: 'c', name: 'n', v: 2, w: 1 });
  assert.deepEqual(await met[1]?.(), { id: 'c', name: 'n', v: 2, w: 1 });
  assert.equal(await met[2]?.(), 'new');
  await other.encryption.rotate();
  await assertRotated(world, deaf);
});

test('after the secret was changed only the new one opens; who has the databases open goes on until the keys change', async () => {
  const world = newWorld();
  const [a, b] = [await world.open({ encryption }), await world.open({ encryption })];
  await fill(a, 3);
  const before = await read(a);
  const next = { key: await newKey() };
  await assert.rejects(a.encryption.changeSecret(next, next), { code: 'Permission' });
  await a.encryption.changeSecret(encryption, next);
  await assert.rejects(world.open({ encryption }), { code: 'Permission' });
  for (const tab of [a, b, await world.open({ encryption: next })]) assert.deepEqual(await read(tab), before);
  await b.memory.storeConcept({ id: 'b', name: 'n' });
  await assert.rejects(b.encryption.rotate(), { code: 'Permission' });
  await a.encryption.rotate();
  await assertRotated(world, a);
  await assert.rejects(b.memory.storeConcept({ id: 'b', name: 'm' }), { code: 'Permission', message: /secret was changed/ });
  await assert.rejects(b.memory.getConcept('b'), { code: 'Permission', message: /record "b" of store concepts/ });
  assert.deepEqual(await a.memory.getConcept('b'), { id: 'b', name: 'n' });
});

test('a new secret and a new key at once take nothing from each other', async () => {
  for (let lead = 0; lead < 20; lead += 1) {
    const world = newWorld();
    const [a, b] = [await world.open({ encryption }), await world.open({ encryption })];
    await fill(a, 2);
    const before = await read(a);
    const next = { key: await newKey() };
    const rotating = b.encryption.rotate();
    for (let turn = 0; turn < lead; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    const [changed, rotated] = await Promise.allSettled([a.encryption.changeSecret(encryption, next), rotating]);
    assert.equal(changed.status, 'fulfilled');
    // Whose secret has become the wrong one, has not rotated.
    if (rotated.status === 'rejected') assert.equal(rotated.reason.code, 'Permission');
    const late = await world.open({ encryption: next });
    assert.deepEqual(await read(late), before, `${lead} turns`);
    await late.encryption.rotate();
    await assertRotated(world, late);
    await world.close();
  }
});

test('a record that cannot be opened keeps the older keys', async () => {
  const world = newWorld();
  const databases = await world.open({ encryption });
  await fill(databases, 3);
  const [[, stored] = []] = await world.dump('statik_memory', 'concepts');
  const sealed = stored._sealed.slice();
  sealed[40] ^= 1;
  await world.tamper('statik_memory', 'concepts', { ...stored, _sealed: sealed });
  await assert.rejects(databases.encryption.rotate(), { code: 'Corrupt', message: /1 records cannot be opened, and the older data keys are kept; one of them: record "0" of store concepts/ });
  const status = await databases.encryption.status();
  assert.deepEqual([status.keyIds.length, status.rotating], [2, true]);
  await databases.memory.deleteConcept('0');
  await databases.encryption.rotate();
  await assertRotated(world, databases);
});

test('what a keyfile and a passphrase make, opens after a change of passphrase too', async () => {
  const world = newWorld();
  const databases = await world.open({ encryption: { passphrase: 'first' } });
  await fill(databases, 1);
  await databases.encryption.changeSecret({ passphrase: 'first' }, { passphrase: 'second' });
  await databases.encryption.rotate();
  await databases.close();
  await assert.rejects(world.open({ encryption: { passphrase: 'first' } }), { code: 'Permission' });
  const again = await world.open({ encryption: { passphrase: 'second' } });
  assert.equal((await read(again)).concepts.length, 1);
});
