/**
 * Runs the workloads once on one engine, wherever it is called: in the dedicated worker or in the page.
 *
 * Answers `{ unavailable }` if the engine cannot be opened here and `{ failed, workload }` if it breaks or gives a wrong
 * result later; either is for the table to show, since a peer that fails must not hide the others.
 */
import { engines } from './engines.js';
import { nextTask } from './tasks.js';
import { checkReopened, schema, select } from './workloads.js';

/** What is worth knowing beside the times: the settings that an engine really has. */
const PRAGMAS = ['journal_mode', 'synchronous', 'page_size', 'cache_size', 'locking_mode'];

const describe = (error) => `${error?.name ?? 'Error'}: ${error?.message ?? String(error)}`;

/**
 * @param {{ engine: string, workloads?: string[], cacheKib?: number, pageSize?: number }} request
 * @param {() => void} [onOpened] called when the database is open, or is known not to
 */
export async function runEngine({ engine, workloads: names, cacheKib, pageSize }, onOpened) {
  const workloads = select(names);
  let db;
  const openedAt = performance.now();
  try {
    db = await engines[engine].open({});
  } catch (error) {
    console.error(error);
    return { unavailable: describe(error) };
  } finally {
    onOpened?.();
  }
  const result = { version: db.version, notes: db.notes ?? [], openMs: performance.now() - openedAt, pragmas: {}, ms: {} };
  let current = 'schema';
  try {
    if (pageSize !== undefined) await db.exec(`PRAGMA page_size = ${pageSize}`);
    if (cacheKib !== undefined) await db.exec(`PRAGMA cache_size = -${cacheKib}`);
    await db.exec(schema);
    for (const pragma of PRAGMAS) result.pragmas[pragma] = (await db.all(`PRAGMA ${pragma}`))[0][0];
    const model = {};
    for (const workload of workloads) {
      current = workload.name;
      const data = await workload.prepare(model, db);
      await nextTask();
      const startedAt = performance.now();
      const answer = await workload.run(db, data);
      result.ms[workload.name] = performance.now() - startedAt;
      await workload.check(db, model, answer, data);
    }
    current = 'reopen';
    if (db.reopen) {
      const startedAt = performance.now();
      await db.reopen();
      await db.all('SELECT count(*) FROM event');
      result.reopenMs = performance.now() - startedAt;
      await checkReopened(db, model, workloads.map((workload) => workload.name));
    }
    result.metrics = await db.metrics?.();
    await db.close();
    return result;
  } catch (error) {
    console.error(error);
    return { ...result, failed: describe(error), workload: current };
  }
}
