/** As much of ACPI's machine language as names devices and what they have (ACPI 6.5 §20.2, §6.4). */

const ZERO = 0x00;
const NAME = 0x08;
const BYTE = 0x0a;
const WORD = 0x0b;
const DWORD = 0x0c;
const STRING = 0x0d;
const SCOPE = 0x10;
const BUFFER = 0x11;
const PACKAGE = 0x12;
const DEVICE = [0x5b, 0x82];

export const integer = (value: number): Buffer => {
  if (value === 0) return Buffer.of(ZERO);
  if (value <= 0xff) return Buffer.of(BYTE, value);
  if (value <= 0xffff) return Buffer.of(WORD, value & 0xff, value >> 8);
  const bytes = Buffer.alloc(5);
  bytes[0] = DWORD;
  bytes.writeUInt32LE(value, 1);
  return bytes;
};

export const string = (text: string): Buffer =>
  Buffer.from(`${String.fromCharCode(STRING)}${text}\0`);

/** The number that stands for a name such as `PNP0A03`: three letters of 5 bits, four digits of 4. */
export function eisaId(name: string): Buffer {
  const [a = 0, b = 0, c = 0] = [...name.slice(0, 3)].map((letter) => letter.charCodeAt(0) - 0x40);
  const value = ((a << 26) | (b << 21) | (c << 16) | Number.parseInt(name.slice(3), 16)) >>> 0;
  const bytes = Buffer.alloc(5);
  bytes[0] = DWORD;
  bytes.writeUInt32BE(value, 1);
  return bytes;
}

/** `name` has four letters. */
export const named = (name: string, value: Buffer): Buffer =>
  Buffer.concat([Buffer.of(NAME), Buffer.from(name), value]);

export const scope = (path: string, ...content: Buffer[]): Buffer =>
  Buffer.concat([Buffer.of(SCOPE), sized(Buffer.from(path), ...content)]);

export const device = (name: string, ...content: Buffer[]): Buffer =>
  Buffer.concat([Buffer.from(DEVICE), sized(Buffer.from(name), ...content)]);

/** A list of values. */
export const list = (...values: Buffer[]): Buffer =>
  Buffer.concat([Buffer.of(PACKAGE), sized(Buffer.of(values.length), ...values)]);

/** What a device has, as the value of its `_CRS`. */
export function resources(...descriptors: Buffer[]): Buffer {
  const bytes = Buffer.concat([...descriptors, Buffer.of(0x79, 0)]);
  return Buffer.concat([Buffer.of(BUFFER), sized(integer(bytes.length), bytes)]);
}

export const ports = (start: number, length: number): Buffer =>
  Buffer.of(0x47, 1, start & 0xff, start >> 8, start & 0xff, start >> 8, 1, length);

export function memory(start: number, length: number): Buffer {
  const bytes = Buffer.of(0x86, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  bytes.writeUInt32LE(start, 4);
  bytes.writeUInt32LE(length, 8);
  return bytes;
}

/** An interrupt line of the I/O APIC: active high, edge-triggered, not shared. */
export function edgeInterrupt(line: number): Buffer {
  const bytes = Buffer.of(0x89, 6, 0, 0b0011, 1, 0, 0, 0, 0);
  bytes.writeUInt32LE(line, 5);
  return bytes;
}

/** Both ends of a range that a bridge passes on are fixed. */
const FIXED_RANGE = 0b1100;

export function busNumbers(first: number, last: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.set([0x88, 13, 0, 2, FIXED_RANGE, 0]);
  bytes.writeUInt16LE(first, 8);
  bytes.writeUInt16LE(last, 10);
  bytes.writeUInt16LE(last - first + 1, 14);
  return bytes;
}

/** Addresses that a bridge passes on, to be read and written. */
export function memoryWindow(start: number, length: number): Buffer {
  const bytes = Buffer.alloc(26);
  bytes.set([0x87, 23, 0, 0, FIXED_RANGE, 1]);
  bytes.writeUInt32LE(start, 10);
  bytes.writeUInt32LE(start + length - 1, 14);
  bytes.writeUInt32LE(length, 22);
  return bytes;
}

/** Content behind its length, which counts its own bytes: one, or two and more of 8 bits above 4. */
function sized(...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length + 1 < 0x40) return Buffer.concat([Buffer.of(body.length + 1), body]);
  const total = body.length + 2;
  if (total <= 0xfff) return Buffer.concat([Buffer.of(0x40 | (total & 0xf), total >> 4), body]);
  const more = body.length + 3;
  return Buffer.concat([
    Buffer.of(0x80 | (more & 0xf), (more >> 4) & 0xff, (more >> 12) & 0xff),
    body,
  ]);
}
