// ENOMEM of VHOST_SET_MEM_TABLE cannot be provoked, and is not tested.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  bit,
  EventFd,
  maxMemRegions,
  VHOST_F_LOG_ALL,
  type VhostMemoryRegion,
  type VhostNet,
} from '../../lib/index.js';
import { native } from '../../lib/native.js';
import {
  guestMemory,
  keep,
  newTap,
  ownedDevice,
  plainFile,
  readyDevice,
  runningDevice,
} from '../support/device.js';
import { errnoOf, expectCode, expectSystemError } from '../support/errors.js';

/** An address that no process has. */
const KERNEL_ADDRESS = 0xffff_8000_0000_0000n;
const MEM_TABLE = 'ioctl(VHOST_SET_MEM_TABLE)';
const LOG_BASE = 'ioctl(VHOST_SET_LOG_BASE)';
const LOG_FD = 'ioctl(VHOST_SET_LOG_FD)';

/** `count` regions of a page each, one after another, all on the same page of ours. */
function regions(count: number): VhostMemoryRegion[] {
  const { userAddress } = guestMemory().regions[0]!;
  return Array.from({ length: count }, (_, i) => ({
    guestAddress: BigInt(i * 4096),
    size: 4096,
    userAddress,
  }));
}

/** The kernel's answer to one region that the library would refuse. */
function rawRegion(vhost: VhostNet, region: readonly bigint[], padding = 0): number {
  return native.vhostSetMemTable(vhost.handle, BigUint64Array.from(region), padding);
}

describe('VHOST_SET_MEM_TABLE', () => {
  test('takes as many regions as the module’s parameter says, and E2BIG comes with one more', async () => {
    const vhost = await ownedDevice();
    const most = maxMemRegions();
    const parameter = readFileSync('/sys/module/vhost/parameters/max_mem_regions', 'utf8');
    expect(most).toBe(Number(parameter));
    expect(most).toBe(64);
    vhost.setMemTable(regions(most));
    await expectSystemError(() => vhost.setMemTable(regions(most + 1)), 'E2BIG', MEM_TABLE);
  });

  test('takes no regions, overlapping ones and any alignment: the kernel checks none of it', async () => {
    const vhost = await ownedDevice();
    const [region] = regions(1) as [VhostMemoryRegion];
    vhost.setMemTable([]);
    vhost.setMemTable([region, region]);
    vhost.setMemTable([region, { ...region, guestAddress: 1n, size: 3n }]);
    vhost.setMemTable([{ ...region, userAddress: 0x10n }]);
    vhost.setMemTable([{ ...region, userAddress: KERNEL_ADDRESS }]);
  });

  test('refuses a region of size 0 before the kernel sees it, and keeps the table', async () => {
    const memory = guestMemory();
    const vhost = await readyDevice(memory);
    for (const guestAddress of [0n, 4096n]) {
      const region = { guestAddress, size: 0, userAddress: 0n };
      await expectCode(() => vhost.setMemTable([region]), 'ERR_OUT_OF_RANGE');
    }
    await expectCode(() => memory.close(), 'ERR_MEMORY_IN_USE');
  });

  test('has to: the kernel takes size 0 at address 0 for everything, and EFAULT only above', async () => {
    const vhost = await ownedDevice();
    expect(rawRegion(vhost, [0n, 0n, 0n, 0n])).toBe(0);
    expect(rawRegion(vhost, [4096n, 0n, 0n, 0n])).toBe(-errnoOf('EFAULT'));
  });

  test('fails with EFAULT for a region that passes the end of the address space', async () => {
    const vhost = await ownedDevice();
    const [region] = regions(1) as [VhostMemoryRegion];
    const wrapping = { ...region, guestAddress: 0xffff_ffff_ffff_f000n, size: 8192n };
    await expectSystemError(() => vhost.setMemTable([wrapping]), 'EFAULT', MEM_TABLE);
    vhost.setMemTable([{ ...wrapping, size: 4096n }]);
  });

  test('fails with EFAULT where a running ring’s memory would become inaccessible', async () => {
    const memory = guestMemory();
    const vhost = await runningDevice(memory);
    const [region] = regions(1) as [VhostMemoryRegion];
    const unreachable = { ...region, userAddress: KERNEL_ADDRESS };
    await expectSystemError(() => vhost.setMemTable([unreachable]), 'EFAULT', MEM_TABLE);
  });

  test('takes a smaller table under running rings', async () => {
    const memory = guestMemory();
    const vhost = await runningDevice(memory);
    const { guestAddress, userAddress } = memory.regions[0]!;
    vhost.setMemTable([{ guestAddress, userAddress, size: 4096 }]);
  });

  test('fails with EOPNOTSUPP for padding, and looks at it before the number of regions', async () => {
    const vhost = await ownedDevice();
    expect(rawRegion(vhost, [0n, 4096n, 0n, 0n], 1)).toBe(-errnoOf('EOPNOTSUPP'));
    expect(rawRegion(vhost, new Array(65 * 4).fill(0n), 1)).toBe(-errnoOf('EOPNOTSUPP'));
  });

  test('fails with EFAULT for a table that is not there', async () => {
    const vhost = await ownedDevice();
    const { VHOST_SET_MEM_TABLE = 0 } = native.requests();
    expect(native.ioctl(vhost.handle, VHOST_SET_MEM_TABLE, 0)).toBe(-errnoOf('EFAULT'));
    expect(native.ioctl(vhost.handle, VHOST_SET_MEM_TABLE, 0x10)).toBe(-errnoOf('EFAULT'));
  });

  test('is refused before the kernel sees it where an address or size is no u64', async () => {
    const vhost = await ownedDevice();
    const [region] = regions(1) as [VhostMemoryRegion];
    for (const wrong of [{ guestAddress: -1n }, { userAddress: 1n << 64n }, { size: -4096 }]) {
      await expectCode(() => vhost.setMemTable([{ ...region, ...wrong }]), 'ERR_OUT_OF_RANGE');
    }
  });

  test('keeps the memory from being closed until another table takes its place', async () => {
    const memory = guestMemory();
    const another = guestMemory();
    const vhost = await readyDevice(memory);
    await expectCode(() => memory.close(), 'ERR_MEMORY_IN_USE');
    vhost.setMemTable(another);
    memory.close();
  });

  test('that fails keeps the memory of the table before', async () => {
    const memory = guestMemory();
    const vhost = await readyDevice(memory);
    await expectSystemError(() => vhost.setMemTable(regions(65)), 'E2BIG', MEM_TABLE);
    await expectCode(() => memory.close(), 'ERR_MEMORY_IN_USE');
  });
});

