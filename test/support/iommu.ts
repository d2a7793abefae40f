/** An IOMMU of the guest: pages of the device's address space, each somewhere in guest memory. */
import {
  type GuestMemory,
  type IotlbMapping,
  VHOST_ACCESS_RW,
  type VringAddresses,
} from '../../lib/index.js';

const PAGE = 4096n;

interface Page {
  guestAddress: bigint;
  permission: number;
}

export class Iommu {
  readonly #memory: GuestMemory;
  readonly #pages = new Map<bigint, Page>();
  /** What the device asked for, in order. */
  readonly asked: { iova: bigint; access: number }[] = [];
  /** Waited for before each answer. */
  delay: (() => Promise<unknown>) | undefined;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Maps whole pages one after another. */
  map(iova: bigint, guestAddress: bigint, size: number, permission = VHOST_ACCESS_RW): this {
    for (let at = 0n; at < BigInt(size); at += PAGE) {
      this.#pages.set(iova + at, { guestAddress: guestAddress + at, permission });
    }
    return this;
  }

  /** Maps pages in descending order of guest address, so that no two neighbours stay neighbours. */
  scatter(iova: bigint, guestAddress: bigint, size: number): this {
    for (let at = 0n; at < BigInt(size); at += PAGE) {
      this.map(iova + at, guestAddress + BigInt(size) - PAGE - at, Number(PAGE));
    }
    return this;
  }

  unmap(iova: bigint, size: number): void {
    for (let at = 0n; at < BigInt(size); at += PAGE) this.#pages.delete(iova + at);
  }

  /** The page that holds an address. */
  translate(
    iova: bigint,
    access: number,
  ): IotlbMapping | undefined | Promise<IotlbMapping | undefined> {
    this.asked.push({ iova, access });
    const from = iova - (iova % PAGE);
    const find = () => {
      const page = this.#pages.get(from);
      return page && { iova: from, size: Number(PAGE), ...page };
    };
    return this.delay ? this.delay().then(find) : find();
  }

  /** Every page. */
  mappings(): IotlbMapping[] {
    return [...this.#pages].map(([iova, page]) => ({ iova, size: Number(PAGE), ...page }));
  }

  /** The device's addresses of a ring that is mapped in one piece. */
  ring({ desc, avail, used }: VringAddresses): VringAddresses {
    return { desc: this.iova(desc), avail: this.iova(avail), used: this.iova(used) };
  }

  /** Where the device finds a guest address. */
  iova(guestAddress: bigint): bigint {
    const offset = guestAddress % PAGE;
    for (const [iova, page] of this.#pages) {
      if (page.guestAddress === guestAddress - offset) return iova + offset;
    }
    throw new Error(`nothing maps 0x${guestAddress.toString(16)}`);
  }

  write(iova: bigint, bytes: Uint8Array): void {
    for (const [from, guestAddress, length] of this.#parts(iova, bytes.length)) {
      this.#memory.write(guestAddress, bytes.subarray(from, from + length));
    }
  }

  read(iova: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (const [from, guestAddress, size] of this.#parts(iova, length)) {
      bytes.set(this.#memory.read(guestAddress, size), from);
    }
    return bytes;
  }

  *#parts(iova: bigint, length: number): Generator<[from: number, at: bigint, size: number]> {
    for (let from = 0; from < length; ) {
      const at = iova + BigInt(from);
      const page = this.#pages.get(at - (at % PAGE));
      if (!page) throw new Error(`nothing is mapped at 0x${at.toString(16)}`);
      const size = Math.min(length - from, Number(PAGE - (at % PAGE)));
      yield [from, page.guestAddress + (at % PAGE), size];
      from += size;
    }
  }
}
