/** Questions and details in the browser's own dialogs: Escape closes, focus returns to where it was. */
import { element } from './dom.js';

/** Asks for a line of text; undefined if the person thinks better of it. */
export function ask(title: string, label: string, value: string, action: string): Promise<string | undefined> {
  const input = element('input', { name: 'answer', value, required: true, autocomplete: 'off', spellcheck: 'false', maxlength: 80 });
  return agreed(title, action, false, element('label', {}, label, input)).then((agreed) => {
    const answer = input.value.trim();
    return agreed && answer !== '' ? answer : undefined;
  });
}

/** Asks before something that cannot be undone. */
export function confirmed(title: string, text: string, action: string): Promise<boolean> {
  return agreed(title, action, true, element('p', {}, text));
}

/** Shows a value whole. */
export function show(title: string, text: string): void {
  const copy = element('button', { type: 'button', onclick: () => void navigator.clipboard.writeText(text) }, 'Copy');
  open(title, element('pre', { class: 'value', tabindex: 0 }, text), [element('button', { value: 'close', class: 'primary' }, 'Close'), copy]);
}

/** Shows something, a text or a form, and asks whether to go on with it. */
export function agreed(title: string, action: string, dangerous: boolean, content: HTMLElement): Promise<boolean> {
  const cancel = element('button', { value: 'cancel', formnovalidate: true }, 'Cancel');
  const agree = element('button', { value: 'agree', class: dangerous ? 'danger' : 'primary' }, action);
  // Enter in a field presses the form's first button.
  const dialog = open(title, content, [agree, cancel]);
  if (dangerous) cancel.focus();
  const first = content.querySelector('input, textarea, select');
  if (first instanceof HTMLInputElement) first.select();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'agree')));
}

/** Shows content with buttons of its own beside Close; answers the value of the one that was pressed. */
export function present(title: string, content: HTMLElement, ...buttons: HTMLButtonElement[]): Promise<string> {
  const dialog = open(title, content, [element('button', { value: 'close', class: 'primary' }, 'Close'), ...buttons]);
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue)));
}

function open(title: string, content: HTMLElement, buttons: HTMLElement[]): HTMLDialogElement {
  const heading = element('h2', { id: 'dialog-title' }, title);
  const form = element('form', { method: 'dialog' }, heading, content, element('div', { class: 'buttons' }, ...buttons));
  const dialog = element('dialog', { 'aria-labelledby': 'dialog-title' }, form);
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
