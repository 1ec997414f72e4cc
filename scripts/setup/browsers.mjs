/**
 * Chrome and Firefox with their drivers, and the file that tells wasm-pack's test runner how to start them.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findProgram } from '../browsers.mjs';
import { Failure } from '../process.mjs';
import * as apt from './apt.mjs';
import { setupTool } from './tools.mjs';

/** Quiet, without the traffic that a browser starts by itself, and able to run as root. */
const CHROME_ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** What Debian calls them. */
const PACKAGES = { chrome: 'chromium', chromedriver: 'chromium-driver', firefox: 'firefox-esr' };

/**
 * Makes sure of the browsers, and of their drivers.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} checkout
 * @returns {Promise<NodeJS.ProcessEnv>}
 */
export async function setupBrowsers(env, checkout) {
  const names = /** @type {(keyof typeof PACKAGES)[]} */ (Object.keys(PACKAGES));
  const missing = names.filter((name) => !findProgram(name, env));
  if (missing.length > 0) await apt.install(missing.map((name) => PACKAGES[name]), 'the browsers that the tests run in, about 1 min');
  if (!findProgram('geckodriver', env)) await setupTool('geckodriver', env, checkout);

  const [chrome, firefox, chromedriver, geckodriver] = [found('chrome', env), found('firefox', env), found('chromedriver', env), found('geckodriver', env)];
  describeToRunner(checkout, chrome, firefox);
  return { CHROME_BIN: chrome, FIREFOX_BIN: firefox, CHROMEDRIVER: chromedriver, GECKODRIVER: geckodriver };
}

/**
 * @param {keyof typeof PACKAGES | 'geckodriver'} name
 * @param {NodeJS.ProcessEnv} env
 */
function found(name, env) {
  const program = findProgram(name, env);
  if (!program) throw new Failure(`Missing: ${name}. Install it and put it on the PATH.`);
  return program;
}

/**
 * Writes tests/browser/webdriver.json: wasm-pack's test runner reads it from the folder that it runs in.
 * @param {string} checkout
 * @param {string} chrome
 * @param {string} firefox
 */
function describeToRunner(checkout, chrome, firefox) {
  const file = path.join(checkout, 'tests/browser/webdriver.json');
  const capabilities = {
    'goog:chromeOptions': { binary: chrome, args: CHROME_ARGS },
    'moz:firefoxOptions': { binary: firefox, args: ['-headless'] },
  };
  const text = `${JSON.stringify(capabilities, undefined, 2)}\n`;
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}
