/**
 * Lets node:test import modules of the SDK, which are TypeScript: esbuild bundles one, node runs it from memory.
 * Only for modules that touch no WebAssembly and no worker.
 */

import { build } from 'esbuild';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/**
 * @param {string} exports what to export, as TypeScript: `export * from './queue.js'`
 * @returns {Promise<any>}
 */
export async function load(exports) {
  const { outputFiles: [output] } = await build({
    stdin: { contents: exports, resolveDir: fileURLToPath(new URL('../../web/sdk/src', import.meta.url)), loader: 'ts' },
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false,
  });
  return import(`data:text/javascript,${encodeURIComponent(output.text)}`);
}

/** `statik-storage/node`, from its source, with how it takes errors. A file, since better-sqlite3 is looked for beside the module that imports it. */
export async function loadNode() {
  const folder = mkdtempSync(fileURLToPath(new URL('../../node_modules/.statik-', import.meta.url)));
  try {
    const outfile = path.join(folder, 'node.mjs');
    await build({
      stdin: { contents: "export * from './node.js'; export { fromBetterSqlite3 } from './kv/better-sqlite3.js'", resolveDir: fileURLToPath(new URL('../../web/sdk/src', import.meta.url)), loader: 'ts' },
      bundle: true, format: 'esm', target: 'es2022', external: ['better-sqlite3'], outfile,
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
