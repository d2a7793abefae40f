/**
 * The guest memory of a front-end, as a back-end has it: regions out of files of the front-end's, known by two
 * addresses. A ring's parts are told by the front-end's own (user) addresses, buffers by guest addresses.
 */
import { fstatSync } from 'node:fs';
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
  /** How often the front-end added it: QEMU 7.2 does so once for each queue pair, and takes it away as often. */
  times: number;
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

  /**
   * This table with a region more, or with one that it has once more: that has to be taken away as often. Throws as
   * {@link BackendMemory.map}.
   */
  plus(region: VhostUserMemoryRegion, fd: number, policy: MemoryPolicy): BackendMemory {
    const same = this.#slots.find((slot) => isSame(slot, region));
    if (same && isSameFile(same, region, fd)) return this.#counting(same, same.times + 1);
    if (this.#slots.length >= MOST_MEMORY_SLOTS) {
      throw new Error(`it has ${MOST_MEMORY_SLOTS} regions already`);
    }
    return BackendMemory.#adding(this.#slots, [region], [fd], policy);
  }

  /** This table without a region, or undefined where it was the last. Throws where there is no such region. */
  minus(region: VhostUserMemoryRegion): BackendMemory | undefined {
    const gone = this.#slots.find((slot) => isSame(slot, region));
    if (!gone) throw new Error('there is no such region');
    if (gone.times > 1) return this.#counting(gone, gone.times - 1);
    const rest = this.#slots.filter((slot) => slot !== gone);
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

  /** This table, to which a region of it was added that often. */
  #counting(counted: Slot, times: number): BackendMemory {
    return new BackendMemory(
      this.#slots.map((slot) => (slot === counted ? { ...slot, times } : slot)),
    );
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
        added.push({ region, userAddress, times: 1 });
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

/** Whether the region is out of this file as well, from the same place on. */
function isSameFile({ region }: Slot, { mmapOffset }: VhostUserMemoryRegion, fd: number): boolean {
  const [own, other] = [fstatSync(region.fd), fstatSync(fd)];
  return own.dev === other.dev && own.ino === other.ino && BigInt(region.fileOffset) === mmapOffset;
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
