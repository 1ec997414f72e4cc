/**
 * Serves the benchmark's pages, the built package and its peers to the browser, cross-origin isolated.
 *
 * Invariant: of the checkout, only the directories in ROOTS can be read.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const ROOTS = ['/tests/bench/web/', '/dist/', '/node_modules/'];
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

async function answer(checkout, request, response) {
  const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
  const file = join(checkout, path);
  const found = ROOTS.some((root) => path.startsWith(root)) && (await stat(file).catch(() => undefined));
  if (!found || !found.isFile()) return response.writeHead(404).end(`no ${path}`);
  response.writeHead(200, {
    'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
    'content-length': found.size,
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
  });
  return createReadStream(file).pipe(response);
}

/**
 * @param {string} checkout the directory that holds package.json
 * @returns {Promise<{ origin: string, close: () => void }>}
 */
export async function serve(checkout) {
  const server = createServer((request, response) => {
    answer(checkout, request, response).catch((error) => response.destroy(error));
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, close };
}
