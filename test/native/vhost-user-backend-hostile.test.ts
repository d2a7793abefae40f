/**
 * What went wrong in other back ends of vhost-user, by the number that it got, and must not here. A front-end is one
 * step away from a guest: whatever it says, the worst that becomes of it is the end of its own connection.
 */
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EventFd, type Frame, UnixSocket, type VringDriver } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  FrontEnd,
  guestMemory,
  HEADER,
  MEMORY,
  numbered,
  RINGS,
  sendable,
  TRANSMIT_AT,
  USER,
} from '../support/front-end.js';
import { until } from '../support/host.js';
import { kept, receive } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';
import { le, message } from '../support/vhost-user.js';

holdNothingLeaks();

const openFds = () => readdirSync('/proc/self/fd').length;

async function up() {
  const made = backendOf();
  const frames: { bytes: Uint8Array; offload: Frame['offload'] }[] = [];
  made.backend.on('connect', (device) =>
    device.onFrames((burst) => {
      for (const { bytes, offload } of burst) {
        frames.push({ bytes: bytes.slice(), offload: { ...offload } });
      }
    }),
  );
  const guest = await new FrontEnd(made.backend.path).bringUp();
  return { ...made, frames, guest };
}

/** Nothing of it is left, and another front-end is served as if nothing had been. */
async function servesOthers({ backend }: ReturnType<typeof backendOf>): Promise<void> {
  const other = await new FrontEnd(backend.path).bringUp();
  other.post(1);
  expect([...backend.devices].at(-1)?.enqueue([numbered(1)])).toBe(1);
  expect(await other.received(1)).toHaveLength(1);
}

async function refused(guest: FrontEnd, ...args: Parameters<FrontEnd['ack']>): Promise<void> {
  await expect(guest.ack(...args)).rejects.toThrow('refused');
}

/** A descriptor of the ring as virtio has it. */
function writeDescriptor(guest: FrontEnd, index: number, fields: [bigint, number, number, number]) {
  const [address, length, flags, next] = fields;
  guest.memory.write(
    RINGS[1] + BigInt(16 * index),
    le([8, address], [4, length], [2, flags], [2, next]),
  );
}

/** Offers chains that the driver end would not make. */
function offer(guest: FrontEnd, ...heads: number[]): void {
  const avail = RINGS[1] + 256n;
  guest.memory.write(
    avail,
    le([2, 0], [2, heads.length], ...heads.map((head) => [2, head] as const)),
  );
  guest.kicks[1].signal();
}

