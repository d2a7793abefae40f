/** What a vhost-user back end does with the files that a front-end shares: memory, its dirty log, what is in flight. */
import { ftruncateSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  bit,
  EventFd,
  placeVring,
  VHOST_F_LOG_ALL,
  type VhostUserInflight,
  VringDriver,
} from '../../lib/index.js';
import { BackendInflight } from '../../lib/vhost-user/backend-inflight.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  collecting,
  FEATURES,
  FrontEnd,
  guestMemory,
  numbered,
  RECEIVE_AT,
  RINGS,
  SIZE,
  USER,
  unsealedFile,
} from '../support/front-end.js';
import { holdingBackEnd } from '../support/holding-back-end.js';
import { until } from '../support/host.js';
import { kept, sendable, socketPath } from '../support/sockets.js';

holdNothingLeaks();

describe('memory', () => {
  test('is replaced while rings run, which go on where they were', async () => {
    const { backend, frames, device } = collecting();
    const guest = await new FrontEnd(backend.path).bringUp();
    guest.post(4);
    for (let i = 0; i < 6; i++) {
      const before = device().memory;
      await guest.setMemory();
      expect(device().memory).not.toBe(before);
      guest.send(numbered(i));
      guest.kick();
      await until(() => frames.length === i + 1, 'a frame');
      if (i < 4) device().enqueue([numbered(i)]);
    }
    expect(await guest.received(4)).toHaveLength(4);
    expect(guest.taken(1)).toHaveLength(6);
  });

  test('that a running ring is not in is refused, and the old one stays', async () => {
    const { backend, frames } = collecting();
    const guest = await new FrontEnd(backend.path).bringUp();
    const fd = sendable(guest.memory.regions[0]?.fd as number);
    const elsewhere = { ...guest.region, userAddress: USER + 0x10_0000n };
    await expect(guest.ack('VHOST_USER_SET_MEM_TABLE', [elsewhere], [fd])).rejects.toThrow();
    await expect(guest.ack('VHOST_USER_REM_MEM_REG', guest.region)).rejects.toThrow();
    guest.send(numbered(1));
    guest.kick();
    await until(() => frames.length === 1, 'a frame');
  });

  test('is added to and taken away region by region', async () => {
    const { backend, frames, device } = collecting();
    const guest = await new FrontEnd(backend.path).bringUp();
    const fd = sendable(guestMemory().regions[0]?.fd as number);
    const more = { ...guest.region, guestAddress: 1n << 32n, userAddress: USER << 1n };
    await guest.ack('VHOST_USER_ADD_MEM_REG', more, [fd]);
    expect(device().memory?.regions).toHaveLength(2);
    await guest.ack('VHOST_USER_REM_MEM_REG', more, [fd]);
    await expect(guest.ack('VHOST_USER_REM_MEM_REG', more)).rejects.toThrow();
    expect(device().memory?.regions).toHaveLength(1);
    guest.send(numbered(1));
    guest.kick();
    await until(() => frames.length === 1, 'a frame');
  });

  test('is added once for each queue pair by some, and is there until it was taken away as often', async () => {
    const { backend, frames, device } = collecting();
    const guest = await new FrontEnd(backend.path).bringUp();
    const own = guest.memory.regions[0]?.fd as number;
    await guest.ack('VHOST_USER_ADD_MEM_REG', guest.region, [sendable(own)]);
    expect(device().memory?.regions).toHaveLength(1);
    guest.send(numbered(1));
    guest.kick();
    await until(() => frames.length === 1, 'a frame');
    await guest.ack('VHOST_USER_REM_MEM_REG', guest.region);
    guest.send(numbered(2));
    guest.kick();
    await until(() => frames.length === 2, 'another');
    for (const index of [0, 1]) await guest.request('VHOST_USER_GET_VRING_BASE', { index, num: 0 });
    await guest.ack('VHOST_USER_REM_MEM_REG', guest.region);
    await expect(guest.ack('VHOST_USER_REM_MEM_REG', guest.region)).rejects.toThrow();
    expect(device().memory).toBeUndefined();
  });

  test('is not added again out of another file, or from another place in it', async () => {
    const { backend, device } = collecting();
    const guest = await new FrontEnd(backend.path).bringUp();
    const own = guest.memory.regions[0]?.fd as number;
    const other = guestMemory().regions[0]?.fd as number;
    const before = device().memory;
    const add = (region: typeof guest.region, fd: number) =>
      guest.ack('VHOST_USER_ADD_MEM_REG', region, [sendable(fd)]);
    await expect(add(guest.region, other)).rejects.toThrow('refused');
    await expect(add({ ...guest.region, mmapOffset: 4096n }, own)).rejects.toThrow('refused');
    expect(device().memory).toBe(before);
  });

  test('out of a file that is cut short ends the connection, and not the process', async () => {
    const fd = unsealedFile();
    const { backend, errors, device } = collecting();
    const guest = await new FrontEnd(backend.path, guestMemory({ fd })).bringUp();
    guest.post(4);
    const other = await new FrontEnd(backend.path).bringUp();
    ftruncateSync(fd, 0);
    expect(device().enqueue([numbered(1)])).toBe(0);
    await until(() => errors.length === 1, 'its end');
    expect(errors).toMatchObject([{ code: 'ERR_MEMORY_TRUNCATED' }]);
    // Whoever else is served does not notice.
    other.post(1);
    expect([...backend.devices][0]?.enqueue([numbered(2)])).toBe(1);
    await until(() => guest.closed, 'the front-end to be told');
    // Its own mapping of what it cut away would end this process as well.
    guest.drivers = [];
  });

  test('that could be cut short is refused where seals are demanded', async () => {
    const fd = unsealedFile();
    const { backend } = backendOf({ memory: 'sealed' });
    const guest = new FrontEnd(backend.path, guestMemory({ fd }));
    await guest.negotiate();
    await expect(guest.setMemory()).rejects.toThrow('refused');
    const sealed = await new FrontEnd(backend.path).bringUp();
    expect(sealed.closed).toBe(false);
  });
});

