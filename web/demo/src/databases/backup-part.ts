/** Backups: one to download, one to restore from, those that make themselves, those that are kept. */
import { inspectBackup, type BackupSummary, type ImportOptions, type StoredBackup } from 'statik-storage/databases';
import { agreed, confirmed } from '../dialogs.js';
import { byId, element, icon } from '../dom.js';
import { filledIn, labelled, type Field } from '../fields.js';
import { bytes, count, moment } from '../format.js';
import { download } from '../transfers.js';
import type { Part, Workspace } from './workspace.js';

const MODE: Field = { name: 'mode', label: 'What becomes of what is here', kind: 'choice', choices: [['replace', 'It is replaced'], ['merge', 'It stays, and the backup is added to it']] };
const CONFLICT: Field = { name: 'onConflict', label: 'Of a record that both have', kind: 'choice', choices: [['overwrite', 'The backup’s stays'], ['keep', 'The one here stays']] };
const SCHEDULE: readonly Field[] = [
  { name: 'hours', label: 'Every so many hours', kind: 'number', min: 0.1, step: 'any', value: '24', required: true },
  { name: 'keep', label: 'Keep so many', kind: 'number', min: 1, step: 1, value: '3', required: true },
];

const PHASES = { inspect: 'Checking …', files: 'Files …', databases: 'Putting it in place …' };

export class BackupPart implements Part {
  readonly #workspace: Workspace;
  readonly #kept = element('ul', { class: 'kept', 'data-testid': 'kept' });
  readonly #switch = element('input', { type: 'checkbox', role: 'switch', id: 'auto-backup', 'data-testid': 'auto-backup' });
  readonly #schedule = element('span', { class: 'quiet', 'data-testid': 'schedule' });

