/** The left side: databases, and the open one's tables with their columns. It draws and asks; the studio acts. */
import type { DatabaseInfo } from 'statik-storage';
import { byId, element, icon } from './dom.js';
import { bytes } from './format.js';
import type { Table } from './schema.js';

export interface SidebarActions {
  open: (name: string) => void;
  rename: (name: string) => void;
  export: (name: string) => void;
  delete: (name: string) => void;
  peek: (table: Table) => void;
}

export class Sidebar {
  readonly #actions: SidebarActions;
  readonly #databases = byId('databases', HTMLElement);
  readonly #tables = byId('tables', HTMLElement);

  constructor(actions: SidebarActions) {
    this.#actions = actions;
  }

  showDatabases(databases: readonly DatabaseInfo[], current: string | undefined): void {
    this.#databases.replaceChildren(...databases.map(({ name, sizeBytes }) => {
      const open = element('button', { type: 'button', class: 'database', title: `${name}, ${bytes(sizeBytes)}`, 'aria-current': name === current ? 'true' : undefined, onclick: () => this.#actions.open(name) },
        icon('database'), element('span', { class: 'name' }, name), element('span', { class: 'size' }, bytes(sizeBytes)));
      return element('li', { 'data-database': name, class: name === current ? 'current' : '' }, open, this.#tools(name));
    }));
    byId('no-databases', HTMLElement).hidden = databases.length > 0;
  }

  #tools(name: string): HTMLElement {
    const tool = (action: 'rename' | 'export' | 'delete', label: string): HTMLElement => element(
      'button', { type: 'button', class: 'tool', 'data-action': action, title: label, 'aria-label': `${label} ${name}`, onclick: () => this.#actions[action](name) },
      icon(action),
    );
    return element('div', { class: 'tools' }, tool('rename', 'Rename'), tool('export', 'Export'), tool('delete', 'Delete'));
  }

  showTables(tables: readonly Table[]): void {
    // What was unfolded stays so when the tables are read again; a lone table unfolds by itself.
    const unfolded = new Set(Array.from(this.#tables.querySelectorAll<HTMLElement>('details[open]'), ({ dataset }) => dataset['table']));
    this.#tables.replaceChildren(...tables.map((table) => {
      const name = element('summary', {}, icon(table.type === 'table' ? 'table' : table.type), element('span', { class: 'name' }, table.name),
        element('span', { class: 'size' }, table.type === 'table' ? '' : table.type));
      const details = element('details', { 'data-table': table.name, open: unfolded.has(table.name) || tables.length === 1 }, name, columnList(table));
      const peek = element('button', { type: 'button', class: 'tool peek', title: 'Show rows', 'aria-label': `Show rows of ${table.name}`, 'data-action': 'peek', onclick: () => this.#actions.peek(table) }, icon('rows'));
      return element('li', {}, details, peek);
    }));
  }
}

function columnList({ columns, problem }: Table): HTMLElement {
  if (problem !== undefined) return element('p', { class: 'problem' }, problem);
  return element('ul', { class: 'columns' }, ...columns.map(({ name, type, key, notNull }) => element(
    'li', { title: `${name} ${type}${key ? ', primary key' : ''}${notNull ? ', not null' : ''}` },
    key ? icon('key') : element('span', { class: 'no-icon' }), element('span', { class: 'name' }, name), element('span', { class: 'type' }, type.toLowerCase()),
  )));
}
