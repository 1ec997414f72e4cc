/**
 * The demo as a person uses it: files dropped on it, queries typed and run, a reload, and the browser killed. It is what
 * Trunk built into web/demo/dist, on servers with and without the isolation headers.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Browser, temporaryFolder } from './browsers.mjs';
import { BROWSERS, CHECKOUT, MODES } from './matrix.mjs';
import { Server } from './server.mjs';
import { newFile, sqlite3 } from './sqlite3.mjs';

const SITE = `${CHECKOUT}web/demo/dist`;
const LIMIT_MS = 60_000;

/** While `npm start` runs, the page it built looks for it, to be reloaded; Firefox reports that it is not here. */
const RELOADER = /\.well-known\/trunk\/ws/;

/** The page of the demo, in the words of its users. */
class Studio {
  page;
  uncaught = [];

  static async open(browser, origin) {
    const studio = new Studio();
    studio.page = await browser.puppet.newPage();
    await studio.page.setViewport({ width: 1200, height: 800 });
    studio.page.on('pageerror', (error) => RELOADER.test(String(error)) || studio.uncaught.push(String(error)));
    await studio.page.goto(`${origin}/`);
    await studio.ready();
    return studio;
  }

  ready() {
    return this.wait(() => ['ready', 'failed'].includes(document.documentElement.dataset.state));
  }

  async reload() {
    await this.page.reload();
    await this.ready();
  }

  async choose(file) {
    const input = await this.page.$('#file');
    await input.uploadFile(file);
    await this.page.waitForFunction(() => document.documentElement.dataset.busy === 'false', { timeout: LIMIT_MS });
  }

  async type(sql) {
    await this.page.$eval('#sql', (area, text) => {
      area.value = text;
      area.setSelectionRange(text.length, text.length);
      area.dispatchEvent(new Event('input', { bubbles: true }));
    }, sql);
    await this.wait(() => !document.querySelector('#run').disabled);
    await this.page.$eval('#run', (button) => button.click());
  }

  /** Runs SQL to its end; gives what the page then says. */
  async query(sql) {
    await this.type(sql);
    await this.wait(() => document.documentElement.dataset.running === 'false' && document.documentElement.dataset.busy === 'false');
    return this.state();
  }

  state() {
    return this.page.evaluate(() => {
      const text = (id) => document.getElementById(id).innerText.trim();
      return {
        state: document.documentElement.dataset.state, status: text('status'), error: document.getElementById('error').hidden ? '' : text('error'),
        grid: text('grid'), tables: text('tables'), mode: text('mode'), storage: text('storage'), sql: document.getElementById('sql').value,
        databases: text('databases'), drawn: document.querySelectorAll('#grid [role=row]').length,
      };
    });
  }

  wait(condition) {
    return this.page.waitForFunction(condition, { timeout: LIMIT_MS });
  }
}

function makeFiles() {
  const folder = temporaryFolder('dropped');
  mkdirSync(folder, { recursive: true });
  const made = newFile();
  sqlite3(made, "CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO person(name) VALUES ('Ada'), ('Grace'), ('Edsger'); CREATE VIEW short AS SELECT name FROM person WHERE length(name) < 4;");
  const database = path.join(folder, 'people.sqlite');
  renameSync(made, database);
  const csv = path.join(folder, 'rivers.csv');
  writeFileSync(csv, 'name,km,note\nDonau,2850,"flows, slowly"\nRhein,1230,\nSpree,400,"says ""hi"""\n');
  const foreign = path.join(folder, 'broken.db');
  writeFileSync(foreign, Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(5000, 1)]));
  return { database, csv, foreign };
}

