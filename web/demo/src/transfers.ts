/** What takes long, one progress bar each, with a button to stop it. */
import { element, icon } from './dom.js';
import { bytes } from './format.js';

export interface Transfer {
  signal: AbortSignal;
  onProgress: (progress: { doneBytes: number; totalBytes?: number }) => void;
}

export class Transfers {
  readonly #root: HTMLElement;

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /**
   * Shows a bar while `work` runs.
   * @param ending what is still being done when all bytes are through
   */
  async run<T>(title: string, ending: string, work: (transfer: Transfer) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const bar = element('progress', { 'aria-label': title });
    const amount = element('span', { class: 'amount' });
    const stop = element('button', { type: 'button', class: 'ghost', 'aria-label': `Cancel: ${title}`, onclick: () => controller.abort() }, icon('stop'), 'Cancel');
    const line = element('div', { class: 'transfer', 'data-testid': 'transfer' }, element('span', { class: 'name' }, title), bar, amount, stop);
    this.#root.append(line);
    try {
      return await work({
        signal: controller.signal,
        onProgress: ({ doneBytes, totalBytes }) => {
          const done = totalBytes !== undefined && doneBytes >= totalBytes;
          // Without a value the bar says that something happens, but not how much is left.
          if (totalBytes === undefined || done) bar.removeAttribute('value');
          else bar.value = totalBytes === 0 ? 1 : doneBytes / totalBytes;
          const share = totalBytes === undefined ? bytes(doneBytes) : `${Math.floor((100 * doneBytes) / Math.max(1, totalBytes))} %`;
          amount.textContent = done ? ending : share;
        },
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
