/** Frames that say which one they are, byte for byte. */

/** An ethertype for experiments (IEEE 802): the host's stack ignores it. */
export const ETHERTYPE = 0x88b5;
/** Offset of the sequence number, big-endian: right behind the Ethernet header. */
const SEQUENCE_AT = 14;

/** The length in bytes of the frame with a sequence number. */
export type LengthOf = (sequence: number) => number;

const PATTERN = Uint8Array.from({ length: 66_000 }, (_, i) => (i * 167 + (i >> 8) * 59) & 0xff);
const OFFSETS = 251;
const scratch = new Uint8Array(66_000);

/** Writes the Ethernet header and the sequence number only. */
export function stamp(bytes: Uint8Array, sequence: number): void {
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, ETHERTYPE >> 8, ETHERTYPE & 0xff]);
  for (let i = 0; i < 4; i++) bytes[SEQUENCE_AT + i] = sequence >>> (24 - 8 * i);
}

export function sequenceOf(bytes: Uint8Array): number {
  let sequence = 0;
  for (let i = 0; i < 4; i++) sequence = sequence * 256 + (bytes[SEQUENCE_AT + i] as number);
  return sequence;
}

export function isOurs(bytes: Uint8Array): boolean {
  return ((bytes[12] as number) << 8) + (bytes[13] as number) === ETHERTYPE;
}

/** Writes frame `sequence` of `length` bytes (at least 18): every byte depends on its number. */
export function writeFrame(bytes: Uint8Array, length: number, sequence: number): void {
  const from = sequence % OFFSETS;
  bytes.set(PATTERN.subarray(from, from + length));
  stamp(bytes, sequence);
}

export function makeFrame(length: number, sequence: number): Uint8Array {
  const frame = new Uint8Array(length);
  writeFrame(frame, length, sequence);
  return frame;
}

/** Throws unless `bytes` are frame `sequence` of `length` bytes, and says where they differ. */
export function checkFrameBytes(bytes: Uint8Array, length: number, sequence: number): void {
  if (bytes.length !== length) {
    throw new Error(
      `frame ${sequence} has ${bytes.length} bytes, not ${length}; it says ${sequenceOf(bytes)}`,
    );
  }
  writeFrame(scratch, length, sequence);
  if (Buffer.compare(bytes, scratch.subarray(0, length)) === 0) return;
  const at = bytes.findIndex((byte, i) => byte !== scratch[i]);
  throw new Error(
    `frame ${sequence} of ${length} bytes differs at ${at}: ${bytes[at]}, not ${scratch[at]}; it says ${sequenceOf(bytes)}`,
  );
}
