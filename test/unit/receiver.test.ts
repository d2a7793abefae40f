import { describe, expect, test } from 'vitest';
import type { HeaderLength } from '../../lib/net/header.js';
import { Receiver } from '../../lib/port/receiver.js';
import { header, makeQueue, pattern, type Queue } from '../support/queue.js';

interface Receiving extends Queue {
  receiver: Receiver;
  /** The device fills the next buffer, and shows it. */
  deliver(...bytes: (number[] | Uint8Array)[]): void;
}

function makeReceiver(
  options: {
    size?: number;
    bufferSize?: number;
    headerLength?: HeaderLength;
    mergeable?: boolean;
    areaAddress?: bigint;
  } = {},
): Receiving {
  const { size = 8, bufferSize = 256, headerLength = 12, mergeable = true, ...rest } = options;
  const queue = makeQueue({ size, areaBytes: size * bufferSize, ...rest });
  const receiver = new Receiver({ ...queue, bufferSize, headerLength, mergeable });
  receiver.recycle();
  const deliver = (...bytes: (number[] | Uint8Array)[]) => {
    queue.device.serve(Uint8Array.from(bytes.flatMap((piece) => [...piece])));
    queue.device.show();
  };
  return { ...queue, receiver, deliver };
}

/** A frame of several buffers as the kernel writes it: one header, then data to the end. */
function pieces(frame: Uint8Array, bufferSize: number): Uint8Array[] {
  const count = Math.ceil((frame.length + 12) / bufferSize);
  const whole = Uint8Array.of(...header(12, { numBuffers: count }), ...frame);
  return Array.from({ length: count }, (_, i) =>
    whole.subarray(i * bufferSize, (i + 1) * bufferSize),
  );
}

const contents = (frames: readonly { bytes: Uint8Array }[] | undefined) =>
  frames?.map(({ bytes }) => Uint8Array.from(bytes));

describe('posting buffers', () => {
  test('every buffer is posted once, in one piece, and the device is kicked once', () => {
    const { device, kick, counters, area } = makeReceiver({ size: 4, bufferSize: 200 });
    const chains = Array.from({ length: 4 }, () => device.take());
    expect(device.waiting).toBe(0);
    for (const [i, chain] of chains.entries()) {
      expect(chain?.readable).toEqual([]);
      expect(chain?.writable.map((buffer) => [buffer.byteOffset, buffer.length])).toEqual([
        [area.bytes.byteOffset + 200 * i, 200],
      ]);
    }
    expect([kick.read(), counters.rxKicks]).toEqual([1, 1]);
  });

  test('buffers on both sides of 4 GiB have the addresses that they lie at', () => {
    const { device } = makeReceiver({ size: 4, bufferSize: 2048, areaAddress: 0xffff_f000n });
    expect([0, 1, 2, 3].map((i) => device.descriptor(i).address)).toEqual([
      0xffff_f000n,
      0xffff_f800n,
      0x1_0000_0000n,
      0x1_0000_0800n,
    ]);
  });

  test('buffers stay the consumer’s until the next recycle()', () => {
    const { receiver, device, deliver } = makeReceiver({ size: 2 });
    deliver(header(12), pattern(60));
    deliver(header(12), pattern(60));
    expect(receiver.collect()).toHaveLength(2);
    expect(device.waiting).toBe(0);
    receiver.recycle();
    expect(device.waiting).toBe(2);
  });
});

