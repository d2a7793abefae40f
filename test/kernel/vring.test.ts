import { describe, expect, test } from 'vitest';
import {
  bit,
  VIRTIO_F_VERSION_1,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
  vringBytes,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { checkFrameBytes, makeFrame } from '../support/frames.js';
import { Rig, type Segment, split } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const EVENT_IDX = VERSION_1 | bit(VIRTIO_RING_F_EVENT_IDX);
const BUFFERS = 1n << 20n;

function wireOf(rig: Rig, slotSize = 2048): Wire {
  const wire = new Wire(rig.tap.interface.name, slotSize);
  cleanup(() => wire.close());
  return wire;
}

/** One frame from the driver to the host. */
async function out(rig: Rig, wire: Wire, segments: Segment[], length: number, sequence: number) {
  rig.fill(segments, makeFrame(length, sequence));
  const head = rig.addReadable(segments);
  rig.transmit.publish();
  await wire.expect(1, () => length, sequence);
  expect(await rig.transmit.pop()).toBe(head);
  expect(rig.transmit.ring.usedLength).toBe(0);
}

/** One frame from the host to the driver. */
async function into(rig: Rig, wire: Wire, segments: Segment[], length: number, sequence: number) {
  const head = rig.addWritable(segments);
  rig.receive.publish();
  await wire.send(
    1,
    () => length,
    () => 0,
    { first: sequence },
  );
  expect(await rig.receive.pop()).toBe(head);
  const { usedLength } = rig.receive.ring;
  checkFrameBytes(rig.frame(segments, usedLength), length, sequence);
  expect(usedLength).toBe(rig.headerLength + length);
}

describe.each([
  { indirect: 0, eventIdx: false },
  { indirect: 0, eventIdx: true },
  { indirect: 8, eventIdx: false },
  { indirect: 8, eventIdx: true },
])('with indirect tables of $indirect, EVENT_IDX $eventIdx', ({ indirect, eventIdx }) => {
  const features =
    (eventIdx ? EVENT_IDX : VERSION_1) | (indirect ? bit(VIRTIO_RING_F_INDIRECT_DESC) : 0n);

  test('frames go both ways in chains of 1 to 8 buffers, the header in one of its own', async () => {
    const rig = await Rig.start({ features, indirect, size: 16 });
    const wire = wireOf(rig);
    for (let count = 1; count <= 8; count++) {
      const total = rig.headerLength + 1500;
      await out(rig, wire, split(BUFFERS, total, count, rig.headerLength), 1500, count);
      await into(rig, wire, split(BUFFERS, total, count, rig.headerLength), 1500, 100 + count);
    }
    expect(rig.transmit.ring.free).toBe(16);
    expect(rig.receive.ring.free).toBe(16);
  });

  test('a chain takes one descriptor where it has a table, else one a buffer', async () => {
    const rig = await Rig.start({ features, indirect, size: 16 });
    rig.addWritable(split(BUFFERS, 4000, 5, 12));
    expect(rig.receive.ring.free).toBe(indirect ? 15 : 11);
  });

  test('a header split over two buffers is put together', async () => {
    const rig = await Rig.start({ features, indirect, size: 16 });
    const wire = wireOf(rig);
    await out(rig, wire, split(BUFFERS, 212, 4, 7), 200, 1);
    await into(rig, wire, split(BUFFERS, 212, 4, 7), 200, 2);
  });

  test('a full ring of chains comes back in whole', async () => {
    const rig = await Rig.start({ features, indirect, size: 32 });
    const wire = wireOf(rig);
    const chains = indirect ? 32 : 8;
    for (let i = 0; i < chains; i++) {
      const segments = split(BUFFERS + BigInt(i) * 4096n, 1012, 4, 12);
      rig.fill(segments, makeFrame(1000, i));
      expect(rig.addReadable(segments)).toBeGreaterThanOrEqual(0);
    }
    expect(rig.addReadable(split(BUFFERS, 1012, 4, 12))).toBe(-1);
    rig.transmit.publish();
    await wire.expect(chains, () => 1000);
    for (let i = 0; i < chains; i++) await rig.transmit.pop();
    expect(rig.transmit.ring).toMatchObject({ free: 32, inFlight: 0 });
  });
});

describe('guest memory in several regions', () => {
  const MIB = 1 << 20;

  test('a buffer over two regions that follow each other is one buffer both ways', async () => {
    const regions = [
      { guestAddress: 0n, size: MIB },
      { guestAddress: BigInt(MIB), size: MIB },
    ];
    const rig = await Rig.start({ regions, size: 16 });
    const wire = wireOf(rig);
    for (let before = 1; before < 1012; before += 101) {
      const segments: Segment[] = [[BigInt(MIB - before), 1012]];
      await out(rig, wire, segments, 1000, before);
      await into(rig, wire, segments, 1000, before + 1);
    }
  });

  test('rings in one region serve buffers in others, with a hole between them', async () => {
    const far = 1n << 40n;
    const regions = [
      { guestAddress: 0n, size: MIB },
      { guestAddress: BigInt(16 * MIB), size: MIB },
      { guestAddress: far, size: MIB },
    ];
    const rig = await Rig.start({ regions, size: 16, ringsAt: BigInt(16 * MIB) });
    const wire = wireOf(rig);
    for (const start of [0x1000n, far, far + 0xff000n]) {
      await out(rig, wire, split(start, 1012, 3, 12), 1000, 1);
      await into(rig, wire, split(start, 1012, 3, 12), 1000, 2);
    }
    // One frame of buffers in all three.
    const spread: Segment[] = [
      [far, 12],
      [0x2000n, 500],
      [BigInt(16 * MIB) + 0x80000n, 500],
    ];
    await out(rig, wire, spread, 1000, 3);
    await into(rig, wire, spread, 1000, 4);
  });

  test('a buffer in the hole makes the device give the ring up, and tell', async () => {
    const regions = [
      { guestAddress: 0n, size: MIB },
      { guestAddress: BigInt(16 * MIB), size: MIB },
    ];
    const rig = await Rig.start({ regions, size: 16 });
    rig.addReadable([[BigInt(2 * MIB), 1012]]);
    rig.transmit.publish();
    await expect(rig.transmit.pop()).rejects.toThrow('gave the ring up');
  });
});

describe('a ring of', () => {
  test.each([1, 2])('%d descriptors carries frames both ways', async (size) => {
    const rig = await Rig.start({ features: EVENT_IDX, size });
    const wire = wireOf(rig);
    for (let i = 0; i < 20; i++) {
      await out(rig, wire, [[BUFFERS, 1012]], 1000, i);
      await into(rig, wire, [[BUFFERS, 1012]], 1000, i);
    }
  });

  test('32768 descriptors takes as many buffers, and carries frames', async () => {
    const size = 32_768;
    const rings = BigInt(2 * vringBytes(size));
    const regions = [{ guestAddress: 0n, size: 8 << 20 }];
    const rig = await Rig.start({ features: EVENT_IDX, size, regions });
    const wire = wireOf(rig);
    // All of them share one buffer: only the last frame is looked at.
    for (let i = 0; i < size; i++) rig.addWritable([[rings, 1012]]);
    expect(rig.addWritable([[rings, 1012]])).toBe(-1);
    rig.receive.publish();
    for (let i = 0; i < 300; i++) {
      await wire.send(
        1,
        () => 1000,
        () => 0,
        { first: i },
      );
      await rig.receive.pop();
      checkFrameBytes(rig.frame([[rings, 1012]], rig.receive.ring.usedLength), 1000, i);
    }
    expect(rig.receive.ring.inFlight).toBe(size - 300);
    for (let i = 0; i < 300; i++) await out(rig, wire, [[rings + 4096n, 1012]], 1000, i);
  });
});
