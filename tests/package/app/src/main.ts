/**
 * The consumer app: counts its visits in a database, and lets a worker of its own do sums with the synchronous API.
 *
 * What it found is in the body's data attributes; `state` is set last, to `ready` or `failed`.
 */
import { open, StatikError } from 'statik-storage';
import type { Answer, Question } from './worker.js';

const page = document.body.dataset;

async function main(): Promise<void> {
  const statik = await open({ name: 'visits' });
  const db = await statik.sqlite.open('visits.db');
  await db.exec('CREATE TABLE IF NOT EXISTS visit(id INTEGER PRIMARY KEY, at TEXT NOT NULL)');
  const before = await db.all<{ id: number }>('SELECT id FROM visit ORDER BY id');
  await db.transaction(async (tx) => tx.run('INSERT INTO visit(at) VALUES (?)', [new Date().toISOString()]));
  const refused = await db.run('INSERT INTO visit(at) VALUES (NULL)').catch((error: unknown) => error);
  page['mode'] = statik.mode;
  page['storage'] = statik.storage;
  page['visits'] = before.map(({ id }) => id).join();
  page['error'] = refused instanceof StatikError ? `${refused.code} ${refused.sqliteCode}` : String(refused);
  page['alone'] = JSON.stringify(await askWorker({ sum: 100 }));
  if (statik.mode === 'bridge') {
    const port = await statik.port();
    page['shared'] = JSON.stringify(await askWorker({ sum: 10, port }, [port]));
    page['sharedRow'] = String((await db.get<{ total: number }>('SELECT total FROM total'))?.total);
  }
}

function askWorker(question: Question, transfer: Transferable[] = []): Promise<Answer> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  return new Promise((resolve, reject) => {
    worker.addEventListener('message', ({ data }: MessageEvent<Answer>) => {
      worker.terminate();
      resolve(data);
    });
    worker.addEventListener('error', ({ message }) => reject(new Error(`the worker failed: ${message}`)));
    worker.postMessage(question, transfer);
  });
}

try {
  await main();
  page['state'] = 'ready';
} catch (error) {
  page['failure'] = error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error);
  page['state'] = 'failed';
}
