/** Calls between threads: every one settles, errors keep their fields, and the dead are not asked again. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { Remote, serve, invoke, failFatally, StatikError } = await load("export * from './rpc.js'; export * from './errors.js'");

/** @param {import('node:test').TestContext} t @param {object} target */
function pair(t, target, options = {}) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const fatal = [];
  serve(port1, (request) => invoke(target, request), options);
  return { remote: new Remote(port2, (error) => fatal.push(error)), fatal, port1 };
}

test('results come back to the call that asked, in whatever order', async (t) => {
  let release;
  const gate = new Promise((resolve) => { release = resolve; });
  const { remote } = pair(t, { slow: async (x) => { await gate; return x; }, fast: (x) => { release(); return x * 2; } });
  assert.deepEqual(await Promise.all([remote.call('slow', 1), remote.call('fast', 2)]), [1, 4]);
});

test('an error keeps its fields, and what is no ErrorShape becomes Io with its text', async (t) => {
  const shape = { code: 'Conflict', message: 'twice', path: 'a.db', sqliteCode: 'SQLITE_CONSTRAINT_UNIQUE', offset: 7 };
  const { remote } = pair(t, {
    shaped: () => { throw shape; },
    thrown: async () => { throw new RangeError('odd'); },
  });
  const error = await remote.call('shaped').catch((caught) => caught);
  assert.ok(error instanceof StatikError);
  assert.ok(error instanceof Error);
  assert.equal(error.name, 'StatikError');
  assert.deepEqual(error.toJSON(), shape);
  await assert.rejects(remote.call('thrown'), { code: 'Io', message: 'RangeError: odd' });
  await assert.rejects(remote.call('missing'), { code: 'Invalid' });
});

test('fail ends what is in flight and what comes after, with the first reason', async (t) => {
  let calls = 0;
  const { remote } = pair(t, { hang: () => { calls++; return new Promise(() => {}); } });
  const inFlight = remote.call('hang');
  remote.fail(new StatikError({ code: 'Closed', message: 'first' }));
  remote.fail(new StatikError({ code: 'Closed', message: 'second' }));
  await assert.rejects(inFlight, { code: 'Closed', message: 'first' });
  await assert.rejects(remote.call('hang'), { code: 'Closed', message: 'first' });
  assert.ok(calls <= 1);
});

test('a fatal error is told beside the call it failed, and may come unasked', async (t) => {
  const { remote, fatal, port1 } = pair(t, { trap: () => { throw { code: 'Io', message: 'unreachable' }; }, ok: () => 1 }, { isFatal: () => true });
  await assert.rejects(remote.call('trap'), { code: 'Io', message: 'unreachable' });
  assert.deepEqual(fatal.map(({ message }) => message), ['unreachable']);
  failFatally(port1, { code: 'Io', message: 'by itself' });
  await remote.call('ok');
  assert.deepEqual(fatal.map(({ message }) => message), ['unreachable', 'by itself']);
});

test('what cannot be cloned is Invalid, and the call after it works', async (t) => {
  const { remote } = pair(t, { echo: (x) => x });
  await assert.rejects(remote.call('echo', () => {}), { code: 'Invalid' });
  assert.equal(await remote.call('echo', 5), 5);
});

test('buffers are transferred both ways', async (t) => {
  const { remote } = pair(t, { grow: (bytes) => new Uint8Array(bytes.length + 1).fill(bytes[0]) }, { transferOf: (result) => [result.buffer] });
  const bytes = new Uint8Array([9, 9]);
  const { id, result } = remote.send('grow', [bytes], { transfer: [bytes.buffer] });
  assert.equal(id, 1);
  assert.equal(bytes.byteLength, 0);
  assert.deepEqual(await result, new Uint8Array([9, 9, 9]));
});
