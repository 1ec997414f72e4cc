/** What happened to the databases without anybody's asking: a log of the last events, newest first. */
import type { DatabasesOptions } from 'statik-storage/databases';
import { byId, element } from '../dom.js';
import { bytes, explanation, moment } from '../format.js';

export type DatabaseEvent = Parameters<NonNullable<DatabasesOptions['onEvent']>>[0];

const KEPT = 100;

export class EventLog {
  readonly #tab: HTMLButtonElement;
  #unseen = 0;

  /** @param tab says how many were not yet looked at */
  constructor(tab: HTMLButtonElement) {
    this.#tab = tab;
  }

  add(event: DatabaseEvent): void {
    const list = byId('events', HTMLElement);
    const nowMs = Date.now();
    list.prepend(element('li', { 'data-event': event.type },
      element('time', { datetime: new Date(nowMs).toISOString() }, moment(nowMs)), element('strong', {}, event.type), element('span', {}, described(event))));
    while (list.childElementCount > KEPT) list.lastElementChild?.remove();
    this.#unseen += 1;
    this.#label();
  }

  /** All were looked at. */
  seen(): void {
    this.#unseen = 0;
    this.#label();
  }

  #label(): void {
    this.#tab.textContent = this.#unseen === 0 ? 'Events' : `Events (${this.#unseen})`;
  }
}

function described(event: DatabaseEvent): string {
  if (event.type === 'threshold') return `${Math.round(100 * event.share)} % of the room is used: ${bytes(event.usageBytes)} of ${bytes(event.quotaBytes)}`;
  if (event.type === 'persistence') return `The browser has answered: ${event.persistence}`;
  if (event.type === 'pruned') return `${event.pruner} has freed ${event.records.toLocaleString()} records`;
  if (event.type === 'prunerFailed') return `${event.pruner}: ${explanation(event.error)}`;
  if ('reason' in event) return event.database === '' ? event.reason : `${event.database}: ${event.reason}`;
  return explanation(event.error);
}
