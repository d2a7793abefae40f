import { describe, expect, test } from 'vitest';
import { EventFd, PacketSocket, Tap } from '../../lib/index.js';
import { native } from '../../lib/native.js';
import {
  guestMemory,
  keep,
  newTap,
  ownedDevice,
  plainFile,
  readyDevice,
  ringAddresses,
  runningDevice,
} from '../support/device.js';
import { errnoOf, expectCode, expectSystemError } from '../support/errors.js';

const SET_BACKEND = 'ioctl(VHOST_NET_SET_BACKEND)';
/** An address that no process has. */
const KERNEL_ADDRESS = 0xffff_8000_0000_0000n;

describe('VHOST_NET_SET_BACKEND', () => {
  test('fails with EFAULT before there is a memory table, even to take a backend off', async () => {
    const tap = newTap();
    const vhost = await ownedDevice();
    await expectSystemError(() => vhost.setBackend(0, tap), 'EFAULT', SET_BACKEND);
    await expectSystemError(() => vhost.setBackend(0, null), 'EFAULT', SET_BACKEND);
    vhost.setMemTable([]);
    await vhost.setBackend(0, null);
  });

  test('looks at the index before the memory table', async () => {
    const vhost = await ownedDevice();
    await expectSystemError(() => vhost.setBackend(2, null), 'ENOBUFS', SET_BACKEND);
  });

  test('fails with EFAULT where no ring addresses are set', async () => {
    const tap = newTap();
    const memory = guestMemory();
    const vhost = await ownedDevice();
    vhost.setMemTable(memory);
    await expectSystemError(() => vhost.setBackend(0, tap), 'EFAULT', SET_BACKEND);
  });

  test.each(['desc', 'avail', 'used'])(
    'fails with EFAULT where %s cannot be reached',
    async (part) => {
      const tap = newTap();
      const memory = guestMemory();
      const vhost = await readyDevice(memory);
      vhost.setVringAddr(0, { ...ringAddresses(memory, 0), [part]: KERNEL_ADDRESS });
      await expectSystemError(() => vhost.setBackend(0, tap), 'EFAULT', SET_BACKEND);
    },
  );

  test('fails with EFAULT where a region cannot be reached', async () => {
    const tap = newTap();
    const memory = guestMemory();
    const vhost = await readyDevice(memory);
    vhost.setMemTable([{ guestAddress: 0n, size: 4096, userAddress: KERNEL_ADDRESS }]);
    await expectSystemError(() => vhost.setBackend(0, tap), 'EFAULT', SET_BACKEND);
  });

  test('fails with EFAULT where the log of the used ring cannot be reached', async () => {
    const tap = newTap();
    const memory = guestMemory();
    const vhost = await readyDevice(memory);
    vhost.setLogBase(KERNEL_ADDRESS);
    vhost.setVringAddr(0, { ...ringAddresses(memory, 0), log: 0n });
    await expectSystemError(() => vhost.setBackend(0, tap), 'EFAULT', SET_BACKEND);
  });

  test('fails with EFAULT where its argument is not there', async () => {
    const vhost = await ownedDevice();
    const { VHOST_NET_SET_BACKEND = 0 } = native.requests();
    expect(native.ioctl(vhost.handle, VHOST_NET_SET_BACKEND, 0)).toBe(-errnoOf('EFAULT'));
  });

  test('fails with ENOTSOCK for what is no TUN, TAP or raw packet socket', async () => {
    const eventFd = keep(EventFd.create());
    const file = keep(EventFd.fromFd(plainFile().number()));
    const vhost = await readyDevice(guestMemory());
    await expectSystemError(() => vhost.setBackend(0, eventFd), 'ENOTSOCK', SET_BACKEND);
    await expectSystemError(() => vhost.setBackend(0, file), 'ENOTSOCK', SET_BACKEND);
    await expectSystemError(() => vhost.setBackend(0, vhost), 'ENOTSOCK', SET_BACKEND);
  });

  test('fails with ENOTSOCK for a descriptor that is not open', async () => {
    const vhost = await readyDevice(guestMemory());
    expect(await native.vhostNetSetBackend(vhost.handle, 0, 999)).toBe(-errnoOf('ENOTSOCK'));
  });

  test('fails with EINVAL for a TUN descriptor without an interface', async () => {
    const tun = native.open('/dev/net/tun', 2);
    if (typeof tun === 'number') throw new Error('/dev/net/tun does not open');
    const unattached = keep(EventFd.fromFd(keep(tun).number()));
    const vhost = await readyDevice(guestMemory());
    await expectSystemError(() => vhost.setBackend(0, unattached), 'EINVAL', SET_BACKEND);
  });

  test('is refused before the kernel sees it for a closed TAP', async () => {
    const tap = newTap();
    const vhost = await readyDevice(guestMemory());
    tap.close();
    await expectCode(() => vhost.setBackend(0, tap), 'ERR_CLOSED');
  });

  test('takes a TAP, a TUN and a packet socket', async () => {
    const tap = newTap();
    const tun = newTap({ mode: 'tun' });
    const socket = keep(PacketSocket.open('lo', { vnetHeader: true }));
    const vhost = await readyDevice(guestMemory());
    for (const backend of [tap, tun, socket]) {
      await vhost.setBackend(0, backend);
      await vhost.setBackend(0, null);
    }
  });

  test('puts one backend in another’s place, and the same again, without a stop', async () => {
    const first = newTap();
    const second = newTap();
    const vhost = await readyDevice(guestMemory());
    await vhost.setBackend(0, first);
    await vhost.setBackend(0, first);
    await vhost.setBackend(0, second);
    await expectSystemError(() => vhost.setVringNum(0, 8), 'EBUSY', 'ioctl(VHOST_SET_VRING_NUM)');
  });

  test('takes a backend off twice', async () => {
    const vhost = await runningDevice(guestMemory());
    await vhost.setBackend(0, null);
    await vhost.setBackend(0, null);
  });

  test('keeps the interface for as long as it has it', async () => {
    const vhost = await readyDevice(guestMemory());
    const tap = newTap();
    await vhost.setBackend(0, tap);
    tap.close();
    // vhost holds the socket, whose file is the interface's queue.
    expect(tap.interface.exists).toBe(true);
    await vhost.setBackend(0, null);
    expect(tap.interface.exists).toBe(false);
  });

  test('goes on from used.idx, which it reads', async () => {
    const memory = guestMemory();
    const tap = newTap();
    const vhost = await readyDevice(memory);
    const { used } = ringAddresses(memory, 1);
    const { buffer, userAddress } = memory.regions[0]!;
    const usedRing = new Uint16Array(buffer, Number(used - userAddress), 2);
    usedRing[1] = 4711;
    vhost.setVringBase(1, 4711);
    await vhost.setBackend(1, tap);
    await vhost.setBackend(1, null);
    expect([usedRing[1], vhost.getVringBase(1)]).toEqual([4711, 4711]);
  });

  test('writes the flags of the used ring', async () => {
    const memory = guestMemory();
    const tap = newTap();
    const vhost = await readyDevice(memory);
    const { used } = ringAddresses(memory, 0);
    const { buffer, userAddress } = memory.regions[0]!;
    const usedRing = new Uint16Array(buffer, Number(used - userAddress), 1);
    usedRing[0] = 0xffff;
    await vhost.setBackend(0, tap);
    expect(usedRing[0]).toBeLessThanOrEqual(1);
  });

  test('serves a ring whose size is left at 1', async () => {
    const memory = guestMemory();
    const tap = newTap();
    const vhost = await ownedDevice();
    vhost.setMemTable(memory);
    vhost.setVringAddr(0, ringAddresses(memory, 0));
    await vhost.setBackend(0, tap);
  });

  test('works for a TAP through a duplicate that somebody else opened', async () => {
    const tap = newTap();
    const duplicate = keep(Tap.fromFd(tap.fd));
    const vhost = await readyDevice(guestMemory());
    await vhost.setBackend(0, duplicate);
  });
});
