/**
 * The demo's Databases page as a person uses it: records are made, found, kept over a reload, deleted, backed up and
 * restored; what is wrong is said.
 *
 * It runs what `trunk build` left in web/demo/dist. Each test has a server, and so an origin and a storage, of its own.
 */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { gzipSync, gunzipSync } from 'node:zlib';
import { temporaryFolder } from './browsers.mjs';
import { BROWSERS, CHECKOUT, sharedBrowser } from './matrix.mjs';
import { Server } from './server.mjs';

const DIST = path.join(CHECKOUT, 'web/demo/dist');
const FOLDER = temporaryFolder('databases-page');
const LIMIT_MS = 60_000;

/** While `npm start` runs, the page it built looks for it, to be reloaded; Firefox reports that it is not here. */
const RELOADER = /\.well-known\/trunk\/ws/;

/** The page, by what a person sees of it. */
class DatabasesPage {
  /** @type {unknown[]} */
  uncaught = [];

  /** @param {import('puppeteer-core').Page} page */
  constructor(page) {
    this.page = page;
    page.setDefaultTimeout(LIMIT_MS);
    page.on('pageerror', (error) => RELOADER.test(String(error)) || this.uncaught.push(error));
  }

  /** @param {import('./browsers.mjs').Browser} browser @param {string} origin */
  static async open(browser, origin) {
    const opened = new DatabasesPage(await browser.puppet.newPage());
    await opened.page.setViewport({ width: 1200, height: 760 }).catch((error) => {
      // Beside the size it sets the screen's orientation, which an older Firefox cannot.
      if (!/setScreenOrientationOverride/.test(String(error))) throw error;
    });
    await opened.page.goto(`${origin}/#databases`);
    await opened.settled();
    return opened;
  }

  /** Waits until nothing is being done. */
  async settled() {
    await this.page.waitForFunction(() => {
      const { state, busy } = /** @type {HTMLElement} */ (document.querySelector('#databases-view')).dataset;
      const { records } = /** @type {HTMLElement} */ (document.querySelector('#part-records')).dataset;
      if (document.querySelector('.part[aria-busy=true]')) return false;
      return state === 'failed' || (state === 'ready' && busy === 'false' && records !== undefined && records !== 'loading');
    });
  }

  /** @param {string} selector @returns {Promise<string>} */
  text(selector) {
    return this.page.$eval(selector, ({ textContent }) => textContent ?? '');
  }

  status() {
    return this.text('#records-status');
  }

  /** Does something, and waits for its end. @param {string} selector */
  async click(selector) {
    await this.page.click(selector);
    await this.settled();
  }

  /** Fills in the query, and asks it. @param {Record<string, string>} values */
  async find(values) {
    await this.page.$eval('#query', (form, given) => {
      for (const [name, value] of Object.entries(given)) /** @type {HTMLInputElement} */ (form.querySelector(`[name=${name}]`)).value = value;
    }, values);
    await this.click('[data-testid=find]');
  }

  /** Waits until the last action has told this, or failed with it. @param {RegExp} expected */
  async told(expected) {
    await this.page.waitForFunction((source) => ['#outcome', '#error'].some((id) => new RegExp(source).test(document.querySelector(id)?.textContent ?? '')), {}, expected.source);
    await this.settled();
  }

  /** Waits until the left side says that a store has so many records. @param {string} store @param {number} records */
  async holds(store, records) {
    await this.page.waitForSelector(`[data-store=${store}] [data-records="${records}"]`);
  }

  async makeSamples() {
    await this.click('#make-samples');
    await this.told(/^Added 10,000 episodes$/);
  }

  /** Chooses a backup, and waits for the question whether to restore it. @param {string} file */
  async choose(file) {
    const input = /** @type {import('puppeteer-core').ElementHandle<HTMLInputElement>} */ (await this.page.$('[data-testid=backup-file]'));
    await input.uploadFile(file);
  }

  /** Answers the dialog that is open. @param {'agree' | 'cancel'} value */
  async answer(value) {
    const button = `dialog button[value=${value}]`;
    await this.page.waitForSelector(button);
    await this.page.click(button);
    await this.page.waitForSelector(button, { hidden: true });
    await this.settled();
  }

