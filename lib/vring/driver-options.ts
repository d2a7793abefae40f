/** What the driver end of a ring is made with, and what another needs to go on with it. */
import { checkInteger, rangeError } from '../errors.js';
import type { ChainRecord, IndirectTables } from './descriptor-table.js';
import type { VringAddresses } from './layout.js';

/** What a driver knows of a ring that its memory does not tell: with it, another driver goes on. */
export interface VringDriverState {
  /** Positions in the avail and the used ring, 0 to 65535. */
  avail: number;
  used: number;
  chains: readonly ChainRecord[];
}

export interface VringDriverOptions {
  /** Descriptors: a power of two from 1 to 32768. */
  size: number;
  addresses: VringAddresses;
  /** Whether VIRTIO_RING_F_EVENT_IDX was negotiated. Default: false. */
  eventIdx?: boolean;
  /**
   * Room for indirect tables, where VIRTIO_RING_F_INDIRECT_DESC was negotiated: `size` tables of
   * `length` descriptors from `address`. Chains of 2 to `length` buffers then take one descriptor.
   */
  indirect?: IndirectTables;
  /** Go on where another driver stopped, on the memory as it left it. Default: clear the ring. */
  state?: VringDriverState;
}

/** Throws `ERR_OUT_OF_RANGE` for positions that no ring has, or not with so many chains in flight. */
export function checkPositions({ avail, used, chains }: VringDriverState): void {
  checkInteger('avail', avail, 0, 0xffff);
  checkInteger('used', used, 0, 0xffff);
  if (((avail - used) & 0xffff) !== chains.length) {
    throw rangeError(`${chains.length} chains cannot be in flight from ${used} to ${avail}`);
  }
}
