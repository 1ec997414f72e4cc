/**
 * A dedicated worker that runs the functions it is sent; they find `statik` (the package's sync module), `openStore`,
 * `failure` and `kept`, an object that outlives the call.
 */
import { describeError, settle } from '/settle.js';

/** The page is told when a worker is being made in here, because of what page.js says of Firefox. */
const { Worker } = globalThis;
globalThis.Worker = class extends Worker {
  constructor(url, options) {
    postMessage({ making: true });
    super(url, options);
    postMessage({ making: false });
  }
};

/** Messages wait until the module has run: a listener set after an await would miss the first. */
const loading = import('/statik/sync.js');

globalThis.kept = {};
addEventListener('message', async ({ data: { call, store, source, args } }) => {
  globalThis.statik = await loading;
  globalThis.openStore = (options) => statik.open({ name: store, ...options });
  globalThis.failure = (work) => {
    try {
      work();
    } catch (error) {
      return describeError(error, statik.StatikError);
    }
    throw new Error('expected a failure, and it went well');
  };
  postMessage({ call, ...await settle(() => (0, eval)(`(${source})`)(...args)) });
});
