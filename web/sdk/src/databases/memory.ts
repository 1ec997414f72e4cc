/**
 * `statik_memory`: episodes, concepts and skills.
 *
 * An episode happened at a time, matters more or less, and has tags. Queries by time and by tags run on indexes in the
 * order of time; salience orders by an index of its own, or filters what the other two find.
 */
import { failure } from '../errors.js';
import { cursorOf, positionOf } from '../idb/database.js';
import type { Idb, KeyRange, Position } from '../idb/types.js';
import { LARGE_BYTES } from '../quota/quota.js';
import type { IndexedDbMigration } from '../migrations/indexeddb.js';
import { request } from '../migrations/indexeddb.js';
import type { DatabaseShape } from '../migrations/schema.js';
import type { Concept, Episode, EpisodePage, EpisodeQuery, NewConcept, NewEpisode, NewSkill, RecordPage, RecordQuery, Skill } from './types.js';
import * as field from './fields.js';
import { sizeOf } from './size.js';
import { ownFields, RecordForm, type Clear, type SealedStore, type Sealing, type Stored } from './record-form.js';
import { merged, type Spelling } from './merged.js';

/** What `tags` becomes in an index that is ordered by time: `[tag, timestamp]` each. */
const TAG_TIMES = '_tagTimes';
/** What stands for tags that are sealed. */
const BLIND_TAGS = '_tags';

export const MEMORY_MIGRATIONS: readonly IndexedDbMigration[] = [
  {
    version: 1,
    name: 'stores',
    checksum: 'statik_memory 1',
    upgrade: (db) => {
      for (const store of ['episodes', 'concepts', 'skills']) db.createObjectStore(store, { keyPath: 'id' });
    },
    down: (db) => {
      for (const store of ['episodes', 'concepts', 'skills']) db.deleteObjectStore(store);
    },
  },
  {
    version: 2,
    name: 'indexes by time, salience, tags and name',
    checksum: 'statik_memory 2',
    upgrade: async (_, tx) => {
      const episodes = tx.objectStore('episodes');
      episodes.createIndex('timestamp', 'timestamp');
      episodes.createIndex('salience', 'salience');
      episodes.createIndex('tags', TAG_TIMES, { multiEntry: true });
      for (const store of ['concepts', 'skills']) tx.objectStore(store).createIndex('name', 'name');
      await eachRecord(episodes, (episode) => ({ ...episode, ...indexed(episode) }));
    },
    down: async (_, tx) => {
      const episodes = tx.objectStore('episodes');
      for (const index of ['timestamp', 'salience', 'tags']) episodes.deleteIndex(index);
      for (const store of ['concepts', 'skills']) tx.objectStore(store).deleteIndex('name');
      await eachRecord(episodes, ({ [TAG_TIMES]: _, ...episode }) => episode);
    },
  },
];

const NAMED = { keyPath: 'id', indexes: { name: { keyPath: 'name' } } };

export const MEMORY_SHAPE: DatabaseShape = {
  stores: {
    episodes: {
      keyPath: 'id',
      indexes: { timestamp: { keyPath: 'timestamp' }, salience: { keyPath: 'salience' }, tags: { keyPath: TAG_TIMES, multiEntry: true } },
    },
    concepts: NAMED,
    skills: NAMED,
  },
};

/** How many episodes are looked at together where some are left out, at least. */
const LEAST_LOOK = 64;
const MOST_LOOK = 4096;

/** What an episode's indexes are made of. */
function indexed({ timestamp, tags, [BLIND_TAGS]: names = tags }: Stored): Stored {
  return { [TAG_TIMES]: Array.isArray(names) ? names.map((tag) => [tag, timestamp]) : [] };
}

/** What of records lies in clear. Ids are bound as the keys that they are sealed under. */
const EPISODE: Clear = {
  fields: ['id', 'timestamp', 'salience', 'tags', TAG_TIMES],
  bound: ['timestamp', 'salience', 'tags', BLIND_TAGS],
  derived: indexed,
  blind: ({ id, timestamp, salience, tags }, blind) => {
    const clear = { id, timestamp, salience, [BLIND_TAGS]: (tags as string[]).map(blind) };
    return { ...clear, ...indexed(clear) };
  },
};
const CONCEPT: Clear = {
  fields: ['id', 'name'],
  bound: ['name'],
  blind: ({ id, name }, blind) => ({ id, name: blind(name as string) }),
};

/** Replaces every record of a store, within its transaction. */
async function eachRecord(store: IDBObjectStore, change: (record: Stored) => Stored): Promise<void> {
  const opened = store.openCursor();
  for (let cursor = await request(opened); cursor !== null; cursor = await request(opened)) {
    cursor.update(change(cursor.value));
    cursor.continue();
  }
}

