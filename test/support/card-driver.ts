/** The driver of a card for tests that need no transport: the handshake, and commands by the control queue. */
import { onTestFinished } from 'vitest';
import type { VirtioNetDeviceOptions } from '../../lib/device/card-options.js';
import { VirtioNetDevice } from '../../lib/device/virtio-net-device.js';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { bit, hasBit, VIRTIO_F_VERSION_1, VIRTIO_NET_F_MQ } from '../../lib/uapi/virtio-net.js';
import { VringDriver } from '../../lib/vring/driver.js';
import { placeVring } from '../../lib/vring/layout.js';
import { FakeBackend } from './fake-backend.js';
import { until } from './host.js';

export const [ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK] = [1, 2, 4, 8] as const;
export const NEEDS_RESET = 0x40;
const RINGS_AT = 0x10_0000;
const RING_BYTES = 0x4000;
const COMMAND_AT = 0x1000;
const ANSWER_AT = 0x3000;
const CONTROL_SIZE = 64;

/** What a backend such as the kernel's offers: rings and header, no offloads. */
export const RING_FEATURES = bit(15) | bit(28) | bit(29) | bit(32);

export interface Card {
  device: VirtioNetDevice;
  backend: FakeBackend;
  memory: GuestMemory;
}

/** A card on a backend that moves nothing; closed with the test. */
export function makeCard(
  options: Partial<VirtioNetDeviceOptions> & { queuePairs?: number } = {},
): Card {
  const { queuePairs = 1, ...rest } = options;
  const backend = new FakeBackend(queuePairs, RING_FEATURES);
  const memory = GuestMemory.create([{ guestAddress: 0n, size: 4 << 20 }]);
  const device = new VirtioNetDevice({ memory, backend, mac: '02:00:00:00:00:01', ...rest });
  onTestFinished(async () => {
    await device.close();
    memory.close();
  });
  return { device, backend, memory };
}

/** Takes features (default: all on offer) and says so, as virtio 1.3 §3.1.1 has it. */
export function takeFeatures({ device }: Pick<Card, 'device'>, features = device.offered): void {
  device.setStatus(ACKNOWLEDGE);
  device.setStatus(ACKNOWLEDGE | DRIVER);
  for (let word = 0; word < 4; word++) {
    device.setDriverFeatures(word, Number((features >> BigInt(32 * word)) & 0xffff_ffffn));
  }
  device.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

/** Places a ring in memory for a queue and enables it. */
export function enableQueue({ device }: Pick<Card, 'device'>, index: number, size = 64) {
  const queue = device.queues[index];
  if (!queue) throw new Error(`no queue ${index}`);
  queue.size = size;
  queue.addresses = placeVring(BigInt(RINGS_AT + index * RING_BYTES), size);
  return device.enableQueue(index);
}

/** The whole handshake, every queue enabled. */
export async function bringUp(card: Pick<Card, 'device'>, features?: bigint): Promise<void> {
  const { device } = card;
  takeFeatures(card, features);
  for (const index of device.queues.keys()) enableQueue(card, index);
  await device.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

/** The driver's end of a card's control queue. */
export class ControlDriver {
  readonly ring: VringDriver;
  readonly #card: Pick<Card, 'device' | 'memory'>;
  readonly #index: number;

  /** Before the card runs: it clears the ring. */
  constructor(card: Pick<Card, 'device' | 'memory'>, features = card.device.offered) {
    const { device, memory } = card;
    this.#card = card;
    this.#index = hasBit(features, VIRTIO_NET_F_MQ) ? 2 * device.queuePairs : 2;
    this.ring = new VringDriver(memory, {
      size: CONTROL_SIZE,
      addresses: placeVring(BigInt(RINGS_AT + this.#index * RING_BYTES), CONTROL_SIZE),
      eventIdx: hasBit(features, 29),
    });
    if (!hasBit(features, VIRTIO_F_VERSION_1)) throw new Error('a card has VERSION_1');
  }

  /** Sends a command in pieces of these lengths, the last of which takes the rest. Returns the answer. */
  async send(command: readonly number[], pieces: readonly number[] = [2]): Promise<number> {
    const { device, memory } = this.#card;
    memory.write(BigInt(COMMAND_AT), Uint8Array.from(command));
    memory.write(BigInt(ANSWER_AT), Uint8Array.of(0xee));
    const segments: number[] = [];
    let at = 0;
    for (const length of [...pieces, command.length]) {
      const piece = Math.min(length, command.length - at);
      if (piece > 0) segments.push(COMMAND_AT + at, 0, piece);
      at += piece;
    }
    const readable = segments.length / 3;
    segments.push(ANSWER_AT, 0, 1);
    this.ring.add(Uint32Array.from(segments), readable, 1);
    this.ring.enableCalls();
    if (this.ring.publish()) device.queues[this.#index]?.kick.signal();
    await until(() => this.ring.pop() >= 0, 'the command is answered');
    return memory.read(BigInt(ANSWER_AT), 1)[0] as number;
  }
}
