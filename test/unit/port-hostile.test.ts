/**
 * A port's rings with a device that lies in the kernel's place: the port fails with the one error, once,
 * and whoever waits is told; or the damage is counted. The event loop goes on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { EventFd, type Frame, PORT_FEATURES } from '../../lib/index.js';
import { noCounters } from '../../lib/port/counters.js';
import { createPortMemory } from '../../lib/port/port-memory.js';
import { QueuePair } from '../../lib/port/queue-pair.js';
import { SendQueue } from '../../lib/port/send-queue.js';
import { Traffic } from '../../lib/port/traffic.js';
import type { Transmitter } from '../../lib/port/transmitter.js';
import { ModelDevice } from '../support/model-device.js';
import { header, pattern } from '../support/queue.js';
import { closedAfterwards } from '../support/ring.js';

const SIZE = 8;
const FRAME = pattern(60);

interface Hosted {
  traffic: Traffic;
  pair: QueuePair;
  receive: ModelDevice;
  transmit: ModelDevice;
  errors: Error[];
}

/** What a port is made of, but for the TAP; it fails as a port does. */
function hosted(): Hosted {
  const sizes = { queueSize: SIZE, bufferSize: 2048 };
  const { memory, pairs } = createPortMemory({ ...sizes, queuePairs: 1 });
  closedAfterwards(memory);
  const [layout] = pairs as [(typeof pairs)[number]];
  const features = PORT_FEATURES;
  const pair = closedAfterwards(new QueuePair({ ...sizes, index: 0, memory, layout, features }));
  const errors: Error[] = [];
  const fail = (error: Error) => {
    errors.push(error);
    traffic.silence();
    traffic.sending.end(error);
    traffic.receiving.end(error);
  };
  const traffic = new Traffic([pair], { fail, room: () => {} });
  const device = (addresses: typeof layout.receive) =>
    new ModelDevice(memory, { size: SIZE, addresses, eventIdx: true });
  traffic.receiving.post();
  const [receive, transmit] = [device(layout.receive), device(layout.transmit)];
  while (receive.take());
  return { traffic, pair, receive, transmit, errors };
}

/** Shows what the device wrote, unless it showed something else, and calls. */
function call({ pair }: Hosted, ring: 'receive' | 'transmit', device: ModelDevice): void {
  if (device.shown === 0) device.show();
  pair.config[ring].call.signal();
}

const BROKEN = { name: 'StateError', code: 'ERR_RING_BROKEN' };

const RECEIVE_LIES: Record<string, (device: ModelDevice) => void> = {
  'a buffer beyond the ring': (device) => device.complete(SIZE),
  'a buffer of number 2^32 - 1': (device) => device.complete(0xffff_ffff),
  'the same buffer twice': (device) => {
    device.complete(3, 72);
    device.complete(3, 72);
  },
  'more bytes than a buffer has': (device) => device.complete(0, 2049),
  'a length of 2^32 - 1': (device) => device.complete(0, 0xffff_ffff),
  'a used index that jumps by more than the ring': (device) => device.setUsedIndex(SIZE + 1),
  'a used index that goes back': (device) => device.setUsedIndex(65_535),
};

describe('a device that gives back to the receive ring', () => {
  test.each(Object.keys(RECEIVE_LIES))(
    '%s fails the port: the iteration throws it',
    async (lie) => {
      const port = hosted();
      const iterator = port.traffic.receiving.iterate();
      const next = iterator.next();
      RECEIVE_LIES[lie]?.(port.receive);
      call(port, 'receive', port.receive);
      await expect(next).rejects.toMatchObject(BROKEN);
      expect(port.errors).toMatchObject([BROKEN]);
      await expect(iterator.next()).rejects.toBe(port.errors[0]);
    },
  );

  test.each(Object.keys(RECEIVE_LIES))('%s fails the port of a listener, once', async (lie) => {
    const port = hosted();
    port.traffic.receiving.listen(() => {});
    RECEIVE_LIES[lie]?.(port.receive);
    call(port, 'receive', port.receive);
    await expect.poll(() => port.errors).toMatchObject([BROKEN]);
    call(port, 'receive', port.receive);
    await sleep(10);
    expect(port.errors).toHaveLength(1);
  });

  test('damaged frames among whole ones has them counted, and the whole ones come', async () => {
    const port = hosted();
    const lengths: number[] = [];
    port.traffic.receiving.listen((frames: readonly Frame[]) => {
      lengths.push(...frames.map(({ length }) => length));
    });
    const give = (head: number, ...bytes: (number[] | Uint8Array)[]) => {
      const whole = Uint8Array.from(bytes.flatMap((piece) => [...piece]));
      port.receive.fill(port.receive.chainAt(head), whole);
      port.receive.complete(head, whole.length);
    };
    give(0, header(12), FRAME);
    give(1, header(12).slice(0, 5));
    give(2, header(12, { numBuffers: 65_535 }), FRAME);
    give(3, header(12, { numBuffers: 0 }), FRAME);
    give(4, header(12));
    give(5, header(12), pattern(100));
    call(port, 'receive', port.receive);
    await expect.poll(() => lengths).toEqual([60, 60, 100]);
    expect(port.pair.counters).toMatchObject({ rxFrames: 3, rxErrors: 3 });
    expect(port.errors).toEqual([]);
  });

  test('header fields without sense has them told as they are, and nothing comes of it', async () => {
    const port = hosted();
    const offloads: unknown[] = [];
    port.traffic.receiving.listen((frames) => {
      offloads.push(...frames.map(({ offload }) => ({ ...offload })));
    });
    const nonsense = new Uint8Array(12).fill(0xff);
    nonsense.set([1, 0], 10);
    port.receive.fill(port.receive.chainAt(0), Uint8Array.of(...nonsense, ...FRAME));
    port.receive.complete(0, 72);
    call(port, 'receive', port.receive);
    await expect.poll(() => offloads).toHaveLength(1);
    expect(offloads[0]).toMatchObject({ flags: 255, gsoSize: 65_535, checksumStart: 65_535 });
  });
});

