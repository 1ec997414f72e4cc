/**
 * Whether records are sealed, and by which keys: turning it on, another passphrase, other keys.
 *
 * The passphrase is asked for at each opening, and kept nowhere but in the databases that are open. What is remembered in
 * localStorage is only that there is one.
 */
import type { EncryptionStatus } from 'statik-storage/databases';
import { agreed } from '../dialogs.js';
import { byId, element } from '../dom.js';
import { filledIn, labelled, type Field } from '../fields.js';
import { count } from '../format.js';
import type { Part, Workspace } from './workspace.js';

const PASSPHRASE: Field = { name: 'passphrase', label: 'Passphrase', kind: 'password', required: true };
const AGAIN: Field = { name: 'again', label: 'The same again', kind: 'password', required: true };

/** Asks for the passphrase that the records were sealed with. */
export async function askPassphrase(title: string): Promise<string | undefined> {
  const form = element('div', { class: 'fields' }, element('p', {}, 'Without it, sealed records cannot be read; everything else can.'), ...labelled([PASSPHRASE]));
  return await agreed(title, 'Open', false, form) ? filledIn(form, [PASSPHRASE])['passphrase'] as string : undefined;
}

export class EncryptionPart implements Part {
  readonly #workspace: Workspace;
  readonly #reopen: (passphrase: string | undefined) => Promise<void>;

  /** @param reopen opens the databases anew with this passphrase, or none */
  constructor(workspace: Workspace, reopen: (passphrase: string | undefined) => Promise<void>) {
    this.#workspace = workspace;
    this.#reopen = reopen;
  }

  async draw(): Promise<void> {
    const status = await this.#workspace.databases.encryption.status();
    const root = byId('part-encryption', HTMLElement);
    root.dataset['encryption'] = status.enabled ? 'on' : 'off';
    root.replaceChildren(status.enabled ? this.#on(status) : this.#off());
  }

  #off(): HTMLElement {
    return element('article', { class: 'card' },
      element('h3', {}, 'No passphrase'),
      element('p', {}, 'Records are stored in clear, and records that were sealed before cannot be read. With a passphrase, what is written from now on is sealed by AES-256-GCM before it reaches the disk. Times, salience, ids, tags and names stay in clear, since they are searched.'),
      element('div', { class: 'buttons' },
        element('button', { type: 'button', class: 'primary', 'data-testid': 'encrypt', onclick: () => void this.#encrypt() }, 'Set a passphrase'),
        element('button', { type: 'button', 'data-testid': 'unlock', onclick: () => void this.#unlock() }, 'Open with the one there is')));
  }

  #on({ keyIds, current, rotating }: Extract<EncryptionStatus, { enabled: true }>): HTMLElement {
    return element('article', { class: 'card' },
      element('h3', {}, 'Records are sealed'),
      element('p', { 'data-testid': 'keys' }, `Data key ${current} seals; ${count(keyIds.length, 'key')} in all.${rotating ? ' A rotation was begun and has not ended: rotating goes on with it.' : ''}`),
      element('p', {}, 'Rotating makes a new data key and seals all records by it, those too that were in clear. Reading and writing go on meanwhile, and it can be stopped and gone on with.'),
      element('div', { class: 'buttons' },
        element('button', { type: 'button', 'data-testid': 'rotate', onclick: () => void this.#rotate() }, 'Rotate the keys'),
        element('button', { type: 'button', 'data-testid': 'change-passphrase', onclick: () => void this.#change() }, 'Change the passphrase')));
  }

  async #encrypt(): Promise<void> {
    const passphrase = await askNew('Set a passphrase', 'If it is lost, what was sealed is lost: nobody can bring it back.', []);
    if (passphrase === undefined) return;
    await this.#workspace.act('Setting the passphrase', async () => {
      await this.#reopen(passphrase['passphrase']);
      return 'Records are sealed from now on; rotate the keys to seal those that were there';
    });
  }

  async #unlock(): Promise<void> {
    const passphrase = await askPassphrase('Open sealed records');
    if (passphrase === undefined) return;
    await this.#workspace.act('Opening sealed records', async () => {
      await this.#reopen(passphrase);
      return 'Sealed records are open';
    });
  }

  async #change(): Promise<void> {
    const old: Field = { name: 'old', label: 'Passphrase until now', kind: 'password', required: true };
    const filled = await askNew('Change the passphrase', 'The data keys stay the same. If the old passphrase has become known, rotate them too.', [old]);
    if (filled === undefined) return;
    await this.#workspace.act('Changing the passphrase', async () => {
      await this.#workspace.databases.encryption.changeSecret({ passphrase: filled['old']! }, { passphrase: filled['passphrase']! });
      return 'The passphrase was changed';
    });
  }

  async #rotate(): Promise<void> {
    await this.#workspace.act('Rotating the keys', async () => {
      const { databases, transfers } = this.#workspace;
      const { resealed, leftPlain, current } = await transfers.run('Rotating the keys', '', ({ signal, onRecords }) =>
        databases.encryption.rotate({ signal, onProgress: ({ resealed }) => onRecords(resealed) }));
      const plain = leftPlain === 0 ? '' : `; ${count(leftPlain, 'record')} stay in clear, since their values cannot be sealed`;
      return `Sealed ${count(resealed, 'record')} by data key ${current}${plain}`;
    });
  }
}

/** Asks for a new passphrase twice, with further fields before it. */
async function askNew(title: string, text: string, before: readonly Field[]): Promise<Record<string, string> | undefined> {
  const fields = [...before, PASSPHRASE, AGAIN];
  const form = element('div', { class: 'fields' }, element('p', {}, text), ...labelled(fields));
  form.addEventListener('input', () => {
    const { passphrase, again } = filledIn(form, fields);
    form.querySelector<HTMLInputElement>('[name=again]')?.setCustomValidity(passphrase === again ? '' : 'The two differ');
  });
  return await agreed(title, 'Go on', false, form) ? filledIn(form, fields) as Record<string, string> : undefined;
}
