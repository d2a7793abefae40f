/** A rig behind an IOMMU: rings in one piece, buffers with every page apart from its neighbours. */
import {
  bit,
  type GuestMemory,
  type Iotlb,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
} from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { checkFrameBytes, makeFrame } from './frames.js';
import { Iommu } from './iommu.js';
import { Rig, type RigOptions, type Segment } from './rings.js';
import { Wire } from './wire.js';

export const FEATURES = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_ACCESS_PLATFORM);
/** Guest addresses: rings and tables below, buffers above. */
export const RINGS_SIZE = 0x10_0000;
export const BUFFERS = 0x10_0000n;
export const BUFFERS_SIZE = 0x10_0000;
/** The device's addresses of both: nothing is where the guest has it. */
export const RINGS_IOVA = 0x7_0000_0000n;
export const BUFFERS_IOVA = 0x1234_5678_0000_0000n;
export const PAGE = 4096n;
export const LENGTH = 6000;

/** Rings in one piece, buffers with every page apart from its neighbours. */
export const scattered = (memory: GuestMemory) =>
  new Iommu(memory).map(RINGS_IOVA, 0n, RINGS_SIZE).scatter(BUFFERS_IOVA, BUFFERS, BUFFERS_SIZE);

export function rigOptions(options: RigOptions = {}): RigOptions {
  return { features: FEATURES, size: 16, iommu: scattered, ...options };
}

export async function start(options: RigOptions = {}): Promise<{
  rig: Rig;
  wire: Wire;
  iommu: Iommu;
  iotlb: Iotlb;
}> {
  const rig = await Rig.start(rigOptions(options));
  const wire = new Wire(rig.tap.interface.name, 8192);
  cleanup(() => wire.close());
  return { rig, wire, iommu: rig.iommu as Iommu, iotlb: rig.backend.iotlb! };
}

/** A buffer of two pages that begins in the middle of one. */
export const buffer = (index: number): Segment => [
  BUFFERS_IOVA + BigInt(index * 0x4000) + 0x600n,
  8192,
];

function post(rig: Rig, segments: Segment[], sequence: number): void {
  rig.fill(segments, makeFrame(LENGTH, sequence));
  const [address, size] = segments[segments.length - 1]!;
  const rest = segments.slice(0, -1).reduce((sum, [, length]) => sum + length, 0);
  const last = Math.min(size, rig.headerLength + LENGTH - rest);
  rig.addReadable([...segments.slice(0, -1), [address, last]]);
  rig.transmit.publish();
}

/** One frame each way through the given buffers. */
export async function exchange(
  rig: Rig,
  wire: Wire,
  sequence: number,
  out = buffer(0),
  into = buffer(1),
) {
  post(rig, [out], sequence);
  await wire.expect(1, () => LENGTH, sequence);
  await rig.transmit.pop();
  rig.addWritable([into]);
  rig.receive.publish();
  await wire.send(
    1,
    () => LENGTH,
    () => 0,
    { first: sequence + 1 },
  );
  await rig.receive.pop();
  checkFrameBytes(rig.frame([into], rig.receive.ring.usedLength), LENGTH, sequence + 1);
}
