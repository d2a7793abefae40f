/** Two rings on a TAP, without a port between: what a guest's driver would do, step by step. */
import { setImmediate as turn } from 'node:timers/promises';
import {
  bit,
  EventFd,
  GuestMemory,
  hasBit,
  headerLengthOf,
  type IotlbOptions,
  KernelBackend,
  type KernelBackendOptions,
  type PacketQueue,
  placeVring,
  type QueuePairState,
  type RegionOptions,
  SEGMENT_WORDS,
  Tap,
  type TapOptions,
  VHOST_NET_F_VIRTIO_NET_HDR,
  type VhostBackend,
  VIRTIO_F_VERSION_1,
  VIRTIO_RING_F_EVENT_IDX,
  type VringConfig,
  VringDriver,
  vringBytes,
} from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { tapName } from './host.js';
import type { Iommu } from './iommu.js';
import { hush } from './ports.js';
import { Patience } from './wire.js';

/** A buffer of a chain: guest address and bytes. */
export type Segment = readonly [address: bigint, length: number];

export interface RigOptions {
  /** Default: VERSION_1 alone, whose header has 12 bytes. */
  features?: bigint;
  /** Descriptors of each ring. Default: 256. */
  size?: number;
  /** Default: one of 4 MiB at 0. */
  regions?: RegionOptions[];
  /** Instead of regions, memory that is there. */
  memory?: GuestMemory;
  /** Guest address of the rings, one after the other. Default: 0. */
  ringsAt?: bigint;
  /** Entries of an indirect table, where chains are to use one. Default: 0, none. */
  indirect?: number;
  /** Default: a silent one with the header that the features mean, at an MTU of 65521. */
  tap?: PacketQueue;
  backend?: KernelBackendOptions;
  /** Who serves the rings; needs its TAP. Default: a kernel backend. */
  served?: VhostBackend;
  /** Called for a ring that the device gives up; then the rings have no eventfd of their own for it. */
  onRingError?: (ring: number) => void;
  /** Behind it the device's addresses are not the guest's; needs VIRTIO_F_ACCESS_PLATFORM. */
  iommu?: (memory: GuestMemory) => Iommu;
  /** Beside translating. */
  iotlb?: Omit<IotlbOptions, 'translate'>;
}

/** One end of the device: a ring and its eventfds. */
export class RingEnd {
  readonly ring: VringDriver;
  readonly kick = EventFd.create();
  readonly call = EventFd.create();
  readonly err = EventFd.create();
  /** Kicks that the device wanted. */
  kicks = 0;

  readonly #used: DataView;

  constructor(ring: VringDriver, memory: GuestMemory) {
    this.ring = ring;
    const { buffer, byteOffset, length } = memory.bytes(ring.addresses.used, 6 + 8 * ring.size);
    this.#used = new DataView(buffer, byteOffset, length);
  }

  /** How far the device wants to be kicked, as it wrote into the ring: with EVENT_IDX. */
  get availEvent(): number {
    return this.#used.getUint16(4 + 8 * this.ring.size, true);
  }

  /** Shows the device what was added, and kicks where it wants that. */
  publish(): boolean {
    const wanted = this.ring.publish();
    if (wanted) {
      this.kicks++;
      this.kick.signal();
    }
    return wanted;
  }

  /** The next chain that comes back. */
  async pop(): Promise<number> {
    const patience = new Patience();
    for (;;) {
      const head = this.ring.pop();
      if (head >= 0) return head;
      if (this.err.read() > 0) throw new Error('the device gave the ring up');
      patience.check(0, 'waiting for a chain to come back');
      await turn();
    }
  }

  config(base: number, iommu?: Iommu): VringConfig {
    const { size } = this.ring;
    const addresses = iommu?.ring(this.ring.addresses) ?? this.ring.addresses;
    return { size, addresses, base, kick: this.kick, call: this.call, err: this.err };
  }
}

/** The words that {@link VringDriver.add} takes. */
export function words(segments: readonly Segment[]): Uint32Array {
  const list = new Uint32Array(segments.length * SEGMENT_WORDS);
  segments.forEach(([address, length], i) => {
    list.set([Number(address & 0xffff_ffffn), Number(address >> 32n), length], i * SEGMENT_WORDS);
  });
  return list;
}

export class Rig {
  readonly memory: GuestMemory;
  readonly tap: PacketQueue;
  readonly backend: VhostBackend;
  readonly features: bigint;
  readonly headerLength: number;
  readonly receive: RingEnd;
  readonly transmit: RingEnd;
  readonly iommu: Iommu | undefined;
  readonly #iotlb: RigOptions['iotlb'];
  readonly #onRingError: RigOptions['onRingError'];

