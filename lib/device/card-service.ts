/** CardService: what runs while a card's driver is ready: the backend's queue pairs, and the control queue. */
import { valueError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import type { Tap } from '../host/tap.js';
import { UNLIMITED_SEND_BUFFER } from '../host/tun-queue.js';
import { headerLengthOf } from '../net/header.js';
import { OFFLOAD_FEATURES, tunOffloads } from '../net/offload-features.js';
import {
  hasBit,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_S_ANNOUNCE,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../uapi/virtio-net.js';
import type { VhostBackend } from '../vhost/backend.js';
import { VringDevice } from '../vring/device.js';
import type { ConfigSpace } from './config-space.js';
import type { ControlTarget } from './control-commands.js';
import { ControlQueue } from './control-queue.js';
import type { DeviceQueue } from './device-queue.js';
import { ringGivenUp } from './ring-given-up.js';
import { RxFilter } from './rx-filter.js';
import { ServedPairs } from './served-pairs.js';

export interface CardServiceOptions {
  memory: GuestMemory;
  backend: VhostBackend;
  /** One for each pair, or none. */
  taps: readonly Tap[];
  queues: readonly DeviceQueue[];
  config: ConfigSpace;
  /** Called where the backend or the driver breaks a ring. */
  fail: (error: Error) => void;
}

export class CardService {
  readonly filter: RxFilter;
  readonly #options: CardServiceOptions;
  readonly #pairs: ServedPairs;
  #features = 0n;
  #offloads = 0n;
  #control: ControlQueue | undefined;
  #running = false;

  constructor(options: CardServiceOptions) {
    const { backend, queues, taps, config } = options;
    this.#options = options;
    this.#pairs = new ServedPairs(backend, queues, taps);
    this.filter = new RxFilter(taps[0], config.mac);
  }

  /** Queue pairs in use. */
  get activePairs(): number {
    return this.#pairs.active;
  }

  /** The feature bits of offloads that the guest takes now. */
  get offloads(): bigint {
    return this.#offloads;
  }

  /**
   * `features`: what the driver took; `before`: what it had changed since, where it goes on. Where a step fails
   * everything before is undone.
   */
  async start(features: bigint, before?: { activePairs: number; offloads: bigint }): Promise<void> {
    try {
      await this.#startAll(features, before);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #startAll(features: bigint, before?: { activePairs: number; offloads: bigint }) {
    const { backend, memory, taps, fail } = this.#options;
    this.#features = features;
    this.#offloads = before?.offloads ?? features & OFFLOAD_FEATURES;
    const [tap] = taps;
    tap?.setVnetHeaderSize(headerLengthOf(features));
    tap?.setOffload(tunOffloads(this.#offloads));
    for (const queue of taps) queue.setSendBuffer(UNLIMITED_SEND_BUFFER);
    await this.#pairs.start({
      memory,
      features: features & backend.features,
      onRingError: (ring) => fail(ringGivenUp(ring)),
    });
    if (before && before.activePairs > 1 && !(await this.#pairs.use(before.activePairs))) {
      throw valueError(`the card cannot have ${before.activePairs} queue pairs`);
    }
    this.#running = true;
    this.#startControl();
  }

  /** Nothing of the guest's is touched after this. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#stopControl();
    await this.#pairs.stop();
    this.#options.taps[0]?.setOffload(0);
  }

  /** Dropped where nothing runs: the driver enabled a queue while its card was being reset, or failed to start. */
  async startQueue(index: number): Promise<void> {
    if (!this.#running) return;
    if (index === this.#controlIndex) this.#startControl();
    else await this.#pairs.startQueue(index);
  }

  async stopQueue(index: number): Promise<void> {
    if (index === this.#controlIndex) await this.#stopControl();
    else await this.#pairs.stopQueue(index);
  }

  /** The control queue comes last; without MQ, behind the first pair. */
  get #controlIndex(): number {
    const { backend } = this.#options;
    return hasBit(this.#features, VIRTIO_NET_F_MQ) ? 2 * backend.queuePairs : 2;
  }

  #startControl(): void {
    const { memory, queues, fail } = this.#options;
    const features = this.#features;
    const queue = queues[this.#controlIndex];
    if (!hasBit(features, VIRTIO_NET_F_CTRL_VQ) || !queue?.enabled || this.#control) return;
    const ring = new VringDevice(memory, {
      size: queue.size,
      addresses: queue.addresses,
      eventIdx: hasBit(features, VIRTIO_RING_F_EVENT_IDX),
      indirect: hasBit(features, VIRTIO_RING_F_INDIRECT_DESC),
      base: queue.base,
    });
    const { kick, call } = queue;
    const target = this.#target();
    this.#control = new ControlQueue({ ring, kick, call, features, target, onBroken: fail });
  }

  async #stopControl(): Promise<void> {
    const control = this.#control;
    this.#control = undefined;
    if (!control) return;
    const base = await control.stop();
    const queue = this.#options.queues[this.#controlIndex];
    if (queue) queue.base = base;
  }

  #target(): ControlTarget {
    const { config, taps } = this.#options;
    const { filter } = this;
    return {
      setRxMode: (mode, on) => filter.setMode(mode, on),
      setMacTable: (unicast, multicast) => filter.setTable(unicast, multicast),
      setVlan: (id, on) => filter.setVlan(id, on),
      setMac: (mac) => {
        if (!filter.setMac(mac)) return false;
        config.mac = mac;
        return true;
      },
      announced: () => {
        config.status &= ~VIRTIO_NET_S_ANNOUNCE;
        return true;
      },
      setQueuePairs: (count) => this.#pairs.use(count),
      setOffloads: (offloads) => {
        const unknown = offloads & ~(this.#features & OFFLOAD_FEATURES);
        if (unknown !== 0n || !taps[0]?.trySetOffload(tunOffloads(offloads))) return false;
        this.#offloads = offloads;
        return true;
      },
    };
  }
}
