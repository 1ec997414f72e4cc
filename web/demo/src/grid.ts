/**
 * A table of any length: only the cells in view exist.
 *
 * Rows and cells have places computed from their number, and a fixed height; scrolling makes the few that come into
 * view from those that left it. Columns are as wide as their first values need, and can be dragged wider. Keyboard: arrows,
 * Page Up/Down, Home, End move the cell; Enter shows it whole; Ctrl+C copies it.
 */
import type { RowArray, SqlValue } from 'statik-storage';
import { blobLiteral } from './csv.js';
import { element } from './dom.js';
import { bytes } from './format.js';
import type { ResultSet } from './query.js';

const ROW_PX = 28;
const GUTTER_CHARACTERS_PX = 8;
const MIN_COLUMN_PX = 64;
const MAX_COLUMN_PX = 420;
/** Rows beyond the edges that are kept, so that a small scroll shows no gap. */
const OVERSCAN_ROWS = 8;
/** Rows that column widths are measured by. */
const SAMPLE_ROWS = 200;
/** What a cell shows of a long text. */
const CELL_CHARACTERS = 300;

const EMPTY: ResultSet = { sql: '', columns: [], rows: [], truncated: false };

export interface GridListeners {
  /** A cell is to be shown whole. */
  onInspect: (column: string, value: SqlValue, row: number) => void;
  onSelect?: (row: number) => void;
  /** The last rows are in view: there is room for more. */
  onEnd?: () => void;
}

export class Grid {
  readonly #root: HTMLElement;
  readonly #head = element('div', { class: 'grid-head', role: 'row', 'aria-rowindex': 1 });
  readonly #body = element('div', { class: 'grid-body', role: 'rowgroup' });
  readonly #listeners: GridListeners;
  /** What the ids of its cells begin with: each grid of the page has another. */
  readonly #prefix: string;
  #result = EMPTY;
  /** Left edges of the columns, and the right edge of the last. */
  #edges: number[] = [0];
  #gutter = 0;
  /** The rows that the widths were measured by. */
  #measured = 0;
  readonly #lines = new Map<number, HTMLElement>();
  #spare: HTMLElement[] = [];
  #visibleColumns = '';
  #selected: { row: number; column: number } | undefined;
  #frame = 0;

  constructor(root: HTMLElement, listeners: GridListeners, prefix = 'cell') {
    this.#root = root;
    this.#listeners = listeners;
    this.#prefix = prefix;
    root.append(this.#head, this.#body);
    root.addEventListener('scroll', () => this.#schedule(), { passive: true });
    root.addEventListener('keydown', (event) => this.#key(event));
    this.#body.addEventListener('pointerdown', (event) => this.#point(event));
    this.#body.addEventListener('dblclick', () => this.#inspect());
    this.#head.addEventListener('pointerdown', (event) => this.#resize(event));
    new ResizeObserver(() => this.#schedule()).observe(root);
  }

  /** Shows this result from its beginning. */
  show(result: ResultSet): void {
    this.#result = result;
    this.#selected = undefined;
    this.#root.scrollTo(0, 0);
    this.#layOut();
    this.#render();
  }

  clear(): void {
    this.show(EMPTY);
  }

  /** The result has grown: draws that with the next frame. */
  grow(): void {
    this.#schedule();
  }

  /** Rows have changed or gone: draws what is in view anew, where it is. */
  redraw(): void {
    if (this.#selected && this.#selected.row >= this.#result.rows.length) this.#selected = undefined;
    this.#visibleColumns = '';
    this.#render();
  }

  /** Draws now what has grown. */
  settle(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#measured < Math.min(SAMPLE_ROWS, this.#result.rows.length)) this.#layOut();
    this.#render();
  }

  #schedule(): void {
    this.#frame ||= requestAnimationFrame(() => this.settle());
  }

  /** Measures the columns and draws the head. */
  #layOut(): void {
    const { columns, rows } = this.#result;
    this.#measured = Math.min(SAMPLE_ROWS, rows.length);
    const style = getComputedStyle(this.#root);
    const pen = document.createElement('canvas').getContext('2d');
    if (!pen) throw new Error('This browser cannot measure text');
    pen.font = `${style.fontSize} ${style.fontFamily}`;
    const width = (text: string): number => pen.measureText(text.slice(0, 80)).width + 26;
    this.#edges = [0];
    for (const [index, name] of columns.entries()) {
      let widest = width(name) + 8;
      for (const row of rows.slice(0, SAMPLE_ROWS)) widest = Math.max(widest, width(cellText(row[index] ?? null)));
      this.#edges.push((this.#edges[index] ?? 0) + Math.round(Math.min(MAX_COLUMN_PX, Math.max(MIN_COLUMN_PX, widest))));
    }
    this.#place();
  }

  /** Draws the head for the present edges, and forgets the lines that were drawn for others. */
  #place(): void {
    const { columns } = this.#result;
    this.#gutter = columns.length === 0 ? 0 : 24 + GUTTER_CHARACTERS_PX * String(this.#result.rows.length).length;
    this.#root.style.setProperty('--gutter', `${this.#gutter}px`);
    this.#root.setAttribute('aria-colcount', String(columns.length));
    const corner = element('div', { class: 'grid-corner', role: 'presentation' });
    this.#head.replaceChildren(corner, ...columns.map((name, index) => {
      const cell = element('div', { class: 'grid-title', role: 'columnheader', 'aria-colindex': index + 1, title: name }, element('span', {}, name));
      cell.append(element('i', { class: 'grid-handle', 'data-column': index }));
      this.#put(cell, index);
      return cell;
    }));
    const total = `${this.#gutter + (this.#edges.at(-1) ?? 0)}px`;
    this.#head.style.width = total;
    this.#body.style.width = total;
    this.#visibleColumns = '';
  }

