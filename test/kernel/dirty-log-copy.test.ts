import { describe, expect, test } from 'vitest';
import {
  bit,
  DirtyLog,
  type GuestMemory,
  usedBytes,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { checkFrameBytes } from '../support/frames.js';
import { until } from '../support/host.js';
import { Iommu } from '../support/iommu.js';
import { Rig, type Segment } from '../support/rings.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

const PAGE = 4096;
const MERGEABLE = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF);

describe('a copy of the memory that follows the log', () => {
  const RINGS_IOVA = 0x7_0000_0000n;
  const BUFFERS = 0x100000;
  const iommu = (memory: GuestMemory) =>
    new Iommu(memory)
      .map(RINGS_IOVA, 0n, 0x10000)
      .scatter(BigInt(BUFFERS), BigInt(BUFFERS), 0x200000);

  test.each([
    ['', { features: MERGEABLE }],
    [' behind an IOMMU', { features: MERGEABLE | bit(VIRTIO_F_ACCESS_PLATFORM), iommu }],
  ])('is the same as the memory when the device has stopped%s', async (_, options) => {
    const rig = await Rig.start({ ...options, size: 64 });
    const log = DirtyLog.create(rig.memory);
    const wire = new Wire(rig.tap.interface.name, 8192);
    cleanup(async () => {
      wire.close();
      await rig.backend.setDirtyLog(null);
      log.close();
    });
    const COUNT = 1500;
    const lengthOf = (sequence: number) => 60 + ((sequence * 977) % 4000);
    const buffer = (index: number): Segment => [BigInt(BUFFERS + index * 0x4000 + 0x700), 8192];
    const indexOf: number[] = [];
    let posted = 0;
    const post = () => {
      const index = posted++ % 128;
      indexOf[rig.addWritable([buffer(index)])] = index;
    };
    while (rig.receive.ring.free > 0) post();
    rig.receive.publish();
    let received = 0;
    let last = 0;
    const sending = wire.send(COUNT, lengthOf, () => received, { window: 48 });
    const take = () => {
      for (let head = rig.receive.ring.pop(); head >= 0; head = rig.receive.ring.pop()) {
        const bytes = rig.frame([buffer(indexOf[head]!)], rig.receive.ring.usedLength);
        checkFrameBytes(bytes, lengthOf(received), received);
        received++;
        post();
      }
      rig.receive.publish();
    };
    await until(() => {
      take();
      return received > 200;
    }, 'frames before the log');
    await rig.backend.setDirtyLog(log);
    const image = Buffer.from(rig.memory.read(0n, 4 << 20));
    let rounds = 0;
    let copied = 0;
    const copy = () => {
      for (const { guestAddress, size } of log.harvest()) {
        image.set(rig.memory.read(guestAddress, size), Number(guestAddress));
        copied += size;
      }
      rounds++;
    };
    const stopAt = COUNT - 500;
    await until(
      () => {
        if (received !== last) copy();
        last = received;
        take();
        return received > stopAt;
      },
      'frames under the log',
      60_000,
    );
    // In the middle of it all.
    const state = await rig.stop();
    copy();
    const same = (at: number, length: number) =>
      Buffer.compare(image.subarray(at, at + length), rig.memory.read(BigInt(at), length)) === 0;
    for (let at = BUFFERS; at < BUFFERS + 0x200000; at += PAGE) {
      expect(same(at, PAGE), `page 0x${at.toString(16)}`).toBe(true);
    }
    for (const { ring } of [rig.receive, rig.transmit]) {
      expect(same(Number(ring.addresses.used), usedBytes(64))).toBe(true);
    }
    expect(rounds).toBeGreaterThan(3);
    expect(copied).toBeGreaterThan(0x10000);
    await rig.resume(state);
    await until(
      () => {
        take();
        return received === COUNT;
      },
      'the rest',
      60_000,
    );
    await sending;
  });
});
