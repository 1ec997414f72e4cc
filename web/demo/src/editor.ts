/**
 * The SQL editor: a plain textarea, so that everything people and their tools expect of one works, over a copy of its
 * text in colours. Ctrl or Cmd with Enter runs; Tab indents when something is selected, and else moves on as everywhere.
 */
import { element } from './dom.js';
import { tokens, type StatementRange } from './sql.js';

/** Longer texts stay uncoloured, so that typing stays smooth. */
const MAX_COLOURED_CHARACTERS = 40_000;

export class Editor {
  readonly #input: HTMLTextAreaElement;
  readonly #colours: HTMLElement;

  constructor(input: HTMLTextAreaElement, colours: HTMLElement, { onRun, onChange }: { onRun: () => void; onChange: (sql: string) => void }) {
    this.#input = input;
    this.#colours = colours;
    input.addEventListener('input', () => {
      this.#colour();
      onChange(input.value);
    });
    input.addEventListener('scroll', () => this.#follow(), { passive: true });
    input.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        onRun();
      } else if (event.key === 'Tab' && input.selectionStart !== input.selectionEnd) {
        event.preventDefault();
        this.#indent(event.shiftKey);
      }
    });
  }

  /** What to run: the selection, if there is one, and where it begins. */
  script(): { sql: string; start: number } {
    const { value, selectionStart, selectionEnd } = this.#input;
    return selectionStart === selectionEnd ? { sql: value, start: 0 } : { sql: value.slice(selectionStart, selectionEnd), start: selectionStart };
  }

  get text(): string {
    return this.#input.value;
  }

  set text(sql: string) {
    this.#input.value = sql;
    this.#input.setSelectionRange(0, 0);
    this.#input.scrollTop = 0;
    this.#colour();
  }

  /** Replaces the text as if typed, so that undo brings back what was there. */
  replace(sql: string): void {
    if (sql === this.#input.value) return;
    this.#input.focus();
    this.#input.select();
    this.#type(sql);
    this.#input.setSelectionRange(0, 0);
  }

  /** Line and column, from 1, of a place in the text. */
  position(offset: number): { line: number; column: number } {
    const before = this.#input.value.slice(0, offset).split('\n');
    return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
  }

  /** Underlines what a failure is about. */
  mark(range: StatementRange): void {
    this.#colour(range);
  }

  #indent(outwards: boolean): void {
    const { value, selectionStart, selectionEnd } = this.#input;
    const start = value.lastIndexOf('\n', selectionStart - 1) + 1;
    const block = value.slice(start, selectionEnd);
    const moved = outwards ? block.replace(/^ {1,2}/gm, '') : block.replace(/^/gm, '  ');
    this.#input.setSelectionRange(start, selectionEnd);
    this.#type(moved);
    this.#input.setSelectionRange(start, start + moved.length);
  }

  /** execCommand is old, and the one way by which a page can change a field's text and keep its undo. */
  #type(text: string): void {
    const typed = document.execCommand('insertText', false, text);
    if (typed) return;
    this.#input.setRangeText(text, this.#input.selectionStart, this.#input.selectionEnd, 'end');
    this.#input.dispatchEvent(new InputEvent('input'));
  }

  #colour(marked?: StatementRange): void {
    const sql = this.#input.value;
    const coloured = sql.length <= MAX_COLOURED_CHARACTERS;
    this.#input.classList.toggle('plain', !coloured);
    const parts: (Node | string)[] = [];
    for (const { kind, start, end } of coloured ? tokens(sql) : []) {
      const text = sql.slice(start, end);
      const isMarked = marked && start < marked.end && end > marked.start && kind !== 'space';
      if (kind === 'space' || (kind === 'word' && !isMarked)) parts.push(text);
      else parts.push(element('span', { class: isMarked ? `sql-${kind} marked` : `sql-${kind}` }, text));
    }
    // A last line without text has no height of its own.
    this.#colours.replaceChildren(...parts, '\n');
    this.#follow();
  }

  #follow(): void {
    this.#colours.style.transform = `translate(${-this.#input.scrollLeft}px, ${-this.#input.scrollTop}px)`;
  }
}
