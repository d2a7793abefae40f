/** Big-endian fields and Internet checksums of packets. */

export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

/** Exchanges `length` bytes at two places. */
export function swap(bytes: Uint8Array, a: number, b: number, length: number): void {
  for (let i = 0; i < length; i++) {
    const byte = bytes[a + i] as number;
    bytes[a + i] = bytes[b + i] as number;
    bytes[b + i] = byte;
  }
}

/** Whether the bytes at `at` are `expected`. */
export function matches(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  for (let i = 0; i < expected.length; i++) if (bytes[at + i] !== expected[i]) return false;
  return true;
}

/** The ones' complement sum of bytes from `start` to `end`, added to `sum`. */
export function sum16(bytes: Uint8Array, start: number, end: number, sum = 0): number {
  let total = sum;
  for (let i = start; i + 1 < end; i += 2) total += u16(bytes, i);
  if ((end - start) % 2 === 1) total += (bytes[end - 1] as number) << 8;
  return total;
}

/** The checksum of a sum (RFC 1071). */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/** The checksum after one 16-bit word under it changed (RFC 1624). */
export function adjust(checksum: number, before: number, after: number): number {
  return fold((~checksum & 0xffff) + (~before & 0xffff) + after);
}
