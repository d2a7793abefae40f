/** A front-end against the in-flight area of a vhost-user back end: as vhost-user-backend-hostile.test.ts. */
import { describe, expect, test } from 'vitest';
import { EventFd, UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  FrontEnd,
  guestMemory,
  MEMORY,
  numbered,
  PROTOCOL,
} from '../support/front-end.js';
import { until } from '../support/host.js';
import { openFds, refused, servesOthers, up } from '../support/hostile-front-end.js';
import { kept, sendable } from '../support/sockets.js';
import { le, message } from '../support/vhost-user.js';

holdNothingLeaks();

/** An area of two rings, a request for it, and what that is allowed by. */
const AREA = le([8, 4096], [8, 0], [2, 2], [2, 16], [4, 0]);
const WANTED = message(31, 1, AREA);
const NEGOTIATED = message(16, 1, le([8, PROTOCOL]));

describe('CVE-2020-10726', () => {
  test('an in-flight area that is asked for again and again is one, and not many', async () => {
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

  test('one that was asked for by who hung up is not kept, nor its descriptor', async () => {
    const { backend, errors } = backendOf();
    const before = openFds('memfd');
    for (let i = 1; i <= 20; i++) {
      const socket = kept(UnixSocket.connect(backend.path, 'stream'));
      await until(() => backend.devices.size === 1, 'the front-end');
      socket.send(Uint8Array.from([...NEGOTIATED, ...WANTED]));
      socket.close();
      await until(() => errors.length === i, 'its end');
    }
    expect(errors).toEqual(Array(20).fill(expect.objectContaining({ code: 'EPIPE' })));
    expect(openFds('memfd')).toBe(before);
  });
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

test.each([
  ['VHOST_USER_GET_INFLIGHT_FD', 31, 2],
  ['VHOST_USER_SET_INFLIGHT_FD', 32, 3],
])('CVE-2022-0669: no descriptor stays open of a %s with too many', async (_, id, count) => {
  const made = await up();
  const socket = kept(UnixSocket.connect(made.backend.path, 'stream'));
  await until(() => made.backend.devices.size === 2, 'the second');
  const descriptors = Array.from({ length: count }, () => kept(EventFd.create()));
  const before = openFds('eventfd');
  socket.send(Uint8Array.from([...NEGOTIATED, ...message(id, 1, AREA)]), descriptors);
  await until(() => made.errors.length === 1, 'its end');
  expect(made.errors).toMatchObject([{ code: 'ERR_VHOST_USER_PROTOCOL' }]);
  expect(openFds('eventfd')).toBe(before);
  await servesOthers(made);
});
