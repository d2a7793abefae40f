/** Every VhostBackend gives up a ring that its driver breaks, and nothing else. */
import { describe, expect, test } from 'vitest';
import {
  bit,
  VIRTIO_F_VERSION_1,
  VIRTIO_RING_F_INDIRECT_DESC,
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
} from '../../lib/index.js';
import { arrive, type BackendKind, type Bench, into, out, startBench } from './conformance.js';
import { writeDescriptor } from './descriptor.js';
import { makeFrame } from './frames.js';
import { until } from './host.js';
import type { Rig, RingEnd, Segment } from './rings.js';
import { aWhile } from './turns.js';

const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const SIZE = 8;
const BUFFER: Segment = [1n << 20n, 2048];
const FRAME: Segment = [2n << 20n, 12 + 60];

/** Offers the chain of descriptor 0 in a ring that nothing was offered in, `ahead` places on at once. */
function offer(rig: Rig, { ring, kick }: RingEnd, ahead = 1): void {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(ahead, 0);
  rig.memory.write(ring.addresses.avail + 2n, bytes);
  kick.signal();
}

type Breaker = (rig: Rig, end: RingEnd, flags: number) => void;

/** What a driver may write, in a ring of its own direction: `flags` are those of a right buffer. */
const HOSTILE: [string, Breaker][] = [
  [
    'a buffer outside the memory',
    (rig, { ring }, flags) =>
      writeDescriptor(rig.memory, ring.addresses.desc, 0, [1n << 40n, 2048, flags]),
  ],
  [
    'a buffer over the end of the memory',
    (rig, { ring }, flags) =>
      writeDescriptor(rig.memory, ring.addresses.desc, 0, [(4n << 20n) - 16n, 2048, flags]),
  ],
  [
    'a buffer whose end is beyond 2^64',
    (rig, { ring }, flags) =>
      writeDescriptor(rig.memory, ring.addresses.desc, 0, [2n ** 64n - 16n, 2048, flags]),
  ],
  [
    'a chain that is a loop',
    (rig, { ring }, flags) => {
      const { desc } = ring.addresses;
      writeDescriptor(rig.memory, desc, 0, [BUFFER[0], 64, flags | VRING_DESC_F_NEXT, 1]);
      writeDescriptor(rig.memory, desc, 1, [BUFFER[0], 64, flags | VRING_DESC_F_NEXT, 0]);
    },
  ],
  [
    'a chain that goes on outside the table',
    (rig, { ring }, flags) =>
      writeDescriptor(rig.memory, ring.addresses.desc, 0, [
        BUFFER[0],
        64,
        flags | VRING_DESC_F_NEXT,
        0xffff,
      ]),
  ],
  [
    'a buffer of the other direction',
    (rig, { ring }, flags) =>
      writeDescriptor(rig.memory, ring.addresses.desc, 0, [
        BUFFER[0],
        2048,
        flags ^ VRING_DESC_F_WRITE,
      ]),
  ],
  [
    'an indirect table outside the memory',
    (rig, { ring }) =>
      writeDescriptor(rig.memory, ring.addresses.desc, 0, [1n << 40n, 32, VRING_DESC_F_INDIRECT]),
  ],
  [
    'an indirect table of half a descriptor',
    (rig, { ring }) =>
      writeDescriptor(rig.memory, ring.addresses.desc, 0, [BUFFER[0], 24, VRING_DESC_F_INDIRECT]),
  ],
  [
    'an indirect table in an indirect table',
    (rig, { ring }) => {
      writeDescriptor(rig.memory, ring.addresses.desc, 0, [BUFFER[0], 16, VRING_DESC_F_INDIRECT]);
      writeDescriptor(rig.memory, BUFFER[0], 0, [BUFFER[0], 16, VRING_DESC_F_INDIRECT]);
    },
  ],
];

