/**
 * A web server for tests: static files, files made by a test, files that a page sends back, and what pages tell.
 *
 *   GET  <prefix>…       a file under the root that is mounted there
 *   GET  /files/<name>   what the test put into `files`
 *   PUT  /files/<name>   the body goes into `files`
 *   POST /told/<topic>   the body, as JSON, goes to `told` as an event: it is here even if the browser dies at once
 *
 * Invariants: it listens on 127.0.0.1 alone; nothing outside of the roots can be read; with `isolated` every answer has
 * the headers that give a page SharedArrayBuffer, without it none.
 */
import { EventEmitter } from 'node:events';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export class Server {
  /** @type {string} */
  origin;
  /** @type {Map<string, Buffer>} */
  files = new Map();
  /** Emits, by topic, what pages tell. */
  told = new EventEmitter();
  #server;

  /**
   * @param {{ isolated: boolean, roots: Record<string, string> }} options `roots`: folders by the prefix of their URLs,
   *   which ends in a slash
   */
  static async start({ isolated, roots }) {
    const server = new Server();
    const headers = { 'Cache-Control': 'no-store', ...(isolated ? ISOLATION : {}) };
    server.#server = createServer((request, response) => {
      server.#answer(request, response, headers, roots).catch((error) => response.destroy(error));
    });
    await new Promise((resolve, reject) => {
      server.#server.once('error', reject);
      server.#server.listen(0, '127.0.0.1', resolve);
    });
    server.origin = `http://127.0.0.1:${server.#server.address().port}`;
    return server;
  }

  async close() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request, response, headers, roots) {
    const url = decodeURIComponent(new URL(request.url, this.origin).pathname);
    if (url.startsWith('/told/')) {
      const body = JSON.parse((await buffer(request)).toString());
      this.told.emit(url.slice('/told/'.length), body);
      response.writeHead(204, headers).end();
    } else if (url.startsWith('/files/')) {
      await this.#exchange(request, response, headers, url.slice('/files/'.length));
    } else {
      await sendFile(response, headers, fileFor(url, roots));
    }
  }

  async #exchange(request, response, headers, name) {
    if (request.method === 'PUT') {
      this.files.set(name, await buffer(request));
      response.writeHead(204, headers).end();
      return;
    }
    const bytes = this.files.get(name);
    if (!bytes) return void response.writeHead(404, headers).end(`no file ${name}`);
    response.writeHead(200, { ...headers, 'Content-Type': typeOf(name), 'Content-Length': bytes.length }).end(bytes);
  }
}

function typeOf(name) {
  return TYPES[path.extname(name)] ?? 'application/octet-stream';
}

function fileFor(url, roots) {
  const prefix = Object.keys(roots).filter((each) => url.startsWith(each)).sort((a, b) => b.length - a.length)[0];
  if (prefix === undefined) return undefined;
  const rest = url.slice(prefix.length) || 'index.html';
  const file = path.resolve(roots[prefix], rest);
  return file.startsWith(path.resolve(roots[prefix]) + path.sep) ? file : undefined;
}

async function sendFile(response, headers, file) {
  const found = file && await stat(file).catch(() => undefined);
  // Browsers ask for an icon by themselves, and a missing one is an error on the console.
  if (!found && file?.endsWith('favicon.ico')) return void response.writeHead(204, headers).end();
  if (!found?.isFile()) return void response.writeHead(404, headers).end(`no such file`);
  response.writeHead(200, { ...headers, 'Content-Type': typeOf(file), 'Content-Length': found.size });
  await pipeline(createReadStream(file), response).catch((error) => {
    // A page that is closed while it loads.
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  });
}
