/**
 * Backup and restore of an app's databases: `databases.backup`.
 *
 * ```ts
 * const blob = await databases.backup.exportAllData({ reason: 'before the update' });
 * await databases.backup.importData(blob, { confirm: ({ records }) => window.confirm(`Replace all by ${records} records?`) });
 * await databases.backup.scheduleAutoBackup(24, { consent: true });
 * ```
 *
 * The file is described in web/sdk/docs/backup-format.md. Records are exported as they are stored: sealed ones stay
 * sealed, and the keys that they need go with them, wrapped as they are kept, so that a backup tells no more than the
 * databases do; their secret is needed after restoring.
 */
import { failure } from '../errors.js';
import { exportBackup, instanceOf, type BackupContext, type ExportOptions } from './backup-export.js';
import { listBackups, readBackupFile, storeBackup, type StoredBackup } from './backup-folder.js';
import { importBackup, type ImportOptions, type ImportReport } from './backup-restore.js';
import { BackupSchedule, type AutoBackup, type AutoBackupOptions, type BackupTarget, type Timers } from './backup-schedule.js';
import { everything, selected, type BackupSelection } from './backup-selection.js';
import * as field from './fields.js';

/** How long a page's address of a download stays good, in milliseconds: browsers do not tell when they have read it. */
const DOWNLOAD_MS = 60_000;

export class Backup {
  readonly #context: BackupContext;
  readonly #timers: Timers;
  readonly #schedule: BackupSchedule;

  /** For `Databases`. `suffix` tells the app's databases from those of others of the origin. */
  constructor(context: BackupContext, suffix: string, timers: Timers) {
    this.#context = context;
    this.#timers = timers;
    const { environment, catalog } = context;
    this.#schedule = new BackupSchedule({
      catalog, timers, suffix, onEvent: environment.onEvent, isShared: environment.storage === 'indexeddb',
      run: (target, keep, signal) => this.#run('auto', target, keep, signal),
    });
  }

  /**
   * Everything: the three databases and those of the app's own that were defined so far, and what the options name. Each
   * database is as of one moment, different ones of different moments; see `holdMs`.
   */
  async exportAllData(options: ExportOptions = {}): Promise<Blob> {
    return new Response(this.#export('exportAllData', options)).blob();
  }

  /** As `exportAllData`, as it is read and in constant memory. Who cancels it, or reads it to its end, frees the databases. */
  exportStream(options: ExportOptions = {}): ReadableStream<Uint8Array> {
    return this.#export('exportStream', options);
  }

  /** Only what is selected. Importing it leaves alone the stores that were not. */
  async exportSelective(selection: BackupSelection, options: ExportOptions = {}): Promise<Blob> {
    const doing = 'exportSelective';
    const chosen = selected(doing, selection, [...this.#context.databases.keys()]);
    return new Response(exportBackup(this.#context, doing, chosen, options)).blob();
  }

  /**
   * Restores a backup, after all of it was read and checked, and `confirm` was asked. Other tabs wait meanwhile, and go on
   * with what was restored. Databases are restored all or none; records of an older schema are migrated.
   *
   * Refused, and nothing touched: `Invalid` for something else, `Corrupt` for what is damaged, cut short or changed,
   * `Unsupported` for what a newer Statik or a newer app has written, `Conflict` for what other migrations have made or
   * other keys have sealed, `NotFound` for a database that was not defined here.
   */
  async importData(blob: Blob, options: ImportOptions): Promise<ImportReport> {
    return importBackup(this.#context, 'importData', blob, options);
  }

  /**
   * Makes a backup each `intervalHours`, the first one now, in one of the tabs that are open. The schedule stays until it is
   * cancelled: `initializeDatabases` goes on with it. Tabs that were open before take part after they are loaded anew. `Permission` without a consent. Events `backup` tell what was made or
   * has failed; what failed is tried again within an hour.
   */
  async scheduleAutoBackup(intervalHours: number, options: AutoBackupOptions = {}): Promise<void> {
    await this.#schedule.schedule(intervalHours, options);
  }

  /** Ends the schedule in all tabs, and takes the consent back. Backups that were made stay. */
  async cancelAutoBackup(): Promise<void> {
    await this.#schedule.cancel();
  }

  /** What `scheduleAutoBackup` has arranged, in whichever tab; undefined if nothing is. */
  async autoBackup(): Promise<AutoBackup | undefined> {
    return this.#schedule.arranged();
  }

  /** Makes a backup at once, as the schedule would; to ask for it is the consent. Answers its name. */
  async runBackupNow({ target = 'opfs', keep = 3 }: Pick<AutoBackupOptions, 'target' | 'keep'> = {}): Promise<string> {
    const doing = 'runBackupNow';
    return this.#run('manual', field.oneOf(doing, 'target', target, ['opfs', 'download']), field.count(doing, 'keep', keep));
  }

  /** The backups in the origin private file system, newest first, those of other instances too. */
  async listBackups(): Promise<StoredBackup[]> {
    return listBackups();
  }

  /** One of them, for `importData`. `NotFound` if there is none. */
  async readBackup(name: string): Promise<Blob> {
    return readBackupFile(name);
  }

  /** Goes on with the schedule that there is. @internal */
  async resume(): Promise<void> {
    await this.#schedule.resume();
  }

  /** Ends what is being made, and leaves the schedule to other tabs. @internal */
  async close(): Promise<void> {
    await this.#schedule.stop();
  }

  #export(doing: string, options: ExportOptions): ReadableStream<Uint8Array> {
    return exportBackup(this.#context, doing, everything([...this.#context.databases.keys()]), options);
  }

  async #run(reason: 'auto' | 'manual', target: BackupTarget, keep: number, signal?: AbortSignal): Promise<string> {
    const instance = await instanceOf(this.#context.catalog);
    const nowMs = this.#timers.now();
    const options = { reason, ...(signal && { signal }) };
    if (target === 'opfs') return storeBackup(instance, nowMs, keep, this.exportStream(options), signal);
    if (globalThis.document === undefined) throw failure('Unsupported', 'a backup can be downloaded only by a window');
    const name = `${instance}-${new Date(nowMs).toISOString().replaceAll(':', '-')}.json.gz`;
    const link = document.createElement('a');
    const address = URL.createObjectURL(await this.exportAllData(options));
    Object.assign(link, { href: address, download: name }).click();
    this.#timers.set(() => URL.revokeObjectURL(address), DOWNLOAD_MS);
    return name;
  }
}
