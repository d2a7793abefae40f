/**
 * VhostBackend: what a virtio-net device, or a port, needs of whoever moves its packets. The code
 * above it cannot tell a kernel from a peer.
 */
import type { EventFd } from '../host/event-fd.js';
import type { GuestMemory } from '../host/guest-memory.js';
import type { VringAddresses } from '../vring/layout.js';
import type { DirtyLog } from './dirty-log.js';
import type { Iotlb, IotlbOptions } from './iotlb.js';

/** One ring, as the driver set it up. */
export interface VringConfig {
  /** Descriptors. */
  size: number;
  /** Guest-physical addresses, or the device's own where there is an IOTLB. */
  addresses: VringAddresses;
  /** Where the device goes on in the avail ring, 0 to 65535; 0 for a fresh ring. */
  base: number;
  /** Signalled by the driver: look at the avail ring. */
  kick: EventFd;
  /** Signalled by the device: look at the used ring. */
  call: EventFd;
  /** Signalled by the device: the ring cannot be used. */
  err?: EventFd;
  /**
   * Called where the device went away without a word, before another goes on from the used index: the driver
   * offers again what it did not get back, from there on. A driver without it is taken to get back in order.
   */
  onDeviceLost?(): void;
}

/** The two rings of a queue pair. */
export interface QueuePairConfig {
  receive: VringConfig;
  transmit: VringConfig;
}

export interface BackendConfig {
  memory: GuestMemory;
  /** The acknowledged virtio features, a subset of those offered. */
  features: bigint;
  /**
   * The first queue pairs of the backend, at least one. A pair that is left out, undefined, can be added
   * with {@link VhostBackend.startRing} while the others run.
   */
  pairs: readonly (QueuePairConfig | undefined)[];
  /** Who translates addresses; with `VIRTIO_F_ACCESS_PLATFORM`, and only then. */
  iotlb?: IotlbOptions;
  /**
   * Called when the device gives a ring up that has no `err` of its own: 2·pair receives, 2·pair + 1
   * transmits. The ring stands still until it is kicked again, or stopped and started; a vhost-user back end
   * may need the latter.
   */
  onRingError?(ring: number): void;
}

/** Where a stopped pair's rings go on: the `base` of each. */
export interface QueuePairState {
  receive: number;
  transmit: number;
}

export interface VhostBackend {
  /** Who moves the packets, for messages: `'kernel'`. */
  readonly name: string;
  readonly queuePairs: number;
  /** The virtio features on offer. */
  readonly features: bigint;
  /** Whether the rings are being served. */
  readonly running: boolean;
  /** The service that translates addresses, while rings that need one are served. */
  readonly iotlb: Iotlb | undefined;

  /**
   * Begins to serve the rings. Where a step fails everything before it is undone. Throws
   * `ERR_BUSY` while running.
   */
  start(config: BackendConfig): Promise<void>;

  /**
   * Ends it: after this the device touches neither rings nor buffers. Returns the positions of each of
   * its pairs, from which another backend, or this one, goes on.
   */
  stop(): Promise<QueuePairState[]>;

  /**
   * Begins to serve one more ring, while others run: 2·pair receives, 2·pair + 1 transmits. A ring that
   * fails to start stays stopped. Throws `ERR_BUSY` where it is served already, or nothing runs.
   */
  startRing(index: number, ring: VringConfig): Promise<void>;

  /** Ends one ring while others run, as for VIRTIO_F_RING_RESET. Returns its position. */
  stopRing(index: number): Promise<number>;

  /**
   * From now on, and over stops and starts, the device marks in `log` what it writes; null ends that. It
   * may be called while the rings are served; where a step fails everything before it is undone. The log
   * must cover the memory. Throws `EFAULT`, `ERR_CLOSED`.
   */
  setDirtyLog(log: DirtyLog | null): Promise<void>;

  /** Stops, lets go of the memory, and gives everything back. Closing twice is no error. */
  close(): Promise<void>;
}
