/**
 * Encryption at rest in real browsers: what is sealed is what the format's document says, as WebCrypto has it, and keys
 * outlive a reload, a killed tab, and each other.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CHECKOUT, matrix } from './matrix.mjs';

matrix('encryption', (place) => {
  test('WebCrypto agrees with the published sample, and with the module in both directions', async (t) => {
    place.server.files.set('sealed.mjs', readFileSync(`${CHECKOUT}tests/sdk/sealed.mjs`));
    const sample = readFileSync(`${CHECKOUT}crates/store/tests/sealed-v1.txt`, 'utf8');
    const checked = await place.run(async (text) => {
      const reference = await import('/files/sealed.mjs');
      const { default: init, Keyring, BlindNames } = await import('/statik/records.js');
      await init({ module_or_path: await WebAssembly.compileStreaming(fetch('/statik/records_bg.wasm')) });
      const { subtle } = crypto;
      let count = await reference.agree(subtle, text);
      const same = (what, found, expected) => {
        if (reference.toHex(found) !== reference.toHex(expected)) throw new Error(`${what} is ${reference.toHex(found)}, not ${reference.toHex(expected)}`);
        count += 1;
      };
      const utf8 = new TextEncoder();
      for (const length of [0, 1, 15, 16, 17, 200, 100_000]) {
        const key = crypto.getRandomValues(new Uint8Array(32));
        const keyring = new Keyring(key, []);
        const plain = new Uint8Array(length).map((_, at) => at * 7);
        const context = { store: 'störe', key: utf8.encode('kéy'), version: 3 };
        same('opened by WebCrypto', await reference.open(subtle, key, context, keyring.seal('störe', 'kéy', 3, plain)), plain);
        same('sealed by WebCrypto', keyring.open('störe', 'kéy', 3, await reference.seal(subtle, key, context, plain)), plain);
        same('a blind name', new BlindNames(key).blind('störe', 'kéy'), await reference.blind(subtle, key, 'störe', utf8.encode('kéy')));
      }
      return count;
    }, sample);
    t.diagnostic(`${checked} values`);
    assert.ok(checked > 30, `${checked} values`);
  });

  test('a record is opened by WebCrypto alone, from what the databases have stored', async () => {
    place.server.files.set('sealed.mjs', readFileSync(`${CHECKOUT}tests/sdk/sealed.mjs`));
    const found = await place.run(async () => {
      const { open } = await import('/files/sealed.mjs');
      const { initializeDatabases } = await import('/statik/databases.js');
      const name = crypto.randomUUID();
      const key = await crypto.subtle.generateKey({ name: 'AES-KW', length: 256 }, false, ['wrapKey', 'unwrapKey']);
      const databases = await initializeDatabases({ name, encryption: { key }, fallback: 'error' });
      await databases.memory.storeEpisode({ id: 'é', timestamp: 5, salience: 0.5, tags: ['t'], when: new Date(7) });
      await databases.close();
      const stored = async (database, store, at) => {
        const opening = indexedDB.open(database);
        const opened = await new Promise((resolve) => { opening.onsuccess = () => resolve(opening.result); });
        const request = opened.transaction(store).objectStore(store).get(at);
        await new Promise((resolve) => { request.onsuccess = resolve; });
        opened.close();
        return request.result;
      };
      const { keys: [{ wrapped }] } = await stored('statik_catalog', 'settings', `keyfile@${name}`);
      const unwrapped = await crypto.subtle.unwrapKey('raw', wrapped, key, 'AES-KW', { name: 'HMAC', hash: 'SHA-256', length: 256 }, true, ['sign']);
      const dataKey = new Uint8Array(await crypto.subtle.exportKey('raw', unwrapped));
      const { _sealed: sealed } = await stored(`statik_memory@${name}`, 'episodes', 'é');
      const bound = JSON.stringify(['é', 5, 0.5, ['t'], { $: 'undefined' }]);
      const context = { store: JSON.stringify(['statik_memory', 'episodes']), key: new TextEncoder().encode(bound), version: 1 };
      return new TextDecoder().decode(await open(crypto.subtle, dataKey, context, sealed));
    });
    assert.equal(found, '{"when":{"$":"Date","ms":7}}');
  });

  test('by a passphrase, over a reload', async () => {
    const tab = await place.tab();
    const store = async (name, passphrase) => {
      const { initializeDatabases } = await import('/statik/databases.js');
      const { memory } = await initializeDatabases({ name, encryption: { passphrase }, blindTags: true, fallback: 'error' });
      await memory.storeConcept({ id: 'c', name: 'n', text: 'sealed' });
    };
    const load = async (name, passphrase) => {
      const { initializeDatabases } = await import('/statik/databases.js');
      const wrong = await failure(() => initializeDatabases({ name, encryption: { passphrase: 'wrong' }, fallback: 'error' }));
      const plain = await initializeDatabases({ name, fallback: 'error' });
      const missing = await failure(() => plain.memory.getConcept('c'));
      const { memory } = await initializeDatabases({ name, encryption: { passphrase }, fallback: 'error' });
      return { wrong: wrong.code, missing: missing.code, items: (await memory.queryConcepts({ name: 'n' })).items };
    };
    await tab.run(store, tab.store, 'Grüße');
    await tab.reload();
    // The same text in other code points.
    assert.deepEqual(await tab.run(load, tab.store, 'Gru\u0308ße'), { wrong: 'Permission', missing: 'Permission', items: [{ id: 'c', name: 'n', text: 'sealed' }] });
  });

  test('by a CryptoKey that nobody can extract, kept in IndexedDB over a reload', async () => {
    const tab = await place.tab();
    const body = async (name) => {
      const { initializeDatabases, request } = await import('/statik/databases.js');
      const upgrade = (db) => { db.createObjectStore('keys'); };
      const own = await (await initializeDatabases({ name, fallback: 'error' })).database('keys', [{ version: 1, name: 'keys', checksum: '1', upgrade }]);
      let key = await own.get('keys', 'databases');
      const isNew = key === undefined;
      if (isNew) await own.put('keys', key = await crypto.subtle.generateKey({ name: 'AES-KW', length: 256 }, false, ['wrapKey', 'unwrapKey']), 'databases');
      const { state } = await initializeDatabases({ name, encryption: { key }, fallback: 'error' });
      if (isNew) await state.saveKernelState({ boots: 1 });
      return { isNew, extractable: key.extractable, state: await state.loadKernelState(), request: typeof request };
    };
    assert.deepEqual(await tab.run(body, tab.store), { isNew: true, extractable: false, state: { boots: 1 }, request: 'function' });
    await tab.reload();
    assert.deepEqual(await tab.run(body, tab.store), { isNew: false, extractable: false, state: { boots: 1 }, request: 'function' });
  });

  test('two tabs write while one rotates, one is closed in the middle of another rotation, and nothing is lost', async () => {
    const [a, b] = [await place.tab(), await place.tab()];
    const name = a.store;
    const open = async (name) => {
      const { initializeDatabases } = await import('/statik/databases.js');
      globalThis.databases = await initializeDatabases({ name, encryption: { passphrase: 'p' }, fallback: 'error' });
      return globalThis.databases.encryption.status();
    };
    const write = async (tab, count) => {
      for (let at = 0; at < count; at += 1) await databases.memory.storeConcept({ id: `${tab}${at}`, name: 'n', at });
    };
    await a.run(open, name);
    await b.run(open, name);
    await a.run(write, 'x', 300);
    const [report, other] = await Promise.all([
      a.run(() => databases.encryption.rotate()),
      b.run(async () => failure(async () => {
        for (let at = 0; at < 200; at += 1) await databases.memory.storeConcept({ id: `b${at}`, name: 'n', at });
        // Once the other one has rotated, this does, and stops where it is told to.
        const controller = new AbortController();
        for (;;) {
          await databases.encryption.rotate({ signal: controller.signal, onProgress: () => controller.abort() }).catch((error) => {
            if (error.code !== 'Busy') throw error;
          });
        }
      })),
    ]);
    assert.equal(report.leftPlain, 0);
    assert.equal(other.name, 'AbortError');
    const left = await a.run(() => databases.encryption.status());
    assert.equal(left.keyIds.length, 2);
    assert.equal(left.rotating, true);
    await b.close();
    const done = await a.run(async () => {
      const { current } = await databases.encryption.rotate();
      const { items } = await databases.memory.queryConcepts({ name: 'n', limit: 1000 });
      return { current, status: await databases.encryption.status(), count: items.length, isWhole: items.every(({ id, at }) => id.slice(1) === `${at}`) };
    });
    assert.deepEqual(done, { current: left.current, status: { enabled: true, keyIds: [left.current], current: left.current, rotating: false, blindTags: false }, count: 500, isWhole: true });
  });
}, { modes: ['direct'] });
