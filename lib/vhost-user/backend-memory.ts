/**
 * The guest memory of a front-end, as a back-end has it: regions out of files of the front-end's, known by two
 * addresses. A ring's parts are told by the front-end's own (user) addresses, buffers by guest addresses.
 */
import { GuestMemory, type Location } from '../host/guest-memory.js';
import { MemoryRegion } from '../host/memory-region.js';
import { native } from '../native.js';
import type { VhostUserMemoryRegion } from './memory-payloads.js';

/** Regions that a front-end may have at a time, with `CONFIGURE_MEM_SLOTS`. */
export const MOST_MEMORY_SLOTS = 64;

/** Whether files must be sealed against being cut short, or are guarded where they are not. */
export type MemoryPolicy = 'guarded' | 'sealed';

interface Slot {
  region: MemoryRegion;
  /** Of its first byte, at the front-end. */
  userAddress: bigint;
}

/** One table of regions. A table with a region more or less is another, with the same mappings. */
export class BackendMemory {
  /** By guest addresses. */
  readonly guest: GuestMemory;
  readonly #slots: readonly Slot[];
  /** What happened to mappings of this process when this one was last looked at. */
  #cuts = native.memoryCuts();

  private constructor(slots: readonly Slot[]) {
    this.guest = GuestMemory.over(slots.map(({ region }) => region));
    this.#slots = slots;
  }

  /**
   * Maps regions, whose descriptors stay the caller's. Throws where one is not in its file, no multiple of the
   * page size, or overlaps another; then nothing stays mapped.
   */
  static map(
    regions: readonly VhostUserMemoryRegion[],
    fds: readonly number[],
    policy: MemoryPolicy,
  ): BackendMemory {
    return BackendMemory.#adding([], regions, fds, policy);
  }

  /** This table with a region more. Throws as {@link BackendMemory.map}. */
  plus(region: VhostUserMemoryRegion, fd: number, policy: MemoryPolicy): BackendMemory {
    if (this.#slots.length >= MOST_MEMORY_SLOTS) {
      throw new Error(`it has ${MOST_MEMORY_SLOTS} regions already`);
    }
    return BackendMemory.#adding(this.#slots, [region], [fd], policy);
  }

  /** This table without a region, or undefined where it was the last. Throws where there is no such region. */
  minus(region: VhostUserMemoryRegion): BackendMemory | undefined {
    const rest = this.#slots.filter((slot) => !isSame(slot, region));
    if (rest.length === this.#slots.length) throw new Error('there is no such region');
    return rest.length === 0 ? undefined : new BackendMemory(rest);
  }

  /** Guest address of `length` bytes at a user address; they must lie in one region. Throws where they do not. */
  guestAddressOf(userAddress: bigint, length: number): bigint {
    for (const { region, userAddress: start } of this.#slots) {
      const offset = userAddress - start;
      if (offset < 0n || offset >= BigInt(region.size)) continue;
      if (offset + BigInt(length) > BigInt(region.size)) break;
      return region.guestAddress + offset;
    }
    throw new Error(
      `no region has ${length} bytes at the user address 0x${userAddress.toString(16)}`,
    );
  }

  /** Where guest memory is; undefined for none. */
  find(guestAddress: bigint): Location | undefined {
    return this.guest.find(guestAddress);
  }

  /** Whether the front-end was caught at having cut a file short. */
  get cut(): boolean {
    const cuts = native.memoryCuts();
    if (cuts === this.#cuts) return false;
    this.#cuts = cuts;
    return this.#slots.some(({ region }) => region.cut);
  }

  /** Unmaps every region that `kept` does not have. All views of them become empty. */
  close(kept?: BackendMemory): void {
    for (const { region } of this.#slots) {
      if (!kept?.guest.regions.includes(region)) region.close();
    }
  }

  static #adding(
    before: readonly Slot[],
    regions: readonly VhostUserMemoryRegion[],
    fds: readonly number[],
    policy: MemoryPolicy,
  ): BackendMemory {
    const added: Slot[] = [];
    try {
      regions.forEach(({ guestAddress, size, userAddress, mmapOffset }, i) => {
        const backing = { fd: fds[i] as number, offset: Number(mmapOffset) };
        const region = MemoryRegion.create({ guestAddress, size, backing });
        added.push({ region, userAddress });
        if (policy === 'sealed' && !region.sealed) {
          throw new Error(`the file of region ${i} is not sealed against being cut short`);
        }
        region.guard();
      });
      const slots = [...before, ...added];
      checkUserAddresses(slots);
      return new BackendMemory(slots);
    } catch (error) {
      for (const { region } of added) region.close();
      throw error;
    }
  }
}

function isSame(slot: Slot, { guestAddress, size, userAddress }: VhostUserMemoryRegion): boolean {
  const { region } = slot;
  return (
    region.guestAddress === guestAddress &&
    BigInt(region.size) === size &&
    slot.userAddress === userAddress
  );
}

/** Throws where two regions overlap at the front-end: an address would mean two things. */
function checkUserAddresses(slots: readonly Slot[]): void {
  const sorted = [...slots].sort((a, b) => (a.userAddress < b.userAddress ? -1 : 1));
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1] as Slot;
    const slot = sorted[i] as Slot;
    if (slot.userAddress < before.userAddress + BigInt(before.region.size)) {
      throw new Error(
        `the regions at the user addresses 0x${before.userAddress.toString(16)} and 0x${slot.userAddress.toString(16)} overlap`,
      );
    }
  }
}
