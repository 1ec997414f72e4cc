/** `statik.journal`: frames and snapshots survive reloads and deaths; damage is told, and cut off when asked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

/** In a page: what a journal recovers, as text. */
async function recoverIn(name, options) {
  const statik = globalThis.store ??= await openStore();
  const journal = globalThis.journal = await statik.journal.open(name, options);
  const text = (bytes) => new TextDecoder().decode(bytes);
  const { snapshot, frames, damage } = await journal.recover();
  const found = { frames: [] };
  if (snapshot) found.snapshot = [snapshot.seq, text(snapshot.bytes)];
  if (damage) found.damage = damage;
  for await (const { seq, bytes } of frames) found.frames.push([seq, text(bytes)]);
  return found;
}

/** In a page without a store open: replaces bytes of a file of the store. */
async function scribble(store, file, offset, bytes) {
  let folder = await navigator.storage.getDirectory();
  const names = ['statik', store, '.statik', 'journal', ...file.split('/')];
  for (const name of names.slice(0, -1)) folder = await folder.getDirectoryHandle(name, { create: true });
  const handle = await folder.getFileHandle(names.at(-1), { create: true });
  const whole = new Uint8Array(await (await handle.getFile()).arrayBuffer());
  const changed = new Uint8Array(Math.max(whole.length, offset + bytes.length));
  changed.set(whole);
  changed.set(bytes, offset);
  const writable = await handle.createWritable();
  await writable.write(changed);
  await writable.close();
  return whole.length;
}

/** What the worker's side can do, all of it. */
async function everyVerb() {
  const store = await openStore({ journals: ['sync'] });
  const journal = store.journal.open('sync');
  const text = (bytes) => new TextDecoder().decode(bytes);
  const busy = failure(() => store.journal.open('sync'));
  const numbers = ['one', new Uint8Array([116, 119, 111]), ''].map((frame) => journal.append(frame));
  const state = journal.snapshot('state');
  journal.append('four');
  const { snapshot, frames } = journal.recover();
  const result = {
    busy, numbers, state, flushed: journal.flush(), snapshot: text(snapshot.bytes), after: [...frames].map(({ bytes }) => text(bytes)),
    all: [...journal.cursor()].map(({ seq, bytes }) => [seq, text(bytes)]), from: [...journal.cursor(4)].map(({ seq }) => seq),
    damage: journal.damage === undefined, wrong: failure(() => journal.append(5)),
  };
  const [first] = journal.cursor();
  journal.close();
  journal.close();
  const again = store.journal.open('sync');
  return { ...result, first: first.seq, closed: failure(() => journal.append('x')), again: again.append('five') };
}

