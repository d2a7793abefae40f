import { describe, expect, test } from 'vitest';
import {
  checkFrame,
  Frame,
  LONGEST_FRAME,
  type Sendable,
  SHORTEST_FRAME,
} from '../../lib/net/frame.js';
import { plainOffload } from '../../lib/net/header.js';
import { Transmitter } from '../../lib/port/transmitter.js';
import { makeQueue, pattern, type Queue } from '../support/queue.js';

interface Sending extends Queue {
  transmitter: Transmitter;
  /** What the device reads of the next frame: its chain, header and bytes. */
  next(): { head: number; header: Uint8Array; bytes: Uint8Array };
}

function makeTransmitter(
  options: { size?: number; areaBytes?: number; areaAddress?: bigint; eventIdx?: boolean } = {},
): Sending {
  const queue = makeQueue({ size: 8, areaBytes: 4096, ...options });
  const transmitter = new Transmitter({ ...queue, headerLength: 12 });
  const next = () => {
    const chain = queue.device.take();
    if (chain?.readable.length !== 1) throw new Error('a frame is one readable buffer');
    const [whole] = chain.readable as [Uint8Array];
    return { head: chain.head, header: whole.slice(0, 12), bytes: whole.slice(12) };
  };
  return { ...queue, transmitter, next };
}

function frameOf(bytes: Uint8Array, offload: Partial<Frame['offload']> = {}): Frame {
  const frame = new Frame(bytes);
  frame.length = bytes.length;
  Object.assign(frame.offload, offload);
  return frame;
}

test('bytes are sent behind a header of zeroes, as one readable buffer', () => {
  const { transmitter, next, area } = makeTransmitter();
  area.bytes.fill(0xee);
  expect(transmitter.push([pattern(60), pattern(1514 - 60, 1)], 0)).toBe(2);
  expect(next()).toEqual({ head: 0, header: new Uint8Array(12), bytes: pattern(60) });
  expect(next()).toEqual({ head: 1, header: new Uint8Array(12), bytes: pattern(1454, 1) });
});

test('a frame is sent with its offload, from wherever its bytes lie', () => {
  const { transmitter, next, memory, area } = makeTransmitter({ areaBytes: 16_384 });
  const offload = { flags: 1, gsoType: 1, gsoSize: 1460 };
  transmitter.push([frameOf(pattern(100), offload)], 0);
  // A received frame lies in the same memory; it is copied within that.
  const received = memory.bytes(area.address + 8192n, 200);
  received.set(pattern(200, 5));
  transmitter.push([frameOf(received, { checksumStart: 34 })], 0);
  const header = [1, 1, 0, 0, 0xb4, 5, 0, 0, 0, 0, 0, 0];
  expect(next()).toMatchObject({ header: Uint8Array.from(header), bytes: pattern(100) });
  expect(next()).toMatchObject({
    header: Uint8Array.of(0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 0, 0),
    bytes: pattern(200, 5),
  });
});

test('a frame of the caller’s own is sent with its header, and filled anew for the next', () => {
  const { transmitter, next } = makeTransmitter();
  const bytes = pattern(200);
  const given = { ...plainOffload(), flags: 1, checksumStart: 34, checksumOffset: 6 };
  const frame = Frame.from(bytes, given);
  expect(frame.offload).not.toBe(given);
  expect(frame.bytes).toBe(bytes);
  transmitter.push([frame], 0);
  bytes.set(pattern(100, 3));
  frame.length = 100;
  frame.offload.flags = 0;
  transmitter.push([frame], 0);
  transmitter.push([Frame.from(pattern(60))], 0);
  expect(next()).toMatchObject({ header: Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0) });
  expect(next()).toMatchObject({
    header: Uint8Array.of(0, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0),
    bytes: pattern(100, 3),
  });
  expect(next()).toMatchObject({ header: new Uint8Array(12), bytes: pattern(60) });
});

test('frames of every short length arrive whole, wherever in memory they begin', () => {
  const { transmitter, device, next, area } = makeTransmitter({ areaBytes: 16_384 });
  for (const before of [0, 1, 2, 4]) {
    for (let length = 14; length <= 300; length++) {
      // What lies behind the frame is of no frame, and what lay in the ring before neither.
      area.bytes.fill(0xee);
      const buffer = pattern(before + length + (length % 5), length).subarray(before);
      const bytes = buffer.slice(0, length);
      const frame = Frame.from(buffer);
      frame.length = length;
      expect(transmitter.push([frame], 0)).toBe(1);
      const { head, bytes: sent } = next();
      if (Buffer.compare(sent, bytes) !== 0) expect({ before, length, sent }).toEqual({ bytes });
      device.complete(head);
      device.show();
    }
  }
});

test('only the length of a frame is sent, not its whole buffer', () => {
  const { transmitter, next } = makeTransmitter();
  const frame = frameOf(pattern(500));
  frame.length = 64;
  transmitter.push([frame], 0);
  expect(next().bytes).toEqual(pattern(64));
});

test('a frame on the other side of 4 GiB has the address that it lies at', () => {
  const { transmitter, device } = makeTransmitter({
    areaAddress: 0xffff_f000n,
    areaBytes: 8192,
  });
  // With what is before it, 1024 bytes each.
  for (let i = 0; i < 5; i++) transmitter.push([pattern(960)], 0);
  expect([3, 4].map((i) => device.descriptor(i).address)).toEqual([0xffff_fc34n, 0x1_0000_0034n]);
});

