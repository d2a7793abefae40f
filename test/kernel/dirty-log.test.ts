import { describe, expect, test } from 'vitest';
import {
  bit,
  DirtyLog,
  EventFd,
  GuestMemory,
  type RegionOptions,
  usedBytes,
  VHOST_F_LOG_ALL,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { checkFrameBytes, makeFrame } from '../support/frames.js';
import { until } from '../support/host.js';
import { Rig, type RigOptions, type RingEnd, type Segment } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const PAGE = 4096;
const SIZE = 16;
const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const MERGEABLE = VERSION_1 | bit(VIRTIO_NET_F_MRG_RXBUF);

function logFor(memory: GuestMemory, event?: EventFd): DirtyLog {
  const log = DirtyLog.create(memory, event ? { event } : {});
  // Runs before the backend is closed, which would let go of it too.
  cleanup(() => log.close());
  return log;
}

/** A rig whose log, where it has one, is closed after it. */
async function start(options: RigOptions = {}, { logged = true } = {}) {
  const rig = Rig.prepare({ size: SIZE, features: VERSION_1, ...options });
  const log = DirtyLog.create(rig.memory);
  if (logged) await rig.backend.setDirtyLog(log);
  await rig.resume({ receive: 0, transmit: 0 });
  const wire = new Wire(rig.tap.interface.name, 8192);
  cleanup(async () => {
    wire.close();
    await rig.backend.setDirtyLog(null);
    log.close();
  });
  return { rig, log, wire };
}

const pages = (log: DirtyLog): number[] =>
  [...log.harvest()].flatMap(({ guestAddress, size }) =>
    Array.from({ length: size / PAGE }, (_, i) => Number(guestAddress) / PAGE + i),
  );

function pagesOf(address: bigint, length: number): number[] {
  const first = Number(address) >> 12;
  const last = (Number(address) + length - 1) >> 12;
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Ascending, none twice. */
const sorted = (...lists: number[][]) => [...new Set(lists.flat())].sort((a, b) => a - b);

/** The pages of a used ring: the rings are so small that all of it is written to. */
const usedPages = ({ ring }: RingEnd) => pagesOf(ring.addresses.used, usedBytes(SIZE));

async function out(rig: Rig, wire: Wire, at: bigint, length: number, sequence: number) {
  rig.fill([[at, rig.headerLength + length]], makeFrame(length, sequence));
  rig.addReadable([[at, rig.headerLength + length]]);
  rig.transmit.publish();
  await wire.expect(1, () => length, sequence);
  await rig.transmit.pop();
}

async function into(rig: Rig, wire: Wire, segment: Segment, length: number, sequence: number) {
  rig.addWritable([segment]);
  rig.receive.publish();
  await wire.send(
    1,
    () => length,
    () => 0,
    { first: sequence },
  );
  await rig.receive.pop();
  checkFrameBytes(rig.frame([segment], rig.receive.ring.usedLength), length, sequence);
}

/** Nothing but what the start itself wrote is to be seen. */
const settle = (log: DirtyLog) => log.clear();

describe.each([
  ['without mergeable buffers', VERSION_1],
  ['with mergeable buffers', MERGEABLE],
])('a device with a dirty log, %s', (_, features) => {
  test('marks exactly the pages that it wrote of a received frame, and its used ring', async () => {
    const { rig, log, wire } = await start({ features, ringsAt: 0x800n });
    settle(log);
    for (const [at, length] of [
      [0x100000n, 1000],
      [0x101800n, 1500],
      [0x103ff0n, 100],
      [0x110000n, 6000],
      [0x120fffn, 4084],
    ] as const) {
      await into(rig, wire, [at, 8192], length, 1);
      const written = pagesOf(at, rig.headerLength + length);
      expect(pages(log)).toEqual(sorted(usedPages(rig.receive), written));
    }
  });

  test('marks nothing but its used ring for a frame that it sent', async () => {
    const { rig, log, wire } = await start({ features, ringsAt: 0x800n });
    settle(log);
    for (let i = 0; i < 5; i++) {
      await out(rig, wire, 0x100000n, 1500, i);
      expect(pages(log)).toEqual(usedPages(rig.transmit));
    }
  });
});

describe('a dirty log', () => {
  test('reaches over holes and to high addresses', async () => {
    const high = 1n << 38n;
    const regions: RegionOptions[] = [
      { guestAddress: 0n, size: 0x10000 },
      { guestAddress: 0x40000n, size: 0x5000 },
      { guestAddress: high, size: 0x100000 },
    ];
    const { rig, log, wire } = await start({ regions, ringsAt: high });
    settle(log);
    for (const at of [0xe000n, 0x43000n, high + 0xfe000n]) {
      await into(rig, wire, [at, 8192], 5000, 1);
      const written = pagesOf(at, rig.headerLength + 5000);
      // Past 2^31 pages of numbers are whole still, shifts are not.
      const first = Number(at) / PAGE;
      const ring = Number(rig.receive.ring.addresses.used / BigInt(PAGE));
      expect(pages(log)).toEqual(
        sorted(
          [ring],
          written.map((_, i) => first + i),
        ),
      );
    }
  });

  test('is turned on and off while frames go', async () => {
    const { rig, log, wire } = await start({}, { logged: false });
    await into(rig, wire, [0x100000n, 2048], 1000, 1);
    expect(pages(log)).toEqual([]);
    await rig.backend.setDirtyLog(log);
    await into(rig, wire, [0x102000n, 2048], 1000, 2);
    await out(rig, wire, 0x200000n, 1000, 3);
    expect(pages(log)).toEqual(sorted(usedPages(rig.receive), usedPages(rig.transmit), [0x102]));
    await rig.backend.setDirtyLog(null);
    settle(log);
    await into(rig, wire, [0x104000n, 2048], 1000, 4);
    await out(rig, wire, 0x200000n, 1000, 5);
    expect(pages(log)).toEqual([]);
  });

  test('is handed over to another one, and stays on over a stop and a start', async () => {
    const { rig, log, wire } = await start();
    await into(rig, wire, [0x100000n, 2048], 1000, 1);
    const other = DirtyLog.create(rig.memory);
    await rig.backend.setDirtyLog(other);
    expect(pages(log)).toContain(0x100);
    await into(rig, wire, [0x102000n, 2048], 1000, 2);
    expect(pages(log)).toEqual([]);
    const state = await rig.stop();
    await rig.resume(state);
    await into(rig, wire, [0x104000n, 2048], 1000, 3);
    expect(pages(other)).toEqual(
      sorted(usedPages(rig.receive), usedPages(rig.transmit), [0x102, 0x104]),
    );
    await rig.backend.setDirtyLog(log);
    other.close();
  });

  test('cannot be closed while a device has it', async () => {
    const { rig, log } = await start();
    await expectCode(() => log.close(), 'ERR_MEMORY_IN_USE');
    const state = await rig.stop();
    await expectCode(() => log.close(), 'ERR_MEMORY_IN_USE');
    await rig.backend.setDirtyLog(null);
    log.close();
    await rig.resume(state);
    await expectCode(() => rig.backend.setDirtyLog(log), 'ERR_CLOSED');
  });

  test('signals its eventfd when something was logged', async () => {
    const rig = Rig.prepare({ size: SIZE, features: VERSION_1 });
    const event = EventFd.create();
    cleanup(() => event.close());
    const log = logFor(rig.memory, event);
    cleanup(() => rig.backend.setDirtyLog(null));
    const wire = new Wire(rig.tap.interface.name);
    cleanup(() => wire.close());
    await rig.resume({ receive: 0, transmit: 0 });
    await rig.backend.setDirtyLog(log);
    event.read();
    await into(rig, wire, [0x100000n, 2048], 1000, 1);
    await until(() => event.read() > 0, 'the signal');
  });

  test('that is too small for the memory is refused, and nothing changes', async () => {
    const { rig, log, wire } = await start();
    const less = GuestMemory.create([{ guestAddress: 0n, size: 0x100000 }]);
    cleanup(() => less.close());
    const small = logFor(less);
    const error = await expectCode(() => rig.backend.setDirtyLog(small), 'ERR_OUT_OF_RANGE');
    expect(error.message).toContain('0x400000');
    settle(log);
    await into(rig, wire, [0x100000n, 2048], 1000, 1);
    expect(pages(log)).toEqual(sorted(usedPages(rig.receive), [0x100]));
    const state = await rig.stop();
    await rig.backend.setDirtyLog(small);
    await expectCode(() => rig.resume(state), 'ERR_OUT_OF_RANGE');
    await rig.backend.setDirtyLog(null);
  });

  test('is no feature of the driver', async () => {
    const rig = Rig.prepare({ size: SIZE, features: VERSION_1 | bit(VHOST_F_LOG_ALL) });
    const start = () => rig.resume({ receive: 0, transmit: 0 });
    const error = await expectCode(start, 'ERR_INVALID_ARG_VALUE');
    expect(error.hint).toContain('setDirtyLog()');
  });
});
