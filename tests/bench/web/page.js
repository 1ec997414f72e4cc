/**
 * The page: gives each engine a clean origin and the context it is made for. tests/bench/run.mjs calls
 * `globalThis.bench(request)`, one request at a time, and is told the result by a POST to /told/<engine>. A request is for
 * the workloads or, if it names one, for a scene.
 */
import { engines } from './engines.js';
import { runEngine } from './run-engine.js';
import { scenes } from './scenes.js';
import { startAgainIfItHangs, unlessHangs } from './tasks.js';

const CLEAN_DEADLINE_MS = 15_000;

/** Empties OPFS. A worker that was terminated lets go of its handles some time later, and no event tells when. */
async function cleanOrigin() {
  const root = await navigator.storage.getDirectory();
  const deadline = performance.now() + CLEAN_DEADLINE_MS;
  for (;;) {
    try {
      for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
      return;
    } catch (error) {
      if (error.name !== 'NoModificationAllowedError' || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function runInWorker(request) {
  return startAgainIfItHangs(async () => {
    await cleanOrigin();
    const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
    const { promise: opened, resolve: open } = Promise.withResolvers();
    const result = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data === 'opened' ? open() : resolve(data));
      worker.onerror = (event) => reject(new Error(`the worker of ${request.engine} failed: ${event.message}`));
    });
    worker.postMessage(request);
    try {
      await unlessHangs(Promise.race([opened, result]));
      return await result;
    } finally {
      worker.terminate();
    }
  });
}

const contexts = { page: runEngine, worker: runInWorker };

globalThis.bench = async (request) => {
  let result;
  try {
    await cleanOrigin();
    if (request.scene) result = { numbers: await scenes[request.scene].run(request.engine) };
    else result = await contexts[engines[request.engine].context](request);
  } catch (error) {
    result = { failed: String(error), workload: request.scene ?? 'page' };
  }
  await fetch(`/told/${request.engine}`, { method: 'POST', body: JSON.stringify(result) });
};
