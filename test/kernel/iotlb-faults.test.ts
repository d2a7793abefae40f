import { describe, expect, test } from 'vitest';
import {
  bit,
  type IotlbFault,
  type IotlbMapping,
  maxIotlbEntries,
  VHOST_ACCESS_RO,
  VHOST_ACCESS_RW,
  VHOST_ACCESS_WO,
  VIRTIO_F_VERSION_1,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { makeFrame } from '../support/frames.js';
import { until } from '../support/host.js';
import {
  BUFFERS,
  buffer,
  FEATURES,
  PAGE,
  RINGS_IOVA,
  rigOptions,
  scattered,
  start,
} from '../support/iommu-rig.js';
import { Rig } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

describe('an IOTLB', () => {
  test('reports an address that nobody maps; the ring waits, and goes on when it is mapped', async () => {
    const faults: IotlbFault[] = [];
    const onFault = (fault: IotlbFault) => faults.push(fault);
    const { rig, wire, iommu, iotlb } = await start({ iotlb: { onFault } });
    const [from] = buffer(0);
    const iova = from - (from % PAGE);
    const lost = iommu.mappings().find((mapping) => mapping.iova === iova)!;
    rig.fill([buffer(0)], makeFrame(1000, 5));
    iommu.unmap(iova, Number(PAGE));
    rig.addReadable([[from, rig.headerLength + 1000]]);
    rig.transmit.publish();
    await until(() => faults.length === 1, 'the fault');
    expect(faults[0]).toMatchObject({ iova: from, access: VHOST_ACCESS_RO, reason: 'unmapped' });
    expect(iotlb.counters.faults).toBe(1);
    expect(rig.transmit.ring.pop()).toBe(-1);
    await iotlb.update(lost);
    await wire.expect(1, () => 1000, 5);
    expect(rig.transmit.err.read()).toBe(0);
  });

  test.each([
    ['forbidden', (mapping: IotlbMapping) => ({ ...mapping, permission: VHOST_ACCESS_RO })],
    ['no-memory', (mapping: IotlbMapping) => ({ ...mapping, guestAddress: 1n << 40n })],
    ['unmapped', (mapping: IotlbMapping) => ({ ...mapping, iova: mapping.iova + PAGE })],
    [
      'failed',
      () => {
        throw new Error('the page table is broken');
      },
    ],
  ])('never follows a translation that is %s', async (reason, wrong) => {
    const faults: IotlbFault[] = [];
    const onFault = (fault: IotlbFault) => faults.push(fault);
    const { rig, iommu } = await start({ iotlb: { onFault } });
    const translate = iommu.translate.bind(iommu);
    iommu.translate = async (iova, access) => wrong((await translate(iova, access))!);
    rig.addWritable([buffer(0)]);
    rig.receive.publish();
    const wire = new Wire(rig.tap.interface.name);
    cleanup(() => wire.close());
    await wire.send(
      1,
      () => 100,
      () => 0,
    );
    await until(() => faults.length > 0, 'the fault');
    expect(faults[0]).toMatchObject({ reason, access: VHOST_ACCESS_WO });
    expect(faults[0]?.error === undefined).toBe(reason !== 'failed');
    expect(rig.receive.ring.pop()).toBe(-1);
  });

  test('leaves it to the kernel to stop a ring whose buffer was mapped for reading only', async () => {
    const { rig, iotlb } = await start();
    const [from] = buffer(0);
    await iotlb.update({
      iova: from - (from % PAGE),
      size: 4n * PAGE,
      guestAddress: BUFFERS,
      permission: VHOST_ACCESS_RO,
    });
    rig.addWritable([buffer(0)]);
    rig.receive.publish();
    const wire = new Wire(rig.tap.interface.name);
    cleanup(() => wire.close());
    await wire.send(
      1,
      () => 100,
      () => 0,
    );
    await until(() => rig.receive.err.read() > 0, 'the device gives the ring up');
    expect(rig.receive.ring.pop()).toBe(-1);
  });
});

describe('a backend refuses', () => {
  test('the feature where nobody translates, and a translation without the feature', async () => {
    const rig = Rig.prepare({ features: FEATURES, size: 16 });
    const start = () => rig.resume({ receive: 0, transmit: 0 });
    const error = await expectCode(start, 'ERR_INVALID_ARG_VALUE');
    expect(error.hint).toContain('translate()');
    const other = Rig.prepare({ features: bit(VIRTIO_F_VERSION_1), size: 16, iommu: scattered });
    await expectCode(() => other.resume({ receive: 0, transmit: 0 }), 'ERR_INVALID_ARG_VALUE');
  });

  test('a ring that is not mapped, or not for writing where it is written', async () => {
    const rings: [string, number][] = [
      ['descriptor table', VHOST_ACCESS_WO],
      ['used ring', VHOST_ACCESS_WO],
      ['used ring', VHOST_ACCESS_RO],
    ];
    for (const [what, permission] of rings) {
      const rig = Rig.prepare(
        rigOptions({
          iommu: (memory) => {
            const iommu = scattered(memory);
            // Descriptors have the first page of a ring of 256, its used ring another.
            const at = what === 'used ring' ? 4096 : 0;
            return iommu.map(RINGS_IOVA + BigInt(at), BigInt(at), 4096, permission);
          },
          size: 256,
        }),
      );
      const error = await expectCode(
        () => rig.resume({ receive: 0, transmit: 0 }),
        'ERR_IOTLB_UNMAPPED',
      );
      expect(error.message).toContain(
        what === 'used ring' && permission === VHOST_ACCESS_WO ? 'ring' : what,
      );
      expect(rig.backend.running).toBe(false);
    }
  });

  test('to prefetch more ranges than an IOTLB holds', async () => {
    const { iotlb } = await start();
    const limit = maxIotlbEntries();
    expect(limit).toBeGreaterThanOrEqual(16);
    const ranges = (count: number) =>
      Array.from({ length: count }, (_, i) => ({
        iova: (1n << 40n) + 2n * PAGE * BigInt(i),
        size: PAGE,
        guestAddress: 0n,
        permission: VHOST_ACCESS_RW,
      }));
    await iotlb.prefetch(ranges(limit));
    const error = await expectCode(() => iotlb.prefetch(ranges(limit + 1)), 'ERR_OUT_OF_RANGE');
    expect(error.message).toContain(`${limit} entries`);
    // Neighbours are one.
    const joined = ranges(limit + 1).map((range, i) => ({
      ...range,
      iova: PAGE * BigInt(i),
      guestAddress: PAGE * BigInt(i % 1024),
    }));
    await iotlb.prefetch(joined);
  });

  test('a mapping to what is no guest memory, and a range that cannot be', async () => {
    const { iotlb } = await start();
    const update = (guestAddress: bigint, size: bigint) => () =>
      iotlb.update({ iova: 0n, size, guestAddress });
    await expectCode(update((4n << 20n) - PAGE, 2n * PAGE), 'ERR_OUT_OF_RANGE');
    await expectCode(update(0n, 0n), 'ERR_OUT_OF_RANGE');
    await expectCode(() => iotlb.invalidate({ iova: -1n, size: 1n }), 'ERR_OUT_OF_RANGE');
  });
});
