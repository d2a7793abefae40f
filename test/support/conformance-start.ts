/** Every VhostBackend refuses to start with what cannot be, and can be started after. */
import { describe, expect, test } from 'vitest';
import { bit, EventFd, type Tap, type VringConfig } from '../../lib/index.js';
import { type BackendKind, into, out, prepareBench, startBench } from './conformance.js';
import { expectCode, thrownBy } from './errors.js';
import type { Segment } from './rings.js';

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
