/** A vhost-net device, guest memory and rings for one test, given back when the test ends. */
import { onTestFinished } from 'vitest';
import {
  EventFd,
  GuestMemory,
  placeVring,
  Tap,
  VhostNet,
  type VringUserAddresses,
  vringBytes,
} from '../../lib/index.js';
import { type Fd, native } from '../../lib/native.js';
import { tapName } from './host.js';

/** Descriptors of each ring. */
export const RING_SIZE = 8;

/** Closes `resource` when the test ends: the one kept last is closed first. */
export function keep<T extends { close(): unknown }>(resource: T): T {
  onTestFinished(async () => {
    await resource.close();
  });
  return resource;
}

/** One region of 64 KiB at guest address 0. */
export function guestMemory(): GuestMemory {
  return keep(GuestMemory.create([{ guestAddress: 0n, size: 0x10000 }]));
}

/** A new TAP. */
export function newTap(options: Parameters<typeof Tap.open>[1] = {}): Tap {
  return keep(Tap.open(tapName(), options));
}

/** A device without an owner. */
export function newDevice(): VhostNet {
  return keep(VhostNet.open());
}

/** A device that this process owns. */
export async function ownedDevice(): Promise<VhostNet> {
  const vhost = newDevice();
  await vhost.setOwner();
  return vhost;
}

/** Where ring `index` of {@link RING_SIZE} descriptors lies in this process. */
export function ringAddresses(memory: GuestMemory, index: number): VringUserAddresses {
  const [region] = memory.regions;
  const at = placeVring(BigInt(index * vringBytes(RING_SIZE)), RING_SIZE);
  const user = (address: bigint) => (region?.userAddress ?? 0n) + address;
  return { desc: user(at.desc), avail: user(at.avail), used: user(at.used) };
}

/** An owned device with a memory table and two rings, ready for a backend. */
export async function readyDevice(memory: GuestMemory): Promise<VhostNet> {
  const vhost = await ownedDevice();
  vhost.setMemTable(memory);
  for (const index of [0, 1]) {
    vhost.setVringNum(index, RING_SIZE);
    vhost.setVringBase(index, 0);
    vhost.setVringAddr(index, ringAddresses(memory, index));
    vhost.setVringCall(index, keep(EventFd.create()));
    vhost.setVringKick(index, keep(EventFd.create()));
  }
  return vhost;
}

/** A device whose two rings run on a new TAP. */
export async function runningDevice(memory: GuestMemory): Promise<VhostNet> {
  const tap = newTap();
  const vhost = await readyDevice(memory);
  await vhost.setBackend(0, tap);
  await vhost.setBackend(1, tap);
  return vhost;
}

/** The descriptor of a file that is neither an eventfd nor a socket. */
export function plainFile(): Fd {
  const fd = native.open('/dev/null', 2);
  if (typeof fd === 'number') throw new Error('/dev/null does not open');
  return keep(fd);
}