matrix('journal', (place) => {
  test('frames are there after a reload', async () => {
    const tab = await place.tab();
    const numbers = await tab.run(async () => {
      const journal = await (await openStore()).journal.open('j');
      const empty = await journal.recover();
      const found = [empty.snapshot === undefined, (await empty.frames.next()).done];
      const bytes = new Uint8Array([1, 2, 3, 4]).subarray(1, 3);
      const appended = Promise.all(['a', bytes, 'ü', ''].map((frame) => journal.append(frame)));
      bytes.fill(9);
      return [...found, ...await appended];
    });
    assert.deepEqual(numbers, [true, true, 1, 2, 3, 4]);
    await tab.reload();
    assert.deepEqual((await tab.run(recoverIn, 'j')).frames, [[1, 'a'], [2, '\x02\x03'], [3, 'ü'], [4, '']]);
    assert.equal(await tab.run(() => journal.append('b')), 5);
  });

  test('a snapshot stands for the frames before it, which go with the next', async () => {
    const tab = await place.tab();
    const found = await tab.run(async () => {
      const journal = await (await openStore()).journal.open('dir ü.j', { durability: 'normal' });
      const large = new Uint8Array(200_000);
      const kept = [];
      for (let round = 1; round <= 5; round += 1) {
        for (let index = 0; index < 10; index += 1) await journal.append(large.fill(round));
        kept.push(await journal.snapshot(`state ${round}`));
      }
      await journal.append('last');
      const cursor = [];
      for await (const { seq, bytes } of journal.cursor()) cursor.push([seq, bytes.length, bytes[0]]);
      const gone = await failure(journal.cursor(40).next());
      return { kept, first: cursor[0], count: cursor.length, gone, flushed: await journal.flush() };
    });
    assert.deepEqual(found.kept, [10, 20, 30, 40, 50]);
    assert.deepEqual([found.first, found.count, found.flushed], [[41, 200_000, 5], 11, 51]);
    assert.equal(found.gone.code, 'NotFound');
    const bytes = await tab.run(async () => {
      let bytes = 0;
      let folder = await navigator.storage.getDirectory();
      for (const name of ['statik', new URL(location.href).searchParams.get('store'), '.statik', 'journal', 'dir ü.j']) folder = await folder.getDirectoryHandle(name);
      for await (const file of folder.values()) bytes += (await file.getFile()).size;
      return bytes;
    });
    assert.ok(bytes < 3_000_000, `${bytes} bytes are there of ten million`);
    await tab.reload();
    assert.deepEqual(await tab.run(recoverIn, 'dir ü.j'), { snapshot: [50, 'state 5'], frames: [[51, 'last']] });
  });

  test('acknowledged frames survive the death of the workers', async () => {
    const tab = await place.tab();
    const acknowledged = await tab.run(async () => {
      const journal = await (await openStore()).journal.open('j');
      let acknowledged = 0;
      const appending = (async () => {
        for (let index = 1; ; index += 1) acknowledged = await journal.append(`frame ${index}`);
      })();
      while (acknowledged < 20) await new Promise((resolve) => setTimeout(resolve));
      for (const { worker } of workers) worker.terminate();
      appending.catch(() => {});
      return acknowledged;
    });
    await tab.reload();
    const { frames } = await tab.run(recoverIn, 'j');
    assert.ok(frames.length >= acknowledged, `${frames.length} of ${acknowledged}`);
    assert.deepEqual(frames, frames.map((_, index) => [index + 1, `frame ${index + 1}`]));
  });

  test('one opener at a time, and none after the store is closed', async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const journal = await store.journal.open('j');
      const busy = await failure(store.journal.open('j'));
      const other = await store.journal.open('k');
      await journal.close();
      await journal.close();
      const closed = [await failure(journal.append('x')), await failure(journal.cursor().next())];
      const again = await store.journal.open('j');
      const names = [];
      for (const name of ['', 'a/b', '..', 'x'.repeat(101)]) names.push((await failure(store.journal.open(name))).code);
      const options = (await failure(store.journal.open('l', { recover: 'perhaps' }))).code;
      const db = await store.sqlite.open('beside.db');
      await db.exec('CREATE TABLE t(a)');
      const list = (await store.sqlite.list()).map(({ name }) => name);
      await store.close();
      closed.push(await failure(again.append('x')), await failure(other.append('x')), await failure(store.journal.open('j')));
      return { busy, closed: closed.map(({ code }) => code), names, options, list };
    });
    assert.equal(found.busy.code, 'Busy');
    assert.match(found.busy.message, /"j" is open/);
    assert.deepEqual(found.closed, ['Closed', 'Closed', 'Closed', 'Closed', 'Closed']);
    assert.deepEqual(found.names, ['Invalid', 'Invalid', 'Invalid', 'Invalid']);
    assert.equal(found.options, 'Invalid');
    assert.deepEqual(found.list, ['beside.db'], 'a journal is no database');
  });

  test('garbage is refused in words, or copied and cut off', async () => {
    const tab = await place.tab();
    await tab.run(scribble, tab.store, 'j/log-a', 0, new Uint8Array(5000).fill(120));
    const refused = await tab.run(async () => {
      const store = globalThis.store = await openStore();
      const refused = await failure(store.journal.open('j', { recover: 'refuse' }));
      const journal = await store.journal.open('j');
      const readOnly = await failure(journal.append('x'));
      const { damage } = journal;
      await journal.close();
      return { refused, readOnly, damage };
    });
    assert.equal(refused.refused.code, 'Corrupt');
    assert.match(refused.refused.message, /journal\/j\/log-a/);
    assert.equal(refused.readOnly.code, 'ReadOnly');
    assert.deepEqual({ ...refused.damage, reason: '' }, { file: '.statik/journal/j/log-a', offset: 0, seq: 1, reason: '' });
    const repaired = await tab.run(recoverIn, 'j', { recover: 'truncate' });
    assert.equal(repaired.damage.aside, '.statik/journal/j/log-a.damaged');
    assert.equal(await tab.run(() => journal.append('x')), 1);
    await tab.reload();
    assert.deepEqual(await tab.run(recoverIn, 'j'), { frames: [[1, 'x']] });
    await tab.run(() => store.close());
    assert.equal(await tab.run(scribble, tab.store, 'j/log-a.damaged', 0, new Uint8Array()), 5000);
  });

  test('a damaged snapshot costs nothing', async () => {
    const tab = await place.tab();
    await tab.run(async () => {
      const store = await openStore();
      const journal = await store.journal.open('j');
      await journal.append('a');
      await journal.snapshot('A');
      await journal.append('b');
      await journal.snapshot('AB');
      await journal.append('c');
      await store.close();
    });
    await tab.run(scribble, tab.store, 'j/snapshot-b', 64, new TextEncoder().encode('XX'));
    const found = await tab.run(recoverIn, 'j');
    assert.deepEqual([found.snapshot, found.frames], [[1, 'A'], [[2, 'b'], [3, 'c']]]);
    assert.deepEqual([found.damage.file, found.damage.seq], ['.statik/journal/j/snapshot-b', 2]);
  });

  test('in a worker of its own: every verb returns its value', async () => {
    const found = await place.run(async (source) => inWorker(source), everyVerb.toString());
    assert.deepEqual(found.numbers, [1, 2, 3]);
    assert.deepEqual([found.state, found.flushed, found.snapshot, found.after], [3, 4, 'state', ['four']]);
    assert.deepEqual(found.all, [[1, 'one'], [2, 'two'], [3, ''], [4, 'four']]);
    assert.deepEqual([found.from, found.first, found.again, found.damage], [[4], 1, 5, true]);
    assert.deepEqual([found.busy.code, found.wrong.code, found.closed.code], ['Busy', 'Invalid', 'Closed']);
  });

  test('a worker and its page share the journals of a store', { skip: place.mode === 'direct' && 'a port needs SharedArrayBuffer' }, async () => {
    const found = await place.run(async () => {
      const store = await openStore();
      const journal = await store.journal.open('j');
      await journal.append('from the page');
      const port = await store.port();
      const worker = startWorker();
      const busy = await worker.call(async (port) => {
        kept.store = await statik.open({ port });
        return failure(() => kept.store.journal.open('j')).code;
      }, [port], [port]);
      await journal.close();
      const number = await worker.call(() => kept.store.journal.open('j').append('from the worker'));
      worker.worker.terminate();
      return { busy, number };
    });
    assert.deepEqual(found, { busy: 'Busy', number: 2 });
  });
});
