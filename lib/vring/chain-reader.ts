/**
 * Follows a chain of descriptors that a driver wrote. The driver is hostile: each descriptor is copied once
 * and checked after the copy, a chain has no more buffers than the ring has descriptors, and every buffer
 * lies in guest memory: in one region, or in several that follow each other.
 */
import type { GuestMemory } from '../host/guest-memory.js';
import {
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  VRING_DESC_SIZE,
} from '../uapi/virtio-ring.js';
import { AddressMap } from './address-map.js';
import { type Chain, MOST_PIECES } from './chain.js';
import { DESC_WORDS } from './views.js';

/** Bytes of a table whose every descriptor can be named, by 16 bits; vhost takes no longer one either. */
const MOST_TABLE_BYTES = 65_536 * VRING_DESC_SIZE;

export class ChainReader {
  readonly #addresses: AddressMap;
  readonly #desc: Uint32Array;
  readonly #size: number;
  readonly #indirect: boolean;

  /** `desc`: the ring's descriptors; `indirect`: whether VIRTIO_RING_F_INDIRECT_DESC was negotiated. */
  constructor(memory: GuestMemory, desc: Uint32Array, indirect: boolean) {
    this.#addresses = new AddressMap(memory);
    this.#desc = desc;
    this.#size = desc.length / DESC_WORDS;
    this.#indirect = indirect;
  }

  /** Reads the chain that begins at `head`. Returns what is wrong with it, or undefined. */
  read(head: number, chain: Chain): string | undefined {
    chain.begin(head);
    return this.#follow(this.#desc, 0, this.#size, head, chain, 0);
  }

  /** Follows the chain, `before` buffers of which are known, through `length` descriptors from word `start` on. */
  #follow(
    table: Uint32Array,
    start: number,
    length: number,
    first: number,
    chain: Chain,
    before: number,
  ): string | undefined {
    const inTable = table !== this.#desc;
    let index = first;
    for (let steps = 0; ; steps++) {
      if (index >= length) return `descriptor ${index} of ${length}`;
      // A loop, or a chain through an indirect table that is longer than any that is allowed.
      if (steps >= length || before + steps >= this.#size) return 'a chain longer than the ring';
      const word = start + index * DESC_WORDS;
      const low = table[word] as number;
      const high = table[word + 1] as number;
      const bytes = table[word + 2] as number;
      const last = table[word + 3] as number;
      if (last & VRING_DESC_F_INDIRECT) {
        if (inTable) return 'an indirect table within an indirect table';
        return this.#followTable(low, high, bytes, last, chain, steps);
      }
      const wrong = this.#append(low, high, bytes, (last & VRING_DESC_F_WRITE) !== 0, chain);
      if (wrong !== undefined) return wrong;
      if (!(last & VRING_DESC_F_NEXT)) return undefined;
      index = last >>> 16;
    }
  }

  #followTable(
    low: number,
    high: number,
    bytes: number,
    last: number,
    chain: Chain,
    before: number,
  ) {
    if (!this.#indirect) return 'an indirect table, which was not negotiated';
    if (last & VRING_DESC_F_NEXT) return 'an indirect table that goes on in the ring';
    if (bytes === 0 || bytes % VRING_DESC_SIZE !== 0 || bytes > MOST_TABLE_BYTES) {
      return `an indirect table of ${bytes} bytes`;
    }
    const addresses = this.#addresses;
    const whole = addresses.find(low, high, bytes);
    const length = bytes / VRING_DESC_SIZE;
    const { region, offset } = addresses;
    // The table need not lie on a word, nor in one region: then it is copied.
    if (!whole || offset % 4 !== 0) {
      const copy = this.#copy(low, high, bytes);
      if (copy) return this.#follow(copy, 0, length, 0, chain, before);
      return `an indirect table of ${bytes} bytes at ${hex(low, high)}, outside the memory`;
    }
    const { words } = addresses;
    if (offset + bytes > words.byteLength) {
      const far = new Uint32Array(region.buffer, offset, length * DESC_WORDS);
      return this.#follow(far, 0, length, 0, chain, before);
    }
    return this.#follow(words, offset / 4, length, 0, chain, before);
  }

  /** The words of a table, or undefined where not all of them are in memory. */
  #copy(low: number, high: number, bytes: number): Uint32Array | undefined {
    const addresses = this.#addresses;
    const copy = new Uint32Array(bytes / 4);
    const target = new Uint8Array(copy.buffer);
    for (let done = 0; done < bytes; ) {
      const part = addresses.findPart(low, high, done, bytes - done);
      if (part === 0) return undefined;
      target.set(new Uint8Array(addresses.region.buffer, addresses.offset, part), done);
      done += part;
    }
    return copy;
  }

  #append(low: number, high: number, bytes: number, writable: boolean, chain: Chain) {
    if (!writable && chain.readable < chain.count) {
      return 'a buffer to read behind one to write';
    }
    const addresses = this.#addresses;
    if (!addresses.find(low, high, bytes)) {
      return this.#appendPieces(low, high, bytes, writable, chain);
    }
    chain.append(addresses.region, addresses.offset, bytes, writable);
    return undefined;
  }

  /** Takes a buffer that lies in no region as a whole. */
  #appendPieces(low: number, high: number, bytes: number, writable: boolean, chain: Chain) {
    const addresses = this.#addresses;
    let done = 0;
    do {
      const part = addresses.findPart(low, high, done, bytes - done);
      if (part === 0) {
        return `a buffer of ${bytes} bytes at ${hex(low, high)}, outside the memory`;
      }
      if (chain.count >= MOST_PIECES) return `a chain of more than ${MOST_PIECES} pieces`;
      chain.append(addresses.region, addresses.offset, part, writable);
      done += part;
    } while (done < bytes);
    return undefined;
  }
}

const address = (low: number, high: number) => (BigInt(high) << 32n) | BigInt(low);
const hex = (low: number, high: number) => `0x${address(low, high).toString(16)}`;
