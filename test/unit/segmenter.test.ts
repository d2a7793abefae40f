import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainOffload } from '../../lib/net/header.js';
import { prepareOffload } from '../../lib/net/prepare-offload.js';
import { Segmenter } from '../../lib/net/segmenter.js';
import {
  ACK,
  CWR,
  PSH,
  packet,
  payloadOf,
  sealed,
  TCP,
  tcp,
  UDP,
  udp,
} from '../support/packets.js';
import { aCase, type Case, expectedOf, superFrameOf, V4, V6 } from '../support/segment-cases.js';

function segmented(of: Case, segmenter = new Segmenter()): Uint8Array[] {
  const bytes = superFrameOf(of);
  const offload = plainOffload();
  prepareOffload(bytes, offload, of.mss);
  return segmenter.segment(bytes, offload).map((frame) => frame.slice());
}

test('a super-frame becomes the frames that a sender without offloads would have made', () => {
  const segmenter = new Segmenter();
  fc.assert(
    fc.property(aCase, (of) => {
      expect(segmented(of, segmenter)).toEqual(expectedOf(of));
    }),
    { numRuns: 300 },
  );
});

test('a super-frame of 64 KiB becomes 45 full frames and the rest', () => {
  const of: Case = {
    fields: { ...V4, id: 65_500 },
    protocol: TCP,
    sequence: 0xffff_ff00,
    flags: ACK | PSH | CWR,
    options: [],
    payload: payloadOf(65_495),
    mss: 1448,
  };
  const frames = segmented(of);
  expect(frames.length).toBe(46);
  expect(frames).toEqual(expectedOf(of));
});

describe('frames like those before', () => {
  const of: Case = {
    fields: V4,
    protocol: TCP,
    sequence: 1,
    flags: ACK,
    options: [],
    payload: payloadOf(5000),
    mss: 1460,
  };

  test('lie in the same views', () => {
    const segmenter = new Segmenter();
    const bytes = superFrameOf(of);
    const offload = plainOffload();
    prepareOffload(bytes, offload, of.mss);
    const first = segmenter.segment(bytes, offload);
    const views = [...first];
    const second = segmenter.segment(bytes, offload);
    expect(second).toBe(first);
    for (const [i, view] of views.entries()) expect(second[i]).toBe(view);
  });

  test('leave the super-frame and its header as they are', () => {
    const bytes = superFrameOf(of);
    const offload = plainOffload();
    prepareOffload(bytes, offload, of.mss);
    const before = [bytes.slice(), { ...offload }];
    new Segmenter().segment(bytes, offload);
    expect([bytes, offload]).toEqual(before);
  });
});

describe('a frame that is not to be cut', () => {
  test('is itself where it needs nothing', () => {
    const bytes = packet({ ...V4, protocol: UDP, transport: udp(payloadOf(5)) });
    const frames = new Segmenter().segment(bytes, plainOffload());
    expect(frames.length).toBe(1);
    expect(frames[0]).toBe(bytes);
  });

  test('gets its checksum in a copy', () => {
    const fields = { ...V6, protocol: UDP, transport: udp(payloadOf(501)) };
    const bytes = packet(fields);
    const offload = plainOffload();
    prepareOffload(bytes, offload);
    const before = [bytes.slice(), { ...offload }];
    expect(new Segmenter().segment(bytes, offload)).toEqual([sealed(fields)]);
    expect([bytes, offload]).toEqual(before);
  });
});

describe('what cannot be segmented', () => {
  const bytes = packet({ ...V4, protocol: TCP, transport: tcp(payloadOf(3000)) });
  const good = plainOffload();
  prepareOffload(bytes, good, 1000);

  test.each([
    ['UDP fragmentation', { gsoType: 3 }, 'UDP fragmentation is not done'],
    ['a type for another protocol', { gsoType: 5 }, 'type 5 is not how TCP over IPv4 is cut'],
    ['a type for another version of IP', { gsoType: 4 }, 'type 4 is not how TCP over IPv4 is cut'],
    ['a type that nobody knows', { gsoType: 0x17 }, 'type 23 is not how TCP over IPv4 is cut'],
    ['a tunnel that it is not in', { gsoType: 0x21 }, 'not in the tunnel that its type says'],
    ['segments without payload', { gsoSize: 0 }, 'its segments would be empty'],
    ['segments of a byte each', { gsoSize: 1 }, 'more than 2048 segments'],
    ['no checksum asked for', { flags: 0 }, 'its checksum is not where it belongs'],
    ['a checksum from elsewhere', { checksumStart: 33 }, 'its checksum is not where it belongs'],
    ['a checksum elsewhere', { checksumOffset: 6 }, 'its checksum is not where it belongs'],
  ])('%s: ERR_FRAME_OFFLOAD', (_, wrong, message) => {
    expect(() => new Segmenter().segment(bytes, { ...good, ...wrong })).toThrow(
      expect.objectContaining({
        name: 'RangeError',
        code: 'ERR_FRAME_OFFLOAD',
        message: expect.stringContaining(message),
      }),
    );
  });
});

test('headers of kilobytes on segments of a few bytes are refused: they would fill memory', () => {
  // Eight hop-by-hop headers of 2 KiB each.
  const padding: number[] = [255, ...new Array<number>(2046).fill(0)];
  const extensions = Array.from({ length: 8 }, (): [number, number[]] => [0, padding]);
  const transport = tcp(payloadOf(3000));
  const bytes = packet({ ...V6, extensions, protocol: TCP, transport });
  const offload = plainOffload();
  prepareOffload(bytes, offload, 8);
  expect(() => new Segmenter().segment(bytes, offload)).toThrow(
    expect.objectContaining({
      code: 'ERR_FRAME_OFFLOAD',
      message: expect.stringContaining('bytes'),
    }),
  );
  prepareOffload(bytes, offload, 1000);
  expect(new Segmenter().segment(bytes, offload)).toHaveLength(3);
});

test('whatever frame and header say, there are frames, or an ERR_FRAME_OFFLOAD', () => {
  const segmenter = new Segmenter();
  let cut = 0;
  fc.assert(
    fc.property(
      aCase,
      fc.array(fc.tuple(fc.nat(130), fc.nat(255)), { maxLength: 4 }),
      fc.array(fc.tuple(fc.nat(7), fc.nat(65_535)), { maxLength: 1 }),
      fc.nat(5200),
      (of, changes, lies, length) => {
        const bytes = superFrameOf(of);
        const offload = plainOffload();
        prepareOffload(bytes, offload, of.mss);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const keys = Object.keys(offload) as (keyof typeof offload)[];
        for (const [key, value] of lies) offload[keys[key] as keyof typeof offload] = value;
        const short = length % 3 === 0 ? bytes.subarray(0, length) : bytes;
        try {
          cut += segmenter.segment(short, offload).length > 1 ? 1 : 0;
        } catch (error) {
          expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_FRAME_OFFLOAD' });
        }
      },
    ),
    { numRuns: 2000 },
  );
  expect(cut).toBeGreaterThan(10);
});
