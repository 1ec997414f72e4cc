/**
 * The demo as a person uses it: files go in, are queried, and are still there after a reload and a killed browser.
 *
 * It runs what `trunk build` left in web/demo/dist, with the isolation headers and without them. Each test has a server,
 * and so an origin and a storage, of its own.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { Browser, temporaryFolder } from './browsers.mjs';
import { BROWSERS, CHECKOUT, MODES, sharedBrowser } from './matrix.mjs';
import { Server } from './server.mjs';

const DIST = path.join(CHECKOUT, 'web/demo/dist');
const FOLDER = temporaryFolder('studio');
const LIMIT_MS = 60_000;

/** While `npm start` runs, the page it built looks for it, to be reloaded; Firefox reports that it is not here. */
const RELOADER = /\.well-known\/trunk\/ws/;

/** A database as Debian's sqlite3 makes it, large enough that a grid has to be clever. */
function makeDatabase() {
  const file = path.join(FOLDER, 'towns.sqlite');
  if (!existsSync(file)) {
    execFileSync('sqlite3', [file], { input: `CREATE TABLE town (id INTEGER PRIMARY KEY, name TEXT NOT NULL, height REAL);
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 120000) INSERT INTO town SELECT i, 'Town ' || i, i / 4.0 FROM n;
      CREATE VIEW high AS SELECT * FROM town WHERE height > 100;` });
  }
  return file;
}

/** @param {string} name @param {string | Uint8Array} content */
function makeFile(name, content) {
  const file = path.join(FOLDER, name);
  writeFileSync(file, content);
  return file;
}

/** The page, by what a person sees of it. */
class Studio {
  /** @param {import('puppeteer-core').Page} page */
  constructor(page) {
    this.page = page;
    page.setDefaultTimeout(LIMIT_MS);
    /** @type {unknown[]} */
    this.uncaught = [];
    page.on('pageerror', (error) => RELOADER.test(String(error)) || this.uncaught.push(error));
  }

  /** @param {Browser} browser @param {string} url */
  static async open(browser, url) {
    const studio = new Studio(await browser.puppet.newPage());
    await studio.page.setViewport({ width: 1100, height: 700 }).catch((error) => {
      // Beside the size it sets the screen's orientation, which an older Firefox cannot.
      if (!/setScreenOrientationOverride/.test(String(error))) throw error;
    });
    await studio.page.goto(url);
    await studio.opened();
    return studio;
  }

  async opened() {
    await this.page.waitForFunction(() => ['ready', 'failed'].includes(document.documentElement.dataset.state ?? ''));
    return this.page.$eval('html', ({ dataset }) => dataset.state);
  }

  /** Waits until nothing is being done. */
  async settled() {
    await this.page.waitForFunction(() => document.documentElement.dataset.busy === 'false' && document.documentElement.dataset.running !== 'true');
  }

  /** @param {string} selector @returns {Promise<string>} */
  text(selector) {
    return this.page.$eval(selector, ({ textContent }) => textContent ?? '');
  }

  tables() {
    return this.page.$$eval('#tables details', (tables) => tables.map((table) => /** @type {HTMLElement} */ (table).dataset.table));
  }

  /** Chooses a file, and waits until it is in, or refused. @param {string} file */
  async choose(file) {
    const input = /** @type {import('puppeteer-core').ElementHandle<HTMLInputElement>} */ (await this.page.$('#file'));
    await input.uploadFile(file);
    await this.mentions(path.parse(file).name);
  }

  /** Waits for a status or error that has this in it, and for the end of what led to it. @param {string} text */
  async mentions(text) {
    await this.page.waitForFunction((wanted) => ['#status', '#error'].some((id) => document.querySelector(id)?.textContent?.includes(wanted)), {}, text);
    await this.settled();
  }

  /** Runs SQL, and gives the status. @param {string} sql */
  async run(sql) {
    await this.write(sql);
    await this.page.click('#run');
    await this.settled();
    return this.text('#status');
  }

  /** @param {string} sql */
  async write(sql) {
    await this.page.$eval('#sql', (editor, text) => {
      /** @type {HTMLTextAreaElement} */ (editor).value = text;
      editor.dispatchEvent(new Event('input'));
    }, sql);
  }

  /** The rows that the grid has drawn, as text. @returns {Promise<(string | null)[][]>} */
  rows() {
    return this.page.$$eval('#grid .grid-row', (lines) => lines
      .toSorted((a, b) => Number(a.getAttribute('aria-rowindex')) - Number(b.getAttribute('aria-rowindex')))
      .map((line) => [...line.querySelectorAll('[role=gridcell]')].map((cell) => cell.textContent)));
  }
}

/** @param {string} mode @param {(server: Server) => Promise<void>} body */
async function served(mode, body) {
  const server = await Server.start({ isolated: mode === 'bridge', roots: { '/': DIST } });
  try {
    await body(server);
  } finally {
    await server.close();
  }
}

