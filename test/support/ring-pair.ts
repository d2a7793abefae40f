/** The driver's end of one queue pair, for tests that bring it up themselves: 16 descriptors a ring. */
import {
  type BackendConfig,
  bit,
  EventFd,
  GuestMemory,
  PacketSocket,
  placeVring,
  type QueuePairConfig,
  type QueuePairState,
  type Tap,
  type VhostNet,
  VIRTIO_F_VERSION_1,
  VringDriver,
  type VringUserAddresses,
} from '../../lib/index.js';
import { newTap } from './device.js';
import { until } from './host.js';

/** A header of 12 bytes and nothing else. */
export const FEATURES = bit(VIRTIO_F_VERSION_1);
const HEADER = 12;
const SIZE = 16;
/** An EtherType for experiments, which no protocol of the host answers. */
const ETH_P_TEST = 0x88b5;
const RECEIVE_AT = 0x4000;
const BUFFER = 2048;
const TRANSMIT_AT = RECEIVE_AT + SIZE * BUFFER;
const RINGS = [placeVring(0n, SIZE), placeVring(0x1000n, SIZE)] as const;

/** A frame of 60 bytes that carries a number. */
function frameOf(number: number): Buffer {
  const frame = Buffer.alloc(60);
  frame.fill(0xff, 0, 6).write('020000000001', 6, 'hex');
  frame.writeUInt16BE(ETH_P_TEST, 12);
  frame.writeUInt32BE(number, 14);
  return frame;
}

/** A TAP that is up, with the header that the rings have; closed with the test. */
export function upTap(): Tap {
  const tap = newTap();
  tap.setVnetHeaderSize(HEADER);
  tap.interface.setUp();
  return tap;
}

/** What a backend of one pair is told, to go on at `state`. */
export function configOf(rings: RingPair, state?: QueuePairState): BackendConfig {
  return { memory: rings.memory, features: FEATURES, pairs: [rings.config(state)] };
}

export class RingPair {
  readonly memory = GuestMemory.create([{ guestAddress: 0n, size: 0x10000 }]);
  readonly #drivers = RINGS.map(
    (addresses) => new VringDriver(this.memory, { size: SIZE, addresses }),
  ) as [VringDriver, VringDriver];
  readonly #kicks = [EventFd.create(), EventFd.create()] as const;
  readonly #calls = [EventFd.create(), EventFd.create()] as const;
  /** Offset of the buffer of each chain of the receive ring. */
  readonly #buffers = new Map<number, number>();
  #sent = 0;

  constructor() {
    for (let i = 0; i < SIZE; i++) this.#post(RECEIVE_AT + i * BUFFER);
    this.#drivers[0].publish();
  }

  /** What a backend is told, to go on at `state`. */
  config({ receive, transmit }: QueuePairState = { receive: 0, transmit: 0 }): QueuePairConfig {
    const ring = (index: 0 | 1, base: number) => ({
      size: SIZE,
      addresses: RINGS[index],
      base,
      kick: this.#kicks[index],
      call: this.#calls[index],
    });
    return { receive: ring(0, receive), transmit: ring(1, transmit) };
  }

  /** Sets both rings of a bare device up and gives them the TAP, as KernelBackend would. */
  async bringUp(vhost: VhostNet, tap: Tap, state?: QueuePairState): Promise<void> {
    const { receive, transmit } = this.config(state);
    const base = this.memory.regions[0]?.userAddress ?? 0n;
    vhost.setFeatures(FEATURES);
    vhost.setMemTable(this.memory);
    for (const [index, ring] of [receive, transmit].entries()) {
      const { desc, avail, used } = ring.addresses;
      const user: VringUserAddresses = {
        desc: base + desc,
        avail: base + avail,
        used: base + used,
      };
      vhost.setVringNum(index, ring.size);
      vhost.setVringBase(index, ring.base);
      vhost.setVringAddr(index, user);
      vhost.setVringCall(index, ring.call);
      vhost.setVringKick(index, ring.kick);
    }
    await vhost.setBackend(0, tap);
    await vhost.setBackend(1, tap);
  }

  /** Sends one frame each way through `tap`, which is up, and waits for both. */
  async exchange(tap: Tap): Promise<void> {
    const socket = PacketSocket.open(tap.interface.name, { protocol: ETH_P_TEST });
    try {
      const out = frameOf(++this.#sent);
      const back = frameOf(++this.#sent);
      this.#transmit(out);
      const slot = Buffer.alloc(BUFFER);
      const lengths = new Uint32Array(1);
      await until(() => socket.receive(slot, BUFFER, lengths) === 1, 'a frame out');
      if (!slot.subarray(0, out.length).equals(out)) throw new Error('another frame came out');
      socket.send(back, back.length, Uint32Array.of(back.length), 1);
      await until(() => this.#receives(back), 'a frame in');
    } finally {
      socket.close();
    }
  }

  close(): void {
    for (const eventFd of [...this.#kicks, ...this.#calls]) eventFd.close();
    this.memory.close();
  }

  #post(at: number): void {
    this.#buffers.set(this.#drivers[0].addWritable(at, 0, BUFFER), at);
  }

  #transmit(frame: Buffer): void {
    const [, driver] = this.#drivers;
    while (driver.pop() >= 0);
    this.memory.write(BigInt(TRANSMIT_AT), Buffer.concat([Buffer.alloc(HEADER), frame]));
    driver.addReadable(TRANSMIT_AT, 0, HEADER + frame.length);
    driver.publish();
    this.#kicks[1].signal();
  }

  /** Looks for `frame` among what came: the host sends frames of its own too. */
  #receives(frame: Buffer): boolean {
    const [driver] = this.#drivers;
    let found = false;
    for (let head = driver.pop(); head >= 0; head = driver.pop()) {
      const at = this.#buffers.get(head) as number;
      const bytes = this.memory.read(BigInt(at + HEADER), driver.usedLength - HEADER);
      if (frame.equals(bytes)) found = true;
      this.#post(at);
    }
    driver.publish();
    this.#kicks[0].signal();
    return found;
  }
}