describe('frames of one buffer', () => {
  test.each([
    { headerLength: 10 as const, mergeable: false },
    { headerLength: 12 as const, mergeable: false },
    { headerLength: 12 as const, mergeable: true },
    { headerLength: 20 as const, mergeable: true },
    { headerLength: 24 as const, mergeable: true },
  ])('arrive without their header: %o', (options) => {
    const { receiver, counters, deliver } = makeReceiver(options);
    deliver(header(options.headerLength), pattern(60));
    deliver(header(options.headerLength), pattern(100, 1));
    expect(contents(receiver.collect())).toEqual([pattern(60), pattern(100, 1)]);
    expect(counters).toMatchObject({ rxFrames: 2, rxBytes: 160, rxErrors: 0 });
    expect(receiver.collect()).toBeUndefined();
  });

  test('carry what their header said', () => {
    const { receiver, deliver } = makeReceiver();
    deliver([1, 0x81, 0x36, 0, 0xb4, 5, 34, 0, 16, 0, 1, 0], pattern(200));
    expect(receiver.collect()?.[0]?.offload).toEqual({
      flags: 1,
      gsoType: 0x81,
      headerLength: 54,
      gsoSize: 1460,
      checksumStart: 34,
      checksumOffset: 16,
      outerTransport: 0,
      innerNetwork: 0,
    });
  });

  test('carry where the headers of a tunnel lie, where their header is long enough to say so', () => {
    const { receiver, deliver } = makeReceiver({ headerLength: 24 });
    const first = [1, 0x21, 0x68, 0, 0x78, 5, 84, 0, 16, 0, 1, 0];
    deliver([...first, ...new Array(8).fill(0), 34, 0, 64, 0], pattern(200));
    const [frame] = receiver.collect() ?? [];
    expect(frame?.offload).toMatchObject({ gsoType: 0x21, outerTransport: 34, innerNetwork: 64 });
    expect(frame?.bytes).toEqual(pattern(200));
  });

  test('are as long as the buffer, and not longer', () => {
    const { receiver, deliver } = makeReceiver({ bufferSize: 256 });
    deliver(header(12), pattern(244));
    expect(contents(receiver.collect())).toEqual([pattern(244)]);
  });

  test('num_buffers of 0 and of 1 mean one buffer', () => {
    const { receiver, deliver } = makeReceiver();
    deliver(header(12, { numBuffers: 0 }), pattern(60));
    deliver(header(12, { numBuffers: 1 }), pattern(61));
    expect(contents(receiver.collect())).toEqual([pattern(60), pattern(61)]);
  });

  test('without MRG_RXBUF num_buffers means nothing', () => {
    const { receiver, deliver } = makeReceiver({ mergeable: false });
    deliver(header(12, { numBuffers: 3 }), pattern(60));
    expect(contents(receiver.collect())).toEqual([pattern(60)]);
  });

  test('a batch has at most 64, and the rest comes with the next', () => {
    const { receiver, deliver } = makeReceiver({ size: 128, bufferSize: 128 });
    for (let i = 0; i < 100; i++) deliver(header(12), pattern(60, i));
    expect(contents(receiver.collect())).toEqual(
      Array.from({ length: 64 }, (_, i) => pattern(60, i)),
    );
    receiver.recycle();
    expect(contents(receiver.collect())).toEqual(
      Array.from({ length: 36 }, (_, i) => pattern(60, 64 + i)),
    );
  });

  test.each([0, 1, 11])('a used length of %i, less than the header, is an rxError', (length) => {
    const { receiver, counters, device, deliver } = makeReceiver({ size: 2 });
    deliver(new Uint8Array(length));
    deliver(header(12), pattern(60));
    expect(contents(receiver.collect())).toEqual([pattern(60)]);
    expect(counters).toMatchObject({ rxFrames: 1, rxErrors: 1 });
    receiver.recycle();
    expect(device.waiting).toBe(2);
  });
});

describe('frames that cannot be', () => {
  test.each([0, 13])('one of %i bytes, less than an Ethernet header, is an rxError', (length) => {
    const { receiver, counters, deliver } = makeReceiver();
    deliver(header(12), pattern(length));
    deliver(header(12), pattern(14));
    expect(contents(receiver.collect())).toEqual([pattern(14)]);
    expect(counters).toMatchObject({ rxFrames: 1, rxBytes: 14, rxErrors: 1 });
  });

  test('one that is longer than any frame that can be sent is an rxError', () => {
    const { receiver, counters, deliver } = makeReceiver({ size: 2, bufferSize: 65_600 });
    deliver(header(12), pattern(65_558));
    deliver(header(12), pattern(65_557));
    expect(contents(receiver.collect())).toEqual([pattern(65_557)]);
    expect(counters).toMatchObject({ rxFrames: 1, rxErrors: 1 });
  });

  test.each([9, 65_535])('one of %i buffers, of a ring of 8, spoils no other', (numBuffers) => {
    const { receiver, counters, deliver } = makeReceiver({ size: 8 });
    deliver(header(12, { numBuffers }), pattern(244));
    for (const n of [1, 2, 3]) deliver(header(12), pattern(60, n));
    expect(contents(receiver.collect())).toEqual([1, 2, 3].map((n) => pattern(60, n)));
    expect(counters).toMatchObject({ rxFrames: 3, rxErrors: 1 });
  });

  test('one of several buffers that hold less than an Ethernet header is an rxError', () => {
    const { receiver, counters, deliver } = makeReceiver();
    deliver(header(12, { numBuffers: 3 }));
    deliver(new Uint8Array(0));
    deliver(new Uint8Array(13));
    expect(receiver.collect()).toBeUndefined();
    expect(counters).toMatchObject({ rxFrames: 0, rxErrors: 1 });
  });

  test('one of more buffers than come waits for them, and takes what comes', () => {
    const { receiver, counters, deliver } = makeReceiver();
    deliver(header(12, { numBuffers: 3 }), pattern(100));
    expect(receiver.collect()).toBeUndefined();
    expect(receiver.enableCalls()).toBe(false);
    deliver(pattern(50, 1));
    deliver(pattern(60, 2));
    expect(receiver.collect()?.[0]?.length).toBe(210);
    expect(counters.rxErrors).toBe(0);
  });
});

