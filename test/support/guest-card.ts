/** What a guest's driver does with a card on real vhost, without a guest: rings, frames, commands. */
import {
  GuestMemory,
  headerLengthOf,
  KernelBackend,
  PacketSocket,
  placeVring,
  Tap,
  VirtioNetDevice,
  type VirtioNetDeviceOptions,
  VringDriver,
} from '../../lib/index.js';
import {
  ACKNOWLEDGE,
  ControlDriver,
  DRIVER,
  DRIVER_OK,
  FEATURES_OK,
  takeFeatures,
} from './card-driver.js';
import { cleanup } from './cleanup.js';
import { tapName, until } from './host.js';

const SIZE = 64;
const SLOT = 2048;
const RINGS_AT = 0x10_0000;
const RING_BYTES = 0x4000;
const SLOTS_AT = 0x20_0000;
/** An EtherType for experiments, which no protocol of the host answers. */
export const ETH_P_TEST = 0x88b5;
export const GUEST_MAC = '02:00:00:00:00:01';

/** A frame of 60 bytes to `to`, with a number in it. */
export function frameTo(to: string, number: number): Buffer {
  const frame = Buffer.alloc(60);
  frame.write(to.replaceAll(':', ''), 0, 'hex');
  frame.write('0200000000fe', 6, 'hex');
  frame.writeUInt16BE(ETH_P_TEST, 12);
  frame.writeUInt32BE(number, 14);
  return frame;
}

export class GuestCard {
  readonly taps: readonly Tap[];
  readonly memory = GuestMemory.create([{ guestAddress: 0n, size: 8 << 20 }]);
  readonly backend: KernelBackend;
  readonly device: VirtioNetDevice;
  /** Each ring's driver, while the card is up. */
  rings: VringDriver[] = [];
  control: ControlDriver | undefined;
  #bufferOf: Map<number, number>[] = [];
  readonly #host: PacketSocket;
  /** Frames that the host got, and nobody asked for yet. */
  readonly #arrived = new Set<number>();
  /** Bytes of the header that the features mean. */
  #header = 12;

  /** A TAP that is up and a card on it, all closed with the test. */
  constructor({
    queuePairs = 1,
    ...options
  }: Partial<VirtioNetDeviceOptions> & { queuePairs?: number } = {}) {
    cleanup(() => this.memory.close());
    this.taps = Tap.openQueues(tapName(), queuePairs);
    cleanup(() => Promise.all(this.taps.map((tap) => tap.closeAsync())));
    this.backend = KernelBackend.open(this.taps);
    cleanup(() => this.backend.close());
    const { memory, backend, taps } = this;
    this.device = new VirtioNetDevice({ memory, backend, taps, mac: GUEST_MAC, ...options });
    cleanup(() => this.device.close());
    const [tap] = taps as [Tap];
    tap.interface.setUp();
    this.#host = PacketSocket.open(tap.name, { protocol: ETH_P_TEST });
    cleanup(() => this.#host.close());
  }

  /** The whole handshake, receive buffers posted. */
  async bringUp(features = this.device.offered): Promise<void> {
    const { device } = this;
    takeFeatures(this, features);
    this.#header = headerLengthOf(features);
    this.rings = [];
    this.#bufferOf = [];
    this.control = new ControlDriver(this, features);
    for (let i = 0; i < 2 * device.queuePairs; i++) this.placeRing(i);
    const last = device.queues.length - 1;
    const control = features & (1n << 22n) ? last : 2;
    this.#enable(control);
    await device.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }

  /** A new ring for a queue, which is enabled; a receive ring with all its buffers. */
  placeRing(index: number): Promise<void> | undefined {
    const addresses = placeVring(BigInt(RINGS_AT + index * RING_BYTES), SIZE);
    const ring = new VringDriver(this.memory, { size: SIZE, addresses, eventIdx: true });
    this.rings[index] = ring;
    const buffers = new Map<number, number>();
    this.#bufferOf[index] = buffers;
    if (index % 2 === 0) {
      for (let i = 0; i < SIZE; i++) {
        const at = SLOTS_AT + (index * SIZE + i) * SLOT;
        buffers.set(ring.addWritable(at, 0, SLOT), at);
      }
      ring.publish();
    }
    return this.#enable(index);
  }

  /** The guest sends a frame by a pair. Waits until the host has it. */
  async send(number: number, pair = 0): Promise<void> {
    const index = 2 * pair + 1;
    const ring = this.rings[index] as VringDriver;
    while (ring.pop() >= 0);
    const frame = frameTo('02:00:00:00:00:fe', number);
    const at = SLOTS_AT + index * SIZE * SLOT;
    this.memory.write(BigInt(at), Buffer.concat([Buffer.alloc(this.#header), frame]));
    ring.addReadable(at, 0, this.#header + frame.length);
    if (ring.publish()) this.device.queues[index]?.kick.signal();
    await until(() => this.#hostHas(number), `frame ${number} out of the guest`);
  }

  /** Whether the host got this frame of ours by now; several may be waited for at once. */
  #hostHas(number: number): boolean {
    const slot = Buffer.alloc(SLOT);
    while (this.#host.receive(slot, SLOT, new Uint32Array(1)) === 1) {
      this.#arrived.add(slot.readUInt32BE(14));
    }
    return this.#arrived.delete(number);
  }

  /** The host sends a frame to a MAC address. */
  hostSends(number: number, to = GUEST_MAC): void {
    const frame = frameTo(to, number);
    this.#host.send(frame, frame.length, Uint32Array.of(frame.length), 1);
  }

  /** Numbers of the frames of ours that came to a pair since the last look. */
  received(pair = 0): number[] {
    const ring = this.rings[2 * pair] as VringDriver;
    const buffers = this.#bufferOf[2 * pair] as Map<number, number>;
    const numbers: number[] = [];
    for (let head = ring.pop(); head >= 0; head = ring.pop()) {
      const at = buffers.get(head) as number;
      const frame = Buffer.from(
        this.memory.read(BigInt(at + this.#header), ring.usedLength - this.#header),
      );
      if (frame.readUInt16BE(12) === ETH_P_TEST) numbers.push(frame.readUInt32BE(14));
      buffers.set(ring.addWritable(at, 0, SLOT), at);
    }
    if (ring.publish()) this.device.queues[2 * pair]?.kick.signal();
    return numbers;
  }

  /** A frame of the host's, waited for. */
  async receives(number: number, to = GUEST_MAC, pair = 0): Promise<void> {
    this.hostSends(number, to);
    await until(() => this.received(pair).includes(number), `frame ${number} into the guest`);
  }

  #enable(index: number): Promise<void> | undefined {
    const queue = this.device.queues[index];
    if (!queue) throw new Error(`no queue ${index}`);
    queue.size = SIZE;
    queue.addresses = placeVring(BigInt(RINGS_AT + index * RING_BYTES), SIZE);
    return this.device.enableQueue(index);
  }
}