describe('CVE-2018-1059', () => {
  test.each([
    ['runs over the end of the memory', BigInt(MEMORY) - 64n, 128],
    ['begins behind it', BigInt(MEMORY), 64],
    ['wraps at 2^64', (1n << 64n) - 32n, 64],
    ['is longer than 32 bits of room', 0n, 0xffff_ffff],
  ])('a buffer that %s breaks its ring, and no byte beyond is read', async (_, address, length) => {
    const made = await up();
    writeDescriptor(made.guest, 0, [address, length, 0, 0]);
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

describe('CVE-2019-14818', () => {
  test('no descriptor stays open of messages that have too many, or are refused, or repeat', async () => {
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
  writeDescriptor(made.guest, 0, [0xffff_ffff_0000n, 0, 0, 0]);
  offer(made.guest, 0);
  await until(
    () => made.told.some(([event]) => event === 'ringError') || made.guest.taken(1).length > 0,
    'it to be dealt with',
  );
  expect(made.frames).toEqual([]);
  await servesOthers(made);
});

test('CVE-2020-10726: an in-flight area that is asked for again and again is one, and not many', async () => {
  const { backend } = backendOf();
  const guest = new FrontEnd(backend.path);
  await guest.negotiate();
  const wanted = { mmapSize: 0n, mmapOffset: 0n, numQueues: 2, queueSize: 256 };
  const before = openFds();
  for (let i = 0; i < 20; i++) {
    const { descriptors } = await guest.request('VHOST_USER_GET_INFLIGHT_FD', wanted);
    for (const descriptor of descriptors) descriptor.close();
  }
  expect(openFds()).toBeLessThanOrEqual(before + 1);
});

describe('CVE-2021-3839', () => {
  const area = () => {
    const region = guestMemory().regions[0];
    return sendable(region?.fd as number);
  };
  const given = { mmapSize: BigInt(MEMORY), mmapOffset: 0n, numQueues: 2, queueSize: 16 };

  test.each([
    ['more rings than there are', { numQueues: 1000 }],
    ['more rings than it has room for', { queueSize: 32_768 }],
    ['more bytes than its file has', { mmapSize: 1n << 32n }],
    ['a place behind its file', { mmapOffset: BigInt(MEMORY) }],
  ])('an in-flight area for %s is refused', async (_, change) => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await refused(guest, 'VHOST_USER_SET_INFLIGHT_FD', { ...given, ...change }, [area()]);
  });

  test('a ring that the area has no room for does not start', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await guest.ack('VHOST_USER_SET_INFLIGHT_FD', { ...given, queueSize: 8 }, [area()]);
    await guest.setMemory();
    await expect(guest.startRing(1)).rejects.toThrow('SET_VRING_KICK was refused');
  });

  test('last indices, links and counters of the front-end’s making lead nowhere', async () => {
    const { backend, frames } = { ...backendOf(), frames: [] as Uint8Array[] };
    backend.on('connect', (device) =>
      device.onFrames((burst) => {
        for (const { bytes } of burst) frames.push(bytes.slice());
      }),
    );
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    const region = guestMemory().regions[0];
    const bytes = new Uint8Array(region?.buffer as ArrayBuffer);
    bytes.fill(0xff);
    // In flight is what has the flag 1, and that is for chains there are.
    await guest.ack('VHOST_USER_SET_INFLIGHT_FD', given, [sendable(region?.fd as number)]);
    await guest.setMemory();
    await guest.startRing(0);
    await guest.startRing(1);
    await guest.enable(0, 1);
    guest.send(numbered(1));
    guest.kick();
    await until(() => frames.length === 1, 'a frame');
  });
});

test('CVE-2022-0669: descriptors that come with a request for an in-flight area end the connection', async () => {
  const made = await up();
  const socket = kept(UnixSocket.connect(made.backend.path, 'stream'));
  await until(() => made.backend.devices.size === 2, 'the second');
  const before = openFds();
  const payload = le([8, 0], [8, 0], [2, 1], [2, 16], [4, 0]);
  socket.send(message(31, 1, payload), [kept(EventFd.create()), kept(EventFd.create())]);
  await until(() => made.errors.length === 1, 'its end');
  expect(made.errors).toMatchObject([{ code: 'ERR_VHOST_USER_PROTOCOL' }]);
  expect(openFds()).toBeLessThanOrEqual(before + 2);
});

describe('CVE-2022-2132', () => {
  test.each([
    ['no longer than the header', [[0, 12]]],
    ['shorter than the header', [[0, 5]]],
    ['of nothing', [[0, 0]]],
    ['of nothing, many times', Array.from({ length: 15 }, () => [0, 0])],
    [
      'with the header in twelve pieces, and no frame',
      Array.from({ length: 12 }, (_, i) => [i, 1]),
    ],
  ])('a chain %s is no frame, and goes back', async (_, buffers) => {
    const { guest, frames, device } = await up();
    const words = buffers.flatMap(([at = 0, length = 0]) => [Number(TRANSMIT_AT) + at, 0, length]);
    (guest.drivers[1] as VringDriver).add(Uint32Array.from(words), buffers.length, 0);
    guest.kick();
    await until(() => guest.taken(1).length === 1, 'the chain');
    expect(frames).toEqual([]);
    expect(device().counters()).toMatchObject({ errors: 1, received: 0 });
  });

  test('a header in twelve pieces before a frame is read whole', async () => {
    const { guest, frames } = await up();
    guest.send(numbered(3), undefined, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    guest.kick();
    await until(() => frames.length === 1, 'a frame');
    expect(frames[0]?.bytes).toEqual(numbered(3));
  });
});

test('CVE-2024-11614: a header that asks for a checksum was not negotiated, and is no frame’s', async () => {
  const { guest, frames, device } = await up();
  guest.send(numbered(1), Uint8Array.of(1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0));
  guest.kick();
  await until(() => guest.taken(1).length === 1, 'the chain');
  expect(frames).toEqual([]);
  expect(device().counters().errors).toBe(1);
});

test('a double fetch: the header that was checked is the one that is handed out', async () => {
  const { backend } = backendOf();
  const seen: number[] = [];
  const guest = new FrontEnd(backend.path);
  backend.on('connect', (device) =>
    device.onFrames((burst) => {
      guest.memory.bytes(TRANSMIT_AT, HEADER).fill(0xff);
      for (const { offload } of burst) seen.push(offload.flags, offload.checksumStart);
    }),
  );
  await aWhile();
  await guest.bringUp();
  guest.send(numbered(1));
  guest.kick();
  await until(() => seen.length > 0, 'a frame');
  expect(seen).toEqual([0, 0]);
});

describe('a ring of the guest', () => {
  test.each<[string, (guest: FrontEnd) => void]>([
    ['whose chain loops', (guest) => writeDescriptor(guest, 0, [TRANSMIT_AT, 64, 1, 0])],
    [
      'whose chain goes on outside',
      (guest) => writeDescriptor(guest, 0, [TRANSMIT_AT, 64, 1, 999]),
    ],
    [
      'with a table that was not negotiated',
      (guest) => writeDescriptor(guest, 0, [TRANSMIT_AT, 64, 4, 0]),
    ],
  ])('%s is stopped and told of, and another is served', async (_, write) => {
    const made = await up();
    write(made.guest);
    offer(made.guest, 0);
    await until(() => made.told.some(([event]) => event === 'ringError'), 'the ring to break');
    expect(made.told).toContainEqual(['stop']);
    expect(made.errors).toEqual([]);
    await servesOthers(made);
  });

  test('that offers more chains than it has is stopped', async () => {
    const made = await up();
    made.guest.memory.write(RINGS[1] + 256n, le([2, 0], [2, 17]));
    made.guest.kicks[1].signal();
    await until(() => made.told.some(([event]) => event === 'ringError'), 'the ring to break');
  });

  test.each([0, 3, 48, 65_536, 0x8000_0000])('of %i descriptors is refused', async (num) => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await refused(guest, 'VHOST_USER_SET_VRING_NUM', { index: 0, num });
  });

  test.each([
    ['desc', 8n],
    ['avail', 1n],
    ['used', 2n],
  ] as const)('whose %s is %i bytes off its alignment is refused', async (part, off) => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await guest.setMemory();
    const address = guest.addressOf(0);
    await refused(guest, 'VHOST_USER_SET_VRING_ADDR', { ...address, [part]: address[part] + off });
  });
});

describe('a peer', () => {
  test('whose kick is no eventfd is refused: it could keep this process busy, or block it', async () => {
    const { guest, backend } = await up();
    const file = { index: 1, noDescriptor: false };
    const socket = kept(UnixSocket.connect(backend.path, 'stream'));
    await refused(guest, 'VHOST_USER_SET_VRING_KICK', file, [socket]);
  });

  test('that sends half a header, or dies in a message, is forgotten', async () => {
    const made = await up();
    for (const cut of [1, 11, 12, 19]) {
      const socket = kept(UnixSocket.connect(made.backend.path, 'stream'));
      await until(() => made.backend.devices.size === 2, 'the second');
      socket.send(message(2, 1, le([8, 0])).subarray(0, cut));
      await aWhile();
      socket.close();
      await until(() => made.backend.devices.size === 1, 'its end');
    }
    expect(made.errors).toHaveLength(4);
    for (const error of made.errors) {
      expect(error).toMatchObject({ code: 'ERR_VHOST_USER_DISCONNECTED' });
    }
  });

  test('that stops reading replies loses its connection, and nobody else waits', async () => {
    const made = await up();
    const socket = kept(UnixSocket.connect(made.backend.path, 'stream'));
    const ask = message(1, 1);
    for (let sent = 1; sent > 0 && made.errors.length === 0; ) {
      sent = 0;
      try {
        for (let i = 0; i < 64; i++) sent += socket.send(ask);
      } catch {
        break;
      }
      await aWhile();
      sent = 1;
    }
    await until(() => made.errors.length === 1, 'its end');
    expect(made.errors).toMatchObject([{ code: 'ERR_VHOST_USER_BACKLOG' }]);
    expect(receive(socket, 20)?.size).toBeGreaterThan(0);
    await servesOthers(made);
  });

  test('that asks for what was not negotiated, or for what is not served, is refused', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await refused(guest, 'VHOST_USER_SET_STATUS', 1n);
    await refused(guest, 'VHOST_USER_SET_FEATURES', 1n << 33n);
    await refused(guest, 'VHOST_USER_SET_PROTOCOL_FEATURES', 1n << 14n);
    await refused(guest, 'VHOST_USER_SET_VRING_BASE', { index: 0, num: 65_536 });
    await refused(guest, 'VHOST_USER_SET_VRING_ENABLE', { index: 0, num: 2 });
    await refused(guest, 'VHOST_USER_SET_VRING_ENDIAN', { index: 0, num: 1 });
  });

  test('that is refused and did not ask to be told loses its connection, with the reason', async () => {
    const made = await up();
    made.guest.connection.sendRequest('VHOST_USER_SET_VRING_NUM', { index: 0, num: 3 });
    await until(() => made.errors.length === 1, 'its end');
    expect(made.errors).toMatchObject([
      { code: 'ERR_VHOST_USER_PROTOCOL', message: expect.stringContaining('SET_VRING_NUM') },
    ]);
  });
});