  /** What the page would download next, in place of downloading it. @param {string} selector */
  async downloaded(selector) {
    await this.page.evaluate(() => {
      const make = URL.createObjectURL.bind(URL);
      URL.createObjectURL = (blob) => {
        URL.createObjectURL = make;
        Object.assign(globalThis, { downloaded: blob });
        return make(new Blob());
      };
      addEventListener('click', (event) => event.target instanceof HTMLAnchorElement && event.target.download && event.preventDefault(), { capture: true, once: true });
    });
    await this.click(selector);
    await this.told(/^Backed up as /);
    const text = await this.page.evaluate(async () => {
      const bytes = new Uint8Array(await Reflect.get(globalThis, 'downloaded').arrayBuffer());
      return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
    });
    return Buffer.from(text, 'latin1');
  }

  /** The cells of a row that is drawn. @param {number} row */
  row(row) {
    return this.page.$$eval(`[id^=record-${row}-]`, (cells) => cells.map(({ textContent }) => textContent ?? ''));
  }
}

/** @param {string} file @param {string | Uint8Array} content */
function makeFile(file, content) {
  const made = path.join(FOLDER, file);
  writeFileSync(made, content);
  return made;
}

/** As the page's fields want a time: without the zone. @param {Date} time */
function local(time) {
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

for (const name of BROWSERS) {
  describe(`databases page, ${name}`, () => {
    /** @type {import('./browsers.mjs').Browser} */
    let browser;
    before(async () => {
      assert.ok(existsSync(DIST), 'the demo is built: `npx trunk build`, or `npm test -- build`');
      browser = await sharedBrowser(name);
    });

    /** Runs a test on a fresh page. @param {string} title @param {(shown: DatabasesPage) => Promise<void>} body */
    function pageTest(title, body) {
      test(title, { timeout: 120_000 }, async () => {
        const server = await Server.start({ isolated: false, roots: { '/': DIST } });
        try {
          const shown = await DatabasesPage.open(browser, server.origin);
          await body(shown);
          assert.deepEqual(shown.uncaught, []);
          await shown.page.close();
        } finally {
          await server.close();
        }
      });
    }

    pageTest('samples are found by tags and time, page by page, stay after a reload, and are deleted', async (shown) => {
      const { page } = shown;
      assert.equal(await shown.status(), '0 episodes');
      await shown.makeSamples();
      await shown.holds('episodes', 10_000);
      assert.equal(await shown.status(), '200 episodes, more as you scroll');

      // Of each 64 in a row, one has both tags in one order and one in the other, as samples.ts makes them: 157 each.
      await shown.find({ tags: 'work, travel' });
      const [time, , tags] = await shown.row(0);
      assert.match(tags ?? '', /^(work, travel|travel, work)$/);
      await page.$eval('#records', (grid) => { grid.scrollTop = grid.scrollHeight; });
      await page.waitForFunction(() => /^314 episodes$/.test(document.querySelector('#records-status')?.textContent ?? ''));
      const drawn = await page.$eval('#records', (grid) => grid.querySelectorAll('.grid-row').length);
      assert.ok(drawn < 100, `${drawn} rows are drawn of 314`);
      const from = new Date(new Date(String(time)).getTime() - 10 * 86_400_000);
      await shown.find({ from: local(from), order: 'asc' });
      // 10 of 90 days have 1,111 of the 10,000 episodes, and two of each 64 are of both tags.
      const found = Number(/^(\d+) episodes$/.exec(await shown.status())?.[1]);
      assert.ok(found >= 33 && found <= 37, `${found} episodes of ten days`);
      assert.ok(String((await shown.row(0))[0]) >= local(from).replace('T', ' '));
      await shown.find({ tags: '', to: local(new Date(from.getTime() - 1000)) });
      assert.equal(await shown.status(), '0 episodes');
      assert.equal(await shown.text('#no-records-text'), 'Nothing is found by this query.');

      await page.reload();
      await shown.settled();
      await shown.holds('episodes', 10_000);
      const id = (await shown.row(1))[4];
      await page.click('#record-1-0');
      await page.click('#show-record');
      await page.waitForSelector('dialog .tree');
      assert.match(await shown.text('dialog .tree'), /vectorFloat32Array of 3/);
      await page.click('dialog button[value=delete]');
      await shown.answer('agree');
      await shown.told(/^Deleted episode /);
      assert.equal(await shown.text('#outcome'), `Deleted episode ${id}`);
      await shown.holds('episodes', 9999);
    });

    pageTest('records are added by form, old log entries go, and the keyboard reaches all parts', async (shown) => {
      const { page } = shown;
      await page.click('[data-store=errors]');
      await shown.settled();
      for (const message of ['The <b>first</b>', 'The second']) {
        await page.click('#add-record');
        await page.waitForSelector('dialog textarea[name=message]');
        await page.type('dialog textarea[name=message]', message);
        await page.type('dialog textarea[name=further]', '{ "retried": true }');
        await shown.answer('agree');
        await shown.told(/^Added one error$/);
      }
      assert.deepEqual((await shown.row(1)).slice(1), ['The <b>first</b>', 'retried: true', '1']);
      await page.focus('#tab-records');
      for (const part of ['schema', 'backup', 'upkeep']) {
        await page.keyboard.press('ArrowRight');
        assert.equal(await page.evaluate(() => document.activeElement?.id), `tab-${part}`);
        await page.waitForSelector(`#part-${part}:not([hidden])`);
      }
      await page.$eval('#part-upkeep [name=days]', (input) => { /** @type {HTMLInputElement} */ (input).value = ''; });
      await page.type('#part-upkeep [name=most]', '1');
      await page.click('[data-testid=prune]');
      await shown.answer('agree');
      await shown.told(/^Deleted 0 of deltas, 1 of errors, 0 of actions$/);
      await page.click('[data-vacuum=statik_logs]');
      await shown.told(/^Compacted statik_logs$/);
      assert.match(await shown.text('[data-testid=vacuum-report]'), /^statik_logs: 2 records copied, generation 2\. /);
      await page.click('[data-testid=ask-persistence]');
      await page.waitForSelector('[data-testid=persistence]:is([data-answer=granted], [data-answer=denied])');
      await page.focus('.views a');
      await page.keyboard.press('Enter');
      await page.waitForSelector('html[data-view=sql][data-state=ready]');
      await page.goBack();
      await page.waitForSelector('html[data-view=databases]');
      await shown.holds('errors', 1);
    });

    pageTest('without IndexedDB all is in memory, and said so', async (shown) => {
      const { page } = shown;
      await page.waitForSelector('#storage-kind[data-storage=indexeddb]');
      await page.evaluateOnNewDocument(() => Object.defineProperty(globalThis, 'indexedDB', { value: undefined }));
      await page.reload();
      await shown.settled();
      assert.match(await shown.text('#memory-banner'), /^In memory only\. Nothing survives this tab: ./);
      await page.waitForSelector('[data-event=fallback]');
      await page.waitForSelector('#storage-kind[data-storage=memory]');
      await page.click('#add-record');
      await page.waitForSelector('dialog textarea[name=text]');
      await shown.answer('agree');
      await shown.holds('episodes', 1);
    });

    pageTest('a backup is downloaded, all is wiped, and it is restored; garbage is refused and changes nothing', async (shown) => {
      const { page } = shown;
      await shown.makeSamples();
      await page.click('#tab-backup');
      await page.waitForSelector('#part-backup:not([hidden])');
      const backup = await shown.downloaded('[data-testid=export]');
      assert.match(gunzipSync(backup).subarray(0, 200).toString(), /^\{"format":"statik-backup",/);
      const whole = makeFile(`${name}.json.gz`, backup);

      // As a person who clears the site's data would.
      await page.evaluate(async () => {
        const deleted = (await indexedDB.databases()).map(({ name = '' }) => new Promise((resolve, reject) => {
          const request = indexedDB.deleteDatabase(name);
          request.onsuccess = resolve;
          request.onerror = () => reject(request.error);
        }));
        await Promise.all(deleted);
      });
      await page.reload();
      await shown.settled();
      await shown.holds('episodes', 0);
      await page.click('#add-record');
      await page.waitForSelector('dialog textarea[name=text]');
      await shown.answer('agree');
      await shown.holds('episodes', 1);

      await page.click('#tab-backup');
      const wrong = { 'garbage.json.gz': 'no backup at all', 'cut.json.gz': backup.subarray(0, backup.length / 2), 'foreign.json.gz': gzipSync('{"format":"statik-backup","version":99}\n') };
      for (const [file, content] of Object.entries(wrong)) {
        await shown.choose(makeFile(file, content));
        await shown.told(new RegExp(`^Restoring ${file} failed: .*\\((Invalid|Corrupt|Unsupported)\\)$`));
      }
      await shown.holds('episodes', 1);

      await shown.choose(whole);
      await page.waitForSelector('[data-testid=summary]');
      assert.match(await shown.text('[data-testid=summary]'), /\(manual\), with 10,117 records:.*10,000 episodes, .*30 deltas, 10 errors/);
      await shown.answer('cancel');
      await shown.told(/^Nothing was restored$/);
      await shown.holds('episodes', 1);
      await shown.choose(whole);
      await page.waitForSelector('[data-testid=summary]');
      await shown.answer('agree');
      await shown.told(/^Restored 10,117 records of 3 databases from /);
      await shown.holds('episodes', 10_000);
      await shown.click('#tab-records');
      assert.equal(await shown.status(), '200 episodes, more as you scroll');
    });

    pageTest('automatic backups are agreed to, stay after a reload, and are kept and restored', async (shown) => {
      const { page } = shown;
      await page.click('#tab-backup');
      await page.click('[data-testid=auto-backup]');
      await shown.answer('cancel');
      assert.equal(await page.$eval('[data-testid=auto-backup]', (input) => /** @type {HTMLInputElement} */ (input).checked), false);
      await page.click('[data-testid=auto-backup]');
      await shown.answer('agree');
      await shown.told(/^Automatic backups are on$/);
      await page.waitForSelector('[data-event=backup]');
      await page.reload();
      await shown.settled();
      await page.click('#tab-backup');
      await page.waitForFunction(() => /^Every 24 h, 3 files kept$/.test(document.querySelector('[data-testid=schedule]')?.textContent ?? ''));
      assert.equal(await page.$eval('[data-testid=auto-backup]', (input) => /** @type {HTMLInputElement} */ (input).checked), true);
      await page.click('[data-testid=kept] button');
      await page.waitForSelector('[data-testid=summary]');
      assert.match(await shown.text('[data-testid=summary]'), /\(auto\)/);
      await page.select('[data-testid=summary] [name=mode]', 'merge');
      await shown.answer('agree');
      await shown.told(/^Restored 0 records of 3 databases/);
      await page.click('[data-testid=auto-backup]');
      await shown.answer('agree');
      await shown.told(/^Automatic backups are off$/);
    });

    pageTest('a passphrase seals records, is asked for after a reload, and is changed; keys are rotated', async (shown) => {
      const { page } = shown;
      /** @param {string} text */
      const add = async (text) => {
        await shown.click('#tab-records');
        await page.click('#add-record');
        await page.waitForSelector('dialog textarea[name=text]');
        await page.type('dialog textarea[name=text]', text);
        await shown.answer('agree');
        await shown.told(/^Added one episode$/);
      };
      /** @param {string} button @param {Record<string, string>} values */
      const fillIn = async (button, values) => {
        if (button !== '') await page.click(button);
        await page.waitForSelector('dialog [name=passphrase]');
        for (const [field, value] of Object.entries(values)) await page.type(`dialog [name=${field}]`, value);
        await shown.answer('agree');
      };
      /** How many of the stored episodes have this text in clear. @param {string} text */
      const inClear = (text) => page.evaluate(async (text) => {
        const { memory } = await new Promise((resolve, reject) => {
          const request = indexedDB.open('statik_memory');
          request.onerror = () => reject(request.error);
          request.onsuccess = () => resolve({ memory: request.result });
        });
        const episodes = await new Promise((resolve) => {
          const request = memory.transaction('episodes').objectStore('episodes').getAll();
          request.onsuccess = () => resolve(request.result);
        });
        memory.close();
        return episodes.filter((/** @type {{ text?: string }} */ episode) => episode.text === text).length;
      }, text);

      await add('In clear');
      await page.click('#tab-encryption');
      await page.waitForSelector('#part-encryption[data-encryption=off]');
      await fillIn('[data-testid=encrypt]', { passphrase: 'correct horse', again: 'correct horse' });
      await shown.told(/^Records are sealed from now on/);
      await add('Sealed');
      assert.deepEqual([await inClear('In clear'), await inClear('Sealed')], [1, 0]);
      await page.click('#tab-encryption');
      await page.waitForSelector('#part-encryption[data-encryption=on]');
      await shown.click('[data-testid=rotate]');
      await shown.told(/^Sealed 2 records by data key [0-9a-f]{8}$/);
      assert.equal(await inClear('In clear'), 0);
      await fillIn('[data-testid=change-passphrase]', { old: 'wrong', passphrase: 'battery staple', again: 'battery staple' });
      await shown.told(/^Changing the passphrase failed: .*\(Permission\)$/);
      await fillIn('[data-testid=change-passphrase]', { old: 'correct horse', passphrase: 'battery staple', again: 'battery staple' });
      await shown.told(/^The passphrase was changed$/);

      await page.reload();
      await fillIn('', { passphrase: 'correct horse' });
      await page.waitForSelector('#databases-view[data-state=failed]');
      assert.match(await shown.text('#databases-failure'), /opens nothing.*\(Permission\)/s);
      await page.click('[data-testid=retry-databases]');
      await fillIn('', { passphrase: 'battery staple' });
      await page.waitForSelector('#databases-view[data-state=ready]');
      await shown.settled();
      assert.deepEqual([(await shown.row(0))[3], (await shown.row(1))[3]], ['text: "Sealed"', 'text: "In clear"']);

      await page.reload();
      await page.waitForSelector('dialog [name=passphrase]');
      await shown.answer('cancel');
      await shown.told(/^Reading episodes: .*encrypted.*\(Permission\)$/);
      await page.click('#tab-encryption');
      await fillIn('[data-testid=unlock]', { passphrase: 'battery staple' });
      await shown.told(/^Sealed records are open$/);
      await shown.click('#tab-records');
      assert.equal(await shown.status(), '2 episodes');
    });

    pageTest('a schema tells its history, goes back with its records, and comes again', async (shown) => {
      const { page } = shown;
      await page.click('#add-record');
      await page.waitForSelector('dialog textarea[name=text]');
      await page.type('dialog textarea[name=text]', 'Kept through it all');
      await shown.answer('agree');
      await page.click('#tab-schema');
      const card = '#part-schema [data-database=statik_memory]';
      await page.waitForSelector(card);
      const steps = () => page.$$eval(`${card} tbody th`, (cells) => cells.map(({ textContent }) => textContent));
      assert.deepEqual(await steps(), ['▲ to 1', '▲ to 2']);
      assert.match(await shown.text(`${card} .verdict`), /^It is as this app expects/);
      await page.select(`${card} select`, '1');
      await page.click(`${card} [data-testid=migrate]`);
      await shown.answer('agree');
      await shown.told(/^statik_memory is at version 1, from 2: 1 step$/);
      assert.deepEqual(await steps(), ['▲ to 1', '▲ to 2', '▼ from 2']);
      assert.match(await shown.text(`${card} .verdict`), /differs.*indexes\.timestamp/s);
      await shown.click('#tab-records');
      assert.equal(await shown.status(), 'Failed');
      assert.match(await shown.text('#error'), /^Reading episodes: .*statik_memory.*\(NotFound\)$/);
      await shown.click('#tab-schema');
      await page.select(`${card} select`, '2');
      await page.click(`${card} [data-testid=migrate]`);
      await shown.answer('agree');
      await shown.told(/^statik_memory is at version 2, from 1: 1 step$/);
      await shown.click('#tab-records');
      assert.match((await shown.row(0)).join(), /Kept through it all/);
    });
  });
}
