import { describe, expect, test } from 'vitest';
import { EventFd, VHOST_VRING_F_LOG, type VhostNet } from '../../lib/index.js';
import { native } from '../../lib/native.js';
import {
  guestMemory,
  keep,
  ownedDevice,
  plainFile,
  readyDevice,
  ringAddresses,
  runningDevice,
} from '../support/device.js';
import { errnoOf, expectCode, expectSystemError } from '../support/errors.js';

/** An address that no process has. */
const KERNEL_ADDRESS = 0xffff_8000_0000_0000n;
const NUM = 'ioctl(VHOST_SET_VRING_NUM)';
const BASE = 'ioctl(VHOST_SET_VRING_BASE)';
const ADDR = 'ioctl(VHOST_SET_VRING_ADDR)';

/** Every request that names a ring and that the kernel knows. */
const RING_CALLS: Record<string, (vhost: VhostNet, index: number) => unknown> = {
  VHOST_SET_VRING_NUM: (vhost, index) => vhost.setVringNum(index, 8),
  VHOST_SET_VRING_BASE: (vhost, index) => vhost.setVringBase(index, 0),
  VHOST_GET_VRING_BASE: (vhost, index) => vhost.getVringBase(index),
  VHOST_SET_VRING_ADDR: (vhost, index) =>
    vhost.setVringAddr(index, { desc: 0n, avail: 0n, used: 0n }),
  VHOST_SET_VRING_KICK: (vhost, index) => vhost.setVringKick(index, null),
  VHOST_SET_VRING_CALL: (vhost, index) => vhost.setVringCall(index, null),
  VHOST_SET_VRING_ERR: (vhost, index) => vhost.setVringErr(index, null),
  VHOST_SET_VRING_BUSYLOOP_TIMEOUT: (vhost, index) => vhost.setVringBusyloopTimeout(index, 0),
  VHOST_GET_VRING_BUSYLOOP_TIMEOUT: (vhost, index) => vhost.getVringBusyloopTimeout(index),
  VHOST_NET_SET_BACKEND: (vhost, index) => vhost.setBackend(index, null),
};

describe('a request that names a ring', () => {
  test.each(Object.entries(RING_CALLS))(
    '%s fails with ENOBUFS beyond ring 1',
    async (name, call) => {
      const vhost = await ownedDevice();
      for (const index of [2, 999, 0xffff_ffff]) {
        await expectSystemError(() => call(vhost, index), 'ENOBUFS', `ioctl(${name})`);
      }
    },
  );

  test.each(Object.entries(RING_CALLS))('%s takes nothing but an index', async (_name, call) => {
    const vhost = await ownedDevice();
    for (const index of [-1, 0.5, Number.NaN, 2 ** 32]) {
      await expectCode(() => call(vhost, index), 'ERR_OUT_OF_RANGE');
    }
    await expectCode(() => call(vhost, '0' as unknown as number), 'ERR_INVALID_ARG_TYPE');
  });

  test.each(Object.keys(RING_CALLS))(
    '%s fails with EFAULT where its argument is not there',
    async (name) => {
      const vhost = await ownedDevice();
      const request = native.requests()[name] ?? 0;
      expect(native.ioctl(vhost.handle, request, 0)).toBe(-errnoOf('EFAULT'));
      expect(native.ioctl(vhost.handle, request, 0x10)).toBe(-errnoOf('EFAULT'));
    },
  );

  test('has its index looked at before its value', async () => {
    const vhost = await ownedDevice();
    await expectSystemError(() => vhost.setVringNum(2, 3), 'ENOBUFS', NUM);
    await expectSystemError(() => vhost.setVringBase(2, 65536), 'ENOBUFS', BASE);
  });
});

describe('VHOST_SET_VRING_NUM', () => {
  test('takes every power of two from 1 to 32768', async () => {
    const vhost = await ownedDevice();
    for (let size = 1; size <= 32768; size *= 2) vhost.setVringNum(1, size);
  });

  test('fails with EINVAL for any other number', async () => {
    const vhost = await ownedDevice();
    for (const size of [0, 3, 12, 32767, 65535, 65536, 0x8000_0000]) {
      await expectSystemError(() => vhost.setVringNum(0, size), 'EINVAL', NUM);
    }
  });

  test('fails with EBUSY while the ring has a backend, and does not look at the number', async () => {
    const vhost = await runningDevice(guestMemory());
    await expectSystemError(() => vhost.setVringNum(0, 8), 'EBUSY', NUM);
    await expectSystemError(() => vhost.setVringNum(1, 3), 'EBUSY', NUM);
    await vhost.setBackend(1, null);
    vhost.setVringNum(1, 16);
  });
});

describe('VHOST_SET_VRING_BASE and VHOST_GET_VRING_BASE', () => {
  test('give back what was set, each ring its own', async () => {
    const vhost = await ownedDevice();
    vhost.setVringBase(0, 65535);
    vhost.setVringBase(1, 258);
    expect([vhost.getVringBase(0), vhost.getVringBase(1)]).toEqual([65535, 258]);
  });

  test('fail with EINVAL above 65535', async () => {
    const vhost = await ownedDevice();
    for (const base of [65536, 0xffff_ffff]) {
      await expectSystemError(() => vhost.setVringBase(0, base), 'EINVAL', BASE);
    }
  });

  test('a base cannot be set while the ring has a backend, but read', async () => {
    const vhost = await runningDevice(guestMemory());
    await expectSystemError(() => vhost.setVringBase(0, 0), 'EBUSY', BASE);
    await expectSystemError(() => vhost.setVringBase(1, 65536), 'EBUSY', BASE);
    expect(vhost.getVringBase(0)).toBe(0);
    await vhost.setBackend(0, null);
    vhost.setVringBase(0, 7);
  });

  test('are refused before the kernel sees them where the number is no u32', async () => {
    const vhost = await ownedDevice();
    await expectCode(() => vhost.setVringBase(0, -1), 'ERR_OUT_OF_RANGE');
    await expectCode(() => vhost.setVringNum(0, 2 ** 32), 'ERR_OUT_OF_RANGE');
    await expectCode(() => vhost.setVringNum(0, 1.5), 'ERR_OUT_OF_RANGE');
  });
});

