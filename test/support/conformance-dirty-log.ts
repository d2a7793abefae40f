/** Every VhostBackend marks what it writes in a dirty log, and nothing else. */
import { describe, expect, test } from 'vitest';
import {
  bit,
  DirtyLog,
  EventFd,
  GuestMemory,
  usedBytes,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { arrive, type BackendKind, type Bench, into, out, prepareBench } from './conformance.js';
import { expectCode } from './errors.js';
import { until } from './host.js';
import type { RigOptions, RingEnd, Segment } from './rings.js';

const PAGE = 4096;
const SIZE = 16;
const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const MERGEABLE = VERSION_1 | bit(VIRTIO_NET_F_MRG_RXBUF);
const FRAME: Segment = [2n << 20n, 12 + 1000];

/** A log for the rings' memory. It is taken off and closed when the test is over. */
function logFor({ rig }: Bench, event?: EventFd): DirtyLog {
  const log = DirtyLog.create(rig.memory, event ? { event } : {});
  cleanup(async () => {
    await rig.backend.setDirtyLog(null).catch(() => {});
    log.close();
  });
  return log;
}

async function start(kind: BackendKind, options: RigOptions = {}) {
  const bench = await prepareBench(kind, { size: SIZE, features: VERSION_1, ...options });
  const log = logFor(bench);
  await bench.rig.backend.setDirtyLog(log);
  await bench.rig.resume({ receive: 0, transmit: 0 });
  return { bench, log };
}

const pages = (log: DirtyLog): number[] =>
  [...log.harvest()].flatMap(({ guestAddress, size }) =>
    Array.from({ length: size / PAGE }, (_, i) => Number(guestAddress) / PAGE + i),
  );

function pagesOf(address: bigint, length: number): number[] {
  const first = Number(address) / PAGE;
  const last = (Number(address) + length - 1) / PAGE;
  return Array.from({ length: Math.floor(last) - Math.floor(first) + 1 }, (_, i) =>
    Math.floor(first + i),
  );
}

const sorted = (...lists: number[][]) => [...new Set(lists.flat())].sort((a, b) => a - b);
const usedPages = ({ ring }: RingEnd) => pagesOf(ring.addresses.used, usedBytes(SIZE));

export function marksWhatItWrites(kind: BackendKind): void {
  describe.each([
    { name: 'one buffer a frame', features: VERSION_1 },
    { name: 'mergeable buffers', features: MERGEABLE },
  ])(`${kind.name}, with a dirty log and $name,`, ({ features }) => {
    test('marks exactly the pages of a received frame, and of its used ring', async () => {
      const { bench, log } = await start(kind, { features, ringsAt: 0x800n });
      log.clear();
      for (const [at, length] of [
        [0x100000n, 1000],
        [0x101800n, 1500],
        [0x103ff0n, 100],
        [0x110000n, 6000],
        [0x120fffn, 4084],
      ] as const) {
        await into(bench, [[at, 8192]], length, 1);
        const written = pagesOf(at, bench.rig.headerLength + length);
        expect(pages(log)).toEqual(sorted(usedPages(bench.rig.receive), written));
      }
    });

    test('marks nothing but its used ring for a frame that it sent', async () => {
      const { bench, log } = await start(kind, { features, ringsAt: 0x800n });
      log.clear();
      for (let i = 0; i < 5; i++) {
        await out(bench, [FRAME], 1000, i);
        expect(pages(log)).toEqual(usedPages(bench.rig.transmit));
      }
    });
  });

  describe(`${kind.name}, with a dirty log,`, () => {
    test('marks the pages of every region that a buffer is in', async () => {
      const end = 1 << 20;
      const regions = [
        { guestAddress: 0n, size: end },
        { guestAddress: BigInt(end), size: PAGE },
        { guestAddress: BigInt(end + PAGE), size: end },
      ];
      const { bench, log } = await start(kind, { regions });
      log.clear();
      for (const [before, length] of [
        [1, 60],
        [11, 60],
        [5000, 4988],
        [5000, 4989],
        [5000, 9014],
      ] as const) {
        const at = BigInt(end - before);
        await into(bench, [[at, 12_000]], length, 1);
        const written = pagesOf(at, bench.rig.headerLength + length);
        expect(pages(log)).toEqual(sorted(usedPages(bench.rig.receive), written));
      }
    });

    test('marks every buffer of a frame that is put together, and high addresses', async () => {
      const high = 1n << 38n;
      const regions = [
        { guestAddress: 0n, size: 0x10000 },
        { guestAddress: high, size: 0x100000 },
      ];
      const { bench, log } = await start(kind, { features: MERGEABLE, regions, ringsAt: high });
      log.clear();
      const { rig } = bench;
      const buffers: Segment[] = [
        [0x3ff0n, 1000],
        [high + 0x20000n, 1000],
        [0x8000n, 1000],
      ];
      for (const buffer of buffers) rig.addWritable([buffer]);
      rig.receive.publish();
      await arrive(bench, 2500, 1);
      for (const _ of buffers) await rig.receive.pop();
      expect(pages(log)).toEqual(
        sorted(
          pagesOf(0x3ff0n, 1000),
          pagesOf(0x8000n, 512),
          pagesOf(high + 0x20000n, 1000),
          usedPages(rig.receive),
        ),
      );
    });

    test('can have it turned on, handed over and turned off while frames go', async () => {
      const { bench, log } = await start(kind);
      const { rig } = bench;
      await into(bench, [[0x100000n, 2048]], 1000, 1);
      const other = logFor(bench);
      await rig.backend.setDirtyLog(other);
      expect(pages(log)).toContain(0x100);
      await into(bench, [[0x102000n, 2048]], 1000, 2);
      expect(pages(log)).toEqual([]);
      expect(pages(other)).toContain(0x102);
      await rig.resume(await rig.stop());
      await into(bench, [[0x104000n, 2048]], 1000, 3);
      expect(pages(other)).toContain(0x104);
      await expectCode(() => other.close(), 'ERR_MEMORY_IN_USE');
      await rig.backend.setDirtyLog(null);
      other.clear();
      await into(bench, [[0x106000n, 2048]], 1000, 4);
      await out(bench, [FRAME], 1000, 5);
      expect(pages(other)).toEqual([]);
    });

    test('signals its eventfd', async () => {
      const bench = await prepareBench(kind, { size: SIZE, features: VERSION_1 });
      const event = EventFd.create();
      cleanup(() => event.close());
      const log = logFor(bench, event);
      await bench.rig.resume({ receive: 0, transmit: 0 });
      await bench.rig.backend.setDirtyLog(log);
      event.read();
      await into(bench, [[0x100000n, 2048]], 1000, 1);
      await until(() => event.read() > 0, 'the signal');
    });

    test('refuses one that is closed, or too small for the memory, and keeps what it had', async () => {
      const { bench, log } = await start(kind);
      const { backend } = bench.rig;
      const less = GuestMemory.create([{ guestAddress: 0n, size: 0x100000 }]);
      cleanup(() => less.close());
      const small = DirtyLog.create(less);
      cleanup(async () => {
        await backend.setDirtyLog(null).catch(() => {});
        small.close();
      });
      const error = await expectCode(() => backend.setDirtyLog(small), 'ERR_OUT_OF_RANGE');
      expect(error.message).toContain('0x400000');
      const closed = DirtyLog.create(bench.rig.memory);
      closed.close();
      await expectCode(() => backend.setDirtyLog(closed), 'ERR_CLOSED');
      log.clear();
      await into(bench, [[0x100000n, 2048]], 1000, 1);
      expect(pages(log)).toContain(0x100);
      const state = await bench.rig.stop();
      await backend.setDirtyLog(small);
      await expectCode(() => bench.rig.resume(state), 'ERR_OUT_OF_RANGE');
    });
  });
}
