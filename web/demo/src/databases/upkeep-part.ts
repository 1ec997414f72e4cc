/** Sample data, compacting, and what becomes of old log entries. */
import { confirmed } from '../dialogs.js';
import { byId, element } from '../dom.js';
import { filledIn, labelled, type Field } from '../fields.js';
import { bytes, count } from '../format.js';
import { makeSamples } from './samples.js';
import { SHELVES } from './shelves.js';
import type { Part, Workspace } from './workspace.js';
import type { LogRetention } from 'statik-storage/databases';

const DAY_MS = 86_400_000;
const RETENTION: readonly Field[] = [
  { name: 'days', label: 'Older than so many days', kind: 'number', min: 0, step: 'any', value: '30' },
  { name: 'most', label: 'More than so many of a store', kind: 'number', min: 0, step: 1 },
];

export class UpkeepPart implements Part {
  readonly #workspace: Workspace;

  constructor(workspace: Workspace) {
    this.#workspace = workspace;
    byId('make-samples', HTMLButtonElement).addEventListener('click', () => void this.#makeSamples());
    byId('part-upkeep', HTMLElement).replaceChildren(this.#samples(), this.#vacuum(), this.#retention());
  }

  /** There is nothing in it that changes by itself. */
  draw(): void {}

  #samples(): HTMLElement {
    return element('article', { class: 'card' },
      element('h3', {}, 'Sample data'),
      element('p', {}, 'Ten thousand episodes of the last ninety days, with a few concepts, skills, states and log entries.'),
      element('div', { class: 'buttons' }, element('button', { type: 'button', 'data-testid': 'samples', onclick: () => void this.#makeSamples() }, 'Make sample data')));
  }

  async #makeSamples(): Promise<void> {
    await this.#workspace.act('Making sample data', async () => {
      const { databases, transfers } = this.#workspace;
      return `Added ${count(await transfers.run('Making sample data', 'The rest …', (transfer) => makeSamples(databases, transfer)), 'episode')}`;
    });
  }

  #vacuum(): HTMLElement {
    const names = [...new Set(SHELVES.map(({ database }) => database))];
    const report = element('p', { class: 'quiet', role: 'status', 'data-testid': 'vacuum-report' });
    const buttons = names.map((name) => element('button', { type: 'button', 'data-vacuum': name, onclick: () => void this.#vacuumOne(name, report) }, name));
    return element('article', { class: 'card' },
      element('h3', {}, 'Compact'),
      element('p', {}, 'IndexedDB cannot be compacted in place: all records are copied into a new database, which then takes the old one’s place.'),
      element('div', { class: 'buttons' }, ...buttons), report);
  }

  async #vacuumOne(name: string, report: HTMLElement): Promise<void> {
    await this.#workspace.act(`Compacting ${name}`, async () => {
      const { databases, transfers } = this.#workspace;
      const { records, generation, beforeBytes, afterBytes } = await transfers.run(`Compacting ${name}`, '', ({ onRecords }) => databases.vacuumDatabase(name, { onProgress: onRecords }));
      const room = beforeBytes === undefined || afterBytes === undefined ? 'The browser does not tell what this has freed.'
        : `This site took ${bytes(beforeBytes)} before and ${bytes(afterBytes)} after, as the browser estimates; it may give room back later.`;
      report.textContent = `${name}: ${count(records, 'record')} copied, generation ${generation}. ${room}`;
      return `Compacted ${name}`;
    });
  }

  #retention(): HTMLElement {
    const form = element('form', { class: 'inline-form' }, ...labelled(RETENTION), element('div', { class: 'buttons' }, element('button', { 'data-testid': 'prune' }, 'Delete those')));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#prune(form);
    });
    return element('article', { class: 'card' }, element('h3', {}, 'Old log entries'), element('p', {}, 'Entries of all three logs that are:'), form);
  }

  async #prune(form: HTMLFormElement): Promise<void> {
    const { days, most } = filledIn(form, RETENTION) as { days?: number; most?: number };
    const retention: LogRetention = { ...(days !== undefined && { maxAgeMs: days * DAY_MS }), ...(most !== undefined && { maxCount: most }) };
    if (!await confirmed('Delete old log entries?', 'There is no undo.', 'Delete')) return;
    await this.#workspace.act('Deleting log entries', async () => {
      const deleted = await this.#workspace.databases.logs.pruneLogs(retention);
      return `Deleted ${Object.entries(deleted).map(([store, number]) => `${number.toLocaleString()} of ${store}`).join(', ')}`;
    });
  }
}
