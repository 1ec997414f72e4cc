/**
 * Rows between SQLite and the caller. They travel flat (values of row 0, then of row 1 …) with the column names once,
 * which is several times cheaper to send than objects, and take their shape where they are used.
 */
import type { SqlParams, SqlValue } from './types.js';

/** How a caller wants its rows. */
export type RowsAs = 'object' | 'array';

/** Some rows of a result. */
export interface Batch {
  columnNames: string[];
  values: SqlValue[];
  /** No rows follow. */
  done: boolean;
}

/** Cuts flat values into rows. Of columns with equal names an object keeps the last. */
export function shape<T>({ columnNames, values }: Batch, rowsAs: RowsAs = 'object'): T[] {
  const width = columnNames.length;
  const rows: unknown[] = [];
  // Assigning to `__proto__` would set the row's prototype instead of a property; fromEntries defines.
  const plain = !columnNames.includes('__proto__');
  for (let start = 0; start < values.length; start += width) {
    if (rowsAs === 'array') {
      rows.push(values.slice(start, start + width));
    } else if (plain) {
      const row: Record<string, SqlValue> = {};
      for (let column = 0; column < width; column++) row[columnNames[column]!] = values[start + column]!;
      rows.push(row);
    } else {
      rows.push(Object.fromEntries(columnNames.map((name, column) => [name, values[start + column]])));
    }
  }
  return rows as T[];
}

/** Parameters as they are best posted: posting a view copies the whole buffer under it, so views get buffers of their own. */
export function portable(params: SqlParams | undefined): SqlParams | undefined {
  if (typeof params !== 'object' || params === null) return params;
  if (Array.isArray(params)) return params.map(tight);
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [name, tight(value as SqlValue)]));
}

/** From this size on, handing a buffer over is cheaper than copying it. */
const TRANSFER_BYTES = 4096;

/** The buffers in `values` that are worth transferring. Only for values that nobody else holds. */
export function buffersOf(values: readonly SqlValue[]): Transferable[] {
  const buffers: Transferable[] = [];
  for (const value of values) {
    if (value instanceof Uint8Array && value.byteLength >= TRANSFER_BYTES) buffers.push(value.buffer as ArrayBuffer);
  }
  return buffers;
}

function tight(value: SqlValue): SqlValue {
  return value instanceof Uint8Array && value.byteLength < value.buffer.byteLength ? value.slice() : value;
}
