/**
 * What went wrong in other back ends of vhost-user, by the number that it got, and must not here. A front-end is one
 * step away from a guest: whatever it says, the worst that becomes of it is the end of its own connection.
 */
import { describe, expect, test } from 'vitest';
import { EventFd, UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { backendOf, FrontEnd, guestMemory, MEMORY, numbered, USER } from '../support/front-end.js';
import { until } from '../support/host.js';
import {
  offer,
  openFds,
  refused,
  servesOthers,
  up,
  writeDescriptorOf,
} from '../support/hostile-front-end.js';
import { kept, sendable } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';
import { le, message } from '../support/vhost-user.js';

holdNothingLeaks();

describe('CVE-2018-1059', () => {
  test.each([
    ['runs over the end of the memory', BigInt(MEMORY) - 64n, 128],
    ['begins behind it', BigInt(MEMORY), 64],
    ['wraps at 2^64', (1n << 64n) - 32n, 64],
    ['is longer than 32 bits of room', 0n, 0xffff_ffff],
  ])('a buffer that %s breaks its ring, and no byte beyond is read', async (_, address, length) => {
    const made = await up();
    writeDescriptorOf(made.guest, 0, [address, length, 0, 0]);
    offer(made.guest, 0);
    await until(() => made.told.some(([event]) => event === 'ringError'), 'the ring to break');
    expect(made.frames).toEqual([]);
    expect(made.guest.errs[1].read()).toBe(1);
    await servesOthers(made);
  });

  test('a ring that is not whole in one region does not start', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await guest.setMemory();
    await guest.ack('VHOST_USER_SET_VRING_NUM', { index: 0, num: 256 });
    const end = USER + BigInt(MEMORY) - 64n;
    for (const part of ['desc', 'avail', 'used'] as const) {
      await refused(guest, 'VHOST_USER_SET_VRING_ADDR', { ...guest.addressOf(0), [part]: end });
    }
  });

  test('regions that overlap, for the guest or for the front-end, are refused', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    const fd = sendable(guest.memory.regions[0]?.fd as number);
    const { region } = guest;
    const above = { ...region, guestAddress: 1n << 32n, userAddress: USER << 1n };
    await refused(
      guest,
      'VHOST_USER_SET_MEM_TABLE',
      [region, { ...above, guestAddress: 4096n }],
      [fd, fd],
    );
    await refused(
      guest,
      'VHOST_USER_SET_MEM_TABLE',
      [region, { ...above, userAddress: USER + 4096n }],
      [fd, fd],
    );
    await guest.ack('VHOST_USER_SET_MEM_TABLE', [region, above], [fd, fd]);
  });

  test('a region that its file does not have is refused', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    const fd = sendable(guest.memory.regions[0]?.fd as number);
    for (const change of [
      { size: BigInt(MEMORY) + 4096n },
      { mmapOffset: 4096n },
      { mmapOffset: 1n << 62n },
    ]) {
      await refused(guest, 'VHOST_USER_SET_MEM_TABLE', [{ ...guest.region, ...change }], [fd]);
    }
  });
});

/** A table of one region. */
const TABLE = le([4, 1], [4, 0], [8, 0], [8, 4096], [8, 4096], [8, 0]);