describe('VHOST_SET_LOG_BASE', () => {
  test('takes any address while no ring runs', async () => {
    const vhost = await readyDevice(guestMemory());
    vhost.setLogBase(KERNEL_ADDRESS);
    vhost.setLogBase(0n);
  });

  test('fails with EFAULT where running rings log and the log is not accessible', async () => {
    const memory = guestMemory();
    const log = guestMemory();
    const tap = newTap();
    const vhost = await readyDevice(memory);
    const { userAddress } = log.regions[0]!;
    vhost.setLogBase(userAddress);
    vhost.setFeatures(bit(VHOST_F_LOG_ALL));
    await vhost.setBackend(0, tap);
    await expectSystemError(() => vhost.setLogBase(KERNEL_ADDRESS), 'EFAULT', LOG_BASE);
    vhost.setLogBase(userAddress + 4096n);
  });

  test('fails with EFAULT where its argument is not there', async () => {
    const vhost = await ownedDevice();
    const { VHOST_SET_LOG_BASE = 0 } = native.requests();
    expect(native.ioctl(vhost.handle, VHOST_SET_LOG_BASE, 0)).toBe(-errnoOf('EFAULT'));
  });
});

describe('VHOST_SET_LOG_FD', () => {
  test('takes an eventfd, another, and none', async () => {
    const vhost = await ownedDevice();
    vhost.setLogFd(keep(EventFd.create()));
    vhost.setLogFd(keep(EventFd.create()));
    vhost.setLogFd(null);
  });

  test('fails with EBADF for a descriptor that is not open, EINVAL for one that is no eventfd', async () => {
    const vhost = await ownedDevice();
    expect(native.vhostSetLogFd(vhost.handle, 999)).toBe(-errnoOf('EBADF'));
    const file = keep(EventFd.fromFd(plainFile().number()));
    await expectSystemError(() => vhost.setLogFd(file), 'EINVAL', LOG_FD);
  });

  test('fails with EFAULT where its argument is not there', async () => {
    const vhost = await ownedDevice();
    const { VHOST_SET_LOG_FD = 0 } = native.requests();
    expect(native.ioctl(vhost.handle, VHOST_SET_LOG_FD, 0)).toBe(-errnoOf('EFAULT'));
  });
});