test('the dirty log has the pages of buffers and used rings that were written to, and no others', async () => {
  const { backend, device } = backendOf();
  const guest = await new FrontEnd(backend.path).bringUp();
  const area = guestMemory().regions[0];
  const { buffer, fd } = area as NonNullable<typeof area>;
  const bits = new Uint8Array(buffer, 0, 4096);
  const { payload } = await guest.request('VHOST_USER_SET_LOG_BASE', { size: 4096n, offset: 0n }, [
    sendable(fd),
  ]);
  expect(payload).toBe(0n);
  await guest.ack('VHOST_USER_SET_FEATURES', FEATURES | bit(VHOST_F_LOG_ALL));
  await guest.ack('VHOST_USER_SET_VRING_ADDR', guest.addressOf(0, true));
  guest.post(1, 2048, 3);
  device().enqueue([numbered(1, 1000)]);
  const harvest = () => {
    const pages: number[] = [];
    bits.forEach((byte, at) => {
      for (let i = 0; i < 8; i++) if ((byte >> i) & 1) pages.push(8 * at + i);
    });
    bits.fill(0);
    return pages;
  };
  const pageOf = (address: bigint) => Number(address / 4096n);
  const pages = [pageOf(RINGS[0]), pageOf(RECEIVE_AT + 3n * 2048n)].sort((a, b) => a - b);
  expect(harvest()).toEqual(pages);
  // Signalled once for a burst, by whatever log there is.
  const event = kept(EventFd.create());
  await guest.ack('VHOST_USER_SET_LOG_FD', undefined, [event]);
  guest.post(1, 2048, 3);
  device().enqueue([numbered(2, 1000)]);
  expect(event.read()).toBe(1);
  expect(harvest()).toEqual(pages);
  // The used ring is noted as long as the ring says so, and buffers as long as the features do.
  await guest.ack('VHOST_USER_SET_FEATURES', FEATURES);
  guest.post(1, 2048, 3);
  device().enqueue([numbered(3, 1000)]);
  expect(harvest()).toEqual([pageOf(RINGS[0])]);
  await guest.ack('VHOST_USER_SET_VRING_ADDR', guest.addressOf(0));
  event.read();
  guest.post(1, 2048, 3);
  device().enqueue([numbered(4, 1000)]);
  expect(harvest()).toEqual([]);
  expect(event.read()).toBe(0);
});

