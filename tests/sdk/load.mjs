/**
 * Lets node:test import modules of the SDK, which are TypeScript: esbuild bundles one, node runs it from memory.
 * Only for modules that touch no WebAssembly and no worker.
 */

import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

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
