/**
 * A full disk under the databases, as the browser plays it (see quota.test.mjs): a batch that does not fit does nothing,
 * pruning makes room for it, and where it cannot, the error says what was freed. In Chrome the entries are above 64 KiB:
 * smaller ones lie in LevelDB, whose files shrink when it compacts them, and not when something is deleted.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matrix } from './matrix.mjs';

const QUOTA_BYTES = 10 * 1024 * 1024;
/** In KiB and for all sites; one may have a fifth of it, and at least 10 MiB. */
const FIREFOX_PREFERENCES = { 'dom.quotaManager.temporaryStorage.fixedLimit': QUOTA_BYTES / 1024 * 4 };

/** In the page: `databases`, `episodes(count)` of 200 kB each, and `fillLogs()` until there is no room; how many were logged. */
async function setUp() {
  const { initializeDatabases, logPruner, StorageQuotaExceeded } = await import('/statik/databases.js');
  const events = [];
  const databases = await initializeDatabases({ fallback: 'error', onEvent: (event) => events.push(event), quota: { thresholds: [0.9], budgetBytes: 9_000_000, checkMs: 0 } });
  const noise = (bytes) => {
    const filled = new Uint8Array(bytes);
    // The most that it gives at once.
    for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(filled.subarray(at, at + 65_536));
    return filled;
  };
  const episodes = (count) => Array.from({ length: count }, (_, index) => ({ id: `e${index}`, salience: 0.5, bytes: noise(200_000) }));
  const log = () => databases.logs.logDelta({ bytes: noise(200_000) });
  const fillLogs = async () => {
    for (let logged = 0; ; logged += 1) {
      if (logged === 200) throw new Error('there is no end to it');
      const error = await log().then(() => undefined, (thrown) => thrown);
      if (error === undefined) continue;
      if (error.code !== 'Quota') throw error;
      return logged;
    }
  };
  const exceeded = async (work) => {
    const error = await work.then(() => { throw new Error('it went well'); }, (thrown) => thrown);
    if (!(error instanceof StorageQuotaExceeded)) throw error;
    return { ...JSON.parse(JSON.stringify(error)), told: events.some((event) => event.error === error) };
  };
  Object.assign(globalThis, { databases, events, episodes, log, fillLogs, exceeded, logPruner });
}

/** In the page. */
async function walk() {
  const { memory, logs, quota } = databases;
  const logged = await fillLogs();
  const alone = await exceeded(memory.storeEpisodes(episodes(20)));
  const nothing = [await memory.countEpisodes(), await logs.countLogs('deltas')];
  quota.register(logPruner('logs', logs, { maxCount: 5 }));
  const ids = await memory.storeEpisodes(episodes(20));
  const pruned = events.find(({ type }) => type === 'pruned');
  const stored = [await memory.countEpisodes(), (await memory.getEpisode('e19')).bytes.length, await logs.countLogs('deltas')];
  for (let index = 0; index < 3; index += 1) await log();
  const tooLarge = await exceeded(memory.storeEpisodes(episodes(75)));
  const kept = [await memory.countEpisodes(), await logs.countLogs('deltas')];
  const { id } = await memory.updateEpisode('e0', { salience: 1 });
  return { logged, alone, nothing, ids: ids.length, pruned, stored, tooLarge, kept, id };
}

function check({ logged, alone, tooLarge, ...found }) {
  assert.ok(logged > 20, `${logged} entries found room`);
  assert.deepEqual([alone.code, alone.freed, alone.told], ['Quota', {}, true]);
  assert.deepEqual(found.nothing, [0, logged], 'of the batch nothing is there, and nothing was lost for it');
  assert.deepEqual([found.ids, found.stored], [20, [20, 200_000, 5]]);
  assert.deepEqual(found.pruned, { type: 'pruned', pruner: 'logs', records: logged - 5 });
  assert.deepEqual([tooLarge.code, tooLarge.freed, tooLarge.told], ['Quota', { logs: { records: 3 } }, true]);
  assert.ok(tooLarge.usageBytes > 0 && tooLarge.quotaBytes === 9_000_000, JSON.stringify(tooLarge));
  assert.deepEqual([found.kept, found.id], [[20, 5], 'e0'], 'and writing goes on');
}

/** In the page, after `walk`: what is known before a write, by the estimate and the app's budget. */
async function plan() {
  const { quota, logs } = databases;
  const before = events.length;
  quota.register(logPruner('logs', logs, { maxCount: 5 }));
  for (let index = 0; index < 3; index += 1) await log();
  const { usageBytes, quotaBytes } = await quota.estimate();
  const freed = await quota.ensureRoom(quotaBytes - usageBytes - 100_000);
  const refused = await exceeded(quota.ensureRoom(9_000_001));
  return { freed, refused, persistence: await quota.persist({ deadlineMs: 20_000 }), types: events.slice(before).map(({ type }) => type) };
}

async function run(tab) {
  await tab.run(setUp);
  check(await tab.run(walk));
  await tab.reload();
  await tab.run(setUp);
  const { freed, refused, persistence, types } = await tab.run(plan);
  assert.deepEqual(freed, { logs: { records: 3 } });
  assert.deepEqual([refused.code, refused.freed], ['Quota', { logs: { records: 0 } }]);
  assert.ok(['granted', 'denied'].includes(persistence), persistence);
  assert.ok(types.includes('pruned') && types.includes('quotaExceeded'), types.join());
}

const NAME = 'the databases on a full disk';
const SENTENCE = 'a batch that does not fit does nothing; pruning makes room for it; what cannot fit says what was freed';

matrix(NAME, (place) => {
  test(SENTENCE, async () => {
    const tab = await place.tab();
    const protocol = await tab.page.createCDPSession();
    await protocol.send('Storage.overrideQuotaForOrigin', { origin: place.server.origin, quotaSize: QUOTA_BYTES });
    await run(tab);
  });
}, { browsers: ['chrome'], modes: ['direct'] });

matrix(NAME, (place) => {
  test(SENTENCE, async () => run(await place.tab()));
}, { browsers: ['firefox'], modes: ['direct'], launch: { preferences: FIREFOX_PREFERENCES } });
