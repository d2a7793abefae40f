/** One queue pair of the kernel backend: a vhost device, and the queue that it serves. */
import { StateError } from '../errors.js';
import { EventFd } from '../host/event-fd.js';
import type { PacketQueue } from '../host/packet-queue.js';
import { logVhost } from '../log.js';
import {
  VHOST_F_LOG_ALL,
  VHOST_FORK_OWNER_KTHREAD,
  VHOST_FORK_OWNER_TASK,
  VHOST_NET_VQ_RX,
  VHOST_NET_VQ_TX,
} from '../uapi/vhost.js';
import { bit } from '../uapi/virtio-net.js';
import type { BackendConfig, QueuePairState, VringConfig } from './backend.js';
import type { DirtyLog } from './dirty-log.js';
import type { Iotlb } from './iotlb.js';
import { limitBatches } from './queue-rules.js';
import { ringNeeds, userAddresses } from './ring-addresses.js';
import type { VhostNet } from './vhost-net.js';

const RINGS = [VHOST_NET_VQ_RX, VHOST_NET_VQ_TX] as const;

/** The end of what is a user's address on every machine: what a ring that is served may have. */
const LIVE_END = 1n << 46n;

/** A ring of a vhost-net device. */
export type RingIndex = (typeof RINGS)[number];

/** How a device works, whatever its rings. */
export interface DeviceOptions {
  /**
   * µs for which the worker looks for more before it sleeps, 0 to 2^32 - 1: less delay for a busy
   * processor. Default: 0.
   */
  busyPoll?: number;
  /**
   * Whether the worker is a task of this process (in its cgroups and limits) or a kernel thread.
   * Default: as the kernel has it.
   */
  worker?: 'task' | 'kthread';
}

/** What one start of the backend is about. */
export interface PairContext {
  config: BackendConfig;
  iotlb: Iotlb | undefined;
  log: DirtyLog | undefined;
  /** Called when the device gives a ring of the pair up. */
  onError: (index: RingIndex) => void;
}

interface ServedRing {
  config: VringConfig;
  /** Our own, where the ring has none. */
  err: EventFd | undefined;
}

export class KernelPair {
  readonly vhost: VhostNet;
  readonly queue: PacketQueue;
  readonly #options: DeviceOptions;
  #owned = false;
  /** Of the last {@link KernelPair.prepare}. */
  #context: PairContext | undefined;
  /** The receive and the transmit ring, where they are served. */
  readonly #served: [ServedRing | undefined, ServedRing | undefined] = [undefined, undefined];

  constructor(vhost: VhostNet, queue: PacketQueue, options: DeviceOptions) {
    this.vhost = vhost;
    this.queue = queue;
    this.#options = options;
  }

