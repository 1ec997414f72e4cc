/**
 * The folder of backups in the origin private file system, `statik-backups`, by its async interface: for every context.
 *
 * Invariants: a name that is listed is a whole backup, since a file gets its name when it is complete (or, where files
 * cannot be renamed, is filled at once); one backup is written at a time, whoever writes it.
 */
import { failure, StatikError } from '../errors.js';
import { hold } from '../locks.js';
import * as field from './fields.js';

const FOLDER = 'statik-backups';
const LOCK = 'statik:backups';
const ENDING = '.json.gz';
/** Of a file that is being written. */
const PART = '.part';

export interface StoredBackup {
  name: string;
  sizeBytes: number;
  /** When it was made, in milliseconds since 1970. */
  modifiedMs: number;
}

/**
 * Writes a backup, and deletes the oldest of the same instance, so that `keep` are there. Answers its name. `signal` ends
 * waiting for others who write; the stream has its own ways to end.
 */
export async function storeBackup(instance: string, timeMs: number, keep: number, stream: ReadableStream<Uint8Array>, signal?: AbortSignal): Promise<string> {
  const release = await hold(LOCK, signal && { signal });
  try {
    const folder = await open();
    const name = `${instance}-${new Date(timeMs).toISOString().replaceAll(':', '-')}${ENDING}`;
    await write(folder, name, stream);
    await tidy(folder, instance, keep);
    return name;
  } catch (error) {
    await stream.cancel(error).catch(() => {
      // It has ended, and what it ended with is the error.
    });
    throw told('storing a backup', error);
  } finally {
    release();
  }
}

/** Newest first, of all instances. */
export async function listBackups(): Promise<StoredBackup[]> {
  try {
    const stored: StoredBackup[] = [];
    for (const { name, handle } of await entries(await open())) {
      const { size, lastModified } = await handle.getFile();
      if (name.endsWith(ENDING) && size > 0) stored.push({ name, sizeBytes: size, modifiedMs: lastModified });
    }
    return stored.sort((a, b) => b.modifiedMs - a.modifiedMs || (a.name < b.name ? 1 : -1));
  } catch (error) {
    throw told('listing the backups', error);
  }
}

/** The file, which is read only as it is used. `NotFound` if there is none. */
export async function readBackupFile(name: string): Promise<Blob> {
  field.text('readBackup', 'name', name);
  try {
    return await (await (await open()).getFileHandle(name)).getFile();
  } catch (error) {
    throw told(`reading backup ${JSON.stringify(name)}`, error);
  }
}

async function open(): Promise<FileSystemDirectoryHandle> {
  if (typeof globalThis.navigator?.storage?.getDirectory !== 'function') {
    throw failure('Unsupported', 'backups are kept in the origin private file system, which this context does not have');
  }
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}

async function entries(folder: FileSystemDirectoryHandle): Promise<{ name: string; handle: FileSystemFileHandle }[]> {
  const found = [];
  for await (const [name, handle] of folder.entries()) if (handle.kind === 'file') found.push({ name, handle: handle as FileSystemFileHandle });
  return found;
}

async function write(folder: FileSystemDirectoryHandle, name: string, stream: ReadableStream<Uint8Array>): Promise<void> {
  const part = await folder.getFileHandle(name + PART, { create: true });
  // Older Safaris write only through handles of workers, and those lock.
  if (typeof part.createWritable !== 'function') throw failure('Unsupported', 'this browser writes no files of the origin private file system but from workers');
  try {
    await stream.pipeTo(await part.createWritable() as WritableStream<Uint8Array>);
    if ('move' in part && typeof part.move === 'function') return await (part.move as (name: string) => Promise<void>).call(part, name);
    // A writable stream changes the file only when it is closed, all at once.
    const whole = await folder.getFileHandle(name, { create: true });
    await (await part.getFile()).stream().pipeTo(await whole.createWritable() as WritableStream<Uint8Array>);
    await folder.removeEntry(name + PART);
  } catch (error) {
    await folder.removeEntry(name + PART).catch(() => {
      // The next backup removes it.
    });
    throw error;
  }
}

/** Removes what a crash has left, and the oldest. The names of an instance are in the order of their times. */
async function tidy(folder: FileSystemDirectoryHandle, instance: string, keep: number): Promise<void> {
  const whole: string[] = [];
  for (const { name, handle } of await entries(folder)) {
    const isWhole = name.endsWith(ENDING) && (await handle.getFile()).size > 0;
    if (!isWhole) await folder.removeEntry(name);
    else if (name.startsWith(`${instance}-`)) whole.push(name);
  }
  for (const name of whole.sort().slice(0, -keep)) await folder.removeEntry(name);
}

function told(doing: string, error: unknown): StatikError {
  const code = error instanceof StatikError ? error.code : error instanceof DOMException && error.name === 'NotFoundError' ? 'NotFound'
    : error instanceof DOMException && error.name === 'QuotaExceededError' ? 'Quota' : 'Io';
  return new StatikError({ code, message: `${doing}: ${error instanceof Error ? error.message : String(error)}` }, { cause: error });
}
