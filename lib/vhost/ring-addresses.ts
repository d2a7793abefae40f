/** Where a ring's parts are, as a vhost device is told. */
import type { GuestMemory } from '../host/guest-memory.js';
import { VHOST_ACCESS_RO, VHOST_ACCESS_RW } from '../uapi/vhost.js';
import { availBytes, descBytes, usedBytes } from '../vring/layout.js';
import type { VringConfig } from './backend.js';
import type { IotlbNeed } from './iotlb.js';
import type { VringUserAddresses } from './vhost-net.js';

/**
 * In this process. Throws `ERR_OUT_OF_RANGE` unless every part of the ring lies with its whole length in
 * one region.
 */
export function userAddresses(memory: GuestMemory, ring: VringConfig): VringUserAddresses {
  const user = (address: bigint, bytes: number) => {
    const { region, offset } = memory.translate(address, bytes);
    return region.userAddress + BigInt(offset);
  };
  const { desc, avail, used } = ring.addresses;
  return {
    desc: user(desc, descBytes(ring.size)),
    avail: user(avail, availBytes(ring.size)),
    used: user(used, usedBytes(ring.size)),
  };
}

/**
 * In the device's address space: what must be mapped before the ring starts. Taking a ring over the
 * device reads where its used ring stands, and writes a flag.
 */
export function ringNeeds({ addresses, size }: VringConfig): IotlbNeed[] {
  const { desc, avail, used } = addresses;
  return [
    { what: 'descriptor table', iova: desc, size: descBytes(size), access: VHOST_ACCESS_RO },
    { what: 'avail ring', iova: avail, size: availBytes(size), access: VHOST_ACCESS_RO },
    { what: 'used ring', iova: used, size: usedBytes(size), access: VHOST_ACCESS_RW },
  ];
}