  #put(cell: HTMLElement, column: number): void {
    const left = this.#edges[column] ?? 0;
    cell.style.left = `${this.#gutter + left}px`;
    cell.style.width = `${(this.#edges[column + 1] ?? left) - left}px`;
  }

  #render(): void {
    const { rows } = this.#result;
    const wanted = this.#result.columns.length === 0 ? 0 : 24 + GUTTER_CHARACTERS_PX * String(rows.length).length;
    if (wanted !== this.#gutter) this.#place();
    this.#root.setAttribute('aria-rowcount', String(rows.length + 1));
    this.#body.style.height = `${rows.length * ROW_PX}px`;
    const top = this.#root.scrollTop;
    const first = Math.max(0, Math.floor(top / ROW_PX) - OVERSCAN_ROWS);
    const last = Math.min(rows.length, Math.ceil((top + this.#root.clientHeight) / ROW_PX) + OVERSCAN_ROWS);
    const [firstColumn, lastColumn] = this.#columnsInView();
    const columns = `${firstColumn}-${lastColumn}`;
    for (const [row, line] of this.#lines) {
      if (row >= first && row < last && columns === this.#visibleColumns) continue;
      this.#lines.delete(row);
      this.#spare.push(line);
    }
    this.#visibleColumns = columns;
    for (let row = first; row < last; row += 1) {
      if (!this.#lines.has(row)) this.#lines.set(row, this.#line(row, firstColumn, lastColumn));
    }
    for (const line of this.#spare) line.remove();
    this.#spare = [];
    this.#markSelected();
    if (rows.length > 0 && last === rows.length) this.#listeners.onEnd?.();
  }

  /** The first column in view, and the one after the last. */
  #columnsInView(): [first: number, last: number] {
    const left = this.#root.scrollLeft;
    const right = left + this.#root.clientWidth;
    const columns = this.#result.columns.length;
    let first = 0;
    while (first < columns - 1 && (this.#edges[first + 1] ?? 0) + this.#gutter < left) first += 1;
    let last = first;
    while (last < columns && (this.#edges[last] ?? 0) + this.#gutter < right) last += 1;
    return [first, last];
  }

  /** The line of a row, made from one that is no longer in view if there is one. */
  #line(row: number, firstColumn: number, lastColumn: number): HTMLElement {
    const line = this.#spare.pop() ?? element('div', { class: 'grid-row', role: 'row' }, element('div', { class: 'grid-number', role: 'rowheader' }));
    const values: RowArray = this.#result.rows[row] ?? [];
    line.style.transform = `translateY(${row * ROW_PX}px)`;
    line.setAttribute('aria-rowindex', String(row + 2));
    line.classList.toggle('odd', row % 2 === 1);
    const number = line.firstElementChild;
    if (number) number.textContent = (row + 1).toLocaleString();
    while (line.children.length - 1 > lastColumn - firstColumn) line.lastElementChild?.remove();
    while (line.children.length - 1 < lastColumn - firstColumn) line.append(element('div', { role: 'gridcell' }));
    for (let column = firstColumn; column < lastColumn; column += 1) {
      const cell = line.children[column - firstColumn + 1];
      if (!(cell instanceof HTMLElement)) continue;
      const value = values[column] ?? null;
      cell.className = `grid-cell ${kindOf(value)}`;
      cell.id = `${this.#prefix}-${row}-${column}`;
      cell.setAttribute('aria-colindex', String(column + 1));
      cell.textContent = cellText(value);
      this.#put(cell, column);
    }
    if (!line.isConnected) this.#body.append(line);
    return line;
  }

  #point(event: PointerEvent): void {
    const [, row, column] = /-(\d+)-(\d+)$/.exec((event.target as HTMLElement).id) ?? [];
    if (row !== undefined && column !== undefined) this.#select(Number(row), Number(column));
  }

  #key(event: KeyboardEvent): void {
    const { rows, columns } = this.#result;
    if (rows.length === 0) return;
    const { row, column } = this.#selected ?? { row: -1, column: 0 };
    const page = Math.max(1, Math.floor(this.#root.clientHeight / ROW_PX) - 2);
    const whole = event.ctrlKey || event.metaKey;
    if (event.key === 'ArrowDown') this.#select(row + 1, column);
    else if (event.key === 'ArrowUp') this.#select(row - 1, column);
    else if (event.key === 'ArrowRight') this.#select(Math.max(0, row), column + 1);
    else if (event.key === 'ArrowLeft') this.#select(Math.max(0, row), column - 1);
    else if (event.key === 'PageDown') this.#select(row + page, column);
    else if (event.key === 'PageUp') this.#select(row - page, column);
    else if (event.key === 'Home') this.#select(whole ? 0 : row, 0);
    else if (event.key === 'End') this.#select(whole ? rows.length - 1 : row, columns.length - 1);
    else if (event.key === 'Enter') this.#inspect();
    else if (event.key === 'c' && whole && this.#selected && !getSelection()?.toString()) {
      void navigator.clipboard.writeText(fullText(rows[row]?.[column] ?? null));
    } else return;
    event.preventDefault();
  }

  #select(row: number, column: number): void {
    const { rows, columns } = this.#result;
    const chosen = { row: clamp(row, rows.length - 1), column: clamp(column, columns.length - 1) };
    this.#selected = chosen;
    this.#listeners.onSelect?.(chosen.row);
    const top = chosen.row * ROW_PX;
    const visible = this.#root.clientHeight - ROW_PX;
    if (top < this.#root.scrollTop) this.#root.scrollTop = top;
    else if (top + ROW_PX > this.#root.scrollTop + visible) this.#root.scrollTop = top + ROW_PX - visible;
    const left = this.#edges[chosen.column] ?? 0;
    const right = this.#gutter + (this.#edges[chosen.column + 1] ?? left);
    if (left < this.#root.scrollLeft) this.#root.scrollLeft = left;
    else if (right > this.#root.scrollLeft + this.#root.clientWidth) this.#root.scrollLeft = right - this.#root.clientWidth;
    this.#render();
  }

  #markSelected(): void {
    this.#body.querySelector('.selected')?.classList.remove('selected');
    const id = this.#selected ? `${this.#prefix}-${this.#selected.row}-${this.#selected.column}` : '';
    document.getElementById(id)?.classList.add('selected');
    if (id) this.#root.setAttribute('aria-activedescendant', id);
    else this.#root.removeAttribute('aria-activedescendant');
  }

  #inspect(): void {
    if (!this.#selected) return;
    const { row, column } = this.#selected;
    this.#listeners.onInspect(this.#result.columns[column] ?? '', this.#result.rows[row]?.[column] ?? null, row);
  }

  /** Drags a column's right edge. */
  #resize(event: PointerEvent): void {
    const handle = event.target as HTMLElement;
    if (!handle.dataset['column']) return;
    event.preventDefault();
    const column = Number(handle.dataset['column']);
    const edges = [...this.#edges];
    const narrowest = (edges[column] ?? 0) + MIN_COLUMN_PX - (edges[column + 1] ?? 0);
    const drag = (move: PointerEvent): void => {
      const shift = Math.max(narrowest, move.clientX - event.clientX);
      this.#edges = edges.map((edge, index) => (index > column ? edge + shift : edge));
      // What a person chose, more rows do not change.
      this.#measured = SAMPLE_ROWS;
      this.#place();
      this.#render();
    };
    // The head is drawn anew on each move, so the handle itself could not keep the pointer.
    addEventListener('pointermove', drag);
    addEventListener('pointerup', () => removeEventListener('pointermove', drag), { once: true });
    addEventListener('pointercancel', () => removeEventListener('pointermove', drag), { once: true });
  }
}

function clamp(index: number, last: number): number {
  return Math.max(0, Math.min(last, index));
}

function kindOf(value: SqlValue): string {
  if (value === null) return 'null';
  if (value instanceof Uint8Array) return 'blob';
  return typeof value === 'string' ? 'text' : 'number';
}

/** What fits into a cell. */
function cellText(value: SqlValue): string {
  if (value === null) return 'NULL';
  if (value instanceof Uint8Array) return `${blobLiteral(value.subarray(0, 12))}${value.length > 12 ? '…' : ''} ${bytes(value.length)}`;
  return String(value).slice(0, CELL_CHARACTERS).replace(/\r\n|[\r\n]/g, ' ↵ ');
}

/** The whole value, to copy and to read. */
export function fullText(value: SqlValue): string {
  return value instanceof Uint8Array ? blobLiteral(value) : String(value ?? 'NULL');
}
