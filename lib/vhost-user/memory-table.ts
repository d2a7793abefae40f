/** MemoryTable: which regions of guest memory a back end was told of, in one session. */
import { rangeError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import type { MemoryRegion } from '../host/memory-region.js';
import { ReceivedDescriptor } from '../host/unix-socket.js';
import { VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS } from '../uapi/vhost-user.js';
import type { VhostUserMemoryRegion } from './memory-payloads.js';
import type { VhostUserRequestName, VhostUserRequestPayload } from './message-types.js';

/** What a table needs of the session that it belongs to. */
export interface TableSession {
  /** Regions that the back end can have at a time. */
  readonly memorySlots: number;
  has(feature: number): boolean;
  command<N extends VhostUserRequestName>(
    name: N,
    payload: VhostUserRequestPayload<N>,
    descriptors?: readonly ReceivedDescriptor[],
  ): Promise<void>;
}

export class MemoryTable {
  readonly #session: TableSession;
  /** Region by region, where the back end takes them so. */
  readonly #known = new Map<MemoryRegion, VhostUserMemoryRegion>();

  constructor(session: TableSession) {
    this.#session = session;
  }

  /**
   * The back end has this memory from now on, and no other. Rejects with `ERR_OUT_OF_RANGE` for more regions than
   * it takes, `ERR_MEMORY_NOT_SHARED`, and what its session does.
   */
  async set({ regions }: GuestMemory): Promise<void> {
    const { memorySlots } = this.#session;
    if (regions.length > memorySlots) {
      throw rangeError(
        `the memory has ${regions.length} regions, and the back end takes ${memorySlots}`,
        'make fewer and larger ones, or use a back end with CONFIGURE_MEM_SLOTS',
      );
    }
    if (this.#session.has(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) await this.#change(regions);
    else await this.#setAll(regions);
  }

  async #setAll(regions: readonly MemoryRegion[]): Promise<void> {
    const files: ReceivedDescriptor[] = [];
    try {
      for (const region of regions) files.push(fileOf(region));
      await this.#session.command('VHOST_USER_SET_MEM_TABLE', regions.map(describe), files);
    } finally {
      for (const file of files) file.close();
    }
  }

  async #change(regions: readonly MemoryRegion[]): Promise<void> {
    for (const [region, described] of this.#known) {
      if (regions.includes(region)) continue;
      await this.#session.command('VHOST_USER_REM_MEM_REG', described);
      this.#known.delete(region);
    }
    for (const region of regions) {
      if (this.#known.has(region)) continue;
      const described = describe(region);
      const file = fileOf(region);
      try {
        await this.#session.command('VHOST_USER_ADD_MEM_REG', described, [file]);
        this.#known.set(region, described);
      } finally {
        file.close();
      }
    }
  }
}

function describe({ guestAddress, size, userAddress, fileOffset }: MemoryRegion) {
  return { guestAddress, size: BigInt(size), userAddress, mmapOffset: BigInt(fileOffset) };
}

function fileOf(region: MemoryRegion): ReceivedDescriptor {
  return ReceivedDescriptor.fromFd(region.fd);
}
