/**
 * The device end of a split ring, written from virtio 1.3 §2.7 and nothing of lib/vring: what the
 * driver wrote is read as little-endian bytes. It also does what a device must not.
 */
import type { GuestMemory } from '../../lib/host/guest-memory.js';
import type { VringAddresses } from '../../lib/vring/layout.js';

/** A chain as the device sees it. */
export interface Chain {
  head: number;
  readable: Uint8Array[];
  writable: Uint8Array[];
}

export interface Descriptor {
  address: bigint;
  length: number;
  flags: number;
  next: number;
}

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

export class ModelDevice {
  readonly #memory: GuestMemory;
  readonly #size: number;
  readonly #desc: DataView;
  readonly #avail: DataView;
  readonly #used: DataView;
  readonly #eventIdx: boolean;
  /** How far it took from the avail ring, wrote to the used ring, and showed of that. */
  taken = 0;
  written = 0;
  shown = 0;

  constructor(
    memory: GuestMemory,
    ring: { size: number; addresses: VringAddresses; eventIdx?: boolean },
  ) {
    const view = (address: bigint, length: number) => {
      const bytes = memory.bytes(address, length);
      return new DataView(bytes.buffer, bytes.byteOffset, length);
    };
    this.#memory = memory;
    this.#size = ring.size;
    this.#desc = view(ring.addresses.desc, 16 * ring.size);
    this.#avail = view(ring.addresses.avail, 6 + 2 * ring.size);
    this.#used = view(ring.addresses.used, 6 + 8 * ring.size);
    this.#eventIdx = ring.eventIdx ?? false;
  }

  get availIndex(): number {
    return this.#avail.getUint16(2, true);
  }

  get availFlags(): number {
    return this.#avail.getUint16(0, true);
  }

  get usedEvent(): number {
    return this.#avail.getUint16(4 + 2 * this.#size, true);
  }

  /** Chains that it has been shown and not taken. */
  get waiting(): number {
    return (this.availIndex - this.taken) & 0xffff;
  }

  /** Element `position` of the avail ring. */
  availAt(position: number): number {
    return this.#avail.getUint16(4 + 2 * (position % this.#size), true);
  }

  descriptor(index: number): Descriptor {
    return parse(this.#desc, 16 * index);
  }

  /** The next chain, or undefined when there is none. */
  take(): Chain | undefined {
    if (this.waiting === 0) return undefined;
    const head = this.availAt(this.taken);
    this.taken = (this.taken + 1) & 0xffff;
    return this.chainAt(head);
  }

  /** The chain that begins at a descriptor, whether it was shown or not. */
  chainAt(head: number): Chain {
    const chain: Chain = { head, readable: [], writable: [] };
    this.#follow(this.#desc, this.#size, head, chain);
    return chain;
  }

  /** Writes bytes over the chain's writable buffers, as far as they go. */
  fill(chain: Chain, bytes: Uint8Array): void {
    let done = 0;
    for (const buffer of chain.writable) {
      const piece = bytes.subarray(done, done + buffer.length);
      buffer.set(piece);
      done += piece.length;
    }
  }

  /** Writes an element of the used ring that nobody sees before {@link ModelDevice.show}. */
  complete(head: number, length = 0): void {
    const at = 4 + 8 * (this.written % this.#size);
    this.#used.setUint32(at, head, true);
    this.#used.setUint32(at + 4, length, true);
    this.written = (this.written + 1) & 0xffff;
  }

  /** Shows what was written. Returns whether the driver wants to be called for it (§2.7.7.2). */
  show(): boolean {
    const before = this.shown;
    const now = this.written;
    this.setUsedIndex(now);
    if (now === before) return false;
    if (!this.#eventIdx) return (this.availFlags & 1) === 0;
    // vring_need_event of the kernel's headers.
    return ((now - this.usedEvent - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  /** Takes the next chain and gives it back at once. */
  serve(bytes: Uint8Array = new Uint8Array(0)): Chain {
    const chain = this.take();
    if (!chain) throw new Error('the device was shown no chain');
    this.fill(chain, bytes);
    this.complete(chain.head, bytes.length);
    return chain;
  }

  /** Asks for a kick at the next chain that is shown. */
  askForKicks(): void {
    if (this.#eventIdx) this.setAvailEvent(this.taken);
    else this.#used.setUint16(0, 0, true);
  }

  /** Asks for none; with EVENT_IDX, asking once is for once. */
  refuseKicks(): void {
    if (!this.#eventIdx) this.#used.setUint16(0, 1, true);
  }

  setAvailEvent(position: number): void {
    this.#used.setUint16(4 + 8 * this.#size, position & 0xffff, true);
  }

  /** What a lying device may say. */
  setUsedIndex(index: number): void {
    this.#used.setUint16(2, index & 0xffff, true);
    this.shown = index & 0xffff;
  }

  /** Writes over every byte of the descriptor table. */
  scribbleDescriptors(byte: number): void {
    for (let i = 0; i < this.#desc.byteLength; i++) this.#desc.setUint8(i, byte);
  }

  #follow(table: DataView, size: number, first: number, chain: Chain): void {
    let index = first;
    for (let i = 0; ; i++) {
      if (index >= size) throw new Error(`descriptor ${index} of ${size}`);
      if (i >= size) throw new Error('the chain has a loop');
      const { address, length, flags, next } = parse(table, 16 * index);
      if (flags & INDIRECT) {
        if (flags !== INDIRECT || i > 0 || table !== this.#desc || length % 16 !== 0) {
          throw new Error('an indirect table out of place');
        }
        const bytes = this.#memory.bytes(address, length);
        const indirect = new DataView(bytes.buffer, bytes.byteOffset, length);
        this.#follow(indirect, length / 16, 0, chain);
        return;
      }
      const buffer = this.#memory.bytes(address, length);
      if (flags & WRITE) chain.writable.push(buffer);
      else if (chain.writable.length > 0) throw new Error('a readable buffer after a writable one');
      else chain.readable.push(buffer);
      if (!(flags & NEXT)) return;
      index = next;
    }
  }
}

function parse(table: DataView, at: number): Descriptor {
  return {
    address: table.getBigUint64(at, true),
    length: table.getUint32(at + 8, true),
    flags: table.getUint16(at + 12, true),
    next: table.getUint16(at + 14, true),
  };
}
