/** Where README.md has the benchmarks' tables: between `<!-- <mark>:begin -->` and `<!-- <mark>:end -->`. */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Failure } from '../../scripts/process.mjs';

const README = fileURLToPath(new URL('../../README.md', import.meta.url));

/** Puts the sections there, in place of what there was. @param {string} mark @param {string[]} sections */
export async function updateReadme(mark, sections) {
  const text = await readFile(README, 'utf8');
  const [begin, end] = [`<!-- ${mark}:begin -->\n`, `<!-- ${mark}:end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Failure(`README.md has no marks ${mark}:begin and ${mark}:end for the benchmark`);
  await writeFile(README, `${text.slice(0, from)}${begin}\n${sections.join('\n\n')}\n\n${text.slice(to)}`);
}
