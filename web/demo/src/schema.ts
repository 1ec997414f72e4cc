/** What is in a database: its tables and views with their columns, without what SQLite keeps for itself. */
import type { Database } from 'statik-storage';

export interface Column {
  name: string;
  type: string;
  /** Part of the primary key. */
  key: boolean;
  notNull: boolean;
}

export interface Table {
  name: string;
  type: 'table' | 'view' | 'virtual';
  columns: Column[];
  /** Why the columns cannot be told, for instance because a module is missing. */
  problem?: string;
}

/** An example query that the database itself brings along, in its table `example`. */
export interface Example {
  title: string;
  sql: string;
}

export async function readTables(db: Database): Promise<Table[]> {
  // A shadow table holds the inside of a virtual one.
  const found = await db.all<{ name: string; type: Table['type'] }>(
    "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name COLLATE NOCASE",
  );
  const tables: Table[] = [];
  for (const { name, type } of found) tables.push({ name, type, ...(await readColumns(db, name)) });
  return tables;
}

async function readColumns(db: Database, table: string): Promise<Pick<Table, 'columns' | 'problem'>> {
  try {
    const rows = await db.all<{ name: string; type: string; pk: number; notnull: number }>(
      'SELECT name, type, pk, "notnull" FROM pragma_table_xinfo(?) WHERE hidden <> 1', [table],
    );
    return { columns: rows.map(({ name, type, pk, notnull }) => ({ name, type, key: pk > 0, notNull: notnull > 0 })) };
  } catch (error) {
    return { columns: [], problem: error instanceof Error ? error.message : String(error) };
  }
}

/** The examples that come with the database, if its tables say there are some. */
export async function readExamples(db: Database, tables: readonly Table[]): Promise<Example[]> {
  const table = tables.find(({ name }) => name === 'example');
  const has = (wanted: string): boolean => table?.columns.some(({ name }) => name === wanted) ?? false;
  if (!has('title') || !has('sql')) return [];
  return db.all<Example>('SELECT CAST(title AS TEXT) AS title, CAST(sql AS TEXT) AS sql FROM example WHERE sql IS NOT NULL LIMIT 50');
}
