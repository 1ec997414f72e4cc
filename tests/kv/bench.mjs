/** What the contract's cases stand on: adapters on databases of the case's own, stamps, and the time. */

/** A time at which all cases begin. */
export const START_MS = 1_700_000_000_000;

/** What a case works with: one database, and adapters on it. */
export class Bench {
  #subject;
  #label;
  #open = new Set();
  /** What clocks say, unless a case gives another. */
  nowMs = START_MS;

  /** @param {import('./contract.mjs').Subject} subject @param {string} label */
  constructor(subject, label) {
    this.#subject = subject;
    this.#label = label;
  }

  /** An open adapter. `database`: which of the case's, if it has several. */
  async open({ database = '', ...options } = {}) {
    const adapter = this.create(options);
    await adapter.initialize(this.database(database));
    return adapter;
  }

  create(options = {}) {
    const adapter = this.#subject.create({ now: () => this.nowMs, ...options });
    this.#open.add(adapter);
    return adapter;
  }

  database(name = '') {
    return this.#subject.database(`${this.#label}${name}`);
  }

  async end() {
    for (const adapter of this.#open) await adapter.close();
  }
}

/**
 * A stamp some milliseconds after the start.
 * @param {number} ms
 * @param {number} [counter]
 * @param {string} [node]
 */
export function stamp(ms, counter = 0, node = '00000000000000ff') {
  return `${(START_MS + ms).toString(16).padStart(12, '0')}-${counter.toString(16).padStart(4, '0')}-${node}`;
}

/** The keys that an adapter tells, with what it tells of them. @returns {Promise<[string, object][]>} */
export async function told(adapter) {
  const keys = [];
  await adapter.iterateKeys((key, metadata) => keys.push([key, metadata]));
  return keys;
}
