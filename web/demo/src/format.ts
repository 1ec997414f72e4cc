/** Numbers and errors as people read them. */
import { StatikError } from 'statik-storage';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(size: number): string {
  const power = Math.min(UNITS.length - 1, size < 1 ? 0 : Math.floor(Math.log10(size) / 3));
  const scaled = size / 1000 ** power;
  return `${scaled.toLocaleString(undefined, { maximumFractionDigits: scaled < 10 && power > 0 ? 1 : 0 })} ${UNITS[power]}`;
}

/** `1 row`, `2 rows`; the plural takes an s. */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString()} ${noun}${number === 1 ? '' : 's'}`;
}

export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** A time in milliseconds, in the person's zone, so that the order of texts is that of times. */
export function moment(ms: number): string {
  return new Date(ms).toLocaleString('sv-SE');
}

/** What a person is told of a failure: the message, and the codes to search for. */
export function explanation(error: unknown): string {
  if (!(error instanceof StatikError)) return error instanceof Error ? error.message : String(error);
  return `${error.message} (${error.sqliteCode ?? error.code})`;
}

/** True if the failure is that somebody cancelled. */
export function isAbort(error: unknown): boolean {
  return (error instanceof StatikError && error.code === 'Aborted') || (error instanceof DOMException && error.name === 'AbortError');
}
