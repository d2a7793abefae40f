import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  bit,
  DirtyLog,
  type IotlbMapping,
  VHOST_ACCESS_RO,
  VHOST_ACCESS_WO,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { makeFrame } from '../support/frames.js';
import { until } from '../support/host.js';
import { Iommu } from '../support/iommu.js';
import {
  BUFFERS,
  BUFFERS_IOVA,
  BUFFERS_SIZE,
  buffer,
  exchange,
  FEATURES,
  LENGTH,
  PAGE,
  RINGS_IOVA,
  RINGS_SIZE,
  scattered,
  start,
} from '../support/iommu-rig.js';
import { split } from '../support/rings.js';

holdNothingLeaks();

describe.each([1, 2] as const)('behind an IOMMU, with messages of version %d', (version) => {
  test('frames go both ways through pages that lie elsewhere', async () => {
    const { rig, wire, iotlb, iommu } = await start({ iotlb: { version } });
    const before = { ...iotlb.counters };
    expect(before).toEqual({ misses: 0, updates: 0, faults: 0 });
    for (let i = 0; i < 20; i++) await exchange(rig, wire, 2 * i, buffer(i), buffer(i + 20));
    // 40 buffers over two or three pages each, and none of the device's rings.
    expect(iotlb.counters.misses).toBeGreaterThanOrEqual(80);
    const { misses, updates, faults } = iotlb.counters;
    expect(updates).toBeGreaterThanOrEqual(80);
    expect(faults).toBe(0);
    for (let i = 0; i < 20; i++) await exchange(rig, wire, 2 * i, buffer(i), buffer(i + 20));
    // A question that was asked twice may come late.
    expect(iotlb.counters.misses - misses).toBeLessThanOrEqual(2);
    const asked = (access: number) => iommu.asked.filter((ask) => ask.access === access).length;
    expect(asked(VHOST_ACCESS_WO)).toBeGreaterThanOrEqual(40);
    expect(asked(VHOST_ACCESS_RO)).toBeGreaterThanOrEqual(40);
  });

  test('what was prefetched is never missed', async () => {
    const mapped: IotlbMapping[] = [];
    const { rig, wire, iotlb } = await start({
      iotlb: { version, prefetch: mapped },
      iommu: (memory) => {
        const iommu = scattered(memory);
        mapped.push(...iommu.mappings());
        return iommu;
      },
    });
    for (let i = 0; i < 20; i++) await exchange(rig, wire, 2 * i, buffer(i), buffer(i + 20));
    expect(iotlb.counters).toEqual({ misses: 0, updates: 0, faults: 0 });
  });

  test('what is invalidated under traffic is missed again, and found where it is now', async () => {
    const { rig, wire, iotlb, iommu } = await start({ iotlb: { version } });
    await exchange(rig, wire, 0);
    for (let i = 1; i <= 20; i++) {
      const { misses } = iotlb.counters;
      const [from] = buffer(0);
      const iova = from - (from % PAGE);
      // The transmit buffer moves on to pages that nobody has.
      iommu.map(iova, BUFFERS + BigInt(BUFFERS_SIZE) + BigInt(i) * 4n * PAGE, 4 * Number(PAGE));
      await iotlb.invalidate({ iova, size: 4n * PAGE });
      await exchange(rig, wire, 2 * i);
      expect(iotlb.counters.misses).toBeGreaterThan(misses);
    }
    expect(iotlb.counters.faults).toBe(0);
  });
});

