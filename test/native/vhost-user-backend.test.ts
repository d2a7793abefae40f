/** A vhost-user back end beside a front-end by hand: what it negotiates, moves, and tells of. */
import { describe, expect, test } from 'vitest';
import { bit, Frame, VIRTIO_NET_F_MRG_RXBUF } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  FEATURES,
  FrontEnd,
  HEADER,
  numbered,
  PROTOCOL,
  SIZE,
  STATUS,
} from '../support/front-end.js';
import { until } from '../support/host.js';
import { aWhile } from '../support/turns.js';

holdNothingLeaks();

/** A back end whose frames are copied to a list, and a front-end that is up. */
async function running(options: Parameters<typeof backendOf>[0] = {}, features = FEATURES) {
  const { backend, ...rest } = backendOf(options);
  const frames: Uint8Array[] = [];
  backend.on('connect', (device) =>
    device.onFrames((burst) => {
      for (const { bytes } of burst) frames.push(bytes.slice());
    }),
  );
  const guest = await new FrontEnd(backend.path).bringUp(PROTOCOL, features);
  return { backend, guest, frames, ...rest };
}

describe('frames', () => {
  test('of the guest come in order, and their chains go back', async () => {
    const { guest, frames } = await running();
    const sent = Array.from({ length: 10 }, (_, i) => numbered(i, 60 + i));
    for (const frame of sent) guest.send(frame);
    guest.kick();
    await until(() => frames.length === 10, 'ten frames');
    expect(frames).toEqual(sent);
    expect(guest.taken(1)).toHaveLength(10);
    expect(guest.calls[1].read()).toBeGreaterThan(0);
  });

  test.each([[[12]], [[4]], [[5, 12, 40]], [[0, 12]], [[12, 26, 26]]])(
    'of the guest that lie in pieces, cut at %j, come whole',
    async (cuts) => {
      const { guest, frames } = await running();
      const frame = numbered(7, 100);
      guest.send(frame, undefined, cuts);
      guest.kick();
      await until(() => frames.length === 1, 'a frame');
      expect(frames).toEqual([frame]);
    },
  );

  test('that are given to the guest arrive with a header of zeroes and one buffer', async () => {
    const { guest, device } = await running();
    guest.post(4);
    const sent = [numbered(1), numbered(2, 61), numbered(3, 1514)];
    expect(device().enqueue(sent)).toBe(3);
    const got = await guest.received(3);
    const header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    expect(got.map((bytes) => [...bytes.subarray(0, HEADER)])).toEqual([header, header, header]);
    expect(got.map((bytes) => bytes.subarray(HEADER))).toEqual(sent);
    expect(guest.calls[0].read()).toBeGreaterThan(0);
  });

  test('take several buffers where the guest merges them, and the header counts them', async () => {
    const mergeable = FEATURES | bit(VIRTIO_NET_F_MRG_RXBUF);
    const { guest, device } = await running({}, mergeable);
    guest.post(4, 500);
    const frame = numbered(9, 1200);
    expect(device().enqueue([frame])).toBe(1);
    const got = await guest.received(3);
    expect(got.map(({ length }) => length)).toEqual([500, 500, 212]);
    expect(got[0]?.[10]).toBe(3);
    expect(new Uint8Array(Buffer.concat(got)).subarray(HEADER)).toEqual(frame);
    // The next needs three buffers, and one is left: it is not taken.
    expect(device().enqueue([frame])).toBe(0);
    const room = device().whenRoom();
    guest.post(2, 500, 4);
    await room;
    expect(device().enqueue([frame])).toBe(1);
    expect(await guest.received(3)).toHaveLength(3);
  });

  test('wait where there is room in a ring that is disabled, until it is not', async () => {
    const { guest, device } = await running();
    guest.post(4);
    await guest.ack('VHOST_USER_SET_VRING_ENABLE', { index: 0, num: 0 });
    let tries = 0;
    const sending = (async () => {
      while (device().enqueue([numbered(1)]) === 0 && ++tries < 100) await device().whenRoom();
    })();
    await aWhile();
    await guest.enable(0);
    await sending;
    expect(tries).toBe(1);
    expect(await guest.received(1)).toHaveLength(1);
  });

  test('longer than the guest’s buffers are dropped and counted, and the buffer stays', async () => {
    const { guest, device } = await running();
    guest.post(1, 200);
    expect(device().enqueue([numbered(1, 1000)])).toBe(1);
    expect(device().counters()).toMatchObject({ dropped: 1, sent: 0 });
    expect(device().enqueue([numbered(2, 100)])).toBe(1);
    expect(await guest.received(1)).toHaveLength(1);
  });

  test('longer than all that the ring holds are dropped as well, and the buffers stay', async () => {
    const { guest, device } = await running({}, FEATURES | bit(VIRTIO_NET_F_MRG_RXBUF));
    guest.post(SIZE, 100);
    expect(device().enqueue([numbered(1, 100), numbered(2, 1600 - HEADER)])).toBe(1);
    guest.taken(0);
    guest.post(2, 100);
    expect(device().enqueue([numbered(3, 1601 - HEADER), numbered(4, 1600 - HEADER)])).toBe(2);
    expect(device().counters()).toMatchObject({ dropped: 1, sent: 2 });
    expect(await guest.received(SIZE)).toHaveLength(SIZE);
  });

  test('stay with a consumer until its promise resolves, and their chains as well', async () => {
    const { backend, device } = backendOf();
    let finish = () => {};
    const bursts: (readonly Frame[])[] = [];
    backend.on('connect', (one) =>
      one.onFrames((burst) => {
        bursts.push([...burst]);
        return new Promise<void>((resolve) => {
          finish = resolve;
        });
      }),
    );
    const guest = await new FrontEnd(backend.path).bringUp();
    guest.send(numbered(1));
    guest.kick();
    await until(() => bursts.length === 1, 'a burst');
    guest.send(numbered(2));
    guest.kick();
    await aWhile();
    expect(guest.taken(1)).toEqual([]);
    expect(bursts[0]?.[0]?.bytes).toEqual(numbered(1));
    finish();
    await until(() => bursts.length === 2, 'the next burst');
    expect(guest.taken(1)).toHaveLength(1);
    finish();
    expect(device().counters().received).toBe(2);
  });

  test('can be taken without a listener, and go back with the next burst', async () => {
    const { backend, device } = backendOf();
    const guest = await new FrontEnd(backend.path).bringUp();
    for (let i = 0; i < 3; i++) guest.send(numbered(i));
    guest.kick();
    expect(
      device()
        .dequeue()
        .map(({ bytes }) => bytes.slice()),
    ).toEqual([0, 1, 2].map((i) => numbered(i)));
    expect(guest.taken(1)).toEqual([]);
    expect(device().dequeue()).toEqual([]);
    expect(guest.taken(1)).toHaveLength(3);
  });

  test('taken without a listener need no kick, those for one that comes later do', async () => {
    const { backend, device } = backendOf();
    const guest = await new FrontEnd(backend.path).bringUp();
    const wantsKick = () => {
      guest.send(numbered(1));
      return guest.drivers[1]?.publish();
    };
    expect(wantsKick()).toBe(true);
    expect(device().dequeue()).toHaveLength(1);
    expect(wantsKick()).toBe(false);
    expect(device().dequeue()).toHaveLength(1);
    let frames = 0;
    device().onFrames((burst) => {
      frames += burst.length;
    });
    expect(wantsKick()).toBe(true);
    guest.kick();
    await until(() => frames === 1, 'the frame');
  });

  test('of a ring that is disabled are taken and lost, and none is received by one', async () => {
    const { guest, frames, device } = await running();
    await guest.ack('VHOST_USER_SET_VRING_ENABLE', { index: 1, num: 0 });
    await guest.ack('VHOST_USER_SET_VRING_ENABLE', { index: 0, num: 0 });
    guest.post(1);
    guest.send(numbered(1));
    guest.kick();
    await until(() => guest.taken(1).length === 1, 'the chain');
    expect(frames).toEqual([]);
    expect(device().enqueue([numbered(2)])).toBe(0);
    await guest.enable(0, 1);
    expect(device().enqueue([numbered(2)])).toBe(1);
  });

  test('that leave work to a guest that does not take it are refused', async () => {
    const { device } = await running();
    const frame = Frame.from(numbered(1));
    frame.offload.flags = 1;
    expect(() => device().enqueue([frame])).toThrow(
      expect.objectContaining({ code: 'ERR_FEATURES_NOT_OFFERED' }),
    );
  });
});

