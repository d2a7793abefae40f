/**
 * Follows a chain of descriptors that a driver wrote. The driver is hostile: each descriptor is copied once
 * and checked after the copy, a chain has no more buffers than the ring has descriptors, and every buffer
 * lies in guest memory.
 */
import type { GuestMemory, Location } from '../host/guest-memory.js';
import {
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  VRING_DESC_SIZE,
} from '../uapi/virtio-ring.js';
import type { Chain } from './chain.js';
import { DESC_WORDS } from './views.js';

export class ChainReader {
  readonly #memory: GuestMemory;
  readonly #desc: Uint32Array;
  readonly #size: number;
  readonly #indirect: boolean;

  /** `desc`: the ring's descriptors; `indirect`: whether VIRTIO_RING_F_INDIRECT_DESC was negotiated. */
  constructor(memory: GuestMemory, desc: Uint32Array, indirect: boolean) {
    this.#memory = memory;
    this.#desc = desc;
    this.#size = desc.length / DESC_WORDS;
    this.#indirect = indirect;
  }

  /** Reads the chain that begins at `head`. Returns what is wrong with it, or undefined. */
  read(head: number, chain: Chain): string | undefined {
    chain.begin(head);
    return this.#follow(this.#desc, this.#size, head, chain, false);
  }

  #follow(
    table: Uint32Array,
    length: number,
    first: number,
    chain: Chain,
    inTable: boolean,
  ): string | undefined {
    let index = first;
    for (let steps = 0; ; steps++) {
      if (index >= length) return `descriptor ${index} of ${length}`;
      // A loop, or a chain through an indirect table that is longer than any that is allowed.
      if (steps >= length || chain.count >= this.#size) return 'a chain longer than the ring';
      const word = index * DESC_WORDS;
      const low = table[word] as number;
      const high = table[word + 1] as number;
      const bytes = table[word + 2] as number;
      const last = table[word + 3] as number;
      if (last & VRING_DESC_F_INDIRECT) {
        if (inTable) return 'an indirect table within an indirect table';
        return this.#followTable(low, high, bytes, last, chain);
      }
      const wrong = this.#append(low, high, bytes, (last & VRING_DESC_F_WRITE) !== 0, chain);
      if (wrong !== undefined) return wrong;
      if (!(last & VRING_DESC_F_NEXT)) return undefined;
      index = last >>> 16;
    }
  }

  #followTable(low: number, high: number, bytes: number, last: number, chain: Chain) {
    if (!this.#indirect) return 'an indirect table, which was not negotiated';
    if (last & VRING_DESC_F_NEXT) return 'an indirect table that goes on in the ring';
    if (bytes === 0 || bytes % VRING_DESC_SIZE !== 0) return `an indirect table of ${bytes} bytes`;
    const at = this.#locate(low, high, bytes);
    if (!at) return `an indirect table of ${bytes} bytes at ${hex(low, high)}, outside the memory`;
    const length = bytes / VRING_DESC_SIZE;
    const { region, offset } = at;
    // The table need not lie on a word: then it is copied.
    const table =
      offset % 4 === 0
        ? new Uint32Array(region.buffer, offset, length * DESC_WORDS)
        : new Uint32Array(region.buffer.slice(offset, offset + bytes));
    return this.#follow(table, length, 0, chain, true);
  }

  #append(low: number, high: number, bytes: number, writable: boolean, chain: Chain) {
    if (!writable && chain.readable < chain.count) {
      return 'a buffer to read behind one to write';
    }
    const at = this.#locate(low, high, bytes);
    if (!at) return `a buffer of ${bytes} bytes at ${hex(low, high)}, outside the memory`;
    chain.append(at.region, at.offset, bytes, writable);
    return undefined;
  }

  #locate(low: number, high: number, bytes: number): Location | undefined {
    const location = this.#memory.find(address(low, high));
    return location && location.offset + bytes <= location.region.size ? location : undefined;
  }
}

const address = (low: number, high: number) => (BigInt(high) << 32n) | BigInt(low);
const hex = (low: number, high: number) => `0x${address(low, high).toString(16)}`;