test('a batch is published, and the device kicked, once', () => {
  const { transmitter, device, kick, counters } = makeTransmitter();
  transmitter.push([pattern(60), pattern(60), pattern(60)], 1);
  expect(device.waiting).toBe(2);
  expect(kick.read()).toBe(1);
  expect(counters).toMatchObject({ txFrames: 2, txBytes: 120, txKicks: 1 });
});

test('a full ring takes the first frames only, and the rest when some came back', () => {
  const { transmitter, device, next } = makeTransmitter({ size: 4 });
  const frames = Array.from({ length: 6 }, (_, i) => pattern(60, i));
  expect(transmitter.push(frames, 0)).toBe(4);
  expect(transmitter.inFlight).toBe(4);
  for (let i = 0; i < 3; i++) device.serve();
  device.show();
  expect(transmitter.push(frames, 4)).toBe(2);
  expect([next(), next(), next()].map(({ bytes }) => bytes)).toEqual(frames.slice(3));
});

test('a full arena takes no frame although the ring has room', () => {
  const { transmitter, device } = makeTransmitter({ areaBytes: 1152 });
  expect(transmitter.push([pattern(500), pattern(500), pattern(20)], 0)).toBe(2);
  expect(transmitter.push([pattern(20)], 0)).toBe(0);
  device.serve();
  device.show();
  expect(transmitter.push([pattern(500)], 0)).toBe(1);
});

test.each([10, 12, 20, 24] as const)(
  'frames with a header of %i bytes begin with a cache line',
  (headerLength) => {
    const queue = makeQueue({ size: 4, areaBytes: 1024 });
    const transmitter = new Transmitter({ ...queue, headerLength });
    transmitter.push([pattern(64), pattern(64)], 0);
    // Two bytes before one, where the header does not end with a word.
    const begins = 64 - (headerLength % 4);
    for (const [i, lies] of [begins, begins + 128].entries()) {
      const { address, length } = queue.device.descriptor(i);
      expect(length).toBe(headerLength + 64);
      expect(Number(address - queue.area.address) + headerLength).toBe(lies);
    }
  },
);

test('a lap of the ring writes nothing that the last one wrote but frames and positions', () => {
  const { transmitter, device, memory, ring } = makeTransmitter({ size: 4, areaBytes: 65_536 });
  const lap = () => {
    // In two halves, of which the device gives back the first meanwhile.
    for (let half = 0; half < 2; half++) {
      expect(transmitter.push([pattern(64), pattern(128)], 0)).toBe(2);
      for (let i = 0; i < 2; i++) device.serve();
      device.show();
      transmitter.reclaim();
    }
    const { desc, avail } = ring.addresses;
    return [memory.read(desc, 64).toString(), memory.read(avail + 4n, 8).toString()];
  };
  const first = lap();
  expect([lap(), lap()]).toEqual([first, first]);
});

test('room comes back in any order that the device gives', () => {
  const { transmitter, device } = makeTransmitter({ size: 4, areaBytes: 1280 });
  for (let round = 0; round < 200; round++) {
    expect(
      transmitter.push(
        Array.from({ length: 4 }, () => pattern(240)),
        0,
      ),
    ).toBe(4);
    const heads = Array.from({ length: 4 }, () => device.take()?.head as number);
    for (const i of [2, 0, 3, 1]) device.complete(heads[(i + round) % 4] as number);
    device.show();
  }
  transmitter.reclaim();
  expect(transmitter.inFlight).toBe(0);
});

describe.each([
  { eighths: 2, calls: [false, true, false, false] },
  { eighths: 8, calls: [false, false, false, true] },
])('enableCalls($eighths)', ({ eighths, calls }) => {
  test('asks for one call, when that much of what is in flight came back', () => {
    const { transmitter, device } = makeTransmitter({ size: 4, eventIdx: true });
    transmitter.push(
      Array.from({ length: 4 }, () => pattern(60)),
      0,
    );
    expect(transmitter.enableCalls(eighths)).toBe(false);
    const called = calls.map(() => {
      device.serve();
      return device.show();
    });
    expect(called).toEqual(calls);
  });
});

test('a device that gives back what was not sent is noticed', () => {
  const { transmitter, device } = makeTransmitter();
  transmitter.push([pattern(60)], 0);
  device.complete(5);
  device.show();
  expect(() => transmitter.reclaim()).toThrow(expect.objectContaining({ code: 'ERR_RING_BROKEN' }));
});

test('a frame has the length of one that a TAP takes', () => {
  expect([SHORTEST_FRAME, LONGEST_FRAME]).toEqual([14, 65_557]);
  for (const length of [14, 65_557]) {
    expect(() => checkFrame(new Uint8Array(length))).not.toThrow();
  }
  for (const length of [0, 13, 65_558]) {
    expect(() => checkFrame(new Uint8Array(length))).toThrow(
      expect.objectContaining({ name: 'RangeError', code: 'ERR_FRAME_SIZE' }),
    );
  }
});

test.each([
  undefined,
  null,
  'a text that is long enough to be one',
  { length: 60 },
  { bytes: new Uint8Array(60), offload: plainOffload() },
  new Uint16Array(60),
  new ArrayBuffer(60),
])('%o is no frame', (frame) => {
  expect(() => checkFrame(frame as unknown as Sendable)).toThrow(
    expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }),
  );
});

test('a frame longer than its own buffer is refused', () => {
  const frame = frameOf(new Uint8Array(60));
  frame.length = 61;
  expect(() => checkFrame(frame)).toThrow(expect.objectContaining({ code: 'ERR_FRAME_SIZE' }));
});

test('a Buffer is bytes', () => {
  expect(() => checkFrame(Buffer.alloc(60))).not.toThrow();
});
