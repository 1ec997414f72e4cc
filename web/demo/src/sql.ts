/**
 * SQL as text: its tokens, and where one statement ends and the next begins.
 *
 * Splits as SQLite's shell does: a semicolon ends a statement, except within strings, comments, quoted names and the
 * body of a trigger. Knows nothing of what is valid; that is SQLite's to say.
 */

export type TokenKind = 'space' | 'comment' | 'string' | 'name' | 'word' | 'keyword' | 'number' | 'parameter' | 'symbol';

export interface Token {
  kind: TokenKind;
  start: number;
  end: number;
}

/** A statement within a script, by UTF-16 offsets. */
export interface StatementRange {
  start: number;
  end: number;
}

// The groups stand in the order of KINDS. What is left open (a string, a comment) reaches to the end, as in SQLite.
const TOKEN = new RegExp([
  String.raw`(\s+)`,
  String.raw`(--[^\n]*|/\*[^]*?(?:\*/|$))`,
  String.raw`([xX]?'(?:[^']|'')*(?:'|$))`,
  '("(?:[^"]|"")*(?:"|$)|`(?:[^`]|``)*(?:`|$)|\\[[^\\]]*(?:\\]|$))',
  String.raw`([\p{L}_][\p{L}\p{N}_$]*)`,
  String.raw`((?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))`,
  String.raw`(\?\d*|[:@$][\p{L}\p{N}_]+)`,
  '([^])',
].join('|'), 'uy');
const KINDS: readonly TokenKind[] = ['space', 'comment', 'string', 'name', 'word', 'number', 'parameter', 'symbol'];

const KEYWORDS = new Set(`abort action add after all alter always analyze and as asc attach autoincrement before begin
  between by cascade case cast check collate column commit conflict constraint create cross current current_date
  current_time current_timestamp database default deferrable deferred delete desc detach distinct do drop each else end
  escape except exclude exclusive exists explain fail filter first following for foreign from full generated glob group
  groups having if ignore immediate in index indexed initially inner insert instead intersect into is isnull join key
  last left like limit match materialized natural no not nothing notnull null nulls of offset on or order others outer
  over partition plan pragma preceding primary query raise range recursive references regexp reindex release rename
  replace restrict returning right rollback row rows savepoint select set strict table temp temporary then ties to
  transaction trigger unbounded union unique update using vacuum values view virtual when where window with
  without`.split(/\s+/));

/** Every character of `sql` is in exactly one token. */
export function* tokens(sql: string): Generator<Token> {
  TOKEN.lastIndex = 0;
  for (let start = 0, match; (match = TOKEN.exec(sql)) !== null; start = TOKEN.lastIndex) {
    const kind = KINDS[match.slice(1).findIndex((group) => group !== undefined)] ?? 'symbol';
    const isKeyword = kind === 'word' && KEYWORDS.has(match[0].toLowerCase());
    // The generator may be resumed after somebody else used the expression.
    const end = start + match[0].length;
    yield { kind: isKeyword ? 'keyword' : kind, start, end };
    TOKEN.lastIndex = end;
  }
}

/** The statements of a script, without the space and comments around them; with their semicolon, if they have one. */
export function statements(sql: string): StatementRange[] {
  const found: StatementRange[] = [];
  let start = -1;
  let end = 0;
  /** The words of the statement so far, and its semicolons, in lower case. */
  let words: string[] = [];
  for (const token of tokens(sql)) {
    if (token.kind === 'space' || token.kind === 'comment') continue;
    const text = sql.slice(token.start, token.end).toLowerCase();
    if (start < 0 && text === ';') continue;
    if (start < 0) start = token.start;
    end = token.end;
    const ends = text === ';' && (!isTrigger(words) || (words.at(-1) === 'end' && words.at(-2) === ';'));
    words.push(text);
    if (!ends) continue;
    found.push({ start, end });
    start = -1;
    words = [];
  }
  if (start >= 0) found.push({ start, end });
  return found;
}

/** In a trigger's body only `; END ;` is the end. */
function isTrigger(words: readonly string[]): boolean {
  const first = words.findIndex((word) => !['explain', 'query', 'plan'].includes(word));
  const [create, second, third] = words.slice(first, first + 3);
  return create === 'create' && (second === 'trigger' || (/^temp(orary)?$/.test(second ?? '') && third === 'trigger'));
}

/** A name as SQL, quoted where it has to be. */
export function identifier(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !KEYWORDS.has(name.toLowerCase()) ? name : `"${name.replaceAll('"', '""')}"`;
}