describe('an IOTLB', () => {
  test('maps guest memory to itself where it is prefetched whole', async () => {
    const { rig, wire, iotlb } = await start({
      iommu: (memory) => new Iommu(memory).map(0n, 0n, 4 << 20),
    });
    await iotlb.prefetch(rig.memory);
    await exchange(rig, wire, 0, [BUFFERS, 8192], [BUFFERS + 0x4000n, 8192]);
    expect(iotlb.counters.misses).toBe(0);
  });

  test('translates indirect tables too', async () => {
    const { rig, wire } = await start({
      features: FEATURES | bit(VIRTIO_RING_F_INDIRECT_DESC),
      indirect: 8,
      // The driver writes where its tables are as the guest has it.
      iommu: (memory) => scattered(memory).map(0n, 0n, RINGS_SIZE).map(RINGS_IOVA, 0n, RINGS_SIZE),
    });
    const segments = split(BUFFERS_IOVA + 100n, rig.headerLength + LENGTH, 5, rig.headerLength);
    rig.fill(segments, makeFrame(LENGTH, 7));
    rig.addReadable(segments);
    rig.transmit.publish();
    await wire.expect(1, () => LENGTH, 7);
  });

  test('lets the event loop go on while an address is translated', async () => {
    const { rig, wire, iommu } = await start();
    let turns = 0;
    iommu.delay = async () => {
      for (let i = 0; i < 50; i++) {
        await turn();
        turns++;
      }
    };
    await exchange(rig, wire, 0);
    expect(turns).toBeGreaterThanOrEqual(50);
  });

  test('asks again where a range was invalidated while it was translated', async () => {
    const { rig, wire, iommu, iotlb } = await start();
    const [from] = buffer(0);
    const iova = from - (from % PAGE);
    let finish: () => void = () => {};
    iommu.delay = () => new Promise<void>((resolve) => (finish = resolve));
    rig.fill([[from, 2048]], makeFrame(1000, 1));
    rig.addReadable([[from, rig.headerLength + 1000]]);
    const asked = iommu.asked.length;
    rig.transmit.publish();
    await until(() => iommu.asked.length > asked, 'the miss is translated');
    const old = finish;
    // The answer that is on its way is that of before.
    iommu.delay = undefined;
    const translate = iommu.translate.bind(iommu);
    let again = 0;
    iommu.translate = (address, access) => {
      again++;
      return translate(address, access);
    };
    iommu.map(iova, BUFFERS + BigInt(BUFFERS_SIZE), Number(PAGE));
    rig.fill([[from, 2048]], makeFrame(1000, 2));
    await iotlb.invalidate({ iova, size: PAGE });
    old();
    await wire.expect(1, () => 1000, 2);
    expect(again).toBeGreaterThan(0);
  });

  test('goes on over a stop and a start', async () => {
    const { rig, wire } = await start();
    await exchange(rig, wire, 0);
    const state = await rig.stop();
    expect(rig.backend.iotlb).toBeUndefined();
    await rig.resume(state);
    await exchange(rig, wire, 2);
  });

  test('takes many changes at once', async () => {
    const { rig, wire, iommu, iotlb } = await start();
    await iotlb.batch(iommu.mappings().map((update) => ({ update })));
    await exchange(rig, wire, 0);
    expect(iotlb.counters.misses).toBe(0);
    await iotlb.batch([{ invalidate: { iova: BUFFERS_IOVA, size: BUFFERS_SIZE } }]);
    await exchange(rig, wire, 2);
    expect(iotlb.counters.misses).toBeGreaterThan(0);
  });

  test('leaves rings that lie too high to those who stop them, where the log is turned on', async () => {
    const high = 1n << 50n;
    const { rig, wire } = await start({
      iommu: (memory) =>
        new Iommu(memory).map(high, 0n, RINGS_SIZE).scatter(BUFFERS_IOVA, BUFFERS, BUFFERS_SIZE),
    });
    await exchange(rig, wire, 0);
    const log = DirtyLog.create(rig.memory);
    const error = await expectCode(() => rig.backend.setDirtyLog(log), 'ERR_BUSY');
    expect(error.hint).toContain('stopped');
    await exchange(rig, wire, 2);
    const state = await rig.stop();
    await rig.backend.setDirtyLog(log);
    await rig.resume(state);
    log.clear();
    await exchange(rig, wire, 4);
    expect([...log.harvest()].length).toBeGreaterThan(1);
    await rig.stop();
    await rig.backend.setDirtyLog(null);
    log.close();
  });
});
