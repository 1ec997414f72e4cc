/** Questions and details in the browser's own dialogs: Escape closes, focus returns to where it was. */
import { element } from './dom.js';

/** Asks for a line of text; undefined if the person thinks better of it. */
export function ask(title: string, label: string, value: string, action: string): Promise<string | undefined> {
  const input = element('input', { name: 'answer', value, required: true, autocomplete: 'off', spellcheck: 'false', maxlength: 80 });
  return question(title, action, false, element('label', {}, label, input)).then((agreed) => {
    const answer = input.value.trim();
    return agreed && answer !== '' ? answer : undefined;
  });
}

/** Asks before something that cannot be undone. */
export function confirmed(title: string, text: string, action: string): Promise<boolean> {
  return question(title, action, true, element('p', {}, text));
}

/** Shows a value whole. */
export function show(title: string, text: string): void {
  const copy = element('button', { type: 'button', onclick: () => void navigator.clipboard.writeText(text) }, 'Copy');
  open(title, element('pre', { class: 'value', tabindex: 0 }, text), [element('button', { value: 'close', class: 'primary' }, 'Close'), copy]);
}

function question(title: string, action: string, dangerous: boolean, content: HTMLElement): Promise<boolean> {
  const cancel = element('button', { value: 'cancel', formnovalidate: true }, 'Cancel');
  const agree = element('button', { value: 'agree', class: dangerous ? 'danger' : 'primary' }, action);
  // Enter in a field presses the form's first button.
  const dialog = open(title, content, [agree, cancel]);
  if (dangerous) cancel.focus();
  content.querySelector('input')?.select();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'agree')));
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
