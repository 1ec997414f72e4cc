/**
 * Bytes as base64 text (RFC 4648, section 4) and back, by what every browser and Node have.
 *
 * Invariant: only the padded form without white space is read, so that it reads alike wherever `atob` is lenient.
 */

/** Arguments of one call: few enough for every engine's stack. */
const CALL_BYTES = 8192;

/** The text of `bytes`. */
export function toBase64(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let start = 0; start < bytes.length; start += CALL_BYTES) {
    parts.push(String.fromCharCode(...bytes.subarray(start, start + CALL_BYTES)));
  }
  return btoa(parts.join(''));
}

/** The bytes of `text`; nothing if it is not base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const binary = decoded(text);
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  if (binary === undefined || binary.length !== (text.length / 4) * 3 - padding) return undefined;
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

function decoded(text: string): string | undefined {
  try {
    return atob(text);
  } catch {
    // A DOMException that says no more than that it is not base64.
    return undefined;
  }
}
