/** What the benchmarks' command lines have in common. */
import { Failure } from '../../scripts/process.mjs';

export const BROWSERS = ['chrome', 'firefox'];

const list = (text) => text?.split(',').map((name) => name.trim()).filter(Boolean);

/** The names after `--<option>`, or all there are. @param {string[]} known @param {string} option @param {string | undefined} text */
export function chooseFrom(known, option, text) {
  const names = list(text) ?? known;
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Failure(`--${option}: nothing is called ${unknown.join(', ')}; there are ${known.join(', ')}`);
  return names;
}
