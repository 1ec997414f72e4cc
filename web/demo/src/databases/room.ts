/** How full the origin is, by which shares it is told, and whether the browser may evict what is stored. */
import type { Databases, Persistence } from 'statik-storage/databases';
import { byId } from '../dom.js';
import { bytes } from '../format.js';
import { showProblem } from '../problem.js';
import type { Workspace } from './workspace.js';

/** The shares that the page asks to be told of. */
export const THRESHOLDS = [0.6, 0.8, 0.95] as const;

const ANSWERS: Record<Persistence, string> = {
  granted: 'Persisted: the browser keeps it until you delete it.',
  denied: 'Not persisted: the browser declined for now; ask again later.',
  unanswered: 'Not answered yet: the answer will be among the events.',
  unsupported: 'This browser cannot be asked.',
};

export class Room {
  readonly #workspace: Workspace;
  readonly #ask = byId('ask-persistence', HTMLButtonElement);

  constructor(workspace: Workspace) {
    this.#workspace = workspace;
    this.#ask.addEventListener('click', () => void this.#askToPersist().catch((error: unknown) => showProblem('Asking to persist', error)));
  }

  async draw(databases: Databases): Promise<void> {
    const { usageBytes, quotaBytes, share } = await databases.quota.check();
    const meter = byId('room', HTMLMeterElement);
    meter.hidden = share === undefined;
    meter.high = THRESHOLDS[1];
    meter.value = share ?? 0;
    const isTold = usageBytes !== undefined && quotaBytes !== undefined;
    byId('room-text', HTMLElement).textContent = isTold ? `${bytes(usageBytes)} of ${bytes(quotaBytes)}, ${percent(share ?? 0)}` : 'This browser does not tell.';
    byId('room-thresholds', HTMLElement).textContent = `Told above ${THRESHOLDS.map(percent).join(', ')}`;
    if (await navigator.storage?.persisted?.()) this.answered('granted');
  }

  answered(answer: Persistence): void {
    const said = byId('persistence', HTMLElement);
    said.textContent = ANSWERS[answer];
    said.dataset['answer'] = answer;
    this.#ask.hidden = answer === 'granted' || answer === 'unsupported';
  }

  async #askToPersist(): Promise<void> {
    this.#ask.disabled = true;
    try {
      this.answered(await this.#workspace.databases.quota.persist());
    } finally {
      this.#ask.disabled = false;
    }
  }
}

function percent(share: number): string {
  if (share > 0 && share < 0.001) return 'less than 0.1 %';
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}
