/** How large a value is, roughly as a browser stores it: text in UTF-8, numbers in 8 bytes, bytes as they are. */
export function sizeOf(value: unknown): number {
  const seen = new Set<object>();
  const pending: unknown[] = [value];
  let bytes = 0;
  while (pending.length > 0) {
    const each = pending.pop();
    if (typeof each === 'string') bytes += utf8Bytes(each);
    else if (typeof each !== 'object' || each === null) bytes += 8;
    else if (!seen.has(each)) {
      seen.add(each);
      bytes += sizeOfObject(each, pending);
    }
  }
  return bytes;
}

function sizeOfObject(value: object, pending: unknown[]): number {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return value.byteLength;
  if (typeof Blob === 'function' && value instanceof Blob) return value.size;
  if (value instanceof Map) pending.push(...value.keys(), ...value.values());
  else if (value instanceof Set) pending.push(...value);
  else for (const [name, field] of Object.entries(value)) pending.push(name, field);
  return 8;
}

function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    // Each half of a pair is two of its four bytes.
    if (unit >= 0x800 && (unit < 0xd800 || unit > 0xdfff)) bytes += 2;
    else if (unit >= 0x80) bytes += 1;
  }
  return bytes;
}
