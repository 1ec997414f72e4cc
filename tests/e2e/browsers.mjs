/**
 * Browsers for tests: launched with a profile that survives them, killed as a power cut would.
 *
 * Invariants: whatever was launched here is gone when this process ends, and so are the profiles made here. Which
 * executables they are is scripts/browsers.mjs's to say.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import { browserPath } from '../../scripts/browsers.mjs';

/** How long the browser may take for one command before the test fails. */
const COMMAND_LIMIT_MS = 150_000;

const CHROME_ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
];

/** What a test does not want a fresh Firefox to fetch, show or ask. */
const FIREFOX_PREFERENCES = {
  'dom.storageManager.prompt.testing': true,
  'dom.storageManager.prompt.testing.allow': true,
  'app.update.disabledForTesting': true,
  'browser.aboutwelcome.enabled': false,
  'browser.safebrowsing.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,#remote-settings-dummy/v1',
};

/** Process groups to end, and folders to remove, when this process does. @type {Set<number>} */
const groups = new Set();
const folders = new Set();

process.once('exit', () => {
  for (const group of groups) signal(group, 'SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
});
for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.once(name, () => process.exit(1));

/** A folder that is gone when the tests are. @param {string} purpose */
export function temporaryFolder(purpose) {
  const folder = mkdtempSync(path.join(tmpdir(), `statik-${purpose}-`));
  folders.add(folder);
  return folder;
}

export class Browser {
  /** @type {'chrome' | 'firefox'} */
  name;
  /** @type {import('puppeteer-core').Browser} */
  puppet;
  #group;

  /**
   * @param {'chrome' | 'firefox'} name
   * @param {{ profile?: string, preferences?: Record<string, unknown> }} [options] `preferences` are Firefox's
   */
  static async launch(name, { profile = temporaryFolder('profile'), preferences = {} } = {}) {
    const browser = new Browser();
    browser.name = name;
    browser.puppet = await puppeteer.launch({
      browser: name,
      executablePath: browserPath(name),
      headless: true,
      userDataDir: profile,
      protocolTimeout: COMMAND_LIMIT_MS,
      args: name === 'chrome' ? CHROME_ARGUMENTS : [],
      ...(name === 'firefox' && { extraPrefsFirefox: { ...FIREFOX_PREFERENCES, ...preferences } }),
    });
    browser.#group = browser.puppet.process().pid;
    groups.add(browser.#group);
    return browser;
  }

  /** Ends all its processes at once; nothing of it gets to run again. */
  async kill() {
    signal(this.#group, 'SIGKILL');
    await until(() => !signal(this.#group, 0), 10_000, 'the processes of the killed browser are gone');
    groups.delete(this.#group);
    await this.puppet.disconnect().catch(() => {
      // There is nobody left to say goodbye to.
    });
  }

  /** Ends it as a person would. */
  async close() {
    if (!groups.has(this.#group)) return;
    await this.puppet.close();
    signal(this.#group, 'SIGKILL');
    groups.delete(this.#group);
  }
}

/** Polls a condition that has no event. @param {() => boolean | Promise<boolean>} condition */
export async function until(condition, limitMs, what) {
  const end = Date.now() + limitMs;
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Signals a process group; false if it has no processes. */
function signal(group, name) {
  try {
    return process.kill(-group, name);
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    throw error;
  }
}
