/** The left side of the Databases page: databases and their stores, with what they hold and take. */
import type { Databases, DatabaseUsage } from 'statik-storage/databases';
import { byId, element, icon } from '../dom.js';
import { bytes, count } from '../format.js';
import { SHELVES, type Shelf } from './shelves.js';

interface Row {
  button: HTMLButtonElement;
  size: HTMLElement;
}

/** The elements are made once, and changed in place: whoever has the focus keeps it. */
export class StoresList {
  readonly #rows = new Map<Shelf, Row>();
  readonly #sizes = new Map<string, HTMLElement>();
  /** The measurement that runs, after which another one may be wanted. */
  #measuring: Promise<void> | undefined;
  #isStale = false;

  constructor(onChosen: (shelf: Shelf) => void) {
    for (const shelf of SHELVES) {
      const size = element('span', { class: 'size' });
      const button = element('button', { type: 'button', class: 'store', 'data-store': shelf.store, onclick: () => onChosen(shelf) }, icon('table'), element('span', { class: 'name' }, shelf.store), size);
      this.#rows.set(shelf, { button, size });
    }
    const names = [...new Set(SHELVES.map(({ database }) => database))];
    byId('stores', HTMLElement).replaceChildren(...names.map((name) => this.#database(name)));
  }

  mark(chosen: Shelf): void {
    for (const [shelf, { button }] of this.#rows) {
      if (shelf === chosen) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
    }
  }

  /** Measures all; once more, if it was asked to while it did. */
  measure(databases: Databases): Promise<void> {
    this.#isStale = true;
    this.#measuring ??= this.#measureAll(databases).finally(() => {
      this.#measuring = undefined;
    });
    return this.#measuring;
  }

  async #measureAll(databases: Databases): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      const [usage, status] = await Promise.all([databases.getStorageUsage(), databases.status()]);
      const kind = byId('storage-kind', HTMLElement);
      kind.textContent = status.storage === 'memory' ? 'in memory' : 'IndexedDB';
      kind.dataset['storage'] = status.storage;
      for (const database of usage.databases) this.#show(database, status.databases.find(({ name }) => name === database.name)?.version ?? 0);
    }
  }

  #show({ name, records, bytes: total, stores }: DatabaseUsage, version: number): void {
    const size = this.#sizes.get(name);
    if (size) {
      size.textContent = `v${version} · ${bytes(total)}`;
      size.title = `${count(records, 'record')}, schema version ${version}`;
    }
    for (const [{ database, store }, { size }] of this.#rows) {
      if (database !== name) continue;
      // A schema of an earlier version may not have it.
      const { records, bytes: taken } = stores[store] ?? { records: 0, bytes: 0 };
      size.textContent = records === 0 ? '0' : `${records.toLocaleString()} · ${bytes(taken)}`;
      size.dataset['records'] = String(records);
    }
  }

  #database(name: string): HTMLElement {
    const size = element('span', { class: 'size' });
    this.#sizes.set(name, size);
    const stores = [...this.#rows].filter(([{ database }]) => database === name).map(([, { button }]) => element('li', {}, button));
    return element('li', { 'data-database': name }, element('div', { class: 'store-database' }, icon('database'), element('span', { class: 'name' }, name), size), element('ul', {}, ...stores));
  }
}
