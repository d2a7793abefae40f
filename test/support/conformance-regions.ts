/** Every VhostBackend takes buffers that begin in one region of memory and go on in the next. */
import { describe, expect, test } from 'vitest';
import {
  bit,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_INDIRECT_DESC,
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
} from '../../lib/index.js';
import { arrive, type BackendKind, into, nextMerged, out, startBench } from './conformance.js';
import { descriptorBytes, writeDescriptor } from './descriptor.js';
import { checkFrameBytes, makeFrame } from './frames.js';
import { type Segment, words } from './rings.js';

const PAGE = 4096;
/** Where the first region ends; the three behind it are of a page each. */
const END = 1 << 20;
const REGIONS = [
  { guestAddress: 0n, size: END },
  { guestAddress: BigInt(END), size: PAGE },
  { guestAddress: BigInt(END + PAGE), size: PAGE },
  { guestAddress: BigInt(END + 2 * PAGE), size: PAGE },
  { guestAddress: BigInt(END + 3 * PAGE), size: END },
];
const SIZE = 16;
const HEADER = 12;
const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const MERGEABLE = VERSION_1 | bit(VIRTIO_NET_F_MRG_RXBUF);
const INDIRECT = VERSION_1 | bit(VIRTIO_RING_F_INDIRECT_DESC);

export function takesBuffersOverRegions(kind: BackendKind): void {
  const start = (features: bigint) => startBench(kind, { features, size: SIZE, regions: REGIONS });

  describe(`${kind.name}, with regions that follow each other,`, () => {
    test.each([
      { name: 'one buffer a frame', features: VERSION_1 },
      { name: 'mergeable buffers', features: MERGEABLE },
    ])(
      'takes a buffer over their bounds, its header cut at any byte or not, with $name',
      async ({ features }) => {
        const bench = await start(features);
        for (let before = 1; before <= HEADER + 2; before++) {
          const segments: Segment[] = [[BigInt(END - before), HEADER + 60]];
          await out(bench, segments, 60, before);
          await into(bench, segments, 60, 100 + before);
        }
        for (const before of [100, 5000, 9000]) {
          // Over two bounds and more.
          const segments: Segment[] = [[BigInt(END - before), HEADER + 9014]];
          await out(bench, segments, 9014, before);
          await into(bench, segments, 9014, before + 1);
        }
      },
    );

    test('takes a chain of such buffers', async () => {
      const bench = await start(VERSION_1);
      const segments: Segment[] = [
        [BigInt(END - 5), HEADER],
        [BigInt(END + PAGE - 100), 200],
        [BigInt(END + 2 * PAGE - 1), 2],
        [BigInt(END + 3 * PAGE - 1000), 1500],
      ];
      await out(bench, segments, 1702, 1);
      await into(bench, segments, 1702, 2);
    });

    test('says how many buffers a frame took, wherever the first is cut', async () => {
      const bench = await start(MERGEABLE);
      const { rig } = bench;
      for (let before = 1; before <= HEADER; before++) {
        const buffers: Segment[] = [
          [BigInt(END - before), 100],
          [BigInt(END + PAGE - before), 100],
        ];
        for (const buffer of buffers) rig.receive.ring.add(words([buffer]), 0, 1);
        rig.receive.publish();
        await arrive(bench, 180, before);
        checkFrameBytes((await nextMerged(rig, buffers)).subarray(HEADER), 180, before);
      }
    });

    test('follows a table over their bounds, cut at any byte', async () => {
      const { rig, wire } = await start(INDIRECT);
      const { ring, kick } = rig.transmit;
      const { desc, avail } = ring.addresses;
      const segments: Segment[] = [
        [0x8000n, HEADER],
        [0x9000n, 30],
        [0xa000n, 30],
      ];
      const index = Buffer.alloc(2);
      for (let before = 1; before < 48; before++) {
        rig.fill(segments, makeFrame(60, before));
        const table = BigInt(END - before);
        segments.forEach(([address, length], i) => {
          const more = i < segments.length - 1;
          const fields = [address, length, more ? VRING_DESC_F_NEXT : 0, more ? i + 1 : 0] as const;
          rig.memory.write(table + BigInt(16 * i), descriptorBytes(fields));
        });
        // Every place of the avail ring names descriptor 0.
        writeDescriptor(rig.memory, desc, 0, [table, 48, VRING_DESC_F_INDIRECT]);
        index.writeUInt16LE(before);
        rig.memory.write(avail + 2n, index);
        kick.signal();
        await wire.expect(1, () => 60, before);
      }
      expect(await rig.stop()).toMatchObject({ transmit: 47 });
    });
  });
}
