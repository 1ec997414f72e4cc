/** Getting the WebAssembly module, once for all threads. Nothing here runs it. */
import { failure, StatikError } from './errors.js';

/** Where the `.wasm` lies. */
export function wasmUrl(given: URL | undefined): URL {
  // Bundlers find the file by this very expression.
  return given ?? new URL('./statik_bg.wasm', import.meta.url);
}

/** Fetches and compiles the module, to be sent to workers. */
export async function compile(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url).catch((error: unknown) => {
    throw new StatikError({ code: 'Io', message: `cannot fetch ${url}: ${error}` }, { cause: error });
  });
  if (!response.ok) throw failure('Io', `cannot fetch ${url}: the server answered ${response.status}`);
  try {
    // compileStreaming insists on the MIME type, which not every server knows.
    return response.headers.get('content-type')?.startsWith('application/wasm')
      ? await WebAssembly.compileStreaming(response)
      : await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    throw new StatikError({ code: 'Unsupported', message: `cannot compile ${url}: ${error}` }, { cause: error });
  }
}
