/** Options: defaults, what is refused and how the error names it, and the page's URL as an override. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { settings, databaseOptions, healthOptions, poolOptions, iterateOptions, queryOptions, transactionMode, transferOptions, signalIn } = await load("export * from './options.js'");

const page = { href: 'https://app.test/path/page.html', origin: 'https://app.test' };

test('a name is all that is needed', () => {
  const { onEvent, ...rest } = settings({ name: 'app' }, page);
  assert.equal(typeof onEvent, 'function');
  assert.deepEqual(rest, {
    name: 'app', fallback: undefined, waitMs: 5000, deadlineMs: 30000, idleMs: 30000, sanityCheck: false, verbosity: 0,
    mode: undefined, opfs: true, recover: undefined, cacheBytes: 64 << 20, slowQueryMs: undefined, onMetrics: undefined,
    metricsIntervalMs: 10_000, workersUrl: undefined, wasmUrl: undefined,
  });
});

test('an invalid option is named with what came', () => {
  const cases = [
    ['name', {}], ['name', { name: '' }], ['name', { name: 'a/b' }], ['name', { name: '..' }], ['name', { name: 'a'.repeat(65) }],
    ['fallback', { name: 'a', fallback: 'disk' }],
    ['waitMs', { name: 'a', waitMs: -1 }], ['deadlineMs', { name: 'a', deadlineMs: 1.5 }], ['idleMs', { name: 'a', idleMs: '9' }],
    ['sanityCheck', { name: 'a', sanityCheck: 'on' }], ['verbosity', { name: 'a', verbosity: 3 }],
    ['mode', { name: 'a', mode: 'fast' }], ['opfs', { name: 'a', opfs: 1 }],
    ['workersUrl', { name: 'a', workersUrl: 'https://elsewhere.test/' }], ['wasmUrl', { name: 'a', wasmUrl: 'https://[' }],
    ['recover', { name: 'a', recover: 'retry' }], ['cacheBytes', { name: 'a', cacheBytes: 1000 }],
    ['slowQueryMs', { name: 'a', slowQueryMs: -1 }], ['metricsIntervalMs', { name: 'a', metricsIntervalMs: 0 }],
    ['onMetrics', { name: 'a', onMetrics: true }],
    ['onEvent', { name: 'a', onEvent: 'log' }], ['urlOptions', { name: 'a', urlOptions: 'yes' }],
  ];
  for (const [option, options] of cases) {
    assert.throws(() => settings(options, page), (error) => {
      assert.equal(error.name, 'StatikError');
      assert.equal(error.code, 'Invalid');
      assert.match(error.message, new RegExp(`^option ${option} `));
      return true;
    }, JSON.stringify(options));
  }
  assert.throws(() => settings(null, page), { code: 'Invalid' });
});

test('URLs are taken relative to the page, and workersUrl is a folder', () => {
  const { workersUrl, wasmUrl } = settings({ name: 'a', workersUrl: '/statik', wasmUrl: 'x.wasm' }, page);
  assert.equal(workersUrl.href, 'https://app.test/statik/');
  assert.equal(wasmUrl.href, 'https://app.test/path/x.wasm');
});

test('the page URL overrides only where the app says so', () => {
  const debugging = { ...page, href: `${page.href}?statik.mode=direct&statik.opfs=off&statik.verbosity=2&statik.sanityCheck=on&statik.workersUrl=/w&statik.name=evil` };
  assert.equal(settings({ name: 'a' }, debugging).mode, undefined);
  const set = settings({ name: 'a', urlOptions: true, mode: 'bridge' }, debugging);
  assert.deepEqual(
    [set.name, set.mode, set.opfs, set.verbosity, set.sanityCheck, set.workersUrl.href],
    ['a', 'direct', false, 2, true, 'https://app.test/w/'],
  );
  for (const query of ['statik.mode=x', 'statik.opfs=maybe', 'statik.verbosity=9', 'statik.workersUrl=https://elsewhere.test']) {
    assert.throws(() => settings({ name: 'a', urlOptions: true }, { ...page, href: `${page.href}?${query}` }), { code: 'Invalid' }, query);
  }
});

test('the options of databases and calls', () => {
  assert.deepEqual(databaseOptions(), {});
  assert.deepEqual(databaseOptions({ readOnly: true, busyTimeoutMs: 0, extra: 1 }), { readOnly: true, busyTimeoutMs: 0 });
  for (const options of [{ mustExist: 1 }, { readOnly: 'no' }, { busyTimeoutMs: -1 }, { cacheKib: NaN }, { foreignKeys: null }]) {
    assert.throws(() => databaseOptions(options), { code: 'Invalid', message: new RegExp(`^option ${Object.keys(options)[0]} `) });
  }
  assert.deepEqual(iterateOptions(), { rows: 'object', signal: undefined, batchRows: 1000 });
  assert.throws(() => iterateOptions({ batchRows: 0 }), { code: 'Invalid', message: /^option batchRows / });
  assert.throws(() => queryOptions({ rows: 'map' }), { code: 'Invalid', message: /^option rows / });
  assert.throws(() => signalIn({ signal: {} }), { code: 'Invalid', message: /^option signal / });
  assert.throws(() => transferOptions({ onProgress: 1 }), { code: 'Invalid', message: /^option onProgress / });
  assert.equal(transactionMode(), 'immediate');
  assert.throws(() => transactionMode({ mode: 'fast' }), { code: 'Invalid', message: /^option mode / });
});

test('a pool has a writer and readers by the cores, within bounds', () => {
  const rest = { acquireTimeoutMs: 30_000, idleMs: 10_000 };
  assert.equal(poolOptions(undefined, 4), undefined);
  assert.equal(poolOptions({ pool: false }, 4), undefined);
  assert.deepEqual(poolOptions({ pool: true }, 4), { min: 2, max: 4, ...rest });
  assert.deepEqual(poolOptions({ pool: {} }, 1), { min: 2, max: 2, ...rest });
  assert.deepEqual(poolOptions({ pool: {} }, 64), { min: 2, max: 8, ...rest });
  assert.deepEqual(poolOptions({ pool: { max: 1 } }, 64), { min: 1, max: 1, ...rest });
  assert.deepEqual(poolOptions({ pool: { min: 12, acquireTimeoutMs: 1, idleMs: 0 } }, 4), { min: 12, max: 12, acquireTimeoutMs: 1, idleMs: 0 });
  for (const pool of ['yes', null, 3, { min: 0 }, { max: 1.5 }, { min: 3, max: 2 }, { acquireTimeoutMs: -1 }, { idleMs: 'long' }]) {
    assert.throws(() => poolOptions({ pool }, 4), { code: 'Invalid' }, JSON.stringify(pool));
  }
});

test('synchronous and full take only what they know', () => {
  assert.deepEqual(databaseOptions({ synchronous: 'normal', pool: true }), { synchronous: 'normal' });
  assert.throws(() => databaseOptions({ synchronous: 'extra' }), { code: 'Invalid' });
  assert.equal(healthOptions().full, false);
  assert.equal(healthOptions({ full: true }).full, true);
  assert.throws(() => healthOptions({ full: 1 }), { code: 'Invalid' });
});