/** The stores that hold records with an `id`. */
type StoreName = 'episodes' | 'concepts' | 'skills';

/** Runs a write of about so many bytes; again, if there was no room and there is now. */
export type Guard = <T>(job: () => Promise<T>, bytes: number) => Promise<T>;

export class MemoryDatabase {
  /** @internal */
  readonly sealed: readonly SealedStore[];
  readonly #idb: Idb;
  readonly #guard: Guard;
  readonly #forms: Record<StoreName, RecordForm>;

  /** `guard` runs what writes much. */
  constructor(idb: Idb, sealing: Sealing | undefined, guard: Guard = (job) => job()) {
    this.#idb = idb;
    this.#guard = guard;
    const form = (store: StoreName, clear: Clear) => new RecordForm(idb.name, store, clear, sealing);
    this.#forms = { episodes: form('episodes', EPISODE), concepts: form('concepts', CONCEPT), skills: form('skills', CONCEPT) };
    this.sealed = Object.values(this.#forms).map((form) => ({ idb, primary: 'id', form, keyOf: ({ id }) => id as string }));
  }

  /** Stores an episode, in place of one with the same id. Answers the id. */
  async storeEpisode(episode: NewEpisode): Promise<string> {
    return this.#store('episodes', asEpisode('storeEpisode', episode));
  }

  /**
   * As `storeEpisode` of each; all of them or none. If there is no room, what can be pruned is, and they are written once
   * more, so they must not be changed before this is over. Then it fails with `StorageQuotaExceeded`.
   */
  async storeEpisodes(episodes: readonly NewEpisode[]): Promise<string[]> {
    if (!Array.isArray(episodes)) throw failure('Invalid', `storeEpisodes: an array was expected, not ${typeof episodes}`);
    const stored = (episodes as readonly NewEpisode[]).map((episode, index) => asEpisode(`storeEpisodes, episode ${index}`, episode));
    const writes = stored.map((fields) => ({ store: 'episodes', put: this.#forms.episodes.toStored(fields, fields.id as string) }));
    await this.#guard(() => this.#idb.write(writes), sizeTogether(writes));
    return stored.map(({ id }) => id as string);
  }

  async getEpisode(id: string): Promise<Episode | undefined> {
    return this.#get('episodes', id);
  }

  /** Changes some fields of an episode, those that are not undefined; `NotFound` if there is none. */
  async updateEpisode(id: string, changes: Partial<NewEpisode>): Promise<Episode> {
    return this.#update('episodes', id, changes, (fields) => asEpisode('updateEpisode', fields));
  }

  /** Whether there was one. */
  async deleteEpisode(id: string): Promise<boolean> {
    return this.#delete('episodes', id);
  }

  async countEpisodes(query: Pick<EpisodeQuery, 'from' | 'to'> = {}): Promise<number> {
    const { from, to } = times('countEpisodes', field.record('countEpisodes', query));
    if (from !== undefined && to !== undefined && from > to) return 0;
    return this.#idb.count('episodes', from === undefined && to === undefined ? {} : { index: 'timestamp', range: bounds(from, to) });
  }

  async queryEpisodes(query: EpisodeQuery = {}): Promise<EpisodePage> {
    const doing = 'queryEpisodes';
    const form = this.#forms.episodes;
    const wanted = wantedOf(doing, query, (tag) => form.spellings(tag));
    const { by, order, limit, accepts, isEmpty } = wanted;
    const direction = order === 'asc' ? 'next' : 'prev';
    let after: Position | undefined = query.cursor === undefined ? undefined : positionOf(query.cursor, doing);
    if (isEmpty) return { items: [] };
    // All pages come from one tag's index.
    const { index, ranges, tag } = await this.#source(wanted, Array.isArray(after?.key) ? after.key[0] : undefined);
    if (after !== undefined && !isOf(after, tag)) throw field.wrong(doing, 'cursor', query.cursor, 'one of the same query');
    const place = (stored: Stored) => positionIn(stored, by, tag);
    const items: Episode[] = [];
    for (let look = limit; ; look = Math.min(MOST_LOOK, Math.max(LEAST_LOOK, look * 2))) {
      const page = await merged<Stored>(this.#idb, 'episodes', { index, direction, limit: look, ...(after && { after }) }, ranges, place);
      for (const stored of page.items) {
        if (!accepts(stored)) continue;
        items.push(form.fromStored<Episode>(stored, stored.id as string));
        if (items.length === limit) return { items, cursor: cursorOf(place(stored)) };
      }
      if (page.last === undefined) return { items };
      after = page.last;
    }
  }

  async storeConcept(concept: NewConcept): Promise<string> {
    return this.#store('concepts', named('storeConcept', concept));
  }

  async getConcept(id: string): Promise<Concept | undefined> {
    return this.#get('concepts', id);
  }

  async updateConcept(id: string, changes: Partial<NewConcept>): Promise<Concept> {
    return this.#update('concepts', id, changes, (fields) => named('updateConcept', fields));
  }

  async deleteConcept(id: string): Promise<boolean> {
    return this.#delete('concepts', id);
  }

  async countConcepts(): Promise<number> {
    return this.#idb.count('concepts');
  }

  async queryConcepts(query: RecordQuery = {}): Promise<RecordPage<Concept>> {
    return this.#query('concepts', query);
  }

  async storeSkill(skill: NewSkill): Promise<string> {
    return this.#store('skills', named('storeSkill', skill));
  }

  async getSkill(id: string): Promise<Skill | undefined> {
    return this.#get('skills', id);
  }

  async updateSkill(id: string, changes: Partial<NewSkill>): Promise<Skill> {
    return this.#update('skills', id, changes, (fields) => named('updateSkill', fields));
  }

  async deleteSkill(id: string): Promise<boolean> {
    return this.#delete('skills', id);
  }

  async countSkills(): Promise<number> {
    return this.#idb.count('skills');
  }

  async querySkills(query: RecordQuery = {}): Promise<RecordPage<Skill>> {
    return this.#query('skills', query);
  }

  async #store(store: StoreName, fields: Stored): Promise<string> {
    const id = fields.id as string;
    await this.#idb.put(store, this.#forms[store].toStored(fields, id));
    return id;
  }

  async #get<T>(store: StoreName, id: string): Promise<T | undefined> {
    const stored = await this.#idb.get<Stored>(store, field.text(`reading from ${store}`, 'id', id));
    return stored && this.#forms[store].fromStored<T>(stored, id);
  }

  async #update<T>(store: StoreName, id: string, changes: object, check: (fields: Stored) => Stored): Promise<T> {
    const doing = `updating a record of ${store}`;
    const fields = Object.entries(ownFields(doing, field.record(doing, changes))).filter(([, value]) => value !== undefined);
    const given: Stored = Object.fromEntries(fields.map(([name, value]) => [name, field.cloned(doing, name, value)]));
    if ('id' in given && given.id !== id) throw field.wrong(doing, 'id', given.id, `the record's own, ${JSON.stringify(id)}`);
    const form = this.#forms[store];
    const changed = await this.#idb.transaction([store], 'readwrite', async (tx) => {
      const stored = await request<Stored | undefined>(tx.objectStore(store).get(field.text(doing, 'id', id)));
      if (stored === undefined) throw failure('NotFound', `${doing}: there is none with id ${JSON.stringify(id)}`);
      const fields = check({ ...form.fromStored<Stored>(stored, id), ...given, id });
      await request(tx.objectStore(store).put(form.toStored(fields, id)));
      return fields;
    });
    return form.fromStored<T>(changed, id);
  }

