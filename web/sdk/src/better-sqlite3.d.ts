/** What node.ts uses of better-sqlite3, which is an optional peer and brings no types of its own. */
declare module 'better-sqlite3' {
  export default class Database {
    constructor(path: string, options: { timeout: number });
    readonly inTransaction: boolean;
    exec(sql: string): void;
    pragma(source: string): unknown;
    prepare(sql: string): Statement;
    close(): void;
  }

  export interface Statement {
    /** Whether it gives rows. */
    readonly reader: boolean;
    all(params: readonly unknown[]): unknown[];
    run(params: readonly unknown[]): unknown;
  }
}
