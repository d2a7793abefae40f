/** A hostile guest's memory: rings anywhere in it, and a page that no card may write to. */
import { GuestMemory } from '../../../lib/host/guest-memory.js';
import type { Random } from './random.js';

const LOW = 4 << 20;
const HIGH_AT = 0x1_0000_0000;
const HIGH = 1 << 16;
/** A guest offers it for reading only, and no ring is in it. */
const CANARY_AT = 0x9_5000;
const CANARY = 0x1000;
/** A ring that begins so far before it may reach into it. */
const REACH = 0x1000;
/** Commands lie here. */
export const COMMANDS_AT = 0x4000;

/** One for each process. */
export const memory = GuestMemory.create([
  { guestAddress: 0n, size: LOW },
  { guestAddress: BigInt(HIGH_AT), size: HIGH },
]);
const low = memory.bytes(0n, LOW);
const canary = low.subarray(CANARY_AT, CANARY_AT + CANARY);
const view = new DataView(low.buffer, low.byteOffset, LOW);

/** As new: zeroes, and the page that nobody writes. */
export function clearMemory(): void {
  low.fill(0);
  canary.fill(0xa5);
}

/** Throws where the page was written to. */
export function checkCanary(): void {
  const at = canary.findIndex((byte) => byte !== 0xa5);
  if (at >= 0) throw new Error(`the card wrote at 0x${(CANARY_AT + at).toString(16)}`);
}

/** The same number, unless a ring or an answer there could reach the page. */
export function awayFromCanary(low32: number): number {
  const near = low32 >= CANARY_AT - REACH && low32 < CANARY_AT + CANARY;
  return near ? low32 + 0x10_0000 : low32;
}

/** Where a buffer lies: mostly in memory, else at its edges or nowhere. [low, high] word. */
export function anywhere(random: Random, writable: boolean): [number, number] {
  switch (random.below(8)) {
    case 0:
      return [random.u32(), random.u32()];
    case 1:
      return [LOW - random.below(32), 0];
    case 2:
      return [random.below(HIGH + 16), 1];
    case 3:
      return [(-1 - random.below(64)) & 0xffff_ffff, 0xffff_ffff];
    case 4:
      return writable ? [COMMANDS_AT, 0] : [CANARY_AT + random.below(CANARY), 0];
    default:
      return [awayFromCanary(random.below(LOW)), 0];
  }
}

/** These write nothing where there is no memory, nor to the page. */
export function put8(at: number, value: number): void {
  if (isOurs(at, 1)) view.setUint8(at, value);
}

export function put16(at: number, value: number): void {
  if (isOurs(at, 2)) view.setUint16(at, value, true);
}

export function put32(at: number, value: number): void {
  if (isOurs(at, 4)) view.setUint32(at, value, true);
}

export function get16(at: number): number {
  return at >= 0 && at + 2 <= LOW ? view.getUint16(at, true) : 0;
}

function isOurs(at: number, length: number): boolean {
  return at >= 0 && at + length <= LOW && (at + length <= CANARY_AT || at >= CANARY_AT + CANARY);
}
