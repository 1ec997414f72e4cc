/**
 * The package as its users get it: packed, installed into a fresh copy of the Vite app in app/, built for production, and
 * driven in each browser with and without the isolation headers. No configuration of the bundler is involved.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { temporaryFolder } from '../e2e/browsers.mjs';
import { BROWSERS, CHECKOUT, MODES, sharedBrowser } from '../e2e/matrix.mjs';
import { Server } from '../e2e/server.mjs';

const LIMIT_MS = 60_000;

let app;

before(() => {
  const folder = temporaryFolder('package');
  run('npm', ['pack', '--pack-destination', folder], CHECKOUT);
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  assert.ok(tarball, 'npm pack made a tarball');
  app = path.join(folder, 'app');
  cpSync(path.join(CHECKOUT, 'tests/package/app'), app, { recursive: true, filter: (source) => !/\/(node_modules|dist)$/.test(source) });
  // No lock file: it would name binaries for every platform, and registries that lack some would refuse it.
  run('npm', ['install', '--no-package-lock', '--no-audit', '--no-fund', '--prefer-offline', path.join(folder, tarball)], app);
  run('npm', ['run', 'build'], app);
});

test('the tarball has what it names, and nothing else', () => {
  const installed = path.join(app, 'node_modules/statik-storage');
  const manifest = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8'));
  const entries = Object.values(manifest.exports).flatMap((entry) => (typeof entry === 'string' ? [entry] : Object.values(entry)));
  for (const entry of entries) assert.ok(readFileSync(path.join(installed, entry)).length > 0, entry);
  const files = readdirSync(installed, { recursive: true, withFileTypes: true }).filter((each) => each.isFile()).map(({ name }) => name);
  for (const name of ['statik_bg.wasm', 'statik.js', 'io.js', 'engine.js', 'LICENSE-MIT', 'LICENSE-APACHE', 'README.md']) assert.ok(files.includes(name), name);
  const strays = files.filter((name) => !/\.(js|d\.ts|wasm|md)$|^LICENSE-|^package\.json$/.test(name) || /test/.test(name));
  assert.deepEqual(strays, []);
  assert.deepEqual(Object.keys(manifest.dependencies ?? {}), [], 'it depends on nothing');
});

test('a consumer compiles against its types, strictly', () => {
  run(path.join(CHECKOUT, 'node_modules/.bin/tsc'), ['--project', app, '--pretty', 'false'], app);
});

for (const browserName of BROWSERS) {
  for (const mode of MODES) {
    describe(`the built app, ${browserName}, ${mode}`, () => {
      let server;
      let browser;
      before(async () => {
        server = await Server.start({ isolated: mode === 'bridge', roots: { '/': path.join(app, 'dist') } });
        browser = await sharedBrowser(browserName);
      });
      after(async () => {
        await server?.close();
      });

      test('writes, and reads it after a reload; workers have the synchronous API', async () => {
        const page = await browser.puppet.newPage();
        await page.goto(`${server.origin}/`);
        for (const visits of ['', '1', '1,2']) {
          await page.waitForFunction(() => document.body.dataset.state, { timeout: LIMIT_MS });
          const found = await page.evaluate(() => ({ ...document.body.dataset }));
          assert.equal(found.state, 'ready', found.failure);
          assert.equal(found.mode, mode);
          assert.equal(found.storage, 'opfs');
          assert.equal(found.visits, visits);
          assert.equal(found.error, 'Conflict SQLITE_CONSTRAINT_NOTNULL');
          assert.deepEqual(JSON.parse(found.alone), { total: 5050, mode });
          if (mode === 'bridge') {
            assert.deepEqual(JSON.parse(found.shared), { total: 55, mode });
            assert.equal(found.sharedRow, '55');
          }
          await page.reload();
        }
      });
    });
  }
}

/** Runs a program, and fails with its output. */
function run(program, args, cwd) {
  try {
    execFileSync(program, args, { cwd, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    throw new Error(`${[program, ...args].join(' ')} failed:\n${error.stdout}${error.stderr}`);
  }
}
