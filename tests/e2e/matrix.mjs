/**
 * The matrix of the end-to-end tests: every suite runs in each browser, and in each with and without the isolation
 * headers, which is what decides between bridge and direct mode.
 *
 *   matrix('values', (place) => {
 *     test('…', async () => {
 *       const tab = await place.tab();                 // a page of its own, on a store of its own
 *       const rows = await tab.run(async () => {       // runs in the page, see web/page.js for what there is
 *         const db = await openDatabase('a.db');
 *         return db.all('SELECT 1');
 *       });
 *     });
 *   });
 *
 * `STATIK_BROWSER=chrome` and `STATIK_MODE=bridge` narrow it down. All suites of a process share one browser of each kind,
 * but for those that launch it in a way of their own. Invariants: a test's tabs are closed behind it, and an error that a
 * page did not catch fails the test; suites share no origin, so no storage.
 */
import { after, afterEach, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Browser } from './browsers.mjs';
import { Server } from './server.mjs';
import { decode, encode } from './web/values.js';

export const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));

/** What the test servers serve, by the prefix of its URL. */
export const ROOTS = {
  '/': `${CHECKOUT}tests/e2e/web`,
  '/statik/': `${CHECKOUT}dist`,
  '/kv/': `${CHECKOUT}tests/kv`,
  '/wa-sqlite/': `${CHECKOUT}node_modules/@journeyapps/wa-sqlite`,
};

export const BROWSERS = chosen('STATIK_BROWSER', ['chrome', 'firefox']);
export const MODES = chosen('STATIK_MODE', ['bridge', 'direct']);

/** Enough for what goes wrong once in ten or twenty times. */
const ATTEMPTS = 5;

let stores = 0;

/** @type {Map<string, Browser>} */
const shared = new Map();

/** The browser that this process has for everybody; another one, if that has died. @param {'chrome' | 'firefox'} name */
export async function sharedBrowser(name) {
  const running = shared.get(name);
  if (running?.puppet.connected) return running;
  await running?.kill();
  const browser = await Browser.launch(name);
  shared.set(name, browser);
  return browser;
}

after(async () => {
  for (const browser of shared.values()) await browser.close();
});

/** A page of a browser, on one store. */
export class Tab {
  /** @type {import('puppeteer-core').Page} */
  page;
  /** Errors that the page did not catch. @type {string[]} */
  uncaught = [];
  /** Which of them a test expects: some browsers report what was caught, too. @type {RegExp | undefined} */
  expected;
  store;

  /**
   * @param {Browser} browser
   * @param {string} url
   * @param {string} store
   */
  static async open(browser, url, store) {
    const tab = new Tab();
    tab.store = store;
    tab.page = await browser.puppet.newPage();
    tab.page.on('pageerror', (error) => tab.uncaught.push(error instanceof Error ? error.stack ?? error.message : String(error)));
    await tab.load(url);
    return tab;
  }

  async load(url) {
    await this.page.goto(url);
    await this.ready();
  }

  async reload() {
    await this.page.reload();
    await this.ready();
  }

  /** Runs a function in the page; arguments and result may be what `encode` takes. */
  async run(body, ...args) {
    return answered(await this.page.evaluate((source, given) => globalThis.runSource(source, given), body.toString(), encode(args)));
  }

  /** Starts a function in the page, and does not wait for its end. */
  async start(body, ...args) {
    await this.page.evaluate((source, given) => void globalThis.runSource(source, given), body.toString(), encode(args));
  }

  async close() {
    if (!this.page.isClosed()) await this.page.close();
  }

  async ready() {
    await this.page.waitForFunction(() => globalThis.isReady === true, { timeout: 30_000 });
  }
}

/** One cell of the matrix. */
export class Place {
  browser;
  mode;
  /** @type {Server} */
  server;
  #tabs = new Set();

  constructor(browser, mode) {
    this.browser = browser;
    this.mode = mode;
  }

  get browserName() {
    return this.browser.name;
  }

  /** A page on a store of its own, or on the one named. */
  async tab({ store = `store-${++stores}` } = {}) {
    const tab = await Tab.open(this.browser, `${this.server.origin}/?store=${store}`, store);
    this.#tabs.add(tab);
    return tab;
  }

  /** Runs a function in a fresh page; in another one, if Firefox was at fault (see web/page.js). */
  async run(body, ...args) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await (await this.tab()).run(body, ...args);
      } catch (error) {
        const isFirefox = this.browserName === 'firefox' && error.message.includes('making a worker in a worker hangs');
        if (!isFirefox || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Closes the tabs of a test, which must not have failed unseen. */
  async closeTabs() {
    const uncaught = [...this.#tabs].flatMap(({ uncaught, expected }) => uncaught.filter((error) => !expected?.test(error)));
    const tabs = [...this.#tabs];
    this.#tabs.clear();
    for (const tab of tabs) await tab.close();
    if (uncaught.length > 0) throw new Error(`not caught in the page: ${uncaught.join('\n')}`);
  }
}

/**
 * Defines a suite in every cell.
 * @param {string} name
 * @param {(place: Place) => void} define calls `test`
 * @param {{ browsers?: string[], modes?: string[], launch?: object }} [options] `launch`: a browser of its own, like that
 */
export function matrix(name, define, { browsers = BROWSERS, modes = MODES, launch } = {}) {
  for (const browserName of browsers.filter((each) => BROWSERS.includes(each))) {
    describe(`${name}, ${browserName}`, () => {
      let browser;
      const places = modes.filter((each) => MODES.includes(each)).map((mode) => new Place(undefined, mode));
      before(async () => {
        browser = launch ? await Browser.launch(browserName, launch) : await sharedBrowser(browserName);
        for (const place of places) place.browser = browser;
      });
      after(() => launch && browser?.close());
      for (const place of places) describe(place.mode, () => inPlace(place, define));
    });
  }
}

function inPlace(place, define) {
  before(async () => {
    place.server = await Server.start({ isolated: place.mode === 'bridge', roots: ROOTS });
  });
  after(() => place.server?.close());
  afterEach(() => place.closeTabs());
  define(place);
}

function answered(text) {
  const { value, error } = decode(text);
  if (error) throw Object.assign(new Error(`in the page: ${error.message}`), { stack: `in the page: ${error.stack}` });
  return value;
}

function chosen(variable, all) {
  const named = process.env[variable]?.split(',') ?? all;
  const unknown = named.filter((each) => !all.includes(each));
  if (unknown.length > 0) throw new Error(`${variable} takes ${all.join(' or ')}, not ${unknown.join(', ')}`);
  return named;
}