export function survivesHostileRings(kind: BackendKind): void {
  const features = VERSION_1 | bit(VIRTIO_RING_F_INDIRECT_DESC);

  /** Breaks a ring and waits until it is told; what comes from the host makes a device look at buffers. */
  async function breakRing(bench: Bench, which: 'receive' | 'transmit', breaker: Breaker) {
    const { rig } = bench;
    breaker(rig, rig[which], which === 'receive' ? VRING_DESC_F_WRITE : 0);
    offer(rig, rig[which]);
    if (which === 'receive') await arrive(bench, 60, 90);
    await until(() => rig[which].err.read() > 0, 'the error');
  }

  describe.each(['receive', 'transmit'] as const)(
    `${kind.name} gives up a %s ring, while the other runs, for`,
    (which) => {
      test.each(HOSTILE)('%s', async (_, breaker) => {
        const bench = await startBench(kind, { features, size: SIZE });
        await breakRing(bench, which, breaker);
        if (which === 'receive') await out(bench, [FRAME], 60, 1);
        else await into(bench, [BUFFER], 60, 1);
        const state = await bench.rig.stop();
        // Before the chain, or behind it: the kernel has taken one whose buffers are for the other direction.
        expect([0, 1]).toContain(state[which]);
      });

      test('more chains at once than it has descriptors', async () => {
        const bench = await startBench(kind, { features, size: SIZE });
        const { rig } = bench;
        offer(rig, rig[which], SIZE + 1);
        if (which === 'receive') await arrive(bench, 60, 90);
        await until(() => rig[which].err.read() > 0, 'the error');
        if (which === 'receive') await out(bench, [FRAME], 60, 1);
        else await into(bench, [BUFFER], 60, 1);
      });
    },
  );

  describe(`${kind.name}, whose driver broke a ring,`, () => {
    const [, outside] = HOSTILE[0] as [string, Breaker];

    test('goes on when it was stopped and started with one that is good', async () => {
      const bench = await startBench(kind, { features, size: SIZE });
      const { rig } = bench;
      await breakRing(bench, 'transmit', outside);
      await rig.backend.stopRing(1);
      rig.transmit.ring.reset();
      await rig.backend.startRing(1, rig.transmit.config(0));
      await out(bench, [FRAME], 60, 2);
    });

    const { looksAgain = 'when kicked' } = kind;
    test(`looks again ${looksAgain}: it may be good by then`, async () => {
      const { rig, wire } = await startBench(kind, { features, size: SIZE });
      const { transmit, backend } = rig;
      const again = {
        'when kicked': async () => transmit.kick.signal(),
        'when started': async () => {
          transmit.kick.signal();
          await aWhile();
          expect(transmit.err.read()).toBe(0);
          await backend.startRing(1, transmit.config(await backend.stopRing(1)));
        },
      }[looksAgain];
      rig.fill([FRAME], makeFrame(60, 3));
      await breakRing({ rig, wire }, 'transmit', outside);
      await again();
      await until(() => transmit.err.read() > 0, 'the error once more');
      writeDescriptor(rig.memory, transmit.ring.addresses.desc, 0, [...FRAME]);
      await again();
      await wire.expect(1, () => 60, 3);
    });

    test('sends the good frames before a bad one', async () => {
      const { rig, wire } = await startBench(kind, { features, size: SIZE });
      for (let i = 0; i < 3; i++) {
        const segment: Segment = [FRAME[0] + BigInt(i * 4096), FRAME[1]];
        rig.fill([segment], makeFrame(60, i));
        rig.addReadable([segment]);
      }
      rig.addReadable([[1n << 40n, 72]]);
      rig.transmit.publish();
      await wire.expect(3, () => 60);
      await until(() => rig.transmit.err.read() > 0, 'the error');
      expect(await rig.stop()).toMatchObject({ transmit: 3 });
    });

    test('tells it to onRingError, where the ring has no eventfd for it', async () => {
      const broken: number[] = [];
      const bench = await startBench(kind, {
        features,
        size: SIZE,
        onRingError: (ring) => broken.push(ring),
      });
      const { rig } = bench;
      outside(rig, rig.transmit, 0);
      offer(rig, rig.transmit);
      await until(() => broken.length > 0, 'the error');
      expect(new Set(broken)).toEqual(new Set([1]));
      await into(bench, [BUFFER], 60, 1);
    });
  });
}
