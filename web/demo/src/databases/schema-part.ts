/** Each database's schema: its version and history, whether it is what the app expects, and the way to another version. */
import { confirmed } from '../dialogs.js';
import { byId, element } from '../dom.js';
import { count, moment } from '../format.js';
import { brief } from './value.js';
import type { Part, Workspace } from './workspace.js';
import type { DatabasesStatus, Difference } from 'statik-storage/databases';

type Schema = DatabasesStatus['databases'][number];

export class SchemaPart implements Part {
  readonly #workspace: Workspace;

  constructor(workspace: Workspace) {
    this.#workspace = workspace;
  }

  async draw(): Promise<void> {
    const { databases } = this.#workspace;
    const status = await databases.status();
    const cards = await Promise.all(status.databases.map(async (schema) => this.#card(schema, await databases.validateSchema(schema.name))));
    byId('part-schema', HTMLElement).replaceChildren(...cards);
  }

  #card(schema: Schema, differences: readonly Difference[]): HTMLElement {
    const { name, version, generation, history } = schema;
    const rows = history.map(({ version, name, direction, appliedMs, checksum }) => element('tr', {},
      element('th', { scope: 'row' }, `${direction === 'up' ? '▲ to' : '▼ from'} ${version}`),
      ...[name, moment(appliedMs)].map((text) => element('td', {}, text)), element('td', { title: checksum, class: 'checksum' }, checksum.slice(0, 16))));
    const head = element('tr', {}, ...['Step', 'Migration', 'When', 'Checksum'].map((title) => element('th', { scope: 'col' }, title)));
    return element('article', { class: 'card', 'data-database': name },
      element('h3', {}, name),
      element('p', {}, `Schema version ${version}; ${generation === 1 ? 'never replaced' : `replaced ${count(generation - 1, 'time')}`} by a restored or compacted one.`),
      this.#verdict(differences),
      element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Migrations of ${name}` }, element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows))),
      this.#control(schema));
  }

  #verdict(differences: readonly Difference[]): HTMLElement {
    if (differences.length === 0) return element('p', { class: 'verdict sound' }, 'It is as this app expects.');
    const list = differences.map(({ path, expected, found }) => element('li', {}, `${path}: expected ${brief(expected)}, found ${brief(found)}`));
    return element('div', { class: 'verdict' }, element('p', {}, `It differs from what this app expects in ${count(differences.length, 'place')}:`), element('ul', {}, ...list));
  }

  #control({ name, version, history }: Schema): HTMLElement {
    // All versions were applied when the database was made.
    const newest = Math.max(0, ...history.map(({ version }) => version));
    const select = element('select', { 'aria-label': `Version of ${name}`, 'data-testid': 'version' });
    for (let each = newest; each >= 0; each -= 1) select.append(element('option', { value: each, selected: each === version }, each === 0 ? '0 (no stores)' : String(each)));
    const button = element('button', { type: 'button', 'data-testid': 'migrate', onclick: () => void this.#migrate(name, version, Number(select.value)) }, 'Migrate');
    return element('div', { class: 'buttons' }, element('span', {}, 'To version'), select, button);
  }

  async #migrate(name: string, from: number, to: number): Promise<void> {
    if (to < from) {
      const text = to === 0 ? 'Version 0 has no stores: all records of this database are deleted.' : 'Records stay, without what later versions have added. This page cannot query what is not there at that version.';
      if (!await confirmed(`Roll ${name} back to version ${to}?`, `${text} Opening the page anew brings the newest version back.`, 'Roll back')) return;
    } else if (!await confirmed(`Migrate ${name} to version ${to}?`, 'Other tabs let go of the database meanwhile, and open it again.', 'Migrate')) return;
    await this.#workspace.act(`Migrating ${name}`, async () => {
      const { from, to: reached, applied } = await this.#workspace.databases.migrateTo(name, to);
      return `${name} is at version ${reached}, from ${from}: ${count(applied.length, 'step')}`;
    });
  }
}
