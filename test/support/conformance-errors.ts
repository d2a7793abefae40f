/** Every VhostBackend refuses what cannot be, and gives up a ring that its driver breaks, and nothing else. */
import { describe, expect, test } from 'vitest';
import {
  bit,
  EventFd,
  type Tap,
  VIRTIO_F_VERSION_1,
  VIRTIO_RING_F_INDIRECT_DESC,
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  type VringConfig,
} from '../../lib/index.js';
import {
  arrive,
  type BackendKind,
  type Bench,
  into,
  out,
  prepareBench,
  startBench,
} from './conformance.js';
import { expectCode, thrownBy } from './errors.js';
import { makeFrame } from './frames.js';
import { until } from './host.js';
import type { Rig, RingEnd, Segment } from './rings.js';
import { aWhile } from './turns.js';

const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const SIZE = 8;
const BUFFER: Segment = [1n << 20n, 2048];
const FRAME: Segment = [2n << 20n, 12 + 60];

/** One thing wrong in a ring's configuration. */
const WRONG_RINGS: [string, (ring: VringConfig) => Partial<VringConfig>][] = [
  ['a size that is no power of two', () => ({ size: 3 })],
  ['a base that cannot be', () => ({ base: 65_536 })],
  [
    'an avail ring not aligned to 2 bytes',
    ({ addresses }) => ({ addresses: { ...addresses, avail: addresses.avail + 1n } }),
  ],
  [
    'a used ring outside the memory',
    ({ addresses }) => ({ addresses: { ...addresses, used: 1n << 30n } }),
  ],
  [
    'a used ring over the end of the memory',
    ({ addresses }) => ({ addresses: { ...addresses, used: (4n << 20n) - 16n } }),
  ],
  [
    'a closed eventfd',
    () => {
      const kick = EventFd.create();
      kick.close();
      return { kick };
    },
  ],
];

/** Writes the descriptor at `index` of a ring's table, or of one elsewhere. */
function describeBuffer(
  rig: Rig,
  table: bigint,
  index: number,
  [address, length, flags = 0, next = 0]: [bigint, number, number?, number?],
): void {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(address, 0);
  bytes.writeUInt32LE(length, 8);
  bytes.writeUInt16LE(flags, 12);
  bytes.writeUInt16LE(next, 14);
  rig.memory.write(table + BigInt(16 * index), bytes);
}

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
    (rig, { ring }, flags) => describeBuffer(rig, ring.addresses.desc, 0, [1n << 40n, 2048, flags]),
  ],
  [
    'a buffer over the end of the memory',
    (rig, { ring }, flags) =>
      describeBuffer(rig, ring.addresses.desc, 0, [(4n << 20n) - 16n, 2048, flags]),
  ],
  [
    'a buffer whose end is beyond 2^64',
    (rig, { ring }, flags) =>
      describeBuffer(rig, ring.addresses.desc, 0, [2n ** 64n - 16n, 2048, flags]),
  ],
  [
    'a chain that is a loop',
    (rig, { ring }, flags) => {
      const { desc } = ring.addresses;
      describeBuffer(rig, desc, 0, [BUFFER[0], 64, flags | VRING_DESC_F_NEXT, 1]);
      describeBuffer(rig, desc, 1, [BUFFER[0], 64, flags | VRING_DESC_F_NEXT, 0]);
    },
  ],
  [
    'a chain that goes on outside the table',
    (rig, { ring }, flags) =>
      describeBuffer(rig, ring.addresses.desc, 0, [
        BUFFER[0],
        64,
        flags | VRING_DESC_F_NEXT,
        0xffff,
      ]),
  ],
  [
    'a buffer of the other direction',
    (rig, { ring }, flags) =>
      describeBuffer(rig, ring.addresses.desc, 0, [BUFFER[0], 2048, flags ^ VRING_DESC_F_WRITE]),
  ],
  [
    'an indirect table outside the memory',
    (rig, { ring }) =>
      describeBuffer(rig, ring.addresses.desc, 0, [1n << 40n, 32, VRING_DESC_F_INDIRECT]),
  ],
  [
    'an indirect table of half a descriptor',
    (rig, { ring }) =>
      describeBuffer(rig, ring.addresses.desc, 0, [BUFFER[0], 24, VRING_DESC_F_INDIRECT]),
  ],
  [
    'an indirect table in an indirect table',
    (rig, { ring }) => {
      describeBuffer(rig, ring.addresses.desc, 0, [BUFFER[0], 16, VRING_DESC_F_INDIRECT]);
      describeBuffer(rig, BUFFER[0], 0, [BUFFER[0], 16, VRING_DESC_F_INDIRECT]);
    },
  ],
];

export function refusesWhatCannotBe(kind: BackendKind): void {
  describe(`${kind.name}, whose start fails`, () => {
    test.each(
      WRONG_RINGS.flatMap(([name, wrong]) =>
        (['receive', 'transmit'] as const).map((which) => ({ name, which, wrong })),
      ),
    )('for $name in its $which ring, can be started after', async ({ which, wrong }) => {
      const bench = await prepareBench(kind, { size: SIZE });
      const { rig } = bench;
      const good = { receive: rig.receive.config(0), transmit: rig.transmit.config(0) };
      const bad = { ...good, [which]: { ...good[which], ...wrong(good[which]) } };
      const { memory, features, backend } = rig;
      const error = await thrownBy(() => backend.start({ memory, features, pairs: [bad] }));
      expect(error.code).toMatch(/^E[A-Z_]+$/);
      expect(backend.running).toBe(false);
      await rig.resume({ receive: 0, transmit: 0 });
      await out(bench, [FRAME], 60, 1);
      await into(bench, [BUFFER], 60, 2);
    });

    if (kind.header === 'its own') putsItsOwnHeader(kind);
    else refusesAnotherHeader(kind);

    test('for features that it does not offer, or another number of pairs', async () => {
      const { rig } = await prepareBench(kind, { size: SIZE });
      const { memory, features, backend } = rig;
      const pair = { receive: rig.receive.config(0), transmit: rig.transmit.config(0) };
      await thrownBy(() => backend.start({ memory, features: features | bit(63), pairs: [pair] }));
      for (const pairs of [[], [pair, pair]]) {
        await expectCode(() => backend.start({ memory, features, pairs }), 'ERR_INVALID_ARG_VALUE');
      }
      expect(backend.running).toBe(false);
      memory.close();
    });
  });
}

function refusesAnotherHeader(kind: BackendKind): void {
  test('for a header of another length, can be started after', async () => {
    const bench = await prepareBench(kind, { size: SIZE });
    const tap = bench.rig.tap as Tap;
    tap.setVnetHeaderSize(10);
    const start = () => bench.rig.resume({ receive: 0, transmit: 0 });
    const error = await expectCode(start, 'ERR_HEADER_LENGTH');
    expect(error.hint).toContain('setVnetHeaderSize(12)');
    tap.setVnetHeaderSize(12);
    await start();
    await out(bench, [FRAME], 60, 1);
  });
}

function putsItsOwnHeader(kind: BackendKind): void {
  test('for no header of the queue: it puts its own before frames', async () => {
    const bench = await startBench(kind, { size: SIZE });
    (bench.rig.tap as Tap).setVnetHeaderSize(10);
    await out(bench, [FRAME], 60, 1);
    await into(bench, [BUFFER], 60, 2);
  });
}

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
      describeBuffer(rig, transmit.ring.addresses.desc, 0, [...FRAME]);
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