  constructor(workspace: Workspace) {
    this.#workspace = workspace;
    byId('part-backup', HTMLElement).replaceChildren(this.#export(), this.#restoring(), this.#automatic());
  }

  async draw(): Promise<void> {
    const { backup } = this.#workspace.databases;
    const schedule = await backup.autoBackup();
    this.#switch.checked = schedule !== undefined;
    this.#schedule.textContent = schedule === undefined ? '' : `Every ${schedule.intervalHours.toLocaleString()} h, ${count(schedule.keep, 'file')} kept`;
    this.#showKept(await backup.listBackups());
  }

  /** Restores from a file that was dropped or chosen, after the person has seen what is in it. */
  async restore(read: () => Promise<Blob>, name: string): Promise<void> {
    await this.#workspace.act(`Restoring ${name}`, async () => {
      const { databases, transfers } = this.#workspace;
      const file = await read();
      // How is decided when it is known what is in it, before anything is touched.
      const summary = await transfers.run(`Reading ${name}`, PHASES.inspect, ({ signal, onProgress }) => inspectBackup(file, { signal, onProgress }));
      const chosen = await askHow(name, summary);
      if (chosen === undefined) return 'Nothing was restored';
      const report = await transfers.run(`Restoring ${name}`, PHASES.databases, ({ signal, onProgress }) =>
        databases.backup.importData(file, { confirm: ({ sha256 }) => sha256 === summary.sha256, ...chosen, onSqlite: false, onFile: false, signal, onProgress }));
      const records = report.databases.reduce((sum, { records }) => sum + records, 0);
      return `Restored ${count(records, 'record')} of ${count(report.databases.length, 'database')} from ${name}`;
    });
  }

  #export(): HTMLElement {
    return element('article', { class: 'card' },
      element('h3', {}, 'Back up'),
      element('p', {}, 'All databases in one file, compressed. Sealed records stay sealed in it, and need their passphrase after restoring.'),
      element('div', { class: 'buttons' },
        element('button', { type: 'button', class: 'primary', 'data-testid': 'export', onclick: () => void this.#download() }, icon('export'), 'Download a backup'),
        element('button', { type: 'button', 'data-testid': 'backup-now', onclick: () => void this.#keepOne() }, 'Keep one in this browser')));
  }

  async #download(): Promise<void> {
    await this.#workspace.act('Backing up', async () => {
      const { databases, transfers } = this.#workspace;
      const blob = await transfers.run('Backing up', 'Compressing …', ({ signal, onRecords }) =>
        databases.backup.exportAllData({ reason: 'manual', signal, onProgress: ({ doneRecords, totalRecords }) => onRecords(doneRecords, totalRecords) }));
      const name = `statik-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.json.gz`;
      download(name, blob);
      return `Backed up as ${name}, ${bytes(blob.size)}`;
    });
  }

  async #keepOne(): Promise<void> {
    await this.#workspace.act('Backing up', async () => `Kept ${await this.#workspace.databases.backup.runBackupNow()}`);
  }

  #restoring(): HTMLElement {
    const input = element('input', { type: 'file', accept: '.gz,.json,application/gzip,application/json', 'data-testid': 'backup-file' });
    input.addEventListener('change', () => {
      const file = input.files?.[0];
      // Emptied, so that the same file may be chosen again.
      input.value = '';
      if (file) void this.restore(async () => file, file.name);
    });
    return element('article', { class: 'card' },
      element('h3', {}, 'Restore'),
      element('p', {}, 'The file is checked to its last byte, and you are asked, before anything is touched.'),
      element('label', { class: 'drop' }, icon('import'), element('span', {}, element('strong', {}, 'Drop a backup'), ' or choose one', element('br'), element('small', {}, '.json.gz or .json')), input));
  }

  #automatic(): HTMLElement {
    this.#switch.addEventListener('click', (event) => {
      // It turns only when the schedule has.
      event.preventDefault();
      void (this.#switch.checked ? this.#turnOn() : this.#turnOff());
    });
    return element('article', { class: 'card' },
      element('h3', {}, 'Automatic backups'),
      element('p', {}, 'Into the private storage of this site, while a tab of it is open. They help against mistakes, not against a lost device: download one for that.'),
      element('p', { class: 'switch-line' }, element('label', { class: 'switch' }, this.#switch, 'Make backups by themselves'), ' ', this.#schedule),
      element('h4', {}, 'Kept in this browser'), this.#kept);
  }

  async #turnOn(): Promise<void> {
    const form = element('div', { class: 'fields' },
      element('p', {}, 'Copies of all your databases will be stored in this browser, and take room there: each as much as a downloaded backup. They stay until you delete this site’s data. Do you agree?'), ...labelled(SCHEDULE));
    if (!await agreed('Automatic backups', 'I agree', false, form)) return;
    const { hours, keep } = filledIn(form, SCHEDULE) as { hours: number; keep: number };
    await this.#workspace.act('Turning automatic backups on', async () => {
      await this.#workspace.databases.backup.scheduleAutoBackup(hours, { keep, target: 'opfs', consent: true });
      return 'Automatic backups are on';
    });
  }

  async #turnOff(): Promise<void> {
    if (!await confirmed('Stop automatic backups?', 'Those that were made stay.', 'Stop')) return;
    await this.#workspace.act('Turning automatic backups off', async () => {
      await this.#workspace.databases.backup.cancelAutoBackup();
      return 'Automatic backups are off';
    });
  }

  #showKept(backups: readonly StoredBackup[]): void {
    const items = backups.map(({ name, sizeBytes, modifiedMs }) => element('li', {},
      element('span', { class: 'name', title: name }, `${moment(modifiedMs)} · ${bytes(sizeBytes)}`),
      element('button', { type: 'button', 'aria-label': `Restore the backup of ${moment(modifiedMs)}`, onclick: () => void this.#restoreKept(name, moment(modifiedMs)) }, 'Restore'),
      element('button', { type: 'button', class: 'tool', title: 'Download', 'aria-label': `Download the backup of ${moment(modifiedMs)}`, onclick: () => void this.#downloadKept(name) }, icon('export'))));
    this.#kept.replaceChildren(...items.length > 0 ? items : [element('li', { class: 'quiet' }, 'None yet.')]);
  }

  async #restoreKept(name: string, made: string): Promise<void> {
    await this.restore(() => this.#workspace.databases.backup.readBackup(name), `the backup of ${made}`);
  }

  async #downloadKept(name: string): Promise<void> {
    await this.#workspace.act(`Downloading ${name}`, async () => {
      download(name, await this.#workspace.databases.backup.readBackup(name));
      return `Downloaded ${name}`;
    });
  }
}

/** Shows what is in a backup, and asks what to do with it. */
async function askHow(name: string, { timestampMs, metadata, databases, sqlite, files, records }: BackupSummary): Promise<Pick<ImportOptions, 'mode' | 'onConflict'> | undefined> {
  const list = databases.map(({ name, stores }) => element('li', {}, `${name}: ${stores.map(({ name, records }) => `${records.toLocaleString()} ${name}`).join(', ')}`));
  const left = sqlite.length + files.length;
  const form = element('div', { class: 'fields', 'data-testid': 'summary' },
    element('p', {}, `Made ${moment(timestampMs)} (${metadata.export_reason}), with ${count(records, 'record')}:`), element('ul', { class: 'bullets' }, ...list),
    ...left > 0 ? [element('p', {}, `${count(left, 'file')} in it are left out here.`)] : [], ...labelled([MODE, CONFLICT]));
  const conflict = form.querySelector<HTMLElement>('[name=onConflict]')?.parentElement;
  const adapt = (): void => {
    if (conflict) conflict.hidden = filledIn(form, [MODE])['mode'] !== 'merge';
  };
  form.addEventListener('change', adapt);
  adapt();
  return await agreed(`Restore ${name}?`, 'Restore', true, form) ? filledIn(form, [MODE, CONFLICT]) as Pick<ImportOptions, 'mode' | 'onConflict'> : undefined;
}