  async #delete(store: StoreName, id: string): Promise<boolean> {
    const key = field.text(`deleting from ${store}`, 'id', id);
    return this.#idb.transaction([store], 'readwrite', async (tx) => {
      const found = await request(tx.objectStore(store).count(key));
      await request(tx.objectStore(store).delete(key));
      return found > 0;
    });
  }

  async #query<T>(store: StoreName, query: RecordQuery): Promise<RecordPage<T>> {
    const doing = `querying ${store}`;
    const { name, limit = 100, cursor } = field.record(doing, query) as RecordQuery;
    const form = this.#forms[store];
    const after = cursor === undefined ? undefined : positionOf(cursor, doing);
    const asked = { limit: field.count(doing, 'limit', limit), ...(after && { after }) };
    const names = name === undefined ? undefined : form.spellings(field.text(doing, 'name', name));
    const page = names === undefined
      ? await this.#idb.query<Stored>(store, asked)
      : await merged<Stored>(this.#idb, store, { ...asked, index: 'name', direction: 'next' }, names.map((head) => ({ head, range: head })), ({ id }) => ({ key: name!, primary: id as string }));
    const items = page.items.map((stored) => form.fromStored<T>(stored, stored.id as string));
    return { items, ...(page.last !== undefined && { cursor: cursorOf(page.last) }) };
  }

  /** The index that finds the fewest, in the order that is asked for. `used` is the tag of the page before. */
  async #source({ from, to, tags, salience, by }: Wanted, used: unknown): Promise<{ index: string; ranges: Spelling[]; tag?: string }> {
    if (by === 'salience') return { index: 'salience', ranges: [{ range: bounds(salience.min, salience.max) }] };
    if (tags.length === 0) return { index: 'timestamp', ranges: [{ range: bounds(from, to) }] };
    const rangesOf = (tag: string) => this.#forms.episodes.spellings(tag).map((head) => ({ head, range: { lower: [head, from ?? -Infinity], upper: [head, to ?? Infinity] } }));
    const counted = async (tag: string) => {
      const counts = await Promise.all(rangesOf(tag).map(({ range }) => this.#idb.count('episodes', { index: 'tags', range })));
      return { tag, count: counts.reduce((sum, each) => sum + each) };
    };
    const known = tags.find((tag) => tag === used) ?? (tags.length === 1 ? tags[0] : undefined);
    const tag = known ?? (await Promise.all(tags.map(counted))).reduce((least, each) => each.count < least.count ? each : least).tag;
    return { index: 'tags', ranges: rangesOf(tag), tag };
  }
}

