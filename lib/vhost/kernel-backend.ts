/** KernelBackend: `/dev/vhost-net` behind the VhostBackend interface, one device per queue pair. */
import { closedError, StateError, valueError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { type Tap, UNLIMITED_SEND_BUFFER } from '../host/tap.js';
import { logVhost } from '../log.js';
import { headerLengthOf } from '../net/header.js';
import { VHOST_NET_F_VIRTIO_NET_HDR, VHOST_NET_VQ_RX, VHOST_NET_VQ_TX } from '../uapi/vhost.js';
import { hasBit } from '../uapi/virtio-net.js';
import { availBytes, descBytes, usedBytes } from '../vring/layout.js';
import type {
  BackendConfig,
  QueuePairConfig,
  QueuePairState,
  VhostBackend,
  VringConfig,
} from './backend.js';
import { VhostNet, type VringUserAddresses } from './vhost-net.js';

/** One queue pair: its device and its TAP queue. */
interface Pair {
  vhost: VhostNet;
  tap: Tap;
  /** Whether the device has an owner. */
  owned: boolean;
}

export class KernelBackend implements VhostBackend {
  readonly name = 'kernel';
  readonly features: bigint;
  readonly #pairs: Pair[];
  #running = false;
  #closed = false;

  private constructor(pairs: Pair[]) {
    this.#pairs = pairs;
    this.features = (pairs[0] as Pair).vhost.getFeatures();
  }

  /**
   * Opens one vhost device for each TAP queue. The queues stay the caller's: close the backend
   * first. Throws as {@link VhostNet.open}; then nothing stays open.
   */
  static open(taps: readonly Tap[]): KernelBackend {
    if (taps.length === 0) throw valueError('a backend needs at least one TAP queue');
    const pairs: Pair[] = [];
    try {
      for (const tap of taps) pairs.push({ vhost: VhostNet.open(), tap, owned: false });
      return new KernelBackend(pairs);
    } catch (error) {
      for (const { vhost } of pairs) vhost.close();
      throw error;
    }
  }

  get queuePairs(): number {
    return this.#pairs.length;
  }

  get running(): boolean {
    return this.#running;
  }

  async start(config: BackendConfig): Promise<void> {
    if (this.#closed) throw closedError('the backend');
    if (this.#running) throw new StateError('ERR_BUSY', 'the backend is running');
    if (config.pairs.length !== this.#pairs.length) {
      throw valueError(
        `the backend has ${this.#pairs.length} queue pairs, ${config.pairs.length} are configured`,
      );
    }
    for (const { tap } of this.#pairs) checkHeader(config.features, tap);
    this.#running = true;
    try {
      for (const [i, pair] of this.#pairs.entries()) {
        await startPair(pair, config, config.pairs[i] as QueuePairConfig);
      }
    } catch (error) {
      // Back to the state after open: no ring served, no memory held.
      for (const pair of this.#pairs) await resetPair(pair);
      this.#running = false;
      throw error;
    }
  }

  async stop(): Promise<QueuePairState[]> {
    if (!this.#running) throw new StateError('ERR_BUSY', 'the backend is not running');
    this.#running = false;
    const states: QueuePairState[] = [];
    for (const { vhost } of this.#pairs) {
      await vhost.setBackend(VHOST_NET_VQ_RX, null);
      await vhost.setBackend(VHOST_NET_VQ_TX, null);
      states.push({
        receive: vhost.getVringBase(VHOST_NET_VQ_RX),
        transmit: vhost.getVringBase(VHOST_NET_VQ_TX),
      });
    }
    logVhost('stopped at %o', states);
    return states;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#running = false;
    // Closing the device stops its rings, whatever state they are in.
    await Promise.all(this.#pairs.map(({ vhost }) => vhost.closeAsync()));
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

async function startPair(pair: Pair, config: BackendConfig, rings: QueuePairConfig): Promise<void> {
  const { vhost, tap } = pair;
  if (!pair.owned) {
    await vhost.setOwner();
    pair.owned = true;
  }
  if (hasBit(config.features, VHOST_NET_F_VIRTIO_NET_HDR)) avoidBatches(tap);
  vhost.setFeatures(config.features);
  vhost.setMemTable(config.memory);
  setRing(vhost, VHOST_NET_VQ_RX, config.memory, rings.receive);
  setRing(vhost, VHOST_NET_VQ_TX, config.memory, rings.transmit);
  await vhost.setBackend(VHOST_NET_VQ_RX, tap);
  await vhost.setBackend(VHOST_NET_VQ_TX, tap);
  logVhost('started %s with features 0x%s', tap.interface.name, config.features.toString(16));
}

function setRing(vhost: VhostNet, index: number, memory: GuestMemory, ring: VringConfig): void {
  vhost.setVringNum(index, ring.size);
  vhost.setVringBase(index, ring.base);
  vhost.setVringAddr(index, userAddresses(memory, ring));
  vhost.setVringErr(index, ring.err ?? null);
  vhost.setVringCall(index, ring.call);
  vhost.setVringKick(index, ring.kick);
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

/** Never throws: what cannot be reset is closed by {@link KernelBackend.close}. */
async function resetPair(pair: Pair): Promise<void> {
  if (!pair.owned) return;
  try {
    await pair.vhost.resetOwner();
    pair.owned = false;
  } catch (error) {
    logVhost('reset failed: %o', error);
  }
}

/**
 * The kernel checks nothing here: with a TAP whose header has another length than the rings', every
 * frame would be shifted by the difference.
 */
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
