/** What a quota stands on, at a test's hand: time, the browser's storage manager, Web Locks, pruners. */

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Lets everything run that waits for nothing but what has happened already, pruners included. */
export async function settled() {
  for (let turns = 0; turns < 20; turns += 1) await turn();
}

/** Time that passes when the test says so. */
export class FakeClock {
  now = 0;
  /** @type {Set<{ atMs: number, job: () => void, isUnref: boolean }>} */
  timers = new Set();

  nowMs() {
    return this.now;
  }

  after(ms, job) {
    const timer = { atMs: this.now + ms, job, isUnref: false };
    this.timers.add(timer);
    return { cancel: () => void this.timers.delete(timer), unref: () => void (timer.isUnref = true) };
  }

  /** Passes so much time, and has what is due meanwhile done in its order. */
  async pass(ms) {
    const end = this.now + ms;
    await settled();
    for (let due; (due = this.#next(end)) !== undefined;) {
      this.timers.delete(due);
      this.now = due.atMs;
      due.job();
      await settled();
    }
    this.now = end;
  }

  #next(end) {
    return [...this.timers].filter(({ atMs }) => atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
  }
}

/** A browser's storage manager; `usage` and `quota` are the test's to set. */
export class FakeStorage {
  usage = 0;
  quota = 1000;
  estimates = 0;
  /** How often the browser was asked to persist; `answer` and `refuse` settle the last question. */
  prompts = 0;
  answer;
  refuse;

  async estimate() {
    this.estimates += 1;
    return { usage: this.usage, quota: this.quota };
  }

  persist() {
    this.prompts += 1;
    return new Promise((resolve, reject) => {
      this.answer = resolve;
      this.refuse = reject;
    });
  }
}

/** Web Locks as the standard has them, as far as exclusive ones go. */
export class FakeLocks {
  /** @type {Map<string, { grant: (lock: object | null) => void }[]>} by name; the first of a queue holds the lock */
  #queues = new Map();

  waiting(name) {
    return (this.#queues.get(name)?.length ?? 0) - 1;
  }

  request(name, { ifAvailable = false, signal }, job) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      if (ifAvailable && queue.length > 0) return resolve(job(null));
      const leave = () => {
        queue.splice(queue.indexOf(entry), 1);
        if (queue.length > 0) queue[0].grant();
        else this.#queues.delete(name);
      };
      const onAbort = () => {
        if (queue[0] === entry) return;
        leave();
        reject(signal.reason);
      };
      const entry = {
        grant: () => queueMicrotask(() => {
          signal?.removeEventListener('abort', onAbort);
          Promise.resolve(job({ name })).then(resolve, reject).finally(leave);
        }),
      };
      queue.push(entry);
      signal?.addEventListener('abort', onAbort);
      if (queue.length === 1) entry.grant();
    });
  }
}

/** A pruner that frees `bytes` of a fake storage with its first `times` calls, and says in `calls` that it was called. */
export function freeing(storage, calls, name, stage, bytes, times = 1) {
  return {
    name,
    stage,
    prune: async () => {
      calls.push(name);
      await turn();
      if (times-- <= 0) return { records: 0 };
      storage.usage -= bytes;
      return { records: bytes / 10, bytes };
    },
  };
}