/** A guest with three frames in flight, in the hands of a back end that was killed, and one that nobody took. */
async function bereft() {
  const path = socketPath();
  const killed = await holdingBackEnd(path);
  const guest = new FrontEnd(path);
  await guest.negotiate();
  const wanted = { mmapSize: 0n, mmapOffset: 0n, numQueues: 2, queueSize: 16 };
  const { payload: inflight, descriptors } = await guest.request(
    'VHOST_USER_GET_INFLIGHT_FD',
    wanted,
  );
  descriptors.forEach(kept);
  await guest.setMemory();
  await guest.startRing(0);
  await guest.startRing(1);
  await guest.enable(0, 1);
  // Chains that came back are taken from the last on: heads in flight are in another order than they were sent in.
  for (let i = 0; i < 3; i++) guest.send(numbered(i));
  guest.kick();
  let done = 0;
  await until(() => {
    done += guest.taken(1).length;
    return done === 3;
  }, 'the first frames to be done with');
  for (let i = 3; i < 6; i++) guest.send(numbered(i));
  guest.kick();
  await killed.holds(3);
  await killed.kill();
  guest.send(numbered(6));
  guest.drivers[1]?.publish();

  /** The guest on the next back end, whose rings are not enabled yet. */
  async function on(path: string): Promise<FrontEnd> {
    const again = new FrontEnd(path, guest.memory);
    again.drivers = guest.drivers;
    await again.negotiate();
    await again.ack('VHOST_USER_SET_INFLIGHT_FD', inflight, descriptors);
    await again.setMemory();
    await again.startRing(0);
    await again.startRing(1, { base: 77 });
    return again;
  }
  return { on };
}

describe('frames that a killed back end had taken are taken again, in order, by the next', () => {
  const inOrder = [3, 4, 5, 6].map((i) => numbered(i));

  test('at once', async () => {
    const { on } = await bereft();
    const { backend, frames } = collecting();
    const guest = await on(backend.path);
    await guest.enable(0, 1);
    await until(() => frames.length === 4, 'four frames');
    expect(frames).toEqual(inOrder);
    expect(guest.taken(1)).toHaveLength(4);
  });

  test('also where the memory is another before they are', async () => {
    const { on } = await bereft();
    const { backend, frames } = collecting();
    const guest = await on(backend.path);
    await guest.setMemory();
    await guest.enable(0, 1);
    await until(() => frames.length === 4, 'four frames');
    expect(frames).toEqual(inOrder);
    expect(guest.taken(1)).toHaveLength(4);
  });

  test('or by the one after it, where the ring is stopped before they are', async () => {
    const { on } = await bereft();
    const { backend, frames } = collecting();
    const guest = await on(backend.path);
    const { payload } = await guest.request('VHOST_USER_GET_VRING_BASE', { index: 1, num: 0 });
    expect(payload).toEqual({ index: 1, num: 3 });
    await guest.startRing(1, { base: 3 });
    await guest.enable(0, 1);
    await until(() => frames.length === 4, 'four frames');
    expect(frames).toEqual(inOrder);
    expect(guest.taken(1)).toHaveLength(4);
  });
});

test('buffers that a killed back end had taken to receive into go back once', async () => {
  const { backend } = backendOf();
  const guest = new FrontEnd(backend.path);
  await guest.negotiate();
  const wanted = { mmapSize: 0n, mmapOffset: 0n, numQueues: 2, queueSize: SIZE };
  const { payload, descriptors } = await guest.request('VHOST_USER_GET_INFLIGHT_FD', wanted);
  descriptors.forEach(kept);
  const { fd } = descriptors[0] as { fd: number };
  const notes = kept(BackendInflight.map(payload as VhostUserInflight, fd, 2)).ring(0, SIZE);
  notes.resume(0);
  await guest.setMemory();
  guest.drivers[0] = new VringDriver(guest.memory, {
    size: SIZE,
    addresses: placeVring(RINGS[0], SIZE),
  });
  guest.post(4);
  for (const head of [0, 1]) notes.taken(head);
  await guest.startRing(0);
  expect(guest.taken(0)).toEqual([0, 1]);
  const stopped = await guest.request('VHOST_USER_GET_VRING_BASE', { index: 0, num: 0 });
  expect(stopped.payload).toEqual({ index: 0, num: 2 });
  await guest.startRing(0, { base: 2 });
  expect(guest.taken(0)).toEqual([]);
});
