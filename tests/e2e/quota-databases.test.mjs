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

/** What the app allows itself. */
const BUDGET_BYTES = 9_000_000;

/** In the page: `databases`, `episodes(count)` of 200 kB each, and `fillLogs()` until there is no room, which answers how many found some. */
async function setUp(budgetBytes) {
  const { initializeDatabases, logPruner, StorageQuotaExceeded } = await import('/statik/databases.js');
  const events = [];
  const databases = await initializeDatabases({ fallback: 'error', onEvent: (event) => events.push(event), quota: { thresholds: [0.9], budgetBytes, checkMs: 0 } });
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
  Object.assign(globalThis, { databases, events, episodes, fillLogs, exceeded, logPruner });
}

/** In the page. */
async function walk() {
  const { memory, logs, quota } = databases;
  const image = async () => ({ episodes: await memory.countEpisodes(), deltas: await logs.countLogs('deltas') });
  const logged = await fillLogs();
  const alone = await exceeded(memory.storeEpisodes(episodes(10)));
  const untouched = await image();
  const unregister = quota.register(logPruner('logs', logs, { maxCount: 15 }));
  const tooLarge = await exceeded(memory.storeEpisodes(episodes(75)));
  const pruned = await image();
  const refilled = await fillLogs();
  unregister();
  quota.register(logPruner('logs', logs, { maxCount: 5 }));
  const ids = await memory.storeEpisodes(episodes(10));
  return { logged, alone, untouched, tooLarge, pruned, refilled, ids: ids.length, stored: await image(), events: events.filter(({ type }) => type === 'pruned') };
}

function check({ logged, alone, tooLarge, refilled, events, ...found }) {
  assert.ok(logged > 16, `${logged} entries found room`);
  assert.deepEqual([alone.code, alone.freed, alone.told], ['Quota', {}, true]);
  assert.deepEqual(found.untouched, { episodes: 0, deltas: logged }, 'of the batch nothing is there, and nothing was lost for it');
  assert.deepEqual([tooLarge.code, tooLarge.freed, tooLarge.told], ['Quota', { logs: { records: logged - 15 } }, true]);
  assert.ok(tooLarge.usageBytes > 0 && tooLarge.quotaBytes === BUDGET_BYTES, JSON.stringify(tooLarge));
  assert.deepEqual(found.pruned, { episodes: 0, deltas: 15 });
  assert.deepEqual([found.ids, found.stored], [10, { episodes: 10, deltas: 5 }]);
  assert.deepEqual(events.map(({ pruner, records }) => [pruner, records]), [['logs', logged - 15], ['logs', 10 + refilled]]);
}

/** In the page, on a new load: what is there, and a write that the budget forbids. */
async function plan() {
  const { quota, memory, logs } = databases;
  quota.register(logPruner('logs', logs, { maxCount: 5 }));
  const refused = await exceeded(quota.ensureRoom(9_000_001));
  const last = await memory.getEpisode('e9');
  return { refused, bytes: last.bytes.length, count: await memory.countEpisodes(), persistence: await quota.persist({ deadlineMs: 20_000 }) };
}

async function run(tab) {
  await tab.run(setUp, BUDGET_BYTES);
  check(await tab.run(walk));
  await tab.reload();
  await tab.run(setUp, BUDGET_BYTES);
  const { refused, persistence, ...kept } = await tab.run(plan);
  assert.deepEqual([refused.code, refused.freed, refused.quotaBytes], ['Quota', { logs: { records: 0 } }, BUDGET_BYTES]);
  assert.deepEqual(kept, { bytes: 200_000, count: 10 });
  assert.ok(['granted', 'denied'].includes(persistence), persistence);
}

const NAME = 'the databases on a full disk';

matrix(NAME, (place) => {
  test('a batch that does not fit does nothing; pruning makes room for it; what cannot fit says what was freed', async () => {
    const tab = await place.tab();
    const protocol = await tab.page.createCDPSession();
    await protocol.send('Storage.overrideQuotaForOrigin', { origin: place.server.origin, quotaSize: QUOTA_BYTES });
    await run(tab);
  });
}, { browsers: ['chrome'], modes: ['direct'] });

/**
 * In the page. When Firefox has room again, it decides by itself (it folds its log into the database at some time), so a batch
 * of the size that was just refused may be refused, or stored: but whole, either way.
 */
async function walkWhereRoomIsMoody() {
  const { memory, logs, quota } = databases;
  const image = async () => ({ episodes: await memory.countEpisodes(), deltas: await logs.countLogs('deltas') });
  const logged = await fillLogs();
  const first = await memory.storeEpisodes(episodes(10)).then(() => 'stored', ({ code }) => code);
  const afterFirst = await image();
  quota.register(logPruner('logs', logs, { maxCount: 15 }));
  const tooLarge = await exceeded(memory.storeEpisodes(episodes(75)));
  const refused = await exceeded(quota.ensureRoom(9_000_001));
  return { logged, first, afterFirst, tooLarge, refused, stored: await image() };
}

matrix(NAME, (place) => {
  test('a batch that does not fit does nothing; what cannot fit is refused before it is begun, and says what was freed', async () => {
    const tab = await place.tab();
    await tab.run(setUp, BUDGET_BYTES);
    const { logged, first, afterFirst, tooLarge, refused, stored } = await tab.run(walkWhereRoomIsMoody);
    assert.ok(logged > 16, `${logged} entries found room`);
    assert.ok(['stored', 'Quota'].includes(first), first);
    const batch = first === 'stored' ? 10 : 0;
    assert.deepEqual(afterFirst, { episodes: batch, deltas: logged }, 'all of the batch or nothing, and nothing was lost for it');
    assert.deepEqual([tooLarge.code, tooLarge.freed, tooLarge.told], ['Quota', { logs: { records: logged - 15 } }, true]);
    assert.deepEqual([refused.code, refused.quotaBytes], ['Quota', BUDGET_BYTES]);
    assert.deepEqual(stored, { episodes: batch, deltas: 15 });
    await tab.reload();
    await tab.run(setUp, BUDGET_BYTES);
    const kept = await tab.run(async () => ({ episodes: await databases.memory.countEpisodes(), deltas: await databases.logs.countLogs('deltas') }));
    assert.deepEqual(kept, { episodes: batch, deltas: 15 });
  });
}, { browsers: ['firefox'], modes: ['direct'], launch: { preferences: FIREFOX_PREFERENCES } });
