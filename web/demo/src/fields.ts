/** Fields of forms by description: labelled inputs, and what was filled in as values of their kinds. */
import { element } from './dom.js';

export interface Field {
  name: string;
  label: string;
  /** `moment` is a time in milliseconds, `list` texts between commas, `object` an object as JSON. */
  kind: 'text' | 'long' | 'number' | 'moment' | 'list' | 'object' | 'password' | 'choice';
  required?: boolean;
  value?: string;
  min?: number;
  max?: number;
  step?: number | 'any';
  /** Of a `choice`: values with what is shown. */
  choices?: readonly (readonly [value: string, label: string])[];
}

type Control = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

const TYPES: Partial<Record<Field['kind'], string>> = { number: 'number', moment: 'datetime-local', password: 'password' };

export function labelled(fields: readonly Field[]): HTMLElement[] {
  return fields.map((field) => element('label', { class: `field ${field.kind}` }, field.label, control(field)));
}

/** What is filled in, by name. What is empty is missing. */
export function filledIn(form: HTMLElement, fields: readonly Field[]): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const { name, kind } of fields) {
    const text = form.querySelector<Control>(`[name="${name}"]`)?.value ?? '';
    // A passphrase counts with its spaces.
    const given = kind === 'password' ? text : text.trim();
    if (given !== '') values[name] = parsed(kind, given);
  }
  return values;
}

function control(field: Field): Control {
  const { name, kind, required, value, min, max, step, choices = [] } = field;
  if (kind === 'choice') return element('select', { name }, ...choices.map(([value, label]) => element('option', { value }, label)));
  if (kind === 'long' || kind === 'object') {
    const area = element('textarea', { name, required, rows: 3, spellcheck: kind === 'long' ? 'true' : 'false', placeholder: kind === 'object' ? '{ "colour": "red" }' : undefined }, value ?? '');
    if (kind === 'object') area.addEventListener('input', () => area.setCustomValidity(objectProblem(area.value)));
    return area;
  }
  // Without a step, times have no seconds.
  const input = element('input', { name, type: TYPES[kind] ?? 'text', required, value, min, max, step: step ?? (kind === 'moment' ? 1 : undefined), autocomplete: 'off' });
  if (kind === 'list') input.placeholder = 'work, travel';
  return input;
}

function parsed(kind: Field['kind'], text: string): unknown {
  if (kind === 'number') return Number(text);
  if (kind === 'moment') return new Date(text).getTime();
  if (kind === 'list') return text.split(',').map((each) => each.trim()).filter((each) => each !== '');
  return kind === 'object' ? JSON.parse(text) : text;
}

/** Why a text is no object, for the person; empty if it is one. */
function objectProblem(text: string): string {
  if (text.trim() === '') return '';
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? '' : 'An object in JSON is wanted: { "name": "value" }';
  } catch (error) {
    return `This is not JSON: ${String(error)}`;
  }
}
