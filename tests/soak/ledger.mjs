/**
 * The oracle: knows what was acknowledged, and judges what is found after a kill. Pure.
 *
 * What holds: nothing acknowledged is missing; what is there is a prefix of the transactions in the order of their
 * numbers; each of them is there whole, in both files, with the content that it was given; both files are sound.
 *
 * @typedef {object} Found
 * @property {string[]} integrity of both files
 * @property {number[]} heads of both files: the number of the last transaction
 * @property {[number: number, writer: string, parts: number, good: number][][]} entries of both files by transaction;
 *   `good` are those with the content that they must have
 */
import { KEPT, partsOf } from './transactions.mjs';

const FILES = ['the first file', 'the second file'];

export class Ledger {
  /** Who committed what. @type {Map<number, string>} */
  #writers = new Map();
  #last = 0;
  #problems = [];

  /** The newest transaction that must never be missing again. */
  get last() {
    return this.#last;
  }

  /** @param {string} writer @param {number} number */
  acknowledge(writer, number) {
    const other = this.#writers.get(number);
    if (other !== undefined) this.#problems.push(`transaction ${number} was acknowledged to ${other}, and then to ${writer}`);
    this.#writers.set(number, writer);
    this.#last = Math.max(this.#last, number);
  }

  /** What is wrong with it: nothing, if all is well. @param {Found} found @returns {string[]} */
  judge({ integrity, heads, entries }) {
    const [head] = heads;
    const problems = [...this.#problems];
    integrity.forEach((answer, file) => {
      if (answer !== 'ok') problems.push(`${FILES[file]} is damaged: ${answer}`);
    });
    if (heads[0] !== heads[1]) problems.push(`the files end with transactions ${heads.join(' and ')}`);
    if (head < this.#last) problems.push(`transaction ${this.#last} was acknowledged, and the last that is there is ${head}`);
    entries.forEach((found, file) => problems.push(...this.#judgeEntries(found, head).map((problem) => `${FILES[file]}: ${problem}`)));
    // What has been seen after a kill must not go away with the next one.
    this.#last = Math.max(this.#last, head);
    return problems;
  }

  #judgeEntries(entries, head) {
    const problems = [];
    const first = Math.max(1, head - KEPT + 1);
    const missing = new Set(Array.from({ length: head - first + 1 }, (_, i) => first + i));
    for (const [number, writer, parts, good] of entries) {
      if (!missing.delete(number)) problems.push(`transaction ${number} is there, which is not one of ${first} to ${head}, or is there by two writers`);
      if (parts !== partsOf(number)) problems.push(`transaction ${number} has ${parts} of its ${partsOf(number)} entries`);
      if (good !== parts) problems.push(`transaction ${number} has ${parts - good} entries with another content`);
      const acknowledged = this.#writers.get(number);
      if (acknowledged !== undefined && acknowledged !== writer) problems.push(`transaction ${number} is by ${writer}, and was acknowledged to ${acknowledged}`);
    }
    for (const number of missing) problems.push(`transaction ${number} is missing${this.#writers.has(number) ? ', and was acknowledged' : ''}`);
    return problems;
  }
}
