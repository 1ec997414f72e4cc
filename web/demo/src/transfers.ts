/** What takes long, one progress bar each, with a button to stop it. */
import { element, icon } from './dom.js';
import { bytes, count } from './format.js';

export interface Transfer {
  signal: AbortSignal;
  onProgress: (progress: { doneBytes: number; totalBytes?: number }) => void;
  /** The same, where it is not bytes that are counted. */
  onRecords: (done: number, total?: number) => void;
}

export class Transfers {
  readonly #root: HTMLElement;

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /**
   * Shows a bar while `work` runs.
   * @param ending what is still being done when all is through
   */
  async run<T>(title: string, ending: string, work: (transfer: Transfer) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const bar = element('progress', { 'aria-label': title });
    const amount = element('span', { class: 'amount' });
    const stop = element('button', { type: 'button', class: 'ghost', 'aria-label': `Cancel: ${title}`, onclick: () => controller.abort() }, icon('stop'), 'Cancel');
    const line = element('div', { class: 'transfer', 'data-testid': 'transfer' }, element('span', { class: 'name' }, title), bar, amount, stop);
    this.#root.append(line);
    const draw = (done: number, total: number | undefined, text: string): void => {
      const isThrough = total !== undefined && done >= total;
      // Without a value the bar says that something happens, but not how much is left.
      if (total === undefined || isThrough) bar.removeAttribute('value');
      else bar.value = total === 0 ? 1 : done / total;
      const share = total === undefined ? text : `${Math.floor((100 * done) / Math.max(1, total))} %`;
      amount.textContent = isThrough ? ending : share;
    };
    try {
      return await work({
        signal: controller.signal,
        onProgress: ({ doneBytes, totalBytes }) => draw(doneBytes, totalBytes, bytes(doneBytes)),
        onRecords: (done, total) => draw(done, total, count(done, 'record')),
      });
    } finally {
      line.remove();
    }
  }
}

/** Hands a file to the browser to keep where it keeps downloads. */
export function download(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  element('a', { href: url, download: name }).click();
  // The download has its own hold on the blob by the time the page is idle again.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