for (const name of BROWSERS) {
  describe(`studio, ${name}`, () => {
    /** @type {Browser} */
    let browser;
    before(async () => {
      assert.ok(existsSync(DIST), 'the demo is built: `npx trunk build`, or `npm test -- build`');
      browser = await sharedBrowser(name);
    });

    /** Runs a test on a fresh studio. @param {string} title @param {string} mode @param {(studio: Studio, server: Server) => Promise<void>} body */
    function studioTest(title, mode, body) {
      test(`${title} (${mode})`, { timeout: 180_000 }, () => served(mode, async (server) => {
        const studio = await Studio.open(browser, server.origin);
        try {
          await body(studio, server);
          assert.deepEqual(studio.uncaught, []);
        } finally {
          if (!studio.page.isClosed()) await studio.page.close();
        }
      }));
    }

    for (const mode of MODES) {
      studioTest('a database is queried, scrolled, changed, and there after a reload', mode, async (studio) => {
        assert.equal(await studio.text('#mode'), mode);
        assert.match(await studio.text('#storage'), /\d.*persisted/);
        await studio.choose(makeDatabase());
        assert.deepEqual(await studio.tables(), ['high', 'town']);
        await studio.page.click('#storage');
        await studio.page.waitForFunction(() => /statement/.test(document.querySelector('#database-text')?.textContent ?? ''));
        await studio.page.click('#check');
        await studio.page.waitForFunction(() => /^Sound: \d/.test(document.querySelector('#health')?.textContent ?? ''));
        assert.match(await studio.text('#log-text'), /^\d+ commits?, /);
        await studio.page.click('#details .primary');
        assert.equal(await studio.run('SELECT * FROM town ORDER BY id'), '120,000 rows');
        assert.deepEqual((await studio.rows())[0], ['1', 'Town 1', '0.25']);
        const cells = await studio.page.$eval('#grid', (grid) => {
          grid.scrollTop = grid.scrollHeight;
          return grid.querySelectorAll('*').length;
        });
        assert.ok(cells < 2000, `${cells} elements for 120,000 rows`);
        await studio.page.waitForSelector('#cell-119999-1');
        assert.deepEqual((await studio.rows()).at(-1), ['120000', 'Town 120000', '30000']);
        assert.equal(await studio.run("UPDATE town SET name = 'Renamed' WHERE id <= 3; CREATE TABLE visit (town REFERENCES town)"), '3 rows changed · 2 statements');
        await studio.page.reload();
        assert.equal(await studio.opened(), 'ready');
        assert.equal(await studio.text('#current'), 'towns.sqlite');
        assert.match(await studio.page.$eval('#sql', (editor) => /** @type {HTMLTextAreaElement} */ (editor).value), /^UPDATE town/, 'the script is kept too');
        assert.deepEqual(await studio.tables(), ['high', 'town', 'visit']);
        await studio.run("SELECT count(*), sum(name = 'Renamed') FROM town; PRAGMA integrity_check");
        assert.deepEqual(await studio.rows(), [['ok']]);
        await studio.page.click('#tabs button');
        assert.deepEqual(await studio.rows(), [['120000', '3']]);
      });

      studioTest('a CSV that is dropped becomes a table, and a broken one leaves nothing', mode, async (studio) => {
        await studio.page.$eval('#drop', (drop) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(['zip,city,n\r\n01234,"a ""b"",\r\nc",5\r\n99,,7.5\r\n'], 'Post codes.csv'));
          drop.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
        });
        await studio.mentions('2 rows into Post_codes');
        assert.equal(await studio.text('#current'), 'Post-codes.db');
        await studio.run('SELECT *, typeof(zip), typeof(n) FROM Post_codes');
        assert.deepEqual(await studio.rows(), [['01234', 'a "b", ↵ c', '5', 'text', 'real'], ['99', 'NULL', '7.5', 'text', 'real']]);
        await studio.choose(makeFile('ragged.csv', 'a,b\n1,2\n3\n'));
        assert.match(await studio.text('#error'), /ragged\.csv.*Line 3: 1 field, where the first line has 2/);
        assert.deepEqual(await studio.tables(), ['Post_codes']);
      });

      studioTest('what is wrong is said: a truncated database, a foreign file, bad SQL', mode, async (studio) => {
        await studio.choose(makeFile('cut.db', readFileSync(makeDatabase()).subarray(0, 100_000)));
        assert.match(await studio.text('#error'), /Importing cut\.db failed: .*truncated.*\(Corrupt\)/);
        await studio.choose(makeFile('broken.db', Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(5000, 1)])));
        assert.match(await studio.text('#error'), /Importing broken\.db failed/);
        await studio.choose(makeFile('foreign.pdf', '%PDF-1.7'));
        assert.match(await studio.text('#error'), /neither a SQLite database nor a CSV/);
        assert.equal(await studio.text('#databases'), '');
        await studio.choose(makeDatabase());
        assert.equal(await studio.run('SELECT 1;\n  SELECT * FORM town'), 'Failed');
        assert.match(await studio.text('#error'), /^Line 2, column 12: near "FORM": syntax error/);
        assert.equal(await studio.text('.marked'), 'FORM');
      });

      studioTest('a long query is cancelled, and the next one runs', mode, async (studio) => {
        await studio.choose(makeDatabase());
        await studio.write('WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n');
        await studio.page.click('#run');
        await studio.page.waitForSelector('#cancel:not(:disabled)');
        await studio.page.click('#cancel');
        await studio.settled();
        assert.equal(await studio.text('#status'), 'Cancelled');
        assert.equal(await studio.run('SELECT 6 * 7'), '1 row');
        assert.deepEqual(await studio.rows(), [['42']]);
      });
    }

    studioTest('a second tab says who has the store, and goes on when that one is closed', MODES[0], async (studio, { origin }) => {
      await studio.choose(makeDatabase());
      const second = await Studio.open(browser, origin);
      assert.equal(await second.page.$eval('html', ({ dataset }) => dataset.state), 'failed');
      assert.match(await second.text('#failure'), /open in another tab/);
      await studio.page.close();
      await second.page.click('#retry');
      await second.page.waitForSelector('html[data-state=ready]');
      assert.deepEqual(await second.tables(), ['high', 'town']);
      await second.page.close();
    });

    studioTest('OPFS refused is said, and memory is taken only on demand', MODES[0], async (studio, { origin }) => {
      await studio.page.goto(`${origin}/?statik.opfs=off`);
      assert.equal(await studio.opened(), 'failed');
      assert.match(await studio.text('#failure'), /refuses to store files/);
      await studio.page.click('#memory');
      await studio.page.waitForSelector('html[data-state=ready]');
      assert.match(await studio.text('#banner'), /^In memory only/);
      await studio.choose(makeDatabase());
      assert.deepEqual(await studio.tables(), ['high', 'town']);
    });

    studioTest('databases are made, renamed and deleted', MODES[0], async (studio) => {
      await studio.page.click('#new');
      await studio.page.locator('dialog input').fill('first');
      await studio.page.keyboard.press('Enter');
      await studio.mentions('Opened first.db');
      await studio.run('CREATE TABLE kept (a)');
      await studio.page.click('[data-action=rename]');
      await studio.page.locator('dialog input').fill('second.db');
      await studio.page.keyboard.press('Enter');
      await studio.mentions('Opened second.db');
      assert.deepEqual(await studio.tables(), ['kept']);
      await studio.page.click('[data-action=delete]');
      await studio.page.click('dialog button.danger');
      await studio.page.waitForSelector('#welcome:not([hidden])');
      await studio.settled();
      assert.equal(await studio.text('#databases'), '');
    });

    // Only Debian has what the sample is made from.
    if (process.platform === 'linux') studioTest('the sample is offered on a first visit, and its examples run', MODES[0], async (studio) => {
      assert.ok(existsSync(path.join(DIST, 'sample.db')), 'web/demo/dist has no sample.db: scripts/sample.mjs says why');
      await studio.page.waitForSelector('#sample-offer:not([hidden])');
      await studio.page.click('#sample');
      await studio.mentions('The sample is yours');
      const examples = await studio.page.$$eval('#examples option', (options) => options.map(({ value, textContent }) => ({ value, title: textContent ?? '' })));
      assert.ok(examples.length > 5);
      for (const { value, title } of examples) {
        if (value === '' || title.includes('cancel')) continue;
        await studio.page.select('#examples', value);
        await studio.settled();
        assert.match(await studio.text('#status'), /^[\d,]+ rows$/, `${title}: ${await studio.text('#error')}`);
      }
    });

    for (const mode of MODES) test(`a database outlives a killed browser (${mode})`, { timeout: 180_000 }, () => served(mode, async ({ origin }) => {
      const profile = temporaryFolder('profile');
      const killed = await Browser.launch(name, { profile });
      const first = await Studio.open(killed, origin);
      await first.choose(makeDatabase());
      await first.run("UPDATE town SET name = 'Saved' WHERE id = 7");
      await killed.kill();
      const next = await Browser.launch(name, { profile });
      try {
        const studio = await Studio.open(next, origin);
        const [database] = await studio.page.$$eval('#databases li', (items) => items.map((item) => /** @type {HTMLElement} */ (item).dataset.database));
        assert.equal(database, 'towns.sqlite');
        await studio.run('SELECT name, (SELECT count(*) FROM town) FROM town WHERE id = 7');
        assert.deepEqual(await studio.rows(), [['Saved', '120000']]);
      } finally {
        await next.close();
      }
    }));
  });
}
