/** Shared memory with one ring, and the bare words of it as anybody may write them. */
import { GuestMemory } from '../../../lib/host/guest-memory.js';
import { placeVring, type VringAddresses } from '../../../lib/vring/layout.js';

const RING_BYTES = 1 << 18;
/** Room for the indirect tables, behind the ring. */
export const TABLES_AT = RING_BYTES >> 1;
/** Buffers lie on both sides of 4 GiB. */
export const DATA_AT = 0xffff_0000;
export const DATA_BYTES = 1 << 19;

/** One for each process: rings of every size lie in it, one at a time. */
export const memory = GuestMemory.create([
  { guestAddress: 0n, size: RING_BYTES },
  { guestAddress: BigInt(DATA_AT), size: DATA_BYTES },
]);

/** The buffers' bytes. */
export const data = memory.bytes(BigInt(DATA_AT), DATA_BYTES);

/** Every word of a ring of `size` descriptors, placed without the code under test. */
export class RingWords {
  readonly size: number;
  readonly addresses: VringAddresses;
  /** Four words a descriptor: address low, address high, length, flags and next. */
  readonly desc: Uint32Array;
  /** flags, idx, ring, used_event. */
  readonly avail: Uint16Array;
  /** flags, idx, …, avail_event. */
  readonly used16: Uint16Array;
  /** (flags and idx), then id and length of each element. */
  readonly used32: Uint32Array;
  /** Indirect tables: those of one head after those of another. */
  readonly tables: Uint32Array;

  constructor(size: number) {
    const { buffer } = memory.bytes(0n, RING_BYTES);
    this.size = size;
    this.addresses = placeVring(0n, size);
    const { desc, avail, used } = this.addresses;
    this.desc = new Uint32Array(buffer, Number(desc), 4 * size);
    this.avail = new Uint16Array(buffer, Number(avail), 3 + size);
    this.used16 = new Uint16Array(buffer, Number(used), 3 + 4 * size);
    this.used32 = new Uint32Array(buffer, Number(used), 1 + 2 * size);
    this.tables = new Uint32Array(buffer, TABLES_AT, (RING_BYTES - TABLES_AT) / 4);
  }

  setUsed(position: number, id: number, length: number): void {
    const at = 1 + 2 * (position & (this.size - 1));
    this.used32[at] = id;
    this.used32[at + 1] = length;
  }

  set usedIndex(index: number) {
    this.used16[1] = index;
  }

  get usedIndex(): number {
    return this.used16[1] as number;
  }

  set availEvent(position: number) {
    this.used16[2 + 4 * this.size] = position;
  }

  get availEvent(): number {
    return this.used16[2 + 4 * this.size] as number;
  }

  get usedEvent(): number {
    return this.avail[2 + this.size] as number;
  }
}