describe('VHOST_SET_VRING_ADDR', () => {
  test('fails with EINVAL for avail not aligned to 2, used and log to 4', async () => {
    const vhost = await ownedDevice();
    const at = ringAddresses(guestMemory(), 0);
    for (const wrong of [
      { avail: at.avail + 1n },
      { used: at.used + 1n },
      { used: at.used + 2n },
      { log: 1n },
      { log: 2n },
    ]) {
      await expectSystemError(() => vhost.setVringAddr(0, { ...at, ...wrong }), 'EINVAL', ADDR);
    }
  });

  test('does not look at the alignment of desc', async () => {
    const vhost = await ownedDevice();
    const at = ringAddresses(guestMemory(), 0);
    vhost.setVringAddr(0, { ...at, desc: at.desc + 1n });
  });

  test('fails with EOPNOTSUPP for a flag other than VHOST_VRING_F_LOG', async () => {
    const { handle } = await ownedDevice();
    const { desc, avail, used } = ringAddresses(guestMemory(), 0);
    const set = (flags: number) =>
      native.vhostSetVringAddr(handle, 0, flags, desc, avail, used, 0n);
    expect(set(1 << VHOST_VRING_F_LOG)).toBe(0);
    expect(set(2)).toBe(-errnoOf('EOPNOTSUPP'));
    expect(set(3)).toBe(-errnoOf('EOPNOTSUPP'));
  });

  // EFAULT is for addresses wider than the kernel's pointers: none on a 64-bit kernel.
  test('takes addresses that cannot be reached while the ring has no backend', async () => {
    const vhost = await ownedDevice();
    vhost.setVringAddr(0, { desc: 0n, avail: 0n, used: 0n });
    vhost.setVringAddr(0, { desc: KERNEL_ADDRESS, avail: KERNEL_ADDRESS, used: KERNEL_ADDRESS });
  });

  test('fails with EINVAL for such an address while the ring has one', async () => {
    const memory = guestMemory();
    const vhost = await runningDevice(memory);
    const at = ringAddresses(memory, 0);
    for (const wrong of ['desc', 'avail', 'used']) {
      const addresses = { ...at, [wrong]: KERNEL_ADDRESS };
      await expectSystemError(() => vhost.setVringAddr(0, addresses), 'EINVAL', ADDR);
    }
  });

  test('moves a running ring', async () => {
    const memory = guestMemory();
    const vhost = await runningDevice(memory);
    const at = ringAddresses(memory, 0);
    const by = 0x8000n;
    vhost.setVringAddr(0, { desc: at.desc + by, avail: at.avail + by, used: at.used + by });
  });

  test('is refused before the kernel sees it where an address is no u64', async () => {
    const vhost = await ownedDevice();
    const at = ringAddresses(guestMemory(), 0);
    await expectCode(() => vhost.setVringAddr(0, { ...at, desc: -1n }), 'ERR_OUT_OF_RANGE');
    await expectCode(() => vhost.setVringAddr(0, { ...at, log: 1n << 64n }), 'ERR_OUT_OF_RANGE');
  });
});

describe.each([
  ['VHOST_SET_VRING_KICK', 'setVringKick', 'vhostSetVringKick'],
  ['VHOST_SET_VRING_CALL', 'setVringCall', 'vhostSetVringCall'],
  ['VHOST_SET_VRING_ERR', 'setVringErr', 'vhostSetVringErr'],
] as const)('%s', (request, method, raw) => {
  test('takes an eventfd, another, and none', async () => {
    const vhost = await ownedDevice();
    vhost[method](0, keep(EventFd.create()));
    vhost[method](0, keep(EventFd.create()));
    vhost[method](0, null);
    vhost[method](0, null);
  });

  test('fails with EBADF for a descriptor that is not open', async () => {
    expect(native[raw]((await ownedDevice()).handle, 0, 999)).toBe(-errnoOf('EBADF'));
  });

  test('fails with EINVAL for a descriptor that is no eventfd', async () => {
    const vhost = await ownedDevice();
    const file = keep(EventFd.fromFd(plainFile().number()));
    await expectSystemError(() => vhost[method](1, file), 'EINVAL', `ioctl(${request})`);
  });

  test('takes another eventfd while the ring runs', async () => {
    const vhost = await runningDevice(guestMemory());
    vhost[method](0, keep(EventFd.create()));
    vhost[method](0, null);
  });
});

describe('the busy-loop timeout', () => {
  test('is 0 at first, and what was set after, each ring its own', async () => {
    const vhost = await readyDevice(guestMemory());
    expect(vhost.getVringBusyloopTimeout(0)).toBe(0);
    vhost.setVringBusyloopTimeout(0, 50);
    vhost.setVringBusyloopTimeout(1, 0xffff_ffff);
    expect([vhost.getVringBusyloopTimeout(0), vhost.getVringBusyloopTimeout(1)]).toEqual([
      50, 0xffff_ffff,
    ]);
  });

  test('can be changed while the ring runs', async () => {
    const vhost = await runningDevice(guestMemory());
    vhost.setVringBusyloopTimeout(0, 50);
    expect(vhost.getVringBusyloopTimeout(0)).toBe(50);
  });
});