for (const browserName of BROWSERS) {
  for (const mode of MODES) {
    describe(`demo, ${browserName}, ${mode}`, () => {
      let server;
      let browser;
      let studio;
      let profile;
      let files;
      const launch = async () => {
        browser = await Browser.launch(browserName, { profile });
        studio = await Studio.open(browser, server.origin);
      };

      before(async () => {
        assert.ok(existsSync(SITE), 'the demo is built: `npx trunk build`, or `npm test -- build`');
        files = makeFiles();
        profile = temporaryFolder('studio');
        server = await Server.start({ isolated: mode === 'bridge', roots: { '/': SITE } });
        await launch();
      });
      after(async () => {
        await browser?.close();
        await server?.close();
      });
      afterEach(() => assert.deepEqual(studio.uncaught, [], 'nothing was left uncaught'));

      test('a first visit is ready, and says how it stores', async () => {
        const { state, mode: shown, storage } = await studio.state();
        assert.equal(state, 'ready');
        assert.equal(shown.toLowerCase(), mode);
        assert.match(storage, /\d.*persisted/);
      });

      test('a dropped database is queried, and survives a reload', async () => {
        await studio.choose(files.database);
        const dropped = await studio.state();
        assert.equal(dropped.error, '');
        assert.match(dropped.tables, /person/);
        assert.match(dropped.tables, /short/);
        assert.match(dropped.databases, /people/);
        const found = await studio.query('SELECT upper(name) AS called, id FROM person ORDER BY id');
        assert.match(found.status, /3 rows/);
        assert.match(found.grid, /called[\s\S]*ADA[\s\S]*GRACE[\s\S]*EDSGER/);
        await studio.query("INSERT INTO person(name) VALUES ('Barbara')");
        await studio.query('SELECT 1');
        await studio.reload();
        const again = await studio.state();
        assert.match(again.tables, /person/);
        assert.equal(again.sql, 'SELECT 1', 'the script is kept too');
        assert.match((await studio.query('SELECT name FROM person')).grid, /Ada[\s\S]*Barbara/);
      });

      test('a CSV file becomes a table', async () => {
        await studio.choose(files.csv);
        assert.match((await studio.state()).tables, /rivers/);
        const found = await studio.query('SELECT name, km * 2 AS twice, note, typeof(km) AS type FROM rivers ORDER BY km');
        assert.match(found.grid, /Spree[\s\S]*800[\s\S]*says "hi"[\s\S]*integer[\s\S]*Donau[\s\S]*5700[\s\S]*flows, slowly/);
      });

      test('what fails is said: in SQL with its place, and for a file that is no database', async () => {
        const wrong = await studio.query('SELECT 1;\nSELEC 2');
        assert.match(wrong.error, /[Ll]ine 2, column 1[\s\S]*syntax error/);
        await studio.choose(files.foreign);
        const refused = await studio.state();
        assert.match(refused.error, /broken\.db/);
        assert.doesNotMatch(refused.databases, /broken/);
        const fine = await studio.query('SELECT count(*) AS still_here FROM person');
        assert.equal(fine.error, '');
        assert.match(fine.grid, /still_here[\s\S]*4/);
      });

      test('a long query is cancelled', async () => {
        await studio.type('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n');
        await studio.wait(() => !document.querySelector('#cancel').disabled);
        await studio.page.click('#cancel');
        await studio.wait(() => document.documentElement.dataset.running === 'false');
        const { status, error } = await studio.state();
        assert.match(status, /[Cc]ancelled/);
        assert.equal(error, '');
      });

      test('100,000 rows: few are drawn, and the last is there when scrolled to', async () => {
        const found = await studio.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT 'row ' || i AS text FROM n");
        assert.match(found.status, /100.?000 rows/);
        assert.match(found.grid, /row 1\b/);
        assert.ok(found.drawn > 5 && found.drawn < 500, `${found.drawn} rows are drawn`);
        await studio.page.$eval('#grid', (grid) => {
          const scrolled = [grid, ...grid.querySelectorAll('*')].find((each) => each.scrollHeight > each.clientHeight + 1000);
          scrolled.scrollTop = scrolled.scrollHeight;
        });
        await studio.wait(() => document.querySelector('#grid').innerText.includes('row 100000'));
      });

      test('what was written survives a killed browser', async () => {
        const { error } = await studio.query("INSERT INTO person(name) VALUES ('Radia'); SELECT count(*) AS people FROM person");
        assert.equal(error, '');
        await browser.kill();
        await launch();
        assert.match((await studio.query('SELECT name FROM person ORDER BY id')).grid, /Barbara[\s\S]*Radia/);
        assert.match((await studio.query('PRAGMA integrity_check')).grid, /ok/);
      });
    });
  }
}