const TRANSMIT_LIES: Record<string, (device: ModelDevice) => void> = {
  'a frame beyond the ring': (device) => device.complete(SIZE),
  'a frame that was never sent': (device) => device.complete(SIZE - 1),
  'the same frame twice': (device) => {
    device.complete(0);
    device.complete(0);
  },
  'bytes that it wrote to a frame': (device) => device.complete(0, 1),
  'a used index that jumps by more than the ring': (device) => device.setUsedIndex(1000),
  'a used index that goes back': (device) => device.setUsedIndex(65_535),
};

describe('a device that gives back to the transmit ring', () => {
  test.each(Object.keys(TRANSMIT_LIES))('%s fails the port: who waits is told', async (lie) => {
    const port = hosted();
    const { sending } = port.traffic;
    sending.trySend([FRAME, FRAME, FRAME]);
    const flushed = sending.flush();
    while (port.transmit.take());
    TRANSMIT_LIES[lie]?.(port.transmit);
    call(port, 'transmit', port.transmit);
    await expect(flushed).rejects.toMatchObject(BROKEN);
    expect(port.errors).toMatchObject([BROKEN]);
  });

  test.each(Object.keys(TRANSMIT_LIES))(
    '%s fails the port of a sender that finds it',
    async (lie) => {
      const port = hosted();
      const { sending } = port.traffic;
      sending.trySend([FRAME, FRAME, FRAME]);
      while (port.transmit.take());
      TRANSMIT_LIES[lie]?.(port.transmit);
      if (port.transmit.shown === 0) port.transmit.show();
      const send = sending.send(new Array<Uint8Array>(2 * SIZE).fill(FRAME));
      await expect(send).rejects.toMatchObject(BROKEN);
      expect(port.errors).toMatchObject([BROKEN]);
      await expect(sending.send(FRAME)).rejects.toBe(port.errors[0]);
    },
  );

  test('nothing but an avail_event that makes no sense gets its kick or none, and no more', () => {
    const port = hosted();
    for (const event of [0, 1, 2, 7, 8, 9, 0x7fff, 0x8000, 0xffff]) {
      port.transmit.setAvailEvent(event);
      expect(port.traffic.sending.trySend(FRAME)).toBe(1);
      port.transmit.serve();
      port.transmit.show();
    }
    expect(port.pair.counters.txFrames).toBe(9);
    expect(port.pair.counters.txKicks).toBeLessThanOrEqual(9);
    expect(port.errors).toEqual([]);
  });

  test('the ring by writing over its descriptors has the next ones whole all the same', () => {
    const port = hosted();
    for (let round = 0; round < 3 * SIZE; round++) {
      port.transmit.scribbleDescriptors(0xff);
      expect(port.traffic.sending.trySend(pattern(60, round))).toBe(1);
      const chain = port.transmit.serve();
      expect(chain.readable[0]?.slice(12)).toEqual(pattern(60, round));
      port.transmit.show();
    }
    expect(port.errors).toEqual([]);
  });
});

test('a device that shows room whenever it is asked, and has none, does not hold up the event loop', async () => {
  const event = closedAfterwards(EventFd.create());
  let looks = 0;
  const restless: Pick<
    Transmitter,
    'reclaim' | 'push' | 'enableCalls' | 'disableCalls' | 'inFlight'
  > = {
    reclaim: () => {
      looks++;
    },
    push: () => 0,
    enableCalls: () => true,
    disableCalls: () => {},
    inFlight: SIZE,
  };
  const fail = (error: Error) => {
    throw error;
  };
  const queue = new SendQueue(restless as Transmitter, event, noCounters(), {
    fail,
    room: () => {},
  });
  const waiting = queue.wait([FRAME], 0);
  await sleep(30);
  // It goes on looking, and timers have their turn.
  const before = looks;
  await sleep(30);
  expect(looks).toBeGreaterThan(before);
  const over = new Error('over');
  queue.end(over);
  await expect(waiting).rejects.toBe(over);
  const after = looks;
  await sleep(10);
  expect(looks).toBe(after);
});
