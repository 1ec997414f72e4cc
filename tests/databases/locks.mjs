/**
 * Web Locks for Node, which has none before version 24: queues by name, shared and exclusive, as the specification has
 * them (https://w3c.github.io/web-locks/). Without stealing, and with one "agent" that never dies.
 */

/** @typedef {{ mode: string, start: () => void }} Request */

export class Locks {
  /** @type {Map<string, { held: Request[], waiting: Request[] }>} */
  #queues = new Map();

  /**
   * @param {string} name
   * @param {any} options
   * @param {(lock: unknown) => unknown} [callback]
   */
  async request(name, options, callback = options) {
    const { mode = 'exclusive', ifAvailable = false, signal } = typeof options === 'function' ? {} : options;
    signal?.throwIfAborted();
    const queue = this.#queues.get(name) ?? { held: [], waiting: [] };
    this.#queues.set(name, queue);
    const fits = () => queue.held.length === 0 || (mode === 'shared' && queue.held.every((held) => held.mode === 'shared'));
    if (ifAvailable && (queue.waiting.length > 0 || !fits())) return callback(null);
    /** @type {Request} */
    const request = { mode, start: () => {} };
    await new Promise((resolve, reject) => {
      request.start = () => resolve(undefined);
      queue.waiting.push(request);
      signal?.addEventListener('abort', () => {
        const at = queue.waiting.indexOf(request);
        if (at < 0) return;
        queue.waiting.splice(at, 1);
        this.#grant(queue);
        reject(signal.reason);
      });
      this.#grant(queue);
    });
    try {
      return await callback({ name, mode });
    } finally {
      queue.held.splice(queue.held.indexOf(request), 1);
      this.#grant(queue);
    }
  }

  async query() {
    const told = (/** @type {'held' | 'waiting'} */ which) => [...this.#queues].flatMap(([name, queue]) => queue[which].map(({ mode }) => ({ name, mode })));
    return { held: told('held'), pending: told('waiting') };
  }

  /** @param {{ held: Request[], waiting: Request[] }} queue */
  #grant({ held, waiting }) {
    for (;;) {
      const [next] = waiting;
      if (next === undefined || !(held.length === 0 || (next.mode === 'shared' && held.every(({ mode }) => mode === 'shared')))) return;
      waiting.shift();
      held.push(next);
      next.start();
    }
  }
}
