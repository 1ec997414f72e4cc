/**
 * The Databases page: opens the three databases when it is first shown, and connects its parts.
 *
 * `#databases-view[data-state]` is `closed`, `opening`, then `ready` or `failed`; `data-busy` says whether something is
 * being done. Invariants: actions run one after another; what fails is shown, and leaves the page usable; what happens to
 * the databases by itself is among the events, and that they are in memory in a banner, too.
 */
import { initializeDatabases, StatikError, type Databases } from 'statik-storage/databases';
import { byId, element } from '../dom.js';
import { explanation, isAbort } from '../format.js';
import { clearProblem, showProblem } from '../problem.js';
import { Transfers } from '../transfers.js';
import { BackupPart } from './backup-part.js';
import { askPassphrase, EncryptionPart } from './encryption-part.js';
import { EventLog, type DatabaseEvent } from './events.js';
import { PartTabs } from './part-tabs.js';
import { RecordsPart } from './records-part.js';
import { Room, THRESHOLDS } from './room.js';
import { SchemaPart } from './schema-part.js';
import { SHELVES, type Shelf } from './shelves.js';
import { StoresList } from './stores-list.js';
import { UpkeepPart } from './upkeep-part.js';
import type { Part, Workspace } from './workspace.js';

/** Set where records are sealed, so that the passphrase is asked for. */
const SEALED = 'studio.databases.sealed';

const TABS = ['records', 'schema', 'backup', 'upkeep', 'encryption', 'events'] as const;
type Tab = (typeof TABS)[number];

export class DatabasesPage implements Workspace {
  readonly transfers = new Transfers(byId('transfers', HTMLElement));
  readonly #view = byId('databases-view', HTMLElement);
  readonly #onChosen: () => void;
  readonly #list = new StoresList((shelf) => this.#choose(shelf));
  readonly #tabs = new PartTabs<Tab>(TABS, () => void this.#draw());
  readonly #events = new EventLog(this.#tabs.tab('events'));
  readonly #room = new Room(this);
  readonly #records = new RecordsPart(this, SHELVES[0]!);
  readonly #backup = new BackupPart(this);
  readonly #parts: Record<Tab, Part> = {
    records: this.#records,
    schema: new SchemaPart(this),
    backup: this.#backup,
    upkeep: new UpkeepPart(this),
    encryption: new EncryptionPart(this, (passphrase) => this.#reopen(passphrase)),
    events: { draw: () => this.#events.seen() },
  };
  #databases: Databases | undefined;
  #passphrase: string | undefined;
  /** The last action, after which the next begins. */
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** How many times a part is being drawn. */
  #drawing = 0;

  /** @param onChosen called when a store was chosen, so that a drawer over it can close */
  constructor(onChosen: () => void) {
    this.#onChosen = onChosen;
  }

  get databases(): Databases {
    if (!this.#databases) throw new Error('The databases are not open');
    return this.#databases;
  }

  /** Opens the databases; where records are sealed, with the passphrase that the person gives. */
  async start(): Promise<void> {
    this.#view.dataset['state'] = 'opening';
    byId('databases-failure', HTMLElement).hidden = true;
    try {
      const isSealed = localStorage.getItem(SEALED) !== null;
      this.#passphrase = isSealed ? await askPassphrase('Open the databases') : undefined;
      await this.#open();
    } catch (error) {
      this.#fail(error);
      return;
    }
    byId('databases-parts', HTMLElement).hidden = false;
    this.#list.mark(this.#records.shelf);
    this.#view.dataset['state'] = 'ready';
    await this.#refresh();
  }

  /** A file that was dropped on the page is a backup to restore. */
  async accept(files: readonly File[]): Promise<void> {
    const [file] = files;
    if (!file) return;
    if (this.#view.dataset['state'] !== 'ready') return showProblem(`Restoring ${file.name}`, new Error('the databases are not open'));
    this.#tabs.show('backup');
    await this.#backup.restore(async () => file, file.name);
  }

  act(title: string, action: () => Promise<string>, redraws = true): Promise<void> {
    this.#waiting += 1;
    this.#view.dataset['busy'] = 'true';
    const result = this.#last.then(async () => {
      clearProblem();
      this.#say(`${title} …`);
      try {
        this.#say(await action());
      } catch (error) {
        if (isAbort(error)) this.#say(`${title}: cancelled`);
        else {
          this.#say(`${title} failed`);
          showProblem(`${title} failed`, error);
        }
      }
      await this.#refresh(redraws);
      this.#waiting -= 1;
      this.#view.dataset['busy'] = String(this.#waiting > 0);
    });
    this.#last = result;
    return result;
  }

  async #open(): Promise<void> {
    const passphrase = this.#passphrase;
    const opened = await initializeDatabases({
      onEvent: (event) => this.#hear(event),
      quota: { thresholds: THRESHOLDS },
      ...(passphrase !== undefined && { encryption: { passphrase } }),
    });
    this.#databases = opened;
    const { storage, reason } = await opened.status();
    const banner = byId('memory-banner', HTMLElement);
    banner.replaceChildren(element('strong', {}, 'In memory only. '), `Nothing survives this tab: ${reason ?? 'IndexedDB cannot be used'}`);
    banner.hidden = storage !== 'memory';
  }

