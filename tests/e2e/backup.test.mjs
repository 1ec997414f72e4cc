/** Backup and restore in real browsers: export, wipe and import, other tabs, and automatic backups in files. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

let names = 0;

// IndexedDB is the same in both modes.
matrix('backup', (place) => {
  /** A page with `databases` open under a name that no other test has; or under the one given. */
  async function tabWith(name = `backup-${++names}`, options = {}) {
    const tab = await place.tab();
    await tab.run(openIn, name, options);
    tab.name = name;
    return tab;
  }

  /** Runs in the page. */
  async function openIn(name, { nowMs, ...options }) {
    const { initializeDatabases, StatikError, inspectBackup } = await import('/statik/databases.js');
    /** A clock that goes where the test sets it. */
    const clock = {
      nowMs, calls: new Map(), count: 0,
      now: () => clock.nowMs,
      set: (call) => { clock.calls.set(++clock.count, call); clock.onSet?.(); return clock.count; },
      clear: (timer) => void clock.calls.delete(timer),
      pass: (ms) => {
        clock.nowMs += ms;
        const calls = [...clock.calls.values()];
        clock.calls.clear();
        for (const call of calls) call();
      },
      isArmed: async () => { while (clock.calls.size === 0) await new Promise((resolve) => { clock.onSet = resolve; }); },
    };
    const events = [];
    const waiting = [];
    const onEvent = (event) => {
      events.push(event);
      if (event.type === 'backup') tell(`backup-${name}`, event);
      for (const check of waiting) check();
    };
    globalThis.databases = await initializeDatabases({ name, fallback: 'error', onEvent, ...(nowMs !== undefined && { timers: clock }), ...options });
    Object.assign(globalThis, {
      clock, events, inspectBackup,
      eventsAre: (count) => new Promise((resolve) => {
        const check = () => events.filter(({ type }) => type === 'backup').length >= count && resolve();
        waiting.push(check);
        check();
      }),
      refusal: async (work) => work.then(() => 'done', (error) => error instanceof StatikError ? error.code : String(error)),
      episodes: async () => (await databases.memory.queryEpisodes({ order: 'asc' })).items,
    });
  }

  test('what is exported is there again after all was wiped, and after a reload, in all tabs', async () => {
    const tab = await tabWith();
    const other = await tabWith(tab.name);
    await tab.run(async () => {
      await databases.memory.storeEpisodes(Array.from({ length: 600 }, (_, i) => ({
        id: `e${i}`, timestamp: i, salience: 0.5, tags: ['t'], when: new Date(i), bytes: Uint8Array.of(i % 256), big: BigInt(i), map: new Map([[i, new Set(['x'])]]),
        blob: new Blob([`text ${i}`], { type: 'text/plain' }),
      })));
      await databases.state.saveUnitState('unit', { on: true });
      await databases.logs.logAction({ type: 'started', timestamp: 1 });
    });
    await other.run(async () => void await databases.memory.getEpisode('e1'));
    const found = await tab.run(async () => {
      globalThis.saved = await databases.backup.exportAllData();
      await databases.close();
      return { summary: await inspectBackup(saved) };
    });
    assert.deepEqual(found.summary.databases.map(({ stores }) => stores.map(({ records }) => records)), [[0, 600, 0], [0, 1], [1, 0, 0]]);
    await other.run(async () => {
      const { items } = await databases.memory.queryEpisodes({ limit: 1000 });
      await Promise.all(items.map(({ id }) => databases.memory.deleteEpisode(id)));
      await databases.memory.storeEpisode({ id: 'since', salience: 1 });
      await databases.logs.pruneLogs({ maxCount: 0 });
      await databases.state.deleteUnitState('unit');
    });
    await tab.run(openIn, tab.name, {});
    const report = await tab.run(async () => databases.backup.importData(saved, { confirm: () => true }));
    assert.deepEqual(report.databases.map(({ records, generation }) => [records, generation]), [[600, 2], [1, 2], [1, 2]]);
    const look = async () => {
      const [first] = await episodes();
      return {
        count: await databases.memory.countEpisodes(), tagged: (await databases.memory.queryEpisodes({ tags: ['t'], limit: 1000 })).items.length,
        first: { ...first, when: first.when.getTime(), map: [...first.map].map(([n, set]) => [n, [...set]]), blob: await first.blob.text() }, since: await databases.memory.getEpisode('since'),
        unit: await databases.state.loadUnitState('unit'), logged: (await databases.logs.queryLogs('actions')).items,
      };
    };
    const expected = {
      count: 600, tagged: 600, since: undefined, unit: { on: true }, logged: [{ id: 1, timestamp: 1, type: 'started' }],
      first: { id: 'e0', timestamp: 0, salience: 0.5, tags: ['t'], when: 0, bytes: Uint8Array.of(0), big: 0n, map: [[0, ['x']]], blob: 'text 0' },
    };
    assert.deepEqual(await other.run(look), expected, 'the other tab goes on with what was restored');
    await other.run(async () => void await databases.memory.storeEpisode({ id: 'after', salience: 0, timestamp: 9_999 }));
    await tab.run(async () => void await databases.memory.deleteEpisode('after'));
    assert.deepEqual(await tab.run(look), expected);
    await tab.reload();
    await tab.run(openIn, tab.name, {});
    assert.deepEqual(await tab.run(look), expected);
  });

  test('a merge is all or nothing, and garbage touches nothing', async () => {
    const tab = await tabWith();
    const found = await tab.run(async (name) => {
      const { memory, backup } = databases;
      await memory.storeEpisodes([{ id: 'a', salience: 0, timestamp: 1, v: 1 }, { id: 'b', salience: 0, timestamp: 2, v: 1 }]);
      const blob = await backup.exportAllData();
      const text = await new Response(blob.stream().pipeThrough(new DecompressionStream('gzip'))).text();
      await memory.storeEpisodes([{ id: 'b', salience: 0, timestamp: 2, v: 2 }, { id: 'c', salience: 0, timestamp: 3, v: 2 }]);
      const shown = async () => (await episodes()).map(({ id, v }) => `${id}${v}`).join();
      const refused = [];
      const yes = { confirm: () => true };
      for (const bad of [new Blob(['garbage']), new Blob([]), blob.slice(0, -20), new Blob([text.slice(0, -200)]), new Blob([text.replace('"id":"a"', '"id":"z"')]),
        new Blob([text.replace('"version":1,', '"version":2,')])]) {
        refused.push(await refusal(backup.importData(bad, yes)));
      }
      const no = await backup.importData(blob, { confirm: () => false });
      const untouched = await shown();
      const stop = new AbortController();
      const aborted = await refusal(backup.importData(blob, { ...yes, mode: 'merge', signal: stop.signal, onProgress: ({ phase }) => phase === 'databases' && stop.abort('stopped') }));
      const still = await shown();
      await backup.importData(blob, { ...yes, mode: 'merge', onConflict: 'keep' });
      const kept = await shown();
      await backup.importData(blob, { ...yes, mode: 'merge' });
      const left = (await indexedDB.databases()).map((each) => each.name).filter((each) => each.includes(`@${name}`)).sort();
      return { refused, no: no.imported, untouched, aborted, still, kept, merged: await shown(), left };
    }, tab.name);
    assert.deepEqual(found, {
      refused: ['Invalid', 'Invalid', 'Corrupt', 'Corrupt', 'Corrupt', 'Unsupported'], no: false, untouched: 'a1,b2,c2', aborted: 'stopped', still: 'a1,b2,c2',
      kept: 'a1,b2,c2', merged: 'a1,b1,c2', left: ['logs', 'memory', 'state'].map((each) => `statik_${each}@${tab.name}#3`),
    });
  });

  test('what another tab writes while a backup is merged is there afterwards', async () => {
    const tab = await tabWith();
    const writer = await tabWith(tab.name);
    const isWriting = new Promise((resolve) => place.server.told.once(`writing-${tab.name}`, resolve));
    await writer.run(async (name) => {
      globalThis.isOver = false;
      globalThis.written = (async () => {
        const ids = [];
        while (!isOver) {
          const id = `w${ids.length}`;
          await databases.memory.storeEpisode({ id, salience: 0 });
          ids.push(id);
          if (ids.length === 10) void tell(`writing-${name}`);
        }
        return ids;
      })();
    }, tab.name);
    await isWriting;
    const generation = await tab.run(async () => {
      const { memory, backup } = databases;
      await memory.storeEpisodes(Array.from({ length: 300 }, (_, i) => ({ id: `e${i}`, salience: 0 })));
      const blob = await backup.exportAllData();
      for (let round = 0; round < 2; round++) await backup.importData(blob, { confirm: () => true, mode: 'merge', onConflict: 'keep' });
      return (await databases.status()).databases[0].generation;
    });
    const ids = await writer.run(async () => {
      isOver = true;
      return written;
    });
    assert.equal(generation, 3);
    const missing = await tab.run(async (ids) => {
      const found = new Set((await databases.memory.queryEpisodes({ limit: 100_000 })).items.map(({ id }) => id));
      return [ids.filter((id) => !found.has(id)), found.has('e299')];
    }, ids);
    assert.deepEqual(missing, [[], true]);
  });

  test('a tab that is killed in the middle of a restore leaves what was there, and the next restore works', async () => {
    const tab = await tabWith();
    const isRestoring = new Promise((resolve) => place.server.told.once(`restoring-${tab.name}`, resolve));
    await tab.run(async (name) => {
      const { memory, backup } = databases;
      const text = () => Array.from({ length: 60 }, () => crypto.randomUUID()).join('');
      await memory.storeEpisodes(Array.from({ length: 3_000 }, (_, i) => ({ id: `e${i}`, timestamp: i, salience: 0, text: text() })));
      const folder = await navigator.storage.getDirectory();
      const file = await (await folder.getFileHandle(name, { create: true })).createWritable();
      await backup.exportStream().pipeTo(file);
      await memory.storeEpisode({ id: 'since', salience: 1 });
      // In the middle it is told, and nothing follows any more.
      const saved = await (await folder.getFileHandle(name)).getFile();
      let isTold = false;
      void backup.importData(saved, {
        confirm: () => true,
        onProgress: ({ phase, doneBytes, totalBytes }) => {
          if (phase !== 'databases' || doneBytes < totalBytes / 2 || isTold) return;
          isTold = true;
          void tell(`restoring-${name}`);
          for (let end = Date.now() + 60_000; Date.now() < end;) { /* Until the tab is closed. */ }
        },
      }).catch(() => {});
    }, tab.name);
    await isRestoring;
    await tab.close();
    const next = await tabWith(tab.name);
    const found = await next.run(async (name) => {
      const { memory, backup } = databases;
      const before = [await memory.countEpisodes(), (await memory.getEpisode('since'))?.id];
      const saved = await (await (await navigator.storage.getDirectory()).getFileHandle(name)).getFile();
      await backup.importData(saved, { confirm: () => true });
      const left = (await indexedDB.databases()).map((each) => each.name).filter((each) => each.includes(`@${name}`)).length;
      return { before, after: [await memory.countEpisodes(), await memory.getEpisode('since')], left };
    }, tab.name);
    assert.deepEqual(found, { before: [3_001, 'since'], after: [3_000, undefined], left: 3 });
  });

  test('a backup can be a download', async () => {
    const tab = await tabWith();
    const found = await tab.run(async () => {
      await databases.memory.storeEpisode({ id: 'a', salience: 0 });
      const links = [];
      HTMLAnchorElement.prototype.click = function () { links.push({ name: this.download, address: this.href }); };
      const name = await databases.backup.runBackupNow({ target: 'download' });
      const summary = await inspectBackup(await (await fetch(links[0].address)).blob());
      return { count: links.length, isNamed: links[0].name === name, records: summary.records, reason: summary.metadata.export_reason };
    });
    assert.deepEqual(found, { count: 1, isNamed: true, records: 1, reason: 'manual' });
  });

  test('an export that is read slowly is of one moment, or tells that it is not', async () => {
    const tab = await tabWith();
    const found = await tab.run(async () => {
      const { memory, logs, backup } = databases;
      const many = (id) => ({ id, salience: 0, timestamp: 1, text: crypto.randomUUID().repeat(1000) });
      await memory.storeEpisodes(Array.from({ length: 100 }, (_, i) => many(`e${1000 + i}`)));
      const read = async (options, meanwhile) => {
        const reader = backup.exportStream({ compress: false, ...options }).getReader();
        const chunks = [(await reader.read()).value];
        await meanwhile();
        for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value);
        return new Blob(chunks);
      };
      let writing;
      const blob = await read({}, async () => {
        writing = Promise.all([memory.storeEpisode(many('late')), memory.deleteEpisode('e1090')]);
        for (let n = 0; n < 20; n++) await logs.logDelta({ n });
      });
      await writing;
      await inspectBackup(blob);
      const text = await blob.text();
      const paged = await (await read({ holdMs: 0 }, async () => void await memory.storeEpisode({ id: 'later', salience: 0 }))).text();
      return { late: text.includes('"late"'), gone: text.includes('"e1090"'), later: paged.includes('"later"'), told: events.filter(({ type }) => type === 'backup').length > 0 };
    });
    assert.deepEqual(found, { late: false, gone: true, later: true, told: true });
  });

  test('automatic backups are files, made by one tab, and the newest are kept', async () => {
    const nowMs = Date.UTC(2031, 0, 1);
    const tab = await tabWith(undefined, { nowMs });
    const told = [];
    place.server.told.on(`backup-${tab.name}`, (event) => told.push(event));
    const hour = 3_600_000;
    assert.equal(await tab.run(async () => refusal(databases.backup.scheduleAutoBackup(1))), 'Permission');
    await tab.run(async () => {
      await databases.memory.storeEpisode({ id: 'kept', salience: 0 });
      await databases.backup.scheduleAutoBackup(1, { keep: 2, consent: true });
      await eventsAre(1);
    });
    // A second tab has the same schedule, and waits for its turn.
    const other = await tabWith(tab.name, { nowMs: nowMs + 10 * hour });
    await tab.run(async (hour) => {
      for (let round = 2; round <= 4; round++) {
        await clock.isArmed();
        clock.pass(hour);
        await eventsAre(round);
      }
      await clock.isArmed();
    }, hour);
    const [first] = await tab.run(async () => events.filter(({ type }) => type === 'backup'));
    const instance = first.file.slice(0, 36);
    const listed = async (instance) => (await databases.backup.listBackups()).filter(({ name }) => name.startsWith(instance)).map(({ name }) => name.slice(37)).sort();
    const kept = ['2031-01-01T02-00-00.000Z.json.gz', '2031-01-01T03-00-00.000Z.json.gz'];
    assert.deepEqual(await tab.run(listed, instance), kept);
    assert.deepEqual(await other.run(async () => [events.filter(({ type }) => type === 'backup').length, clock.calls.size]), [0, 0], 'the other tab does nothing');
    // Its turn comes when the first one is gone: at its own time a backup is due.
    await tab.close();
    await other.run(async () => void await eventsAre(1));
    const restored = await other.run(async () => {
      const { backup, memory } = databases;
      const [newest] = (await backup.listBackups()).filter(({ name }) => name.includes('2031-01-01T10'));
      await memory.deleteEpisode('kept');
      await backup.importData(await backup.readBackup(newest.name), { confirm: ({ metadata }) => metadata.export_reason === 'auto' });
      const manual = await backup.runBackupNow({ keep: 1 });
      const all = (await backup.listBackups()).map(({ name }) => name);
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('statik-backups');
      const files = [];
      for await (const name of folder.keys()) files.push(name);
      await backup.cancelAutoBackup();
      return {
        kept: (await memory.getEpisode('kept'))?.id, isManual: all.includes(manual), files: files.filter((name) => name.endsWith('.part')),
        none: await refusal(backup.readBackup('none')), again: await refusal(backup.scheduleAutoBackup(1)),
      };
    });
    assert.deepEqual(restored, { kept: 'kept', isManual: true, files: [], none: 'NotFound', again: 'Permission' });
    assert.ok(told.every(({ error }) => error === undefined), JSON.stringify(told));
  });
}, { modes: ['direct'] });
