/**
 * The package's types as a consumer sees them. Nothing runs here: the compiler has to accept what is right and to reject
 * each line that says it is wrong.
 */
import { open, StatikError, type Database, type ErrorCode, type Row, type RowArray, type SqlValue, type Statik } from 'statik-storage';
import { open as openSync, type SyncDatabase, type SyncStatik } from 'statik-storage/sync';

export async function page(signal: AbortSignal): Promise<void> {
  await using statik: Statik = await open({ name: 'types', fallback: 'memory', waitMs: 100, onEvent: (event) => event.type === 'died' && event.worker satisfies 'io' | 'engine' });
  await using db: Database = await statik.sqlite.open('types.db', { mustExist: false, busyTimeoutMs: 10 });
  const { changes, lastInsertRowid } = await db.run('INSERT INTO t VALUES (?, :b)', [1n, 'a', null, true, new Uint8Array(1)], { signal });
  changes satisfies number;
  lastInsertRowid satisfies number | bigint;
  const rows: Row[] = await db.all('SELECT 1');
  rows[0]?.['a'] satisfies SqlValue | undefined;
  const typed: { a: number }[] = await db.all<{ a: number }>('SELECT 1 AS a', { a: 1 });
  const first: RowArray | undefined = await db.get<RowArray>('SELECT 1', [], { rows: 'array' });
  for await (const row of db.iterate<{ a: string }>('SELECT 1', undefined, { batchRows: 10, signal })) row.a satisfies string;
  const returned: number = await db.transaction(async (tx) => (await tx.all('SELECT 1')).length, { mode: 'exclusive' });
  const bytes: ReadableStream<Uint8Array> = await db.export({ onProgress: ({ doneBytes, totalBytes }) => doneBytes + (totalBytes ?? 0) });
  await statik.sqlite.import('types.db', bytes, { signal });
  const code: ErrorCode = new StatikError({ code: 'Busy', message: 'busy' }).code;
  void [typed, first, returned, code];

  // @ts-expect-error a store has a name
  await open({});
  // @ts-expect-error there is no such fallback
  await open({ name: 'x', fallback: 'disk' });
  // @ts-expect-error a date is nothing that SQLite stores
  await db.run('SELECT ?', [new Date()]);
  // @ts-expect-error there is no such code
  const wrong: ErrorCode = 'Broken';
  // @ts-expect-error columns are not to be changed
  (await db.prepare('SELECT 1')).columns.push(wrong);
  // @ts-expect-error no row may be there
  (await db.get('SELECT 1')).a;
}

export async function worker(port: MessagePort): Promise<SyncStatik> {
  const statik = await openSync({ port });
  const db: SyncDatabase = statik.sqlite.open('types.db');
  const rows: { a: number }[] = db.all<{ a: number }>('SELECT 1 AS a');
  for (const row of db.iterate('SELECT 1')) row satisfies Row;
  void rows;
  // @ts-expect-error what is synchronous is no promise
  db.run('SELECT 1').then(() => {});
  return statik;
}
