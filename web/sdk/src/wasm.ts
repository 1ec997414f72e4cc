/**
 * The WebAssembly instance of this thread.
 *
 * Invariant: an instance that trapped is never entered again, because its memory is in no known state. A Rust panic is a
 * trap too; its message is on the console.
 */
import init from './statik.js';
import { failure, StatikError } from './errors.js';

export { Engine, IoServer } from './statik.js';
export type { Backup, Connection, Export, Import, Journal, JournalCursor, Stmt, StoreConfig } from './statik.js';

let trap: StatikError | undefined;

/** Makes this thread's instance. */
export async function instantiate(module: WebAssembly.Module): Promise<void> {
  await init({ module_or_path: module });
}

/** Whether this thread's instance is beyond use. */
export function isTrapped(): boolean {
  return trap !== undefined;
}

/** Runs `job`, which enters the instance; what it throws becomes a StatikError. */
export function enter<T>(job: () => T): T {
  if (trap !== undefined) throw failure('Closed', `not called again: ${trap.message}`);
  try {
    return job();
  } catch (error) {
    throw translate(error);
  }
}

/** The same for what goes on after an await. */
export async function enterAsync<T>(job: () => Promise<T>): Promise<T> {
  try {
    return await enter(job);
  } catch (error) {
    throw translate(error);
  }
}

function translate(error: unknown): StatikError {
  if (!(error instanceof WebAssembly.RuntimeError)) return StatikError.from(error);
  return trap = new StatikError({ code: 'Io', message: `the WebAssembly instance crashed: ${error.message}` }, { cause: error });
}
