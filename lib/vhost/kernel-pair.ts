/** One queue pair of the kernel backend: a vhost device, and the TAP queue that it serves. */
import { StateError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { type Tap, UNLIMITED_SEND_BUFFER } from '../host/tap.js';
import { logVhost } from '../log.js';
import { headerLengthOf } from '../net/header.js';
import { VHOST_NET_F_VIRTIO_NET_HDR, VHOST_NET_VQ_RX, VHOST_NET_VQ_TX } from '../uapi/vhost.js';
import { hasBit } from '../uapi/virtio-net.js';
import { availBytes, descBytes, usedBytes } from '../vring/layout.js';
import type { BackendConfig, QueuePairState, VringConfig } from './backend.js';
import type { VhostNet, VringUserAddresses } from './vhost-net.js';

const RINGS = [VHOST_NET_VQ_RX, VHOST_NET_VQ_TX] as const;

/** A ring of a vhost-net device. */
export type RingIndex = (typeof RINGS)[number];

export class KernelPair {
  readonly #vhost: VhostNet;
  readonly #tap: Tap;
  #owned = false;
  /** Whether the receive and the transmit ring are served. */
  readonly #served: [boolean, boolean] = [false, false];

  constructor(vhost: VhostNet, tap: Tap) {
    this.#vhost = vhost;
    this.#tap = tap;
  }

  /** Where the rings go on; 0 for rings that were never served. */
  get state(): QueuePairState {
    const base = (index: RingIndex) => (this.#owned ? this.#vhost.getVringBase(index) : 0);
    return { receive: base(VHOST_NET_VQ_RX), transmit: base(VHOST_NET_VQ_TX) };
  }

  serves(index: RingIndex): boolean {
    return this.#served[index];
  }

  /** What the device must know before its rings. Nothing where a ring is served. */
  async prepare({ features, memory }: BackendConfig): Promise<void> {
    if (this.#served.includes(true)) return;
    if (!this.#owned) {
      await this.#vhost.setOwner();
      this.#owned = true;
    }
    if (hasBit(features, VHOST_NET_F_VIRTIO_NET_HDR)) avoidBatches(this.#tap);
    this.#vhost.setFeatures(features);
    this.#vhost.setMemTable(memory);
  }

  /** Begins to serve a ring. */
  async startRing(index: RingIndex, memory: GuestMemory, ring: VringConfig): Promise<void> {
    const vhost = this.#vhost;
    vhost.setVringNum(index, ring.size);
    vhost.setVringBase(index, ring.base);
    vhost.setVringAddr(index, userAddresses(memory, ring));
    vhost.setVringErr(index, ring.err ?? null);
    vhost.setVringCall(index, ring.call);
    vhost.setVringKick(index, ring.kick);
    await vhost.setBackend(index, this.#tap);
    this.#served[index] = true;
    // What lies in the ring already may have been kicked to a device that is no more.
    ring.kick.signal();
    logVhost('%s serves ring %d from %d', this.#tap.interface.name, index, ring.base);
  }

  /** Ends it. Nothing where it is not served. */
  async stopRing(index: RingIndex): Promise<void> {
    if (!this.#served[index]) return;
    await this.#vhost.setBackend(index, null);
    this.#served[index] = false;
  }

  async stop(): Promise<void> {
    for (const index of RINGS) await this.stopRing(index);
  }

  /** Never throws: what cannot be reset is closed with the backend. */
  async reset(): Promise<void> {
    if (!this.#owned) return;
    try {
      await this.#vhost.resetOwner();
      this.#owned = false;
      this.#served.fill(false);
    } catch (error) {
      logVhost('reset failed: %o', error);
    }
  }

  /** Closing the device stops its rings, whatever state they are in. */
  close(): Promise<void> {
    return this.#vhost.closeAsync();
  }

  /**
   * The kernel checks nothing here: with a TAP whose header has another length than the rings', every
   * frame would be shifted by the difference. Throws `ERR_HEADER_LENGTH`.
   */
  checkHeader(features: bigint): void {
    checkHeader(features, this.#tap);
  }
}

/**
 * In a batch 6.1 reads the header of a frame that comes without one, and so finds left-over bytes: frames
 * are lost, or the transmit ring stops for good. A send buffer below the limit takes the path without
 * batches.
 */
function avoidBatches(tap: Tap): void {
  if (tap.sendBuffer === UNLIMITED_SEND_BUFFER) tap.setSendBuffer(UNLIMITED_SEND_BUFFER - 1);
}

/** Every part of the ring with its whole length must lie in one region. */
function userAddresses(memory: GuestMemory, ring: VringConfig): VringUserAddresses {
  const user = (address: bigint, bytes: number) => {
    const { region, offset } = memory.translate(address, bytes);
    return region.userAddress + BigInt(offset);
  };
  const { desc, avail, used } = ring.addresses;
  return {
    desc: user(desc, descBytes(ring.size)),
    avail: user(avail, availBytes(ring.size)),
    used: user(used, usedBytes(ring.size)),
  };
}

function checkHeader(features: bigint, tap: Tap): void {
  const length = headerLengthOf(features);
  const supplied = hasBit(features, VHOST_NET_F_VIRTIO_NET_HDR);
  if (supplied && tap.hasVnetHeader) {
    throw new StateError(
      'ERR_HEADER_LENGTH',
      `with VHOST_NET_F_VIRTIO_NET_HDR vhost supplies the header, but ${tap.interface.name} has one too`,
      'open the TAP with vnetHeader: false, or leave the feature out',
    );
  }
  if (!supplied && !tap.hasVnetHeader) {
    throw new StateError(
      'ERR_HEADER_LENGTH',
      `the rings have a header of ${length} bytes, but ${tap.interface.name} has none`,
      'open the TAP with vnetHeader: true, or ask for VHOST_NET_F_VIRTIO_NET_HDR',
    );
  }
  if (!supplied && tap.vnetHeaderSize !== length) {
    throw new StateError(
      'ERR_HEADER_LENGTH',
      `the features mean a header of ${length} bytes, but ${tap.interface.name} has one of ${tap.vnetHeaderSize}`,
      `call setVnetHeaderSize(${length}) on the TAP`,
    );
  }
}
