/** How the data is kept: bytes used and allowed, whether the browser may evict it, the mode, and what storage costs. */
import type { Operations, Statik, Status } from 'statik-storage';
import { byId, element } from './dom.js';
import { bytes } from './format.js';
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
  /** The browser was asked to persist, and declined. */
  #declined = false;

  constructor(statik: Statik) {
    this.#statik = statik;
    byId('storage', HTMLButtonElement).addEventListener('click', () => this.#open());
    this.#persist.addEventListener('click', () => void this.#askToPersist());
  }

  async refresh(): Promise<void> {
    const status = await this.#statik.status();
    showSummary(status);
    showDetails(status, this.#declined);
    this.#persist.hidden = status.persisted === true || status.storage === 'memory';
    if (this.#dialog.open) showCounters((await this.#statik.metrics()).operations);
  }

  async #askToPersist(): Promise<void> {
    this.#declined = !await this.#statik.persist();
    await this.refresh();
  }

  #open(): void {
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

function showCounters(metrics: Operations): void {
  const rows = Object.entries(metrics).filter(([, { count }]) => count > 0).sort(([, a], [, b]) => b.count - a.count);
  byId('counters', HTMLTableSectionElement).replaceChildren(...rows.map(([operation, { count, errors, bytes: size, totalMs, maxMs }]) => element(
    'tr', {}, element('th', { scope: 'row' }, operation),
    ...[count.toLocaleString(), size === 0 ? '' : bytes(size), (totalMs / count).toFixed(3), maxMs.toFixed(1), errors === 0 ? '' : errors.toLocaleString()]
      .map((text) => element('td', {}, text)),
  )));
}
