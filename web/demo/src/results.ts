/**
 * The lower half: a script's results while they come and when they are there, how long it takes, and the status line.
 *
 * One script runs at a time. Each statement that returns rows gets a tab; one tab alone is not shown.
 */
import type { Database } from 'statik-storage';
import { writeCsv } from './csv.js';
import { show } from './dialogs.js';
import { byId, element } from './dom.js';
import { count, duration, isAbort } from './format.js';
import { fullText, Grid } from './grid.js';
import { MAX_ROWS, runScript, ScriptError, type Outcome, type ResultSet } from './query.js';
import type { StatementRange } from './sql.js';
import { download } from './transfers.js';

const CLOCK_MS = 100;

/** What became of a script; `wrote` if something may have been written. */
export type Ending = { wrote: boolean } | { wrote: boolean; failure: unknown; range: StatementRange };

export class Results {
  readonly #grid: Grid;
  readonly #status = byId('status', HTMLElement);
  readonly #elapsed = byId('elapsed', HTMLElement);
  readonly #runButton = byId('run', HTMLButtonElement);
  readonly #cancelButton = byId('cancel', HTMLButtonElement);
  readonly #tabs = byId('tabs', HTMLElement);
  readonly #csv = byId('csv', HTMLButtonElement);
  #results: ResultSet[] = [];
  #shown = 0;
  #controller: AbortController | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor() {
    this.#grid = new Grid(byId('grid', HTMLElement), { onInspect: (column, value) => show(column, fullText(value)) });
    this.#cancelButton.addEventListener('click', () => this.#controller?.abort());
    this.#csv.addEventListener('click', () => {
      const result = this.#results[this.#shown];
      if (result) download('result.csv', new Blob([...writeCsv(result.columns, result.rows)], { type: 'text/csv' }));
    });
  }

  get running(): boolean {
    return this.#controller !== undefined;
  }

  /** Runs a script to its end, its failure, or until it is cancelled. */
  async run(db: Database, sql: string): Promise<Ending> {
    const controller = new AbortController();
    this.#controller = controller;
    this.#forget();
    this.#showRunning(true);
    const started = performance.now();
    const clock = setInterval(() => (this.#elapsed.textContent = duration(performance.now() - started)), CLOCK_MS);
    const script = runScript(db, sql, {
      signal: controller.signal,
      onResult: (result) => this.#add(result),
      onRows: () => this.#grow(),
    });
    const ending = script.then((outcome) => this.#succeeded(outcome, performance.now() - started), (error: unknown) => this.#failed(error, performance.now() - started));
    this.#ended = ending;
    try {
      return await ending;
    } finally {
      clearInterval(clock);
      this.#controller = undefined;
      this.#showRunning(false);
    }
  }

  /** Stops the script, if one runs, and waits until it has stopped. */
  async stop(): Promise<void> {
    this.#controller?.abort();
    await this.#ended;
  }

  /** Tells what happened, where it can be seen whether a database is open or not. */
  say(text: string): void {
    this.#status.textContent = text;
    this.#elapsed.textContent = '';
    byId('notice', HTMLElement).textContent = text;
  }

  clear(text: string): void {
    this.#forget();
    this.say(text);
  }

  #forget(): void {
    this.#results = [];
    this.#shown = 0;
    this.#grid.clear();
    this.#tabs.replaceChildren();
    this.#csv.hidden = true;
    byId('hint', HTMLElement).hidden = false;
  }

  #add(result: ResultSet): void {
    this.#results.push(result);
    this.#show(this.#results.length - 1);
  }

  #show(index: number): void {
    const result = this.#results[index];
    if (!result) return;
    this.#shown = index;
    this.#grid.show(result);
    this.#csv.hidden = false;
    byId('hint', HTMLElement).hidden = true;
    this.#drawTabs();
  }

  #drawTabs(): void {
    this.#tabs.hidden = this.#results.length < 2;
    this.#tabs.replaceChildren(...this.#results.map(({ sql, rows }, index) => element(
      'button', { type: 'button', role: 'tab', title: sql, 'aria-selected': index === this.#shown ? 'true' : 'false', onclick: () => this.#show(index) }, `${index + 1} · ${count(rows.length, 'row')}`,
    )));
  }

  #grow(): void {
    this.#grid.grow();
    if (this.running) this.#status.textContent = `${count(this.#results.at(-1)?.rows.length ?? 0, 'row')} so far`;
  }

  #succeeded({ statements, changes, wrote }: Outcome, ms: number): Ending {
    const last = this.#results.at(-1);
    const parts: string[] = [];
    if (last) parts.push(last.truncated ? `the first ${count(MAX_ROWS, 'row')}; add a LIMIT or a WHERE to see others` : count(last.rows.length, 'row'));
    if (wrote) parts.push(`${count(changes, 'row')} changed`);
    if (statements !== 1) parts.push(count(statements, 'statement'));
    this.#conclude(statements === 0 ? 'Nothing to run' : parts.join(' · ') || 'Done', ms);
    this.#drawTabs();
    return { wrote };
  }

  #failed(error: unknown, ms: number): Ending {
    const cause = error instanceof ScriptError ? error.cause : error;
    const range = error instanceof ScriptError ? error.range : { start: 0, end: 0 };
    const rows = this.#results.at(-1)?.rows.length ?? 0;
    if (this.#controller?.signal.aborted && isAbort(cause)) {
      this.#conclude(rows > 0 ? `Cancelled after ${count(rows, 'row')}` : 'Cancelled', ms);
      return { wrote: true };
    }
    this.#conclude('Failed', ms);
    return { wrote: true, failure: cause, range };
  }

  #conclude(text: string, ms: number): void {
    this.#grid.settle();
    this.say(text);
    this.#elapsed.textContent = duration(ms);
  }

  #showRunning(running: boolean): void {
    document.documentElement.dataset['running'] = String(running);
    this.#cancelButton.disabled = !running;
    this.#runButton.disabled = running;
    if (running) this.say('Running …');
  }
}
