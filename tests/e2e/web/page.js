/**
 * What a test's functions find in the page, all of it global:
 *
 *   statik                          the package
 *   openStore(options)              the store that the page's URL names
 *   openDatabase(name, options)     a database in that store, opened once
 *   failure(work)                   how a call failed, as plain data; an error if it did not
 *   workers                         every worker started so far, to be terminated
 *   inWorker(body, args, transfer)  runs a function in a dedicated worker that has `statik-storage/sync`
 *   tell(topic, data)               tells the test something, see server.mjs
 *   bytesOf(stream)                 a stream, whole
 */
import { describeError, settle } from '/settle.js';
import { decode, encode } from '/values.js';

const { Worker } = globalThis;
globalThis.workers = [];
globalThis.Worker = class extends Worker {
  constructor(url, options) {
    super(url, options);
    globalThis.workers.push({ name: new URL(url, location.href).pathname.split('/').pop(), worker: this });
  }
};

const store = new URL(location.href).searchParams.get('store');
let opened;

Object.assign(globalThis, {
  statik: await import('/statik/index.js'),
  openStore: (options) => statik.open({ name: store, ...options }),
  openDatabase: async (name, options) => (await (opened ??= openStore())).sqlite.open(name, options),
  failure: async (work) => {
    try {
      await (typeof work === 'function' ? work() : work);
    } catch (error) {
      return describeError(error, statik.StatikError);
    }
    throw new Error('expected a failure, and it went well');
  },
  tell: (topic, data = null) => fetch(`/told/${topic}`, { method: 'POST', body: JSON.stringify(data) }),
  bytesOf: async (stream) => new Uint8Array(await new Response(stream).arrayBuffer()),
  inWorker: (body, args = [], transfer = []) => startWorker().call(body, args, transfer),
  startWorker,
  runSource: async (source, args) => encode(await settle(() => (0, eval)(`(${source})`)(...decode(args)))),
});
globalThis.isReady = true;

/**
 * How long a worker may take to make another. In Firefox, while it is remote-controlled, `new Worker` in a worker now and
 * then never returns, in pages without the package too: the remote agent listens to workers being registered. Without
 * remote control it does not happen. What hangs so is tried again by matrix.mjs, and nothing else is.
 */
const MAKING_LIMIT_MS = 10_000;

/** A dedicated worker of the app's own; `call` runs a function in it. */
function startWorker() {
  const worker = new Worker('/sync-worker.js', { type: 'module' });
  let calls = 0;
  let making;
  let hang;
  const hung = new Promise((_, reject) => {
    hang = () => reject(new Error('making a worker in a worker hangs'));
  });
  hung.catch(() => {});
  worker.addEventListener('message', ({ data }) => {
    clearTimeout(making);
    if (data.making) making = setTimeout(hang, MAKING_LIMIT_MS);
  });
  return {
    worker,
    call: (body, args = [], transfer = []) => new Promise((resolve, reject) => {
      hung.catch(reject);
      const call = ++calls;
      worker.addEventListener('error', (event) => reject(new Error(`the worker failed: ${event.message}`)));
      worker.addEventListener('message', function listen({ data }) {
        if (data.call !== call) return;
        worker.removeEventListener('message', listen);
        if (data.error) reject(Object.assign(new Error(data.error.message), data.error));
        else resolve(data.value);
      });
      worker.postMessage({ call, store, source: body.toString(), args }, transfer);
    }),
  };
}
