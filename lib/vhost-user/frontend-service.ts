/** FrontendService: what runs between a start and a stop, in one session after another. */
import { StateError } from '../errors.js';
import { ReceivedDescriptor } from '../host/unix-socket.js';
import { logVhostUser } from '../log.js';
import { VHOST_F_LOG_ALL } from '../uapi/vhost.js';
import {
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
} from '../uapi/vhost-user.js';
import {
  bit,
  hasBit,
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_NET_F_MQ,
} from '../uapi/virtio-net.js';
import type { BackendConfig, VringConfig } from '../vhost/backend.js';
import type { DirtyLog } from '../vhost/dirty-log.js';
import { userAddresses } from '../vhost/ring-addresses.js';
import { checkAlignment } from '../vring/layout.js';
import {
  recoverRing,
  type ServedRing,
  serveRing,
  setAddresses,
  setUpRing,
  startRing,
  stopRing,
  wakeDriver,
} from './frontend-rings.js';
import type { InflightArea } from './inflight-area.js';
import type { Session } from './session.js';

const ACCEPTED = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
const RUNNING = ACCEPTED | VIRTIO_CONFIG_S_DRIVER_OK;

export class FrontendService {
  readonly config: BackendConfig;
  /** Those that are served, by their index. */
  readonly #rings = new Map<number, ServedRing>();
  readonly #inflight: InflightArea;
  /** Rings that the backend can have. */
  readonly #most: number;