  private constructor(options: RigOptions) {
    const size = options.size ?? 256;
    const bytes = BigInt(vringBytes(size));
    const ringsAt = options.ringsAt ?? 0n;
    this.features = options.features ?? bit(VIRTIO_F_VERSION_1);
    this.headerLength = headerLengthOf(this.features);
    this.memory =
      options.memory ??
      GuestMemory.create(options.regions ?? [{ guestAddress: 0n, size: 4 << 20 }]);
    if (!options.memory) cleanup(() => this.memory.close());
    this.iommu = options.iommu?.(this.memory);
    this.#iotlb = options.iotlb;
    this.#onRingError = options.onRingError;
    this.tap = options.tap ?? silentTap(this.features);
    cleanup(() => this.tap.closeAsync());
    this.backend = options.served ?? KernelBackend.open([this.tap], options.backend);
    cleanup(() => this.backend.close());
    const tables = BigInt(size * (options.indirect ?? 0) * 16);
    const end = (index: bigint) => {
      const ring = new VringDriver(this.memory, {
        size,
        addresses: placeVring(ringsAt + index * bytes, size),
        eventIdx: hasBit(this.features, VIRTIO_RING_F_EVENT_IDX),
        ...(options.indirect
          ? {
              indirect: {
                address: ringsAt + 2n * bytes + index * tables,
                length: options.indirect,
              },
            }
          : {}),
      });
      return new RingEnd(ring, this.memory);
    };
    this.receive = end(0n);
    this.transmit = end(1n);
    for (const { kick, call, err } of [this.receive, this.transmit]) {
      cleanup(() => {
        for (const eventFd of [kick, call, err]) eventFd.close();
      });
    }
  }

  /** Everything of it is closed when the test is over. */
  static async start(options: RigOptions = {}): Promise<Rig> {
    const rig = new Rig(options);
    await rig.resume({ receive: 0, transmit: 0 });
    return rig;
  }

  /** As {@link Rig.start}, not started. */
  static prepare(options: RigOptions = {}): Rig {
    return new Rig(options);
  }

  /** A pair of rings at another place of a rig's memory. */
  static within(rig: Rig, ringsAt: bigint): Rig {
    const { features, memory, tap, backend: served } = rig;
    return new Rig({ features, tap, served, ringsAt, size: rig.receive.ring.size, memory });
  }

  /** The TAP, where it is one. */
  get taps(): readonly Tap[] {
    return this.tap instanceof Tap ? [this.tap] : [];
  }

  /** Begins, or goes on, with another backend where one is given. */
  resume(state: QueuePairState, backend = this.backend): Promise<void> {
    const pair = {
      receive: this.receive.config(state.receive, this.iommu),
      transmit: this.transmit.config(state.transmit, this.iommu),
    };
    const { iommu } = this;
    const onRingError = this.#onRingError;
    for (const ring of onRingError ? [pair.receive, pair.transmit] : []) delete ring.err;
    const translate: IotlbOptions['translate'] = (iova, access) => iommu?.translate(iova, access);
    return backend.start({
      memory: this.memory,
      features: this.features,
      pairs: [pair],
      ...(onRingError ? { onRingError } : {}),
      ...(iommu ? { iotlb: { ...this.#iotlb, translate } } : {}),
    });
  }

  async stop(): Promise<QueuePairState> {
    const [state] = await this.backend.stop();
    return state as QueuePairState;
  }

  /** Writes a header of zeroes and a frame over the segments. */
  fill(segments: readonly Segment[], frame: Uint8Array): void {
    const bytes = new Uint8Array(this.headerLength + frame.length);
    bytes.set(frame, this.headerLength);
    let at = 0;
    for (const [address, length] of segments) {
      (this.iommu ?? this.memory).write(address, bytes.subarray(at, at + length));
      at += length;
    }
  }

  /** The frame in the first `used` bytes of the segments, without its header. */
  frame(segments: readonly Segment[], used: number): Uint8Array {
    const space = this.iommu ?? this.memory;
    const parts = segments.map(([address, length]) => space.read(address, length));
    return Uint8Array.from(Buffer.concat(parts)).subarray(this.headerLength, used);
  }

  addReadable(segments: readonly Segment[]): number {
    return this.transmit.ring.add(words(segments), segments.length, 0);
  }

  addWritable(segments: readonly Segment[]): number {
    return this.receive.ring.add(words(segments), 0, segments.length);
  }
}

/** A TAP, up and silent, with the header that the features mean. */
export function silentTap(features: bigint, options: TapOptions = {}): Tap {
  const supplied = hasBit(features, VHOST_NET_F_VIRTIO_NET_HDR);
  const tap = Tap.open(tapName(), { vnetHeader: !supplied, ...options });
  if (!supplied) tap.setVnetHeaderSize(headerLengthOf(features));
  hush(tap.interface.name);
  tap.interface.setMtu(65_521);
  tap.interface.setUp();
  return tap;
}

/** Splits `total` bytes at `start` into `count` segments; the first holds the header alone. */
export function split(start: bigint, total: number, count: number, header: number): Segment[] {
  if (count === 1) return [[start, total]];
  const segments: Segment[] = [[start, header]];
  let at = header;
  for (let left = count - 1; left > 0; left--) {
    const length = left === 1 ? total - at : Math.floor((total - at) / left);
    // A gap between two buffers shows a device that runs on beyond the first.
    segments.push([start + BigInt(at + 64 * segments.length), length]);
    at += length;
  }
  return segments;
}