test('a header of 24 bytes says where the parts of a tunnel begin', () => {
  const { receiver, deliver } = makeReceiver({ headerLength: 24 });
  deliver([...header(12), 0, 0, 0, 0, 0, 0, 0, 0, 34, 0, 64, 1], pattern(200));
  expect(receiver.collect()?.[0]?.offload).toMatchObject({ outerTransport: 34, innerNetwork: 320 });
});

describe('frames of several buffers', () => {
  /*
   * A frame of 600 bytes in buffers of 256:
   *
   *   │ header 12, num_buffers 3 │ data 244 │   │ data 256 │   │ data 100 │
   */
  test('are put together in order', () => {
    const { receiver, counters, deliver } = makeReceiver();
    for (const piece of pieces(pattern(600), 256)) deliver(piece);
    expect(contents(receiver.collect())).toEqual([pattern(600)]);
    expect(counters).toMatchObject({ rxFrames: 1, rxBytes: 600, rxErrors: 0 });
  });

  test('wait for their last buffer, although the first ones are recycled', () => {
    const { receiver, device, deliver } = makeReceiver({ size: 8 });
    for (const piece of pieces(pattern(2000), 256)) {
      expect(receiver.collect()).toBeUndefined();
      receiver.recycle();
      expect(device.waiting).toBe(8);
      deliver(piece);
    }
    expect(contents(receiver.collect())).toEqual([pattern(2000)]);
  });

  test('that end in one batch with others keep their bytes', () => {
    const { receiver, deliver } = makeReceiver();
    const [first, second] = pieces(pattern(300, 1), 256) as [Uint8Array, Uint8Array];
    deliver(first);
    expect(receiver.collect()).toBeUndefined();
    receiver.recycle();
    deliver(second);
    for (const piece of pieces(pattern(400, 2), 256)) deliver(piece);
    for (const piece of pieces(pattern(500, 3), 256)) deliver(piece);
    expect(contents(receiver.collect())).toEqual([
      pattern(300, 1),
      pattern(400, 2),
      pattern(500, 3),
    ]);
  });

  test('have the offload of their first buffer', () => {
    const { receiver, deliver } = makeReceiver();
    deliver([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 2, 0], pattern(244));
    deliver(new Uint8Array(100).fill(0xff));
    expect(receiver.collect()?.[0]?.offload).toMatchObject({ flags: 1, gsoType: 1, gsoSize: 1460 });
  });

  test('of the longest length arrive whole', () => {
    const longest = pattern(65_535 + 14 + 8);
    const { receiver, deliver } = makeReceiver({ size: 64, bufferSize: 1600 });
    for (const piece of pieces(longest, 1600)) deliver(piece);
    expect(contents(receiver.collect())).toEqual([longest]);
  });

  test('that never end are one rxError, and every buffer comes back to the device', () => {
    const { receiver, counters, device, deliver } = makeReceiver({ size: 64, bufferSize: 2048 });
    deliver(header(12, { numBuffers: 40 }), pattern(2036));
    for (let i = 1; i < 40; i++) deliver(pattern(2048, i));
    deliver(header(12), pattern(60));
    expect(contents(receiver.collect())).toEqual([pattern(60)]);
    expect(counters).toMatchObject({ rxFrames: 1, rxBytes: 60, rxErrors: 1 });
    receiver.recycle();
    expect(device.waiting).toBe(64);
  });

  test('that are too long once do not spoil those after them', () => {
    const { receiver, deliver } = makeReceiver({ size: 64, bufferSize: 2048 });
    deliver(header(12, { numBuffers: 40 }), pattern(2036));
    for (let i = 1; i < 40; i++) deliver(pattern(2048, i));
    receiver.collect();
    receiver.recycle();
    for (const piece of pieces(pattern(5000), 2048)) deliver(piece);
    expect(contents(receiver.collect())).toEqual([pattern(5000)]);
  });
});