/** A query with its defaults, and what is to be looked at in each record that the index finds. */
interface Wanted {
  from: number | undefined;
  to: number | undefined;
  tags: string[];
  salience: { min?: number; max?: number };
  by: 'timestamp' | 'salience';
  order: 'asc' | 'desc';
  limit: number;
  accepts(stored: Stored): boolean;
  /** Bounds enclose nothing. */
  isEmpty: boolean;
}

/** `spellings` are the ways in which a tag may be stored. */
function wantedOf(doing: string, query: EpisodeQuery, spellings: (tag: string) => string[]): Wanted {
  const { tags = [], salience = {}, by = 'timestamp', order = 'desc', limit = 100 } = field.record(doing, query) as EpisodeQuery;
  const { from, to } = times(doing, query);
  const all = field.texts(doing, 'tags', tags);
  if (typeof salience !== 'object' || salience === null) throw field.wrong(doing, 'salience', salience, 'an object with min or max');
  for (const bound of ['min', 'max'] as const) if (salience[bound] !== undefined) field.share(doing, `salience.${bound}`, salience[bound]);
  const { min = 0, max = 1 } = salience;
  const spelled = all.map(spellings);
  const accepts = (stored: Stored) => {
    const [time, matters, has] = [stored.timestamp as number, stored.salience as number, (stored[BLIND_TAGS] ?? stored.tags) as string[]];
    return time >= (from ?? -Infinity) && time <= (to ?? Infinity) && matters >= min && matters <= max
      && spelled.every((ways) => ways.some((tag) => has.includes(tag)));
  };
  return {
    from, to, tags: all, salience,
    by: field.oneOf(doing, 'by', by, ['timestamp', 'salience']),
    order: field.oneOf(doing, 'order', order, ['asc', 'desc']),
    limit: field.count(doing, 'limit', limit),
    accepts,
    isEmpty: min > max || (from ?? -Infinity) > (to ?? Infinity),
  };
}

function times(doing: string, { from, to }: Pick<EpisodeQuery, 'from' | 'to'>) {
  if (from !== undefined) field.time(doing, 'from', from);
  if (to !== undefined) field.time(doing, 'to', to);
  return { from, to };
}

/** Bounds that are met count. */
function bounds(lower: number | undefined, upper: number | undefined): KeyRange {
  return { ...(lower !== undefined && { lower }), ...(upper !== undefined && { upper }) };
}

/** Whether a position can be in the index of a tag, or in one of numbers. */
function isOf({ key, primary }: Position, tag: string | undefined): boolean {
  const [head, own] = tag === undefined ? [undefined, key] : Array.isArray(key) && key.length === 2 ? key : [];
  return head === tag && typeof own === 'number' && typeof primary === 'string';
}

/** Where an episode is in the index that found it. */
function positionIn(stored: Stored, by: Wanted['by'], tag: string | undefined): Position {
  const own = stored[by] as number;
  return { key: tag === undefined ? own : [tag, own], primary: stored.id as string };
}

/** Of a small batch it takes them to be like the first: to measure all would cost more than it is good for. */
function sizeTogether(writes: readonly { put: Stored }[]): number {
  const likeTheFirst = sizeOf(writes[0]?.put) * writes.length;
  return likeTheFirst < LARGE_BYTES ? likeTheFirst : writes.reduce((sum, { put }) => sum + sizeOf(put), 0);
}

function asEpisode(doing: string, episode: object): Stored {
  const fields = ownFields(doing, field.record(doing, episode));
  const { id = crypto.randomUUID(), timestamp = Date.now(), tags = [], salience } = fields;
  return {
    ...fields,
    id: field.text(doing, 'id', id),
    timestamp: field.time(doing, 'timestamp', timestamp),
    salience: field.share(doing, 'salience', salience),
    tags: field.texts(doing, 'tags', tags),
  };
}

function named(doing: string, given: object): Stored {
  const fields = ownFields(doing, field.record(doing, given));
  const { id = crypto.randomUUID(), name } = fields;
  return { ...fields, id: field.text(doing, 'id', id), name: field.text(doing, 'name', name) };
}