describe('CVE-2019-14818', () => {
  test('no descriptor stays open of messages that are refused, or repeat', async () => {
    const { guest } = await up();
    await guest.request('VHOST_USER_GET_FEATURES', undefined);
    const before = openFds();
    for (let i = 0; i < 20; i++) {
      const file = { index: 0, noDescriptor: false };
      await guest.ack('VHOST_USER_SET_VRING_CALL', file, [guest.calls[0]]);
      await guest.ack('VHOST_USER_SET_VRING_KICK', file, [guest.kicks[0]]);
      await refused(guest, 'VHOST_USER_SET_VRING_ERR', file, [guest.socket]);
      await guest.setMemory();
    }
    // The front-end's own copies of its memory's descriptor go with the test.
    expect(openFds()).toBeLessThanOrEqual(before + 20 + 1);
  });

  test.each([
    ['a message that has none', message(1, 1), 1],
    ['a message that has one', message(13, 1, le([8, 0])), 2],
    ['a table of one region', message(5, 1, TABLE), 2],
    ['any message', message(5, 1, TABLE), 9],
    ['any socket', message(5, 1, TABLE), 253],
    ['half a header', message(1, 1).subarray(0, 6), 8],
    ['a message that is none', message(99, 1), 1],
  ])('no descriptor stays open of too many for %s', async (_, bytes, count) => {
    const made = await up();
    const socket = kept(UnixSocket.connect(made.backend.path, 'stream'));
    await until(() => made.backend.devices.size === 2, 'the second');
    const event = kept(EventFd.create());
    const before = openFds('eventfd');
    socket.send(bytes, Array(count).fill(event));
    await aWhile();
    socket.close();
    await until(() => made.errors.length === 1, 'its end');
    expect(made.errors[0]).toMatchObject({ code: expect.stringContaining('ERR_VHOST_USER') });
    expect(openFds('eventfd')).toBe(before);
    await servesOthers(made);
  });

  test('a size that is set again while the ring runs is refused', async () => {
    const { guest } = await up();
    await refused(guest, 'VHOST_USER_SET_VRING_NUM', { index: 1, num: 8 });
  });
});

describe('CVE-2020-10722', () => {
  test.each([
    [4096n, 1n << 63n],
    [(1n << 64n) - 4096n, 4096n],
    [8192n, (1n << 64n) - 8192n],
    [1n << 40n, 0n],
  ])('a log of %i bytes at %i is refused', async (size, offset) => {
    const made = await up();
    const fd = sendable(guestMemory().regions[0]?.fd as number);
    // It has a reply of its own, which cannot say no: the connection ends.
    await expect(
      made.guest.request('VHOST_USER_SET_LOG_BASE', { size, offset }, [fd]),
    ).rejects.toThrow();
    await until(() => made.errors.length === 1, 'its end');
    await servesOthers(made);
  });

  test('what the log does not cover is not written to', async () => {
    const { guest, device } = await up();
    const area = guestMemory().regions[0];
    const bits = new Uint8Array(area?.buffer as ArrayBuffer);
    await guest.request('VHOST_USER_SET_LOG_BASE', { size: 1n, offset: 0n }, [
      sendable(area?.fd as number),
    ]);
    const address = { ...guest.addressOf(0, true), log: (1n << 64n) - 1n };
    await guest.ack('VHOST_USER_SET_VRING_ADDR', address);
    guest.post(1, 2048, 7);
    expect(device().enqueue([numbered(1)])).toBe(1);
    expect([...bits.subarray(1)].every((byte) => byte === 0)).toBe(true);
  });
});

test.each([0x1_0000, 0x1_0001, 256, 0xffff_ffff])(
  'CVE-2020-10723: ring %i is no ring, whatever its lower bits are',
  async (index) => {
    const { guest, backend } = await up();
    await refused(guest, 'VHOST_USER_SET_VRING_ENABLE', { index, num: 0 });
    await refused(guest, 'VHOST_USER_SET_VRING_NUM', { index, num: 16 });
    expect([...backend.devices][0]?.running).toBe(true);
  },
);

test('CVE-2020-10725: a buffer of no bytes with an address of nowhere is not followed', async () => {
  const made = await up();
  writeDescriptorOf(made.guest, 0, [0xffff_ffff_0000n, 0, 0, 0]);
  offer(made.guest, 0);
  await until(
    () => made.told.some(([event]) => event === 'ringError') || made.guest.taken(1).length > 0,
    'it to be dealt with',
  );
  expect(made.frames).toEqual([]);
  await servesOthers(made);
});
