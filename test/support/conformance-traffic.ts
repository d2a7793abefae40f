/** Every VhostBackend carries frames as they are, in whatever buffers they lie. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  bit,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../../lib/index.js';
import { arrive, type BackendKind, into, nextMerged, out, startBench } from './conformance.js';
import { expectCode } from './errors.js';
import { checkFrameBytes, makeFrame } from './frames.js';
import { type Rig, type Segment, split } from './rings.js';

const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const MERGEABLE = VERSION_1 | bit(VIRTIO_NET_F_MRG_RXBUF);
const EVENT_IDX = bit(VIRTIO_RING_F_EVENT_IDX);
const INDIRECT = bit(VIRTIO_RING_F_INDIRECT_DESC);
const BUFFERS = 1n << 20n;
const FRAME: Segment = [BUFFERS, 12 + 60];

/** Posts receive buffers of `length` bytes each, one after another with gaps. */
function post(rig: Rig, count: number, length: number, from = 0): Segment[] {
  const segments = Array.from(
    { length: count },
    (_, i): Segment => [BUFFERS + BigInt((from + i) * (length + 64)), length],
  );
  for (const segment of segments) rig.addWritable([segment]);
  rig.receive.publish();
  return segments;
}

export function carriesFrames(kind: BackendKind): void {
  describe.each([
    { name: 'a header of 10 bytes', features: 0n },
    { name: 'VERSION_1', features: VERSION_1 },
    { name: 'mergeable buffers', features: MERGEABLE },
    { name: 'EVENT_IDX', features: MERGEABLE | EVENT_IDX },
  ])(`${kind.name}, with $name,`, ({ features }) => {
    test('carries frames of every kind of length both ways unchanged', async () => {
      const bench = await startBench(kind, { features, size: 16 });
      const { headerLength } = bench.rig;
      for (const [i, length] of [18, 60, 1514, 9014, 65_000].entries()) {
        const segment: Segment = [BUFFERS, headerLength + length];
        await out(bench, [segment], length, i);
        await into(bench, [segment], length, 100 + i);
      }
    });

    test('keeps hundreds of frames in order, over the end of the ring and of its index', async () => {
      const bench = await startBench(kind, { features, size: 8 });
      const { rig, wire } = bench;
      const lengths = (n: number) => 60 + (n % 7) * 100;
      let received = 0;
      const receiving = (async () => {
        const segment = (n: number): Segment => [BUFFERS + BigInt((n % 8) * 2048), 2048];
        for (let n = 0; n < 8; n++) rig.addWritable([segment(n)]);
        rig.receive.publish();
        for (let n = 0; n < 300; n++) {
          await rig.receive.pop();
          const { usedLength } = rig.receive.ring;
          checkFrameBytes(rig.frame([segment(n)], usedLength), lengths(n), n);
          rig.addWritable([segment(n)]);
          rig.receive.publish();
          received++;
        }
      })();
      await Promise.all([receiving, wire.send(300, lengths, () => received, { window: 32 })]);
      for (let n = 0; n < 300; n++) {
        await out(bench, [[BUFFERS, rig.headerLength + lengths(n)]], lengths(n), n);
      }
    });
  });

  describe.each([
    { name: 'descriptors of the ring', indirect: 0 },
    { name: 'indirect tables', indirect: 8 },
  ])(`${kind.name}, for chains in $name,`, ({ indirect }) => {
    const features = VERSION_1 | EVENT_IDX | (indirect ? INDIRECT : 0n);

    test('takes a frame in 1 to 8 buffers, its header in one of its own or split', async () => {
      const bench = await startBench(kind, { features, indirect, size: 16 });
      for (const header of [12, 7, 11]) {
        for (let count = 1; count <= 8; count++) {
          const segments = split(BUFFERS, 12 + 1500, count, header);
          await out(bench, segments, 1500, count);
          await into(bench, segments, 1500, 100 + count);
        }
      }
    });

    test('takes a full ring at once, and gives all of it back', async () => {
      const { rig, wire } = await startBench(kind, { features, indirect, size: 32 });
      const chains = indirect ? 32 : 8;
      for (let i = 0; i < chains; i++) {
        const segments = split(BUFFERS + BigInt(i) * 4096n, 1012, 4, 12);
        rig.fill(segments, makeFrame(1000, i));
        rig.addReadable(segments);
      }
      rig.transmit.publish();
      await wire.expect(chains, () => 1000);
      for (let i = 0; i < chains; i++) await rig.transmit.pop();
      expect(rig.transmit.ring).toMatchObject({ free: 32, inFlight: 0 });
    });
  });

  describe(`${kind.name}, where a frame is longer than a buffer,`, () => {
    test('puts it into as many mergeable ones as it takes, and says how many', async () => {
      const bench = await startBench(kind, { features: MERGEABLE, size: 256 });
      const { rig } = bench;
      let from = 0;
      for (const [i, length] of [60, 5000, 989, 65_000, 60, 988, 9000, 60].entries()) {
        const count = Math.ceil((12 + length) / 1000);
        const buffers = post(rig, count, 1000, from % 128);
        from += count;
        await arrive(bench, length, i);
        checkFrameBytes((await nextMerged(rig, buffers)).subarray(12), length, i);
      }
      expect(rig.receive.ring.inFlight).toBe(0);
    });

    test('waits until there are enough mergeable ones, and loses nothing behind it', async () => {
      const bench = await startBench(kind, { features: MERGEABLE | EVENT_IDX, size: 16 });
      const { rig } = bench;
      const buffers = post(rig, 2, 1000);
      await arrive(bench, 4000, 1);
      await arrive(bench, 60, 2);
      await sleep(20);
      expect(rig.receive.ring.pop()).toBe(-1);
      for (let i = 2; i < 6; i++) buffers.push(...post(rig, 1, 1000, i));
      checkFrameBytes((await nextMerged(rig, buffers)).subarray(12), 4000, 1);
      checkFrameBytes((await nextMerged(rig, buffers.slice(5))).subarray(12), 60, 2);
    });

    test('drops it where there is no merging, and its buffer takes the next one', async () => {
      const bench = await startBench(kind, { features: VERSION_1, size: 8 });
      const { rig } = bench;
      const [buffer] = post(rig, 1, 500) as [Segment];
      await arrive(bench, 489, 1);
      await arrive(bench, 488, 2);
      await rig.receive.pop();
      checkFrameBytes(rig.frame([buffer], rig.receive.ring.usedLength), 488, 2);
    });
  });

  describe(`${kind.name}`, () => {
    test('leaves frames in the queue until there are buffers for them', async () => {
      const bench = await startBench(kind, { features: MERGEABLE | EVENT_IDX, size: 64 });
      await arrive(bench, 60, 0, 40);
      for (let i = 0; i < 40; i++) {
        const [buffer] = post(bench.rig, 1, 256, i) as [Segment];
        await bench.rig.receive.pop();
        checkFrameBytes(bench.rig.frame([buffer], bench.rig.receive.ring.usedLength), 60, i);
      }
    });

    test('takes what the queue refuses for sent, and goes on', async () => {
      const bench = await startBench(kind, { size: 8 });
      const { rig } = bench;
      // Shorter than an Ethernet header.
      rig.addReadable([[BUFFERS, 12 + 5]]);
      rig.transmit.publish();
      await rig.transmit.pop();
      rig.tap.interface.setDown();
      rig.addReadable([FRAME]);
      rig.transmit.publish();
      await rig.transmit.pop();
      rig.tap.interface.setUp();
      // The wire's own socket tells once that the link was down.
      await expectCode(() => bench.wire.read(), 'ENETDOWN');
      await out(bench, [FRAME], 60, 3);
    });

    test.each([
      { name: 'with EVENT_IDX', features: VERSION_1 | EVENT_IDX },
      { name: 'without EVENT_IDX', features: VERSION_1 },
    ])(
      'wants a kick for every frame while it is idle, and calls where asked, $name',
      async ({ features }) => {
        const bench = await startBench(kind, { features, size: 16 });
        const { transmit } = bench.rig;
        await out(bench, [FRAME], 60, 0);
        await sleep(2);
        transmit.call.read();
        let calls = 0;
        for (let i = 1; i <= 20; i++) {
          expect(transmit.ring.enableCalls()).toBe(false);
          await out(bench, [FRAME], 60, i);
          await sleep(2);
          calls += transmit.call.read();
        }
        expect(calls).toBe(20);
        expect(transmit.kicks).toBe(21);
        transmit.ring.disableCalls();
        for (let i = 0; i < 5; i++) await out(bench, [FRAME], 60, i);
        await sleep(2);
        expect(transmit.call.read()).toBe(0);
      },
    );
  });
}
