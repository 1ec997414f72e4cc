/**
 * The records of one store: a query, its answer in a grid that fetches the next page as one scrolls to its end, one
 * record whole, a new one, one less.
 */
import { agreed, confirmed, present } from '../dialogs.js';
import { byId, element } from '../dom.js';
import { filledIn, labelled } from '../fields.js';
import { count } from '../format.js';
import { Grid } from '../grid.js';
import { clearProblem, showProblem } from '../problem.js';
import type { ResultSet } from '../query.js';
import type { Shelf, StoredRecord } from './shelves.js';
import { tree } from './value.js';
import type { Part, Workspace } from './workspace.js';

/** The answer to one query, as far as it was fetched. */
interface Answer {
  shelf: Shelf;
  asked: Record<string, unknown>;
  records: StoredRecord[];
  /** The same as rows. */
  result: ResultSet;
  cursor?: string;
  state: 'loading' | 'more' | 'whole' | 'failed';
}

export class RecordsPart implements Part {
  readonly #workspace: Workspace;
  readonly #form = byId('query', HTMLFormElement);
  readonly #grid: Grid;
  readonly #show = byId('show-record', HTMLButtonElement);
  readonly #delete = byId('delete-record', HTMLButtonElement);
  #shelf: Shelf;
  #answer: Answer | undefined;
  #selected: number | undefined;

  constructor(workspace: Workspace, shelf: Shelf) {
    this.#workspace = workspace;
    this.#shelf = shelf;
    this.#grid = new Grid(byId('records', HTMLElement), {
      onInspect: (_column, _value, row) => void this.#inspect(row),
      onSelect: (row) => this.#select(row),
      onEnd: () => this.#answer?.state === 'more' && void this.#fetch(this.#answer),
    }, 'record');
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.draw();
    });
    // The fields have their old values until the event is over.
    this.#form.addEventListener('reset', () => queueMicrotask(() => void this.draw()));
    this.#show.addEventListener('click', () => this.#selected !== undefined && void this.#inspect(this.#selected));
    this.#delete.addEventListener('click', () => this.#selected !== undefined && void this.#remove(this.#selected));
    byId('add-record', HTMLButtonElement).addEventListener('click', () => void this.#add());
    byId('filters', HTMLDetailsElement).open = !matchMedia('(max-width: 760px)').matches;
    this.choose(shelf);
  }

  get shelf(): Shelf {
    return this.#shelf;
  }

  /** Another store, with its own query. `draw` then asks it. */
  choose(shelf: Shelf): void {
    this.#shelf = shelf;
    byId('store-name', HTMLElement).textContent = shelf.store;
    byId('filters', HTMLElement).hidden = shelf.query.length === 0;
    this.#form.replaceChildren(...labelled(shelf.query), element('div', { class: 'buttons' },
      element('button', { class: 'primary', 'data-testid': 'find' }, 'Find'), element('button', { type: 'reset' }, 'Clear')));
  }

  /** Asks anew. An older query that is still on its way is forgotten. */
  async draw(): Promise<void> {
    const shelf = this.#shelf;
    const result: ResultSet = { sql: '', columns: shelf.columns, rows: [], truncated: false };
    const answer: Answer = { shelf, asked: filledIn(this.#form, shelf.query), records: [], result, state: 'loading' };
    this.#answer = answer;
    await this.#fetch(answer);
    if (answer !== this.#answer) return;
    this.#select(undefined);
    this.#grid.show(result);
    byId('no-records', HTMLElement).hidden = answer.records.length > 0 || answer.state === 'failed';
    const isFiltered = Object.keys(answer.asked).some((name) => !['order', 'by'].includes(name));
    byId('no-records-text', HTMLElement).textContent = isFiltered ? 'Nothing is found by this query.' : 'Nothing here yet.';
    byId('make-samples', HTMLElement).hidden = isFiltered;
  }

  async #fetch(answer: Answer): Promise<void> {
    this.#showState(answer, 'loading');
    try {
      const page = await answer.shelf.page(this.#workspace.databases, answer.asked, answer.cursor);
      answer.records.push(...page.items);
      answer.result.rows.push(...page.items.map((record) => answer.shelf.row(record)));
      if (page.cursor === undefined) delete answer.cursor;
      else answer.cursor = page.cursor;
      this.#showState(answer, page.cursor === undefined ? 'whole' : 'more');
      if (answer === this.#answer) this.#grid.grow();
    } catch (error) {
      this.#showState(answer, 'failed');
      if (answer === this.#answer) showProblem(`Reading ${answer.shelf.store}`, error);
    }
  }

  #showState(answer: Answer, state: Answer['state']): void {
    answer.state = state;
    if (answer !== this.#answer) return;
    const number = count(answer.records.length, answer.shelf.noun);
    const texts = { loading: answer.records.length === 0 ? 'Reading …' : `${number} so far …`, more: `${number}, more as you scroll`, whole: number, failed: 'Failed' };
    byId('records-status', HTMLElement).textContent = texts[state];
    byId('part-records', HTMLElement).dataset['records'] = state;
  }

  #select(row: number | undefined): void {
    this.#selected = row;
    this.#show.disabled = row === undefined;
    this.#delete.disabled = row === undefined || this.#shelf.remove === undefined;
    this.#delete.title = this.#shelf.remove === undefined ? 'These go by number and age only' : '';
  }

  async #inspect(row: number): Promise<void> {
    const answer = this.#answer;
    const record = answer?.records[row];
    if (!answer || !record) return;
    const buttons = answer.shelf.remove === undefined ? [] : [element('button', { value: 'delete' }, 'Delete')];
    if (await present(`One ${answer.shelf.noun}`, tree(record), ...buttons) === 'delete') await this.#remove(row);
  }

  async #remove(row: number): Promise<void> {
    const answer = this.#answer;
    const id = answer?.records[row]?.['id'];
    if (!answer || answer.shelf.remove === undefined || typeof id !== 'string') return;
    const { shelf } = answer;
    if (!await confirmed(`Delete this ${shelf.noun}?`, `It has the id ${id}. There is no undo.`, 'Delete')) return;
    await this.#workspace.act(`Deleting the ${shelf.noun}`, async () => {
      const wasThere = await shelf.remove!(this.#workspace.databases, id);
      const at = answer.records.findIndex((record) => record['id'] === id);
      answer.records.splice(at, 1);
      answer.result.rows.splice(at, 1);
      if (answer === this.#answer) {
        this.#select(undefined);
        this.#showState(answer, answer.state);
        this.#grid.redraw();
      }
      return wasThere ? `Deleted ${shelf.noun} ${id}` : `${shelf.noun} ${id} was gone already`;
    }, false);
  }

  async #add(): Promise<void> {
    const shelf = this.#shelf;
    clearProblem();
    const form = element('div', { class: 'fields' }, ...labelled(shelf.form));
    if (!await agreed(`New ${shelf.noun}`, 'Add', false, form)) return;
    const { further, ...fields } = filledIn(form, shelf.form);
    await this.#workspace.act(`Adding the ${shelf.noun}`, async () => {
      await shelf.add(this.#workspace.databases, { ...further as object, ...fields });
      return `Added one ${shelf.noun}`;
    });
  }
}
