/**
 * How the data is kept: bytes used and allowed, whether the browser may evict it, the mode, how the open database is, and
 * what storage costs.
 */
import type { CacheMetrics, Database, DatabaseMetrics, Health, LogMetrics, Operations, Statik, Status } from 'statik-storage';
import { byId, element } from './dom.js';
import { bytes, count, duration } from './format.js';
import { showProblem } from './problem.js';

const REFRESH_MS = 2000;

const MODES = {
  bridge: 'Bridge: an engine worker computes and an I/O worker stores; they share memory.',
  direct: 'Direct: one worker computes and stores, because the page has no shared memory.',
};

export class StoragePanel {
  readonly #statik: Statik;
  readonly #dialog = byId('details', HTMLDialogElement);
  readonly #persist = byId('persist', HTMLButtonElement);
  readonly #check = byId('check', HTMLButtonElement);
  readonly #current: () => Database | undefined;
  /** The browser was asked to persist, and declined. */
  #declined = false;

  /** @param current the database that is open */
  constructor(statik: Statik, current: () => Database | undefined) {
    this.#statik = statik;
    this.#current = current;
    this.#check.addEventListener('click', () => void this.#examine().catch((error: unknown) => showProblem('Checking the database', error)));
    byId('storage', HTMLButtonElement).addEventListener('click', () => this.#open());
    this.#persist.addEventListener('click', () => void this.#askToPersist());
  }

  async refresh(): Promise<void> {
    const status = await this.#statik.status();
    showSummary(status);
    showDetails(status, this.#declined);
    this.#persist.hidden = status.persisted === true || status.storage === 'memory';
    if (!this.#dialog.open) return;
    const { operations, log, cache } = await this.#statik.metrics();
    showCounters(operations);
    showLog(log, cache);
    const db = this.#current();
    byId('database', HTMLElement).hidden = db === undefined;
    if (db) showQueries(db.name, await db.metrics());
  }

  async #examine(): Promise<void> {
    const db = this.#current();
    if (!db) return;
    this.#check.disabled = true;
    try {
      byId('health', HTMLElement).textContent = verdict(await db.health({ full: true }));
    } finally {
      this.#check.disabled = false;
    }
  }

  async #askToPersist(): Promise<void> {
    this.#declined = !await this.#statik.persist();
    await this.refresh();
  }

  #open(): void {
    byId('health', HTMLElement).textContent = 'Not checked.';
    this.#dialog.showModal();
    const refresh = (): void => void this.refresh().catch((error: unknown) => showProblem('Reading the storage status', error));
    refresh();
    const timer = setInterval(refresh, REFRESH_MS);
    this.#dialog.addEventListener('close', () => clearInterval(timer), { once: true });
  }
}

function showSummary({ mode, storage, usageBytes, quotaBytes, persisted }: Status): void {
  const chip = byId('mode', HTMLElement);
  chip.textContent = mode;
  chip.title = MODES[mode];
  const parts = [storage === 'memory' ? 'in memory only' : usageBytes === undefined ? 'storage' : bytes(usageBytes)];
  if (storage === 'opfs' && quotaBytes !== undefined) parts[0] += ` of ${bytes(quotaBytes)}`;
  if (storage === 'opfs') parts.push(persisted ? 'persisted' : 'not persisted');
  const summary = byId('storage', HTMLElement);
  summary.dataset['storage'] = storage;
  byId('storage-text', HTMLElement).textContent = parts.join(' · ');
}

function showDetails({ mode, storage, usageBytes, quotaBytes, persisted }: Status, declined: boolean): void {
  const meter = byId('usage', HTMLMeterElement);
  meter.hidden = usageBytes === undefined || quotaBytes === undefined;
  meter.max = quotaBytes ?? 1;
  meter.high = 0.8 * meter.max;
  meter.value = usageBytes ?? 0;
  byId('usage-text', HTMLElement).textContent = usageBytes === undefined || quotaBytes === undefined
    ? 'This browser does not tell.'
    : `${bytes(usageBytes)} of ${bytes(quotaBytes)} used by this site`;
  byId('persisted', HTMLElement).textContent = storage === 'memory' ? 'In memory: nothing outlives this tab.'
    : persisted ? 'Persisted: the browser keeps it until you delete it.'
      : declined ? 'Not persisted: the browser declined for now. It goes by how much the page is used; ask again later.'
        : 'Not persisted: it survives reloads and restarts, but when the disk runs full the browser may evict it.';
  byId('mode-text', HTMLElement).textContent = MODES[mode];
}

function showQueries(name: string, { queries, cache, slowQueries }: DatabaseMetrics): void {
  byId('database-title', HTMLElement).textContent = name;
  const parts = [count(queries.count, 'statement'), `half within ${duration(queries.p50Ms)}`, `99 % within ${duration(queries.p99Ms)}`];
  if (cache.hitRate !== undefined) parts.push(`${percent(cache.hitRate)} of pages in SQLite's cache`);
  if (slowQueries.length > 0) parts.push(`the slowest ${duration(Math.max(...slowQueries.map(({ ms }) => ms)))}`);
  byId('database-text', HTMLElement).textContent = `${parts.join(', ')}.`;
}

function showLog(log: LogMetrics, cache: CacheMetrics): void {
  const parts = [count(log.commits, 'commit'), log.bytes === 0 ? 'all in the files' : `${bytes(log.bytes)} not yet in the files`];
  if (log.commitsPerFlush !== undefined) parts.push(`${log.commitsPerFlush.toFixed(1)} for each flush`);
  if (cache.hitRate !== undefined) parts.push(`${percent(cache.hitRate)} of reads in the shared cache`);
  byId('log-text', HTMLElement).textContent = `${parts.join(', ')}.`;
}

function verdict({ ok, integrity, foreignKeys, sizeBytes, freeBytes }: Health): string {
  if (!ok) return [...integrity, ...foreignKeys.map(({ table, rowid, parent }) => `${table} row ${rowid} refers to a missing row of ${parent}`)].slice(0, 5).join('; ');
  return `Sound: ${bytes(sizeBytes)}${freeBytes > 0 ? `, of which ${bytes(freeBytes)} are free` : ''}.`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0.99 && share < 1 ? 1 : 0)} %`;
}

function showCounters(metrics: Operations): void {
  const rows = Object.entries(metrics).filter(([, { count }]) => count > 0).sort(([, a], [, b]) => b.count - a.count);
  byId('counters', HTMLTableSectionElement).replaceChildren(...rows.map(([operation, { count, errors, bytes: size, totalMs, maxMs }]) => element(
    'tr', {}, element('th', { scope: 'row' }, operation),
    ...[count.toLocaleString(), size === 0 ? '' : bytes(size), (totalMs / count).toFixed(3), maxMs.toFixed(1), errors === 0 ? '' : errors.toLocaleString()]
      .map((text) => element('td', {}, text)),
  )));
}
