/**
 * The studio: one open database, a script that runs on it, and what a person does with databases.
 *
 * Invariants: actions on databases run one after another, and none while a script runs: an action stops it first. What
 * fails is shown, and leaves the studio usable. What it remembers of a visit (the last database, the script of each)
 * lies in localStorage; what people bring lies in Statik.
 */
import type { Database, Statik } from 'statik-storage';
import { importCsv, tableName } from './csv-import.js';
import { ask, confirmed } from './dialogs.js';
import { byId, element } from './dom.js';
import { Editor } from './editor.js';
import { databaseName, freeName, kindOfFile } from './files.js';
import { count, isAbort } from './format.js';
import { clearProblem, showProblem } from './problem.js';
import { Results } from './results.js';
import { readExamples, readTables, type Example, type Table } from './schema.js';
import { Sidebar } from './sidebar.js';
import { identifier } from './sql.js';
import { StoragePanel } from './storage.js';
import { download, Transfers } from './transfers.js';
import { showTitle } from './views.js';

const LAST = 'studio.database';
const scriptKey = (name: string): string => `studio.sql.${name}`;

export class Studio {
  readonly #statik: Statik;
  readonly #results = new Results();
  readonly #editor: Editor;
  readonly #sidebar: Sidebar;
  readonly #storage: StoragePanel;
  readonly #transfers = new Transfers(byId('transfers', HTMLElement));
  readonly #onOpened: () => void;
  #db: Database | undefined;
  #examples: readonly Example[] = [];
  /** The last action on databases, after which the next begins. */
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** @param onOpened called when a database was opened, so that a drawer over it can close */
  constructor(statik: Statik, onOpened: () => void) {
    this.#statik = statik;
    this.#onOpened = onOpened;
    this.#editor = new Editor(byId('sql', HTMLTextAreaElement), byId('colours', HTMLElement), {
      onRun: () => void this.run(),
      onChange: (sql) => this.#db && localStorage.setItem(scriptKey(this.#db.name), sql),
    });
    this.#sidebar = new Sidebar({
      open: (name) => void this.#act(`Opening ${name}`, () => this.#open(name)),
      rename: (name) => void this.#rename(name),
      export: (name) => void this.#export(name),
      delete: (name) => void this.#delete(name),
      peek: (table) => this.#peek(table),
    });
    this.#storage = new StoragePanel(statik, () => this.#db);
    byId('run', HTMLButtonElement).addEventListener('click', () => void this.run());
    byId('new', HTMLButtonElement).addEventListener('click', () => void this.#create());
    byId('examples', HTMLSelectElement).addEventListener('change', (event) => this.#example(event.target as HTMLSelectElement));
  }

  /** Opens what was open at the last visit, or else the first database there is. */
  start(): Promise<void> {
    return this.#act('Opening the last database', async () => {
      const names = (await this.#statik.sqlite.list()).map(({ name }) => name);
      const last = localStorage.getItem(LAST);
      const name = last !== null && names.includes(last) ? last : names[0];
      if (name === undefined) this.#results.say('No database yet');
      else await this.#open(name);
    });
  }

  /** Imports files: a database becomes a database, CSV a table of the open one, or of a new one if none is open. */
  accept(files: readonly File[]): Promise<void> {
    return this.#each(files, (file) => this.#act(`Importing ${file.name}`, async () => {
      if (await kindOfFile(file) === 'csv') await this.#importCsv(file);
      else await this.#importDatabase(file, file.name);
    }));
  }

  /** Fetches a database of this site's own. */
  addSample(url: string): Promise<void> {
    return this.#act('Adding the sample', () => this.#transfers.run('Fetching the sample', 'Done', async ({ signal, onProgress }) => {
      const response = await fetch(url, { signal });
      if (!response.ok || !response.body) throw new Error(`The server answered ${response.status} for ${url}`);
      const size = Number(response.headers.get('content-length'));
      let doneBytes = 0;
      const watch = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          onProgress({ doneBytes: (doneBytes += chunk.length), ...(size > 0 && { totalBytes: size }) });
          controller.enqueue(chunk);
        },
      });
      const name = await this.#freeName('sample.db');
      await this.#statik.sqlite.import(name, response.body.pipeThrough(watch), { signal });
      await this.#open(name);
      this.#results.say('The sample is yours: choose an example, or write a query');
    }));
  }

  /** Runs the script, or what is selected of it. */
  async run(): Promise<void> {
    if (!this.#db || this.#waiting > 0 || this.#results.running) return;
    clearProblem();
    const { sql, start } = this.#editor.script();
    const outcome = await this.#results.run(this.#db, sql);
    if ('failure' in outcome) {
      const range = { start: start + outcome.range.start, end: start + outcome.range.end };
      const { line, column } = this.#editor.position(range.start);
      this.#editor.mark(range);
      showProblem(`Line ${line}, column ${column}`, outcome.failure);
    }
    // A script that failed may have changed something before.
    if (outcome.wrote) await this.#refresh().catch((error: unknown) => showProblem('Reading the tables', error));
  }

  /** Runs an action on databases when those before it have ended and the script was stopped. */
  #act(title: string, action: () => Promise<void>): Promise<void> {
    this.#waiting += 1;
    this.#showBusy();
    const result = this.#last.then(async () => {
      clearProblem();
      await this.#results.stop();
      this.#results.say(`${title} …`);
      try {
        await action();
      } catch (error) {
        if (isAbort(error)) this.#results.say(`${title}: cancelled, nothing was changed`);
        else {
          this.#results.say(`${title} failed`);
          showProblem(`${title} failed`, error);
        }
      }
      try {
        await this.#refresh();
      } catch (error) {
        showProblem('Reading the tables', error);
      }
      this.#waiting -= 1;
      this.#showBusy();
    });
    this.#last = result;
    return result;
  }

  async #each(files: readonly File[], action: (file: File) => Promise<void>): Promise<void> {
    for (const file of files) await action(file);
  }

  #showBusy(): void {
    const busy = this.#waiting > 0;
    document.documentElement.dataset['busy'] = String(busy);
    byId('side', HTMLElement).inert = busy;
    byId('run', HTMLButtonElement).disabled = busy || !this.#db;
  }

  async #open(name: string, create = false): Promise<void> {
    await this.#close();
    this.#db = await this.#statik.sqlite.open(name, { mustExist: !create });
    localStorage.setItem(LAST, name);
    this.#results.clear(`Opened ${name}`);
    const tables = await readTables(this.#db);
    this.#examples = await readExamples(this.#db, tables);
    const [first] = tables;
    const suggested = this.#examples[0]?.sql ?? (first ? peekSql(first) : 'CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT);');
    this.#editor.text = localStorage.getItem(scriptKey(name)) ?? suggested;
    this.#onOpened();
  }

  async #close(): Promise<void> {
    const db = this.#db;
    this.#db = undefined;
    this.#examples = [];
    await db?.close();
  }

  async #importDatabase(file: Blob, fileName: string): Promise<void> {
    const name = await this.#freeName(databaseName(fileName));
    await this.#transfers.run(`Importing ${fileName}`, 'Checking …', (transfer) => this.#statik.sqlite.import(name, file, transfer));
    await this.#open(name);
    this.#results.say(name === fileName ? `Imported ${name}` : `Imported ${fileName} as ${name}`);
  }

  async #importCsv(file: File): Promise<void> {
    const created = this.#db ? undefined : await this.#freeName(databaseName(file.name));
    if (created !== undefined) await this.#open(created, true);
    const db = this.#db;
    if (!db) return;
    try {
      const { table, rows } = await this.#transfers.run(`Importing ${file.name}`, 'Committing …', (transfer) => importCsv(db, file, tableName(file.name), transfer));
      this.#editor.replace(`SELECT * FROM ${identifier(table)} LIMIT 1000;`);
      this.#results.say(`Imported ${count(rows, 'row')} into ${table}`);
    } catch (error) {
      if (created !== undefined) await this.#discard(created);
      throw error;
    }
  }

  /** Where a script is stored before its first keystroke there is nothing to remove: localStorage takes that well. */
  async #discard(name: string): Promise<void> {
    if (this.#db?.name === name) await this.#close();
    await this.#statik.sqlite.delete(name);
    localStorage.removeItem(scriptKey(name));
    if (localStorage.getItem(LAST) === name) localStorage.removeItem(LAST);
  }

  async #create(): Promise<void> {
    const answer = await ask('New database', 'Name', 'untitled.db', 'Create');
    if (answer === undefined) return;
    await this.#act(`Creating ${answer}`, async () => this.#open(await this.#freeName(databaseName(answer)), true));
  }

  async #rename(from: string): Promise<void> {
    const answer = await ask(`Rename ${from}`, 'Name', from, 'Rename');
    if (answer === undefined || answer === from) return;
    await this.#act(`Renaming ${from}`, async () => {
      const to = databaseName(answer);
      const wasOpen = this.#db?.name === from;
      if (wasOpen) await this.#close();
      try {
        await this.#statik.sqlite.rename(from, to);
      } catch (error) {
        if (wasOpen) await this.#open(from);
        throw error;
      }
      const script = localStorage.getItem(scriptKey(from));
      if (script !== null) localStorage.setItem(scriptKey(to), script);
      localStorage.removeItem(scriptKey(from));
      if (wasOpen) await this.#open(to);
    });
  }

  async #delete(name: string): Promise<void> {
    const sure = await confirmed(`Delete ${name}?`, 'Its tables and rows are gone then; there is no undo. Export it first if you may want it again.', 'Delete');
    if (!sure) return;
    await this.#act(`Deleting ${name}`, async () => {
      const wasOpen = this.#db?.name === name;
      await this.#discard(name);
      const [next] = wasOpen ? await this.#statik.sqlite.list() : [];
      if (next) await this.#open(next.name);
      this.#results.say(`Deleted ${name}`);
    });
  }

  async #export(name: string): Promise<void> {
    await this.#act(`Exporting ${name}`, () => this.#transfers.run(`Exporting ${name}`, 'Done', async (transfer) => {
      const stream = await this.#statik.sqlite.export(name, transfer);
      // A Blob may lie on disk: the browser moves it there when it is large.
      const content = await new Response(stream, { headers: { 'content-type': 'application/vnd.sqlite3' } }).blob();
      download(name, content);
      this.#results.say(`Exported ${name}`);
    }));
  }

  #peek(table: Table): void {
    this.#editor.replace(peekSql(table));
    this.#onOpened();
    void this.run();
  }

  #example(select: HTMLSelectElement): void {
    const example = this.#examples[Number(select.value)];
    select.value = '';
    if (!example) return;
    this.#editor.replace(example.sql);
    void this.run();
  }

  async #freeName(wanted: string): Promise<string> {
    return freeName(wanted, new Set((await this.#statik.sqlite.list()).map(({ name }) => name)));
  }

  /** Reads again what may have changed: the databases, the tables, the storage used. */
  async #refresh(): Promise<void> {
    const name = this.#db?.name;
    this.#sidebar.showDatabases(await this.#statik.sqlite.list(), name);
    this.#sidebar.showTables(this.#db ? await readTables(this.#db) : []);
    document.documentElement.dataset['database'] = name ?? '';
    showTitle();
    byId('current', HTMLElement).textContent = name ?? '';
    byId('welcome', HTMLElement).hidden = name !== undefined;
    byId('workbench', HTMLElement).hidden = name === undefined;
    const select = byId('examples', HTMLSelectElement);
    select.hidden = this.#examples.length === 0;
    select.replaceChildren(element('option', { value: '' }, 'Examples'), ...this.#examples.map(({ title }, index) => element('option', { value: index }, title)));
    await this.#storage.refresh();
  }
}

function peekSql({ name }: Table): string {
  return `SELECT * FROM ${identifier(name)} LIMIT 1000;`;
}
