/** What of Node's files is used: its own types would bring all of Node's globals to code for browsers. */
declare module 'node:fs/promises' {
  export function readFile(path: URL): Promise<Uint8Array<ArrayBuffer>>;
}