  constructor(config: BackendConfig, inflight: InflightArea, most: number) {
    this.config = config;
    this.#inflight = inflight;
    this.#most = most;
    config.memory.hold(this);
    try {
      for (const [i, pair] of config.pairs.entries()) {
        if (!pair) continue;
        this.#add(2 * i, pair.receive);
        this.#add(2 * i + 1, pair.transmit);
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  serves(index: number): boolean {
    return this.#rings.has(index);
  }

  /** Starts every ring. What fails is undone, as far as the back end is there. */
  async bringUp(session: Session, log: DirtyLog | undefined): Promise<void> {
    const begun: number[] = [];
    try {
      await this.#start(session, log, begun);
    } catch (error) {
      if (!session.closed) await this.#undo(session, begun);
      throw error;
    }
  }

  /** Stops every ring. Returns where each goes on, also of a back end that went away meanwhile. */
  async takeDown(session: Session | undefined): Promise<Map<number, number>> {
    const stopped = new Map<number, number>();
    for (const ring of this.#rings.values())
      stopped.set(ring.index, await stopOrRecover(ring, this, session));
    if (session && !session.closed)
      await this.#reset(session).catch((error) => session.close(error));
    return stopped;
  }

  /** Begins to serve one more ring. What fails is undone. */
  async startRing(
    session: Session | undefined,
    index: number,
    config: VringConfig,
    log: DirtyLog | undefined,
  ): Promise<void> {
    this.#inflight.check(config.size);
    const ring = this.#add(index, config);
    if (!session) return;
    try {
      await setUpRing(session, ring, this.config.memory, log ? 'logged' : 'unlogged');
      await startRing(session, ring);
      await session.settle();
    } catch (error) {
      if (!session.closed) await stopRing(session, index).catch((worse) => session.close(worse));
      this.#remove(index);
      throw error;
    }
  }

  /** Ends one ring. Returns where it goes on. */
  async stopRing(session: Session | undefined, index: number): Promise<number> {
    const ring = this.#rings.get(index) as ServedRing;
    const base = await stopOrRecover(ring, this, session);
    // What the record says of this ring is over, and the next back end would believe it: its driver may begin anew.
    if (!session || session.closed) this.#inflight.forget();
    this.#remove(index);
    return base;
  }

  /** In the order of QEMU: the log, features, which make the device log buffers, then addresses, for used rings. */
  async switchLog(session: Session, log: DirtyLog | undefined): Promise<void> {
    if (log) await this.#setLog(session, log);
    await this.#setFeatures(session, log);
    for (const ring of this.#rings.values()) {
      await setAddresses(session, ring, this.config.memory, log ? 'logged' : 'unlogged');
    }
    await session.settle();
  }

  /** Where the rings go on after their back end went away. */
  recover(): void {
    for (const ring of this.#rings.values()) recoverRing(ring, this.config.memory);
  }

  /** Lets the drivers look at what came before their back end went away. */
  wake(): void {
    for (const ring of this.#rings.values()) wakeDriver(ring);
  }

  /** Gives the memory back. */
  close(): void {
    for (const index of [...this.#rings.keys()]) this.#remove(index);
    this.config.memory.release(this);
  }

  /** `begun`: the rings that the back end was told of. */
  async #start(session: Session, log: DirtyLog | undefined, begun: number[]): Promise<void> {
    const { memory } = this.config;
    await this.#setFeatures(session, log);
    await this.#acceptFeatures(session);
    await session.memory.set(memory);
    if (log) await this.#setLog(session, log);
    const rings = [...this.#rings.values()];
    const largest = Math.max(0, ...rings.map(({ size }) => size));
    await this.#inflight.share(session, this.#most, largest);
    // All before the first starts: what is wrong with one must not show when another has moved on.
    for (const ring of rings) {
      begun.push(ring.index);
      await setUpRing(session, ring, memory, log ? 'logged' : 'unlogged');
    }
    for (const ring of rings) await startRing(session, ring);
    if (session.has(VHOST_USER_PROTOCOL_F_STATUS)) {
      await session.command('VHOST_USER_SET_STATUS', BigInt(RUNNING));
    }
    await session.settle();
    logVhostUser('%d rings are served', rings.length);
  }

  async #setFeatures(session: Session, log: DirtyLog | undefined): Promise<void> {
    const own = bit(VHOST_USER_F_PROTOCOL_FEATURES) | this.#moreQueues();
    const logged = log ? bit(VHOST_F_LOG_ALL) : 0n;
    await session.command(
      'VHOST_USER_SET_FEATURES',
      this.config.features | (session.features & own) | logged,
    );
  }

  /** A back end may forget all rings but the first two of who cannot have more: DPDK does. */
  #moreQueues(): bigint {
    return this.#most > 2 ? bit(VIRTIO_NET_F_MQ) : 0n;
  }

  /** A back end that cannot have such features together takes FEATURES_OK back. */
  async #acceptFeatures(session: Session): Promise<void> {
    if (!session.has(VHOST_USER_PROTOCOL_F_STATUS)) return;
    await session.command('VHOST_USER_SET_STATUS', BigInt(ACCEPTED));
    const { payload } = await session.ask('VHOST_USER_GET_STATUS', undefined);
    if ((payload & BigInt(VIRTIO_CONFIG_S_FEATURES_OK)) !== 0n) return;
    throw new StateError(
      'ERR_FEATURES_NOT_OFFERED',
      `the back end does not take the features 0x${this.config.features.toString(16)} together`,
      'leave some out; its own log says which',
    );
  }

  async #setLog(session: Session, log: DirtyLog): Promise<void> {
    if (
      !session.has(VHOST_USER_PROTOCOL_F_LOG_SHMFD) ||
      !hasBit(session.features, VHOST_F_LOG_ALL)
    ) {
      throw new StateError(
        'ERR_FEATURES_NOT_OFFERED',
        'the back end has no dirty log: it lacks LOG_SHMFD or VHOST_F_LOG_ALL',
        'use a back end that has, or copy the guest while it stands still',
      );
    }
    const file = ReceivedDescriptor.fromFd(log.fd);
    try {
      const size = BigInt(log.bitmap.byteLength);
      await session.ask('VHOST_USER_SET_LOG_BASE', { size, offset: 0n }, [file]);
    } finally {
      file.close();
    }
    if (log.event) await session.command('VHOST_USER_SET_LOG_FD', undefined, [log.event]);
  }

  /** Never throws: a back end that cannot be brought back has to begin anew. */
  async #undo(session: Session, begun: readonly number[]): Promise<void> {
    try {
      for (const index of begun) await stopRing(session, index);
      await this.#reset(session);
    } catch (error) {
      session.close(error as Error);
    }
  }

  /** The driver is gone, as the back end sees it. */
  async #reset(session: Session): Promise<void> {
    if (session.has(VHOST_USER_PROTOCOL_F_STATUS)) {
      await session.command('VHOST_USER_SET_STATUS', 0n);
    } else if (session.has(VHOST_USER_PROTOCOL_F_RESET_DEVICE)) {
      await session.command('VHOST_USER_RESET_DEVICE', undefined);
    }
    await session.settle();
  }

  /** Throws `ERR_OUT_OF_RANGE` for a ring that does not lie in the memory. */
  #add(index: number, config: VringConfig): ServedRing {
    checkAlignment(config.addresses);
    userAddresses(this.config.memory, config);
    const ring = serveRing(index, config, this.config.onRingError);
    this.#rings.set(index, ring);
    return ring;
  }

  #remove(index: number): void {
    this.#rings.get(index)?.ownErr?.close();
    this.#rings.delete(index);
  }
}

/** Where a ring goes on that is stopped, or whose back end is gone. */
async function stopOrRecover(
  ring: ServedRing,
  { config }: FrontendService,
  session: Session | undefined,
): Promise<number> {
  try {
    if (session && !session.closed) return await stopRing(session, ring.index);
  } catch (error) {
    logVhostUser('ring %d was not stopped: %o', ring.index, error);
  }
  recoverRing(ring, config.memory);
  return ring.base;
}