  /** With another passphrase, or, if that is wrong, as before. */
  async #reopen(passphrase: string | undefined): Promise<void> {
    const before = this.#passphrase;
    await this.#databases?.close();
    this.#passphrase = passphrase;
    try {
      await this.#open();
      if (passphrase !== undefined) localStorage.setItem(SEALED, 'yes');
    } catch (error) {
      this.#passphrase = before;
      await this.#open();
      throw error;
    }
  }

  #fail(error: unknown): void {
    const retry = element('button', { type: 'button', class: 'primary', 'data-testid': 'retry-databases', onclick: () => void this.start() }, 'Try again');
    const buttons: HTMLElement[] = [retry];
    let [title, text] = ['The databases cannot be opened', 'The reason is below. Trying again may help if it has passed.'];
    if (error instanceof StatikError && error.code === 'Permission') {
      [title, text] = ['This passphrase opens nothing', 'Try another one. Without it, the databases can be opened, but what is sealed in them cannot be read.'];
    } else if (error instanceof StatikError && error.code === 'Unsupported') {
      [title, text] = ['The databases are of a newer version', 'A newer version of this page has written them. Nothing was changed; use that one.'];
    }
    const failure = byId('databases-failure', HTMLElement);
    failure.replaceChildren(element('h2', {}, title), element('p', {}, text), element('p', { class: 'reason' }, explanation(error)), element('div', { class: 'buttons' }, ...buttons));
    failure.hidden = false;
    this.#view.dataset['state'] = 'failed';
    retry.focus();
  }

  #hear(event: DatabaseEvent): void {
    this.#events.add(event);
    if (event.type === 'persistence') this.#room.answered(event.persistence);
    if (event.type === 'backup' && this.#tabs.shown === 'backup') void this.#draw();
  }

  #choose(shelf: Shelf): void {
    this.#records.choose(shelf);
    this.#list.mark(shelf);
    this.#onChosen();
    this.#tabs.show('records');
  }

  /** Shows again what an action may have changed. Measuring reads all records, so nobody waits for it. */
  async #refresh(redraws = true): Promise<void> {
    if (redraws) await this.#draw();
    void Promise.all([this.#list.measure(this.databases), this.#room.draw(this.databases)])
      .catch((error: unknown) => showProblem('Measuring the databases', error));
  }

  async #draw(): Promise<void> {
    const name = this.#tabs.shown;
    const part = byId(`part-${name}`, HTMLElement);
    this.#drawing += 1;
    part.ariaBusy = 'true';
    try {
      await this.#parts[name].draw();
    } catch (error) {
      showProblem(`Showing ${name}`, error);
    }
    this.#drawing -= 1;
    // The last one of several that were begun ends it for all parts.
    if (this.#drawing === 0) for (const name of TABS) byId(`part-${name}`, HTMLElement).ariaBusy = null;
  }

  #say(text: string): void {
    byId('outcome', HTMLElement).textContent = text;
  }
}