describe('events', () => {
  test('tell of rings, of the device that runs and of one that does not any more', async () => {
    const { guest, told, backend, errors } = await running();
    expect(told).toEqual([['features', FEATURES], ['ring', 0, true], ['ring', 1, true], ['start']]);
    told.length = 0;
    guest.connection.close();
    await until(() => errors.length === 1, 'the disconnection');
    expect(errors).toEqual([undefined]);
    expect(told).toEqual([['ring', 0, false], ['ring', 1, false], ['stop']]);
    expect(backend.devices.size).toBe(0);
  });

  test('tell that the guest was called', async () => {
    const { guest, told, device } = await running();
    guest.post(1);
    device().enqueue([numbered(1)]);
    expect(told).toContainEqual(['notified', 0]);
  });

  test('with STATUS begin with DRIVER_OK, and not before', async () => {
    const { backend, told, device } = backendOf();
    const guest = await new FrontEnd(backend.path).bringUp(PROTOCOL | STATUS);
    expect(told).not.toContainEqual(['start']);
    guest.post(1);
    expect(device().enqueue([numbered(1)])).toBe(0);
    await guest.ack('VHOST_USER_SET_STATUS', 0xfn);
    expect(told).toContainEqual(['start']);
    expect((await guest.request('VHOST_USER_GET_STATUS', undefined)).payload).toBe(0xfn);
    expect(device().enqueue([numbered(1)])).toBe(1);
    await guest.ack('VHOST_USER_SET_STATUS', 0n);
    expect(told).toContainEqual(['stop']);
  });

  test('many front-ends are served at once', async () => {
    const { backend } = backendOf();
    const counts = new Map<unknown, number>();
    backend.on('connect', (device) =>
      device.onFrames((burst) => void counts.set(device, (counts.get(device) ?? 0) + burst.length)),
    );
    const guests = await Promise.all([1, 2, 3].map(() => new FrontEnd(backend.path).bringUp()));
    guests.forEach((guest, i) => {
      for (let n = 0; n <= i; n++) guest.send(numbered(n));
      guest.kick();
    });
    await until(() => [...counts.values()].reduce((a, b) => a + b, 0) === 6, 'six frames');
    expect([...counts.values()].sort()).toEqual([1, 2, 3]);
  });
});
