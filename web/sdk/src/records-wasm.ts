/**
 * The small WebAssembly module, one instance for each thread, made when it is first needed.
 *
 * Invariant: what an instance throws at a caller is a StatikError, or what the caller's own function has thrown.
 */
import init, * as records from './records.js';
import { compile } from './compile.js';
import { StatikError } from './errors.js';

export type Records = typeof records;

let instance: Promise<Records> | undefined;

/** Where the module lies, if not beside the script; or the module itself. The first caller's counts. */
export type WasmSource = URL | WebAssembly.Module | undefined;

// Bundlers find the file by this very expression.
let standard: () => Promise<WebAssembly.Module> = () => compile(new URL('./records_bg.wasm', import.meta.url));

/** Where a script beside the module is not fetched, as under Node: how the module is had unless callers say. */
export function provideRecords(make: () => Promise<WebAssembly.Module>): void {
  standard = make;
}

export function loadRecords(source: WasmSource): Promise<Records> {
  return instance ??= instantiate(source).catch((error: unknown) => {
    // The next caller may have a network.
    instance = undefined;
    throw error;
  });
}

async function instantiate(source: WasmSource): Promise<Records> {
  const module = source instanceof WebAssembly.Module ? source : await (source === undefined ? standard() : compile(source));
  await init({ module_or_path: module });
  return records;
}

/** Errors of the module as such; anything else as it is. */
export function translated(error: unknown): unknown {
  if (error instanceof WebAssembly.RuntimeError) {
    return new StatikError({ code: 'Io', message: `the WebAssembly instance crashed: ${error.message}` }, { cause: error });
  }
  const isShape = typeof error === 'object' && error !== null && !(error instanceof Error) && typeof (error as { code?: unknown }).code === 'string';
  return isShape ? StatikError.from(error) : error;
}