  /** Where the rings go on; 0 for rings that were never served. */
  get state(): QueuePairState {
    const base = (index: RingIndex) => (this.#owned ? this.vhost.getVringBase(index) : 0);
    return { receive: base(VHOST_NET_VQ_RX), transmit: base(VHOST_NET_VQ_TX) };
  }

  serves(index: RingIndex): boolean {
    return this.#served[index] !== undefined;
  }

  /** What the device must know before its rings. Nothing where a ring is served. */
  async prepare(context: PairContext): Promise<void> {
    if (this.#served.some(Boolean)) return;
    const { vhost } = this;
    const { config, iotlb, log } = context;
    if (!this.#owned) {
      const { worker } = this.#options;
      if (worker) {
        vhost.setForkFromOwner(
          worker === 'task' ? VHOST_FORK_OWNER_TASK : VHOST_FORK_OWNER_KTHREAD,
        );
      }
      await vhost.setOwner();
      this.#owned = true;
    }
    limitBatches(config.features, this.queue);
    vhost.setMemTable(config.memory);
    this.#context = context;
    if (log) this.#setLogBase(log);
    this.#setFeatures(log);
    // Setting the features made a new IOTLB.
    iotlb?.detach(vhost);
    await iotlb?.attach(vhost);
  }

  /**
   * Begins to serve rings, after {@link KernelPair.prepare}. All are set up before the first starts: what
   * is wrong with one must not show when another has moved on.
   */
  async startRings(...rings: readonly (readonly [RingIndex, VringConfig])[]): Promise<void> {
    const served: (ServedRing & { index: RingIndex })[] = [];
    try {
      for (const [index, config] of rings) {
        const err = config.err ? undefined : this.#watchErrors(index);
        served.push({ index, config, err });
        this.#setRing(index, config, config.err ?? err ?? null);
        await this.#context?.iotlb?.supply(this.vhost, ringNeeds(config));
      }
      for (const { index, config, err } of served) {
        await this.vhost.setBackend(index, this.queue);
        this.#served[index] = { config, err };
        // What lies in the ring already may have been kicked to a device that is no more.
        config.kick.signal();
        if (logVhost.enabled) {
          logVhost('%s serves ring %d from %d', this.queue.interface.name, index, config.base);
        }
      }
    } catch (error) {
      for (const { index, err } of served) if (!this.#served[index]) err?.close();
      throw error;
    }
  }

  /** Ends it. Nothing where it is not served. */
  async stopRing(index: RingIndex): Promise<void> {
    if (!this.#served[index]) return;
    await this.vhost.setBackend(index, null);
    this.#forget(index);
  }

  async stop(): Promise<void> {
    for (const index of RINGS) await this.stopRing(index);
    this.#context?.iotlb?.detach(this.vhost);
  }

  /**
   * Turns the log on, to another one, or off, while the rings are served. In the order of QEMU: features,
   * which make the device log buffers, then addresses, which make it log the used rings.
   */
  setLog(log: DirtyLog | undefined): void {
    const context = this.#context;
    if (!context || !this.#served.some(Boolean)) {
      // What was stopped with a log would keep it.
      if (this.#owned) this.#setLogBase(undefined);
      return;
    }
    const before = context.log;
    if (context.iotlb) this.#checkLiveAddresses();
    try {
      this.#switchLog(log);
    } catch (error) {
      this.#switchLog(before);
      throw error;
    }
    context.log = log;
  }

  /** Never throws: what cannot be reset is closed with the backend. */
  async reset(): Promise<void> {
    this.#context?.iotlb?.detach(this.vhost);
    if (!this.#owned) return;
    try {
      await this.vhost.resetOwner();
      this.#owned = false;
      for (const index of RINGS) this.#forget(index);
    } catch (error) {
      logVhost('reset failed: %o', error);
    }
  }

  /** Closing the device stops its rings, whatever state they are in. */
  async close(): Promise<void> {
    this.#context?.iotlb?.detach(this.vhost);
    for (const index of RINGS) this.#forget(index);
    await this.vhost.closeAsync();
  }

  #switchLog(log: DirtyLog | undefined): void {
    if (log) this.#setLogBase(log);
    this.#setFeatures(log);
    for (const index of RINGS) {
      const ring = this.#served[index]?.config;
      if (!ring) continue;
      this.#setAddresses(index, ring, log);
      // With an IOTLB the features emptied it, and who waited for an update is forgotten.
      if (this.#context?.iotlb) ring.kick.signal();
    }
    if (!log) this.#setLogBase(undefined);
  }

  #setLogBase(log: DirtyLog | undefined): void {
    // The kernel would set bits behind the log's end all the same.
    log?.checkCovers(this.#context?.config.memory ?? { end: 0n });
    this.vhost.setLogBase(log ?? 0n);
    this.vhost.setLogFd(log?.event ?? null);
  }

  #setFeatures(log: DirtyLog | undefined): void {
    const { config } = this.#context as PairContext;
    const features = config.features | (log ? bit(VHOST_F_LOG_ALL) : 0n);
    if (features >> 64n) this.vhost.setFeaturesArray(features);
    else this.vhost.setFeatures(features);
  }

  #setAddresses(index: RingIndex, ring: VringConfig, log: DirtyLog | undefined): void {
    const { config, iotlb } = this.#context as PairContext;
    // With an IOTLB a ring's addresses are the device's, and stay so.
    const addresses = iotlb ? ring.addresses : userAddresses(config.memory, ring);
    this.vhost.setVringAddr(index, log ? { ...addresses, log: ring.addresses.used } : addresses);
  }

  /** A ring that is served has its addresses checked as if they were this process's. */
  #checkLiveAddresses(): void {
    for (const ring of this.#served) {
      const addresses = Object.values(ring?.config.addresses ?? {}) as bigint[];
      if (!addresses.some((address) => address >= LIVE_END)) continue;
      throw new StateError(
        'ERR_BUSY',
        'the kernel checks a ring’s addresses as if they were this process’s while it is served, and one is 2^46 or more',
        'set the dirty log while the backend is stopped',
      );
    }
  }

  #setRing(index: RingIndex, ring: VringConfig, err: EventFd | null): void {
    const { vhost } = this;
    vhost.setVringNum(index, ring.size);
    vhost.setVringBase(index, ring.base);
    this.#setAddresses(index, ring, this.#context?.log);
    vhost.setVringErr(index, err);
    vhost.setVringCall(index, ring.call);
    vhost.setVringKick(index, ring.kick);
    const { busyPoll } = this.#options;
    if (busyPoll !== undefined) vhost.setVringBusyloopTimeout(index, busyPoll);
  }

  #watchErrors(index: RingIndex): EventFd | undefined {
    const { config, onError } = this.#context as PairContext;
    if (!config.onRingError) return undefined;
    const err = EventFd.create();
    err.onSignal(() => onError(index));
    return err.unref();
  }

  #forget(index: RingIndex): void {
    this.#served[index]?.err?.close();
    this.#served[index] = undefined;
  }
}
