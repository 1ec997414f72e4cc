/**
 * Where this machine's browsers and their drivers are.
 *
 * What tests and benchmarks ask; scripts/setup/browsers.mjs installs what is missing. `CHROME_BIN`, `FIREFOX_BIN`,
 * `CHROMEDRIVER` and `GECKODRIVER` override what is looked for here.
 */

import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { Failure } from './process.mjs';
import { toolsFolder } from './setup/tools.mjs';

/** @typedef {'chrome' | 'firefox'} Browser */

/** Variable, and the names or paths in order of preference. */
const PROGRAMS = {
  chrome: ['CHROME_BIN', 'chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome', '/Applications/Chromium.app/Contents/MacOS/Chromium'],
  firefox: ['FIREFOX_BIN', 'firefox-esr', 'firefox', '/Applications/Firefox.app/Contents/MacOS/firefox'],
  chromedriver: ['CHROMEDRIVER', 'chromedriver'],
  geckodriver: ['GECKODRIVER', 'geckodriver'],
};

/**
 * The path of a browser or driver, or undefined if there is none.
 * @param {keyof typeof PROGRAMS} name
 * @param {NodeJS.ProcessEnv} [env]
 */
export function findProgram(name, env = process.env) {
  const [variable = '', ...names] = PROGRAMS[name];
  const named = env[variable];
  if (named) return named;
  const folders = [path.join(toolsFolder(env), 'bin'), ...(env.PATH ?? '').split(path.delimiter)];
  return names.flatMap((name) => (path.isAbsolute(name) ? [name] : folders.map((folder) => path.join(folder, name)))).find(isProgram);
}

/**
 * The path of a browser.
 * @param {Browser} browser
 */
export function browserPath(browser) {
  const found = findProgram(browser);
  if (!found) throw new Failure(`Missing: ${browser}. Install it, or name its executable in ${PROGRAMS[browser][0]}.`);
  return found;
}

/** @param {string} file */
function isProgram(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    // Not there, or not to be run: the next name may be.
    return false;
  }
}
