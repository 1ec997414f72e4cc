/**
 * The consumer app's worker: adds up numbers in SQL, in calls that return values, in a store of its own or in the page's.
 */
import { open, type SyncStatik } from 'statik-storage/sync';

export interface Question {
  /** Add up from 1 to this. */
  sum: number;
  /** The page's store; without it the worker has one of its own. */
  port?: MessagePort;
}

export type Answer = { total: number; mode: string } | { failure: string };

addEventListener('message', async ({ data }: MessageEvent<Question>) => {
  postMessage(await answer(data).catch((error: unknown): Answer => ({ failure: String(error) })));
});

async function answer({ sum, port }: Question): Promise<Answer> {
  const statik = port ? await open({ port }) : await open({ name: 'sums', databases: ['sums.db'] });
  try {
    return { total: add(statik, port ? 'visits.db' : 'sums.db', sum), mode: statik.mode };
  } finally {
    await statik.close();
  }
}

function add(statik: SyncStatik, name: string, sum: number): number {
  const db = statik.sqlite.open(name);
  db.exec('CREATE TABLE IF NOT EXISTS total(total INTEGER)');
  return db.transaction((tx) => {
    tx.run('DELETE FROM total');
    let total = 0;
    for (const { n } of tx.iterate<{ n: number }>('WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT ?) SELECT n FROM c', [sum])) total += n;
    tx.run('INSERT INTO total VALUES (?)', [total]);
    return total;
  });
}
