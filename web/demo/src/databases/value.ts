/** Any value that structured clone takes, as a person reads it: on one line, and as a tree that says what each part is. */
import { element } from '../dom.js';
import { bytes, moment } from '../format.js';

/** Parts of one level that are shown. */
const MOST_PARTS = 200;
/** How deep the one line goes. */
const BRIEF_DEPTH = 3;
const BRIEF_CHARACTERS = 200;
const SHOWN_BYTES = 64;

type Parts = [name: string, value: unknown][];

/** A value on one line, cut where it gets long. */
export function brief(value: unknown, depth = BRIEF_DEPTH): string {
  const parts = partsOf(value);
  if (parts === undefined) return typeof value === 'string' && depth < BRIEF_DEPTH ? JSON.stringify(value.slice(0, BRIEF_CHARACTERS)) : text(value);
  if (depth === 0) return `${typeName(value)} …`;
  let line = '';
  for (const [name, part] of parts) {
    if (line.length > BRIEF_CHARACTERS) return `${line}, …`;
    line += `${line && ', '}${Array.isArray(value) ? '' : `${name}: `}${brief(part, depth - 1)}`;
  }
  if (depth === BRIEF_DEPTH && isPlain(value)) return line;
  return Array.isArray(value) ? `[${line}]` : isPlain(value) ? `{ ${line} }` : `${typeName(value)} { ${line} }`;
}

/** A value as a tree. What is inside of something is made when that is opened, so that cycles do no harm. */
export function tree(value: unknown): HTMLElement {
  const parts = partsOf(value) ?? [['', value]];
  const rows = parts.slice(0, MOST_PARTS).map(([name, part]) => element('li', {}, row(name, part)));
  if (parts.length > MOST_PARTS) rows.push(element('li', { class: 'quiet' }, `… ${(parts.length - MOST_PARTS).toLocaleString()} more`));
  return element('ul', { class: 'tree' }, ...rows);
}

function row(name: string, value: unknown): HTMLElement {
  const label = [element('span', { class: 'tree-name' }, name), element('span', { class: 'tree-type' }, typeName(value))];
  if (partsOf(value) === undefined) return element('div', { class: 'tree-row' }, ...label, element('span', { class: 'tree-value' }, isTime(name, value) ? `${value} (${moment(value)})` : text(value)));
  const details = element('details', {}, element('summary', { class: 'tree-row' }, ...label, element('span', { class: 'tree-value quiet' }, brief(value, 1))));
  details.addEventListener('toggle', () => details.childElementCount === 1 && details.append(tree(value)));
  return details;
}

/** Whether a number is a time, by the names that Statik gives to those. */
function isTime(name: string, value: unknown): value is number {
  return typeof value === 'number' && (name === 'timestamp' || name.endsWith('Ms'));
}

/** What a value is: `text`, `Date`, `Map of 2`, `Float32Array of 4`. */
function typeName(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== 'object') return typeof value === 'string' ? 'text' : typeof value;
  const name = Object.prototype.toString.call(value).slice(8, -1);
  const size = value instanceof Map || value instanceof Set ? value.size
    : ArrayBuffer.isView(value) && 'length' in value ? value.length : Array.isArray(value) ? value.length : undefined;
  return size === undefined ? name : `${name} of ${Number(size).toLocaleString()}`;
}

/** What is inside; undefined for what is shown as a text. */
function partsOf(value: unknown): Parts | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (Array.isArray(value)) return value.map((part, index) => [String(index), part]);
  if (value instanceof Map) return [...value].map(([key, part]) => [brief(key, 1), part]);
  if (value instanceof Set) return [...value].map((part, index) => [String(index), part]);
  return isPlain(value) ? Object.entries(value) : undefined;
}

function isPlain(value: unknown): boolean {
  return Object.prototype.toString.call(value) === '[object Object]';
}

function text(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'string') return value;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'no valid time' : moment(value.getTime());
  if (value instanceof ArrayBuffer || value instanceof DataView || value instanceof Uint8Array) return hexadecimal(value);
  // As many digits as there are; the others are those of the conversion.
  if (value instanceof Float32Array) return Array.from(value.subarray(0, SHOWN_BYTES), (each) => String(Number(each.toPrecision(7)))).join(', ');
  if (ArrayBuffer.isView(value)) return Array.from((value as Float64Array).slice(0, SHOWN_BYTES), String).join(', ');
  if (value instanceof Blob) return `${bytes(value.size)} ${value.type}`;
  return String(Object.is(value, -0) ? '-0' : value);
}

function hexadecimal(value: ArrayBuffer | DataView | Uint8Array): string {
  const all = value instanceof ArrayBuffer ? new Uint8Array(value) : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  const shown = Array.from(all.subarray(0, SHOWN_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return all.length > SHOWN_BYTES ? `${shown} … ${bytes(all.length)}` : shown;
}
