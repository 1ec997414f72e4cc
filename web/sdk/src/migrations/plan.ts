/**
 * What a list of migrations has to do to a database whose history is known: the one judgement that SQLite's and
 * IndexedDB's runners share. It reads no database and changes none.
 *
 * A history is the list of all steps that were ever taken, up and down. Read from its beginning it gives the versions that
 * stand now, so it can be checked as a whole. Invariants: a plan leads from the version that stands to the target without a
 * gap; whatever is refused is refused before the first step.
 */
import { failure, StatikError } from '../errors.js';
import { toHex } from '../hex.js';
import type { Migration, MigrationEntry, MigrationProgress } from '../types.js';

/** A migration that was found good, with its checksum. `Step` is what takes it: a function, or SQL text. */
export interface Prepared<Step> {
  readonly version: number;
  /** Empty where the app gave none. */
  readonly name: string;
  readonly checksum: string;
  readonly up: Step;
  readonly down: Step | undefined;
}

/** One migration in one direction. */
export interface PlannedStep<Step> extends Pick<Prepared<Step>, 'version' | 'name' | 'checksum'> {
  readonly direction: 'up' | 'down';
  readonly run: Step;
}

/** The steps that lead from the version that stands to the one wanted; none if they are the same. */
export interface Plan<Step> {
  readonly from: number;
  readonly to: number;
  readonly steps: readonly PlannedStep<Step>[];
}

/** What a step can be, by `typeof`. */
type Form = 'function' | 'string';

/**
 * Checks a list of migrations, and gives each its checksum. What is wrong fails with `Invalid`, naming the entry. Without
 * WebCrypto (a page that is no secure context) each migration must bring its checksum, or this fails with `Unsupported`.
 */
export async function prepare<Step>(migrations: readonly Migration<Step>[], forms: readonly Form[] = ['function']): Promise<Prepared<Step>[]> {
  if (!Array.isArray(migrations)) throw failure('Invalid', `migrate: migrations must be an array; it is ${kind(migrations)}`);
  const checked = Array.from(migrations as readonly unknown[], (given, index) => check<Step>(given, index, forms));
  return Promise.all(checked.map(async (each) => ({ ...each, checksum: each.checksum ?? await digest(each) })));
}

/**
 * What leads from the version that stands to `target` (default: the newest that is known). `database` is its name, for
 * messages. Fails with
 * - `Corrupt`: the history contradicts itself;
 * - `Unsupported`: the database is of a newer app, or a migration on the way down has no `down`;
 * - `Conflict`: a migration that stands is not what it was when it was applied;
 * - `Invalid`: there is no such target.
 */
export function plan<Step>(
  migrations: readonly Prepared<Step>[], history: readonly MigrationEntry[], target = migrations.length, database = '',
): Plan<Step> {
  const standing = replay(history, database);
  const from = standing.length;
  const known = migrations.length;
  if (from > known) {
    throw failure('Unsupported', `database "${database}" is at schema version ${from}, written by a newer app: this one knows versions up to ${known}; nothing was changed`, database);
  }
  if (!Number.isInteger(target) || target < 0 || target > known) {
    throw failure('Invalid', `option target must be a version from 0 to ${known}; it is ${String(target)}`);
  }
  standing.forEach((entry, index) => {
    const { checksum } = migrations[index]!;
    if (entry.checksum === checksum) return;
    throw failure('Conflict', `${label(entry)} was changed after it was applied to database "${database}": its checksum was ${entry.checksum} and is now ${checksum}; nothing was changed`, database);
  });
  if (target >= from) {
    return { from, to: target, steps: migrations.slice(from, target).map((each) => stepOf(each, 'up', each.up)) };
  }
  const steps = migrations.slice(target, from).reverse().map((each) => {
    if (each.down !== undefined) return stepOf(each, 'down', each.down);
    throw failure('Unsupported', `${label(each)} has no down step, so database "${database}" cannot go from version ${from} to ${target}; nothing was changed`, database);
  });
  return { from, to: target, steps };
}

/** The version that a history leads to: 0 for none. `Corrupt` if it contradicts itself. */
export function versionOf(history: readonly MigrationEntry[], database = ''): number {
  return replay(history, database).length;
}

