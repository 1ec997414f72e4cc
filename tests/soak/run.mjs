/**
 * The soak test: a browser killed at random moments while several connections commit, over and over on one profile. After
 * each kill everything that was acknowledged must be there, see ledger.mjs.
 *
 *   npm run soak -- [--browser chrome|firefox] [--rounds N] [--seed N] [--mode bridge|direct] [--profile FOLDER]
 *
 * Without --browser it runs in both, without --mode the rounds alternate between both on the same databases. The seed is
 * printed; it decides when each kill comes, as far as a browser lets anybody decide that. An acknowledgement counts once
 * this process has it, so what the page was told in its last moment may be missing from the ledger, never more. Most kills
 * come amid commits; some come so early that they hit the store while it opens and recovers. The last line is
 * `N rounds, N transactions acknowledged, N problems`; any problem makes the exit code 1.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { command, commandLine, Failure, wholeNumber } from '../../scripts/process.mjs';
import { Browser, temporaryFolder } from '../e2e/browsers.mjs';
import { mulberry32 } from '../e2e/random.mjs';
import { Server } from '../e2e/server.mjs';
import { Ledger } from './ledger.mjs';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const BROWSERS = ['chrome', 'firefox'];
const MODES = ['bridge', 'direct'];

/** No step of a round takes this long: a page that says nothing for so long hangs. */
const STEP_LIMIT_MS = 60_000;

/** One round in so many is killed early. */
const EARLY_EVERY = 5;
const EARLY_MS = 1_000;
const LATE_MS = 500;
const MOST_HEARD = 60;

const OPTIONS = {
  browser: { type: 'string' },
  rounds: { type: 'string', default: '50' },
  seed: { type: 'string' },
  mode: { type: 'string' },
  profile: { type: 'string' },
};

function options() {
  const values = commandLine(OPTIONS);
  const oneOf = (name, all) => {
    if (values[name] !== undefined && !all.includes(values[name])) throw new Failure(`--${name} takes ${all.join(' or ')}, got ${values[name]}`);
    return values[name] === undefined ? all : [values[name]];
  };
  const browsers = oneOf('browser', BROWSERS);
  if (values.profile !== undefined && browsers.length > 1) throw new Failure('--profile takes --browser: a profile is one browser\'s');
  return {
    browsers,
    modes: oneOf('mode', MODES),
    rounds: wholeNumber('rounds', values.rounds),
    seed: wholeNumber('seed', values.seed) ?? 1 + (Date.now() % 1_000_000),
    profile: values.profile,
  };
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One browser's life, from its start to its end by force; what its page tells goes to the ledger. */
class Life {
  /** How many transactions it acknowledged. */
  heard = 0;
  /** What was wrong with what it found, if it came to look. @type {string[]} */
  problems = [];
  #server;
  #browser;
  #looked;
  /** Rejects when the page tells of a failure. */
  #failed;

  constructor(ledger, server) {
    this.#server = server;
    server.told.on('acknowledged', ({ writer, numbers }) => {
      this.heard += numbers.length;
      for (const number of numbers) ledger.acknowledge(writer, number);
    });
    this.#looked = once(server.told, 'found').then(([found]) => this.problems.push(...ledger.judge(found)));
    this.#failed = once(server.told, 'failed').then(([message]) => Promise.reject(new Error(`in the page: ${message}`)));
    this.#failed.catch(() => {
      // Told to whoever waits next.
    });
  }

  async begin(name, profile, request) {
    this.#browser = await Browser.launch(name, { profile });
    const page = await this.#browser.puppet.newPage();
    page.on('pageerror', (error) => this.#server.told.emit('failed', String(error)));
    await page.goto(`${this.#server.origin}/tests/soak/web/index.html`);
    await page.waitForFunction(() => typeof globalThis.soak === 'function');
    await page.evaluate((given) => void globalThis.soak(given), request);
  }

  async looked() {
    await this.#unlessFailed(this.#looked, 'the page says what it finds');
  }

  /** Until so many transactions were acknowledged. */
  async hears(enough) {
    let listen;
    const heard = new Promise((resolve) => {
      listen = () => this.heard >= enough && resolve();
      this.#server.told.on('acknowledged', listen);
    });
    await this.#unlessFailed(heard, `${enough} transactions are acknowledged`);
    this.#server.told.off('acknowledged', listen);
  }

  async end() {
    await this.#browser?.kill();
    this.#server.told.removeAllListeners();
  }

  #unlessFailed(promise, what) {
    const late = new AbortController();
    const limit = new Promise((_, reject) => {
      const timer = setTimeout(() => reject(new Error(`waited ${STEP_LIMIT_MS} ms in vain until ${what}`)), STEP_LIMIT_MS);
      late.signal.addEventListener('abort', () => clearTimeout(timer));
    });
    return Promise.race([promise, this.#failed, limit]).finally(() => late.abort());
  }
}

/**
 * One round: what the last one left is judged, then the browser is killed amid commits, or before all that.
 * @returns {Promise<{ life: Life, how: string }>}
 */
async function playRound({ name, mode, round, rounds, profile, ledger, server }, random) {
  const [when, amount, chance] = [random(), random(), random()];
  const isLast = round > rounds;
  const isEarly = chance * EARLY_EVERY < 1 && round > 1 && !isLast;
  const life = new Life(ledger, server);
  try {
    await life.begin(name, profile, { mode, round, writes: !isLast });
    if (isEarly) {
      await sleep(when * EARLY_MS);
      return { life, how: `killed ${Math.round(when * EARLY_MS)} ms after it began to open` };
    }
    await life.looked();
    if (isLast) return { life, how: 'looked at' };
    await life.hears(1 + Math.floor(amount * MOST_HEARD));
    await sleep(when * LATE_MS);
    return { life, how: 'killed amid commits' };
  } finally {
    await life.end();
  }
}

async function soakBrowser(name, { modes, rounds, seed, profile = temporaryFolder('soak') }) {
  const random = mulberry32(seed);
  const ledger = new Ledger();
  const folders = ['tests/soak', 'dist'];
  const server = await Server.start({ isolated: true, roots: Object.fromEntries(folders.map((folder) => [`/${folder}/`, join(CHECKOUT, folder)])) });
  const total = { rounds: 0, acknowledged: 0, problems: 0 };
  try {
    for (let round = 1; round <= rounds + 1; round += 1) {
      const mode = modes[(round - 1) % modes.length];
      const { life: { heard, problems }, how } = await playRound({ name, mode, round, rounds, profile, ledger, server }, random);
      console.log(`${name}, ${mode}, ${round > rounds ? 'at the end' : `round ${round} of ${rounds}`}: ${how}, ${heard} acknowledged, the last of all is ${ledger.last}`);
      for (const problem of problems) console.error(`  PROBLEM: ${problem}`);
      total.acknowledged += heard;
      total.problems += problems.length;
      if (round <= rounds) total.rounds += 1;
      // What is wrong once stays wrong.
      if (problems.length > 0) break;
    }
  } finally {
    await server.close();
  }
  return total;
}

async function main() {
  const chosen = options();
  console.log(`--seed ${chosen.seed}`);
  const totals = [];
  for (const name of chosen.browsers) totals.push(await soakBrowser(name, chosen));
  const sum = (field) => totals.reduce((all, total) => all + total[field], 0);
  console.log(`${sum('rounds')} rounds, ${sum('acknowledged')} transactions acknowledged, ${sum('problems')} problems`);
  if (sum('problems') > 0) process.exitCode = 1;
}

await command(main);