/** What a database has stored as its history, checked entry by entry; `Corrupt` if that is none. */
export function historyOf(stored: unknown, database = ''): MigrationEntry[] {
  if (!Array.isArray(stored)) throw damaged(database, `an array was expected, and ${kind(stored)} came`);
  return Array.from(stored as readonly unknown[], (found, index) => {
    const { version, name, checksum, appliedMs, direction } = (found ?? {}) as Record<string, unknown>;
    const good = Number.isSafeInteger(version) && typeof name === 'string' && typeof checksum === 'string'
      && typeof appliedMs === 'number' && Number.isFinite(appliedMs) && (direction === 'up' || direction === 'down');
    if (!good) throw damaged(database, `entry ${index} is no { version, name, checksum, appliedMs, direction }`);
    return { version: version as number, name, checksum, appliedMs, direction };
  });
}

/** What the history is to say of a step that was just taken. */
export function entryOf({ version, name, checksum, direction }: PlannedStep<unknown>): MigrationEntry {
  return { version, name, checksum, appliedMs: Date.now(), direction };
}

/** What the app is to be told before a step of a plan. */
export function progressOf({ steps }: Plan<unknown>, index: number): MigrationProgress {
  const { version, name, direction } = steps[index]!;
  return { step: index + 1, of: steps.length, version, name, direction };
}

/** What a step failed with, as an error that says which one it was. It keeps its code and what else it knew. */
export function stepFailure(step: PlannedStep<unknown>, database: string, thrown: unknown): StatikError {
  const error = StatikError.from(thrown);
  const message = `${label(step)}, ${step.direction}, of database "${database}" failed, and nothing was changed: ${error.message}`;
  return new StatikError({ ...error.toJSON(), message }, { cause: thrown });
}

/** The entries of the versions that stand, version 1 first. */
function replay(history: readonly MigrationEntry[], database: string): MigrationEntry[] {
  const standing: MigrationEntry[] = [];
  history.forEach((entry, index) => {
    const expected = entry.direction === 'up' ? standing.length + 1 : standing.length;
    if (expected === 0 || entry.version !== expected) {
      throw damaged(database, `entry ${index} says version ${entry.version} ${entry.direction}, where version ${standing.length} stood`);
    }
    if (entry.direction === 'up') standing.push(entry);
    else standing.pop();
  });
  return standing;
}

function check<Step>(given: unknown, index: number, forms: readonly Form[]): Omit<Prepared<Step>, 'checksum'> & { checksum: string | undefined } {
  const wrong = (what: string) => failure('Invalid', `migrate: migrations[${index}]${what}`);
  if (typeof given !== 'object' || given === null) throw wrong(` must be an object; it is ${kind(given)}`);
  const { version, name, checksum, upgrade, up, down } = given as Record<string, unknown>;
  if (version !== index + 1) {
    throw wrong(`.version must be ${index + 1}: versions count from 1, in order and without gaps; it is ${String(version)}`);
  }
  if (name !== undefined && typeof name !== 'string') throw wrong(`.name must be a string; it is ${kind(name)}`);
  if (checksum !== undefined && (typeof checksum !== 'string' || checksum === '')) {
    throw wrong(`.checksum must be a string that is not empty; it is ${checksum === '' ? 'empty' : kind(checksum)}`);
  }
  if (upgrade !== undefined && up !== undefined) throw wrong(' has both upgrade and up, which are two names of one thing');
  const isStep = (value: unknown) => forms.some((form) => typeof value === form);
  const expected = forms.map((form) => (form === 'string' ? 'SQL text' : 'a function')).join(' or ');
  const forth = upgrade ?? up;
  if (!isStep(forth)) throw wrong(`.upgrade must be ${expected}; it is ${kind(forth)}`);
  if (down !== undefined && !isStep(down)) throw wrong(`.down must be ${expected}; it is ${kind(down)}`);
  return { version: index + 1, name: name ?? '', checksum, up: forth as Step, down: down as Step | undefined };
}

/** SHA-256, in hexadecimal, over the version, the name and the text of what is run. */
async function digest({ version, name, up, down }: Omit<Prepared<unknown>, 'checksum'>): Promise<string> {
  const text = JSON.stringify([version, name, String(up), down === undefined ? null : String(down)]);
  if (globalThis.crypto?.subtle === undefined) {
    throw failure('Unsupported', `migrate: there is no WebCrypto here (no secure context) to make checksums with; give migration ${version} its option checksum`);
  }
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))));
}

function stepOf<Step>({ version, name, checksum }: Prepared<Step>, direction: 'up' | 'down', run: Step): PlannedStep<Step> {
  return { version, name, checksum, direction, run };
}

function label({ version, name }: { version: number; name: string }): string {
  return name === '' ? `migration ${version}` : `migration ${version} (${name})`;
}

function damaged(database: string, what: string): StatikError {
  return failure('Corrupt', `the migration history of database "${database}" is damaged: ${what}; nothing was changed`, database);
}

function kind(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
}
