/** VhostUserFrontend: a back end in another process behind the VhostBackend interface. */
import { checkInteger, StateError, valueError } from '../errors.js';
import { logVhostUser } from '../log.js';
import { VHOST_F_LOG_ALL, VHOST_NET_F_VIRTIO_NET_HDR } from '../uapi/vhost.js';
import { VHOST_USER_F_PROTOCOL_FEATURES, VHOST_USER_PROTOCOL_F_MTU } from '../uapi/vhost-user.js';
import {
  bit,
  featureNames,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_RING_PACKED,
} from '../uapi/virtio-net.js';
import type { BackendConfig, QueuePairState, VhostBackend, VringConfig } from '../vhost/backend.js';
import type { DirtyLog } from '../vhost/dirty-log.js';
import { checkPairCount } from '../vhost/queue-rules.js';
import { getConfig, sendRarp, setConfig, setMtu } from './device-requests.js';
import { disconnected, isDisconnect, isHangUp } from './errors.js';
import { type Connected, FrontendLink } from './frontend-link.js';
import { checkFrontendOptions, type VhostUserFrontendOptions } from './frontend-options.js';
import { FrontendService } from './frontend-service.js';
import { InflightArea } from './inflight-area.js';
import type { Session } from './session.js';

/** Bits that are vhost-user's own, that mean another thing with the kernel, or whose rings nobody here lays out. */
const NOT_FOR_DRIVERS =
  bit(VHOST_F_LOG_ALL) |
  bit(VHOST_NET_F_VIRTIO_NET_HDR) |
  bit(VHOST_USER_F_PROTOCOL_FEATURES) |
  bit(VIRTIO_F_ACCESS_PLATFORM) |
  bit(VIRTIO_F_RING_PACKED);

/**
 * A vhost-user front end: rings in shared memory, served by who is at the other end of a socket. Where that process
 * goes away the rings stay as they are, and whoever comes after it goes on with them.
 */
export class VhostUserFrontend extends FrontendLink implements VhostBackend {
  readonly name = 'vhost-user';
  readonly features: bigint;
  readonly iotlb = undefined;
  /** What runs, or undefined: from the call of a start to that of a stop. */
  #service: FrontendService | undefined;
  /** What sessions are to serve: from the end of a start, when its turn came, to that of a stop. */
  #begun: FrontendService | undefined;
  /** Where each ring goes on that is not served. */
  readonly #bases: number[];
  readonly #inflight = new InflightArea();
  #log: DirtyLog | undefined;
  #mtu: number | undefined;
  /** Whether a back end ever served rings. */
  #served = false;

  private constructor(connected: Connected) {
    super(connected);
    this.features = connected.session.features & ~NOT_FOR_DRIVERS;
    this.#bases = new Array<number>(2 * this.queuePairs).fill(0);
  }

  /**
   * Connects, or waits for the back end to, and negotiates. Throws `ENOENT`, `ECONNREFUSED` where nobody listens,
   * `EADDRINUSE`, `ERR_FEATURES_NOT_OFFERED` for a back end with too few queue pairs, `ERR_VHOST_USER_REFUSED`,
   * `ERR_VHOST_USER_PROTOCOL`, `ERR_VHOST_USER_DISCONNECTED`, and misuse of the options; then nothing stays open.
   */
  static async open(options: VhostUserFrontendOptions): Promise<VhostUserFrontend> {
    return new VhostUserFrontend(await FrontendLink.connect(checkFrontendOptions(options)));
  }

  get queuePairs(): number {
    return this.options.queuePairs;
  }

  get running(): boolean {
    return this.#service !== undefined;
  }

  async start(config: BackendConfig): Promise<void> {
    this.assertOpen();
    if (this.#service) throw new StateError('ERR_BUSY', 'the backend is running');
    this.#check(config);
    const service = new FrontendService(config, this.#inflight, this.#bases.length);
    this.#service = service;
    await this.inTurn(async () => {
      try {
        await this.#begin(async (session) => {
          if (session) await service.bringUp(session, this.#log);
          else if (!this.hopeful) throw disconnected('and nobody is to make it again');
        });
        this.#begun = service;
      } catch (error) {
        this.#forget(service);
        throw error;
      }
    });
  }

  async stop(): Promise<QueuePairState[]> {
    const service = this.#running();
    this.#service = undefined;
    await this.inTurn(() => this.#takeDown(service));
    const states = Array.from({ length: this.queuePairs }, (_, i) => ({
      receive: this.#bases[2 * i] as number,
      transmit: this.#bases[2 * i + 1] as number,
    }));
    logVhostUser('stopped at %o', states);
    return states;
  }

  async startRing(index: number, ring: VringConfig): Promise<void> {
    const service = this.#serviceFor(index);
    await this.inTurn(async () => {
      if (this.#running() !== service) throw new StateError('ERR_BUSY', 'the backend was stopped');
      if (service.serves(index)) {
        throw new StateError('ERR_BUSY', `ring ${index} is served already`);
      }
      await this.#begin((session) => service.startRing(session, index, ring, this.#log));
    });
  }

  async stopRing(index: number): Promise<number> {
    const service = this.#serviceFor(index);
    return this.inTurn(async () => {
      if (!service.serves(index)) {
        throw new StateError('ERR_BUSY', `ring ${index} is not being served`);
      }
      const base = await service.stopRing(this.session, index);
      this.#bases[index] = base;
      return base;
    });
  }

  async setDirtyLog(log: DirtyLog | null): Promise<void> {
    this.assertOpen();
    await this.inTurn(async () => {
      const before = this.#log;
      const next = log ?? undefined;
      if (this.#service) next?.checkCovers(this.#service.config.memory);
      next?.hold(this);
      try {
        if (this.session) await this.#begun?.switchLog(this.session, next);
        this.#log = next;
        if (before !== next) before?.release(this);
      } catch (error) {
        await this.#logAgain(before);
        if (before !== next) next?.release(this);
        throw error;
      }
    });
  }

  /**
   * Has the back end tell the network where a guest is that came here, by a frame from its hardware address of 6
   * bytes: for guests that cannot themselves. Throws `ERR_FEATURES_NOT_OFFERED` without `RARP`,
   * `ERR_VHOST_USER_REFUSED`, `ERR_VHOST_USER_DISCONNECTED`.
   */
  async sendRarp(mac: Uint8Array): Promise<void> {
    await sendRarp(this.present, mac);
  }

  /**
   * Tells the back end, and each that comes after it, the MTU that the guest has, in bytes. Throws as
   * {@link VhostUserFrontend.sendRarp}, without `MTU`.
   */
  async setMtu(mtu: number): Promise<void> {
    checkInteger('mtu', mtu, 68, 65_535);
    await setMtu(this.present, mtu);
    this.#mtu = mtu;
  }

  /**
   * Reads `length` bytes of the device's configuration, 1 to 256, from `offset` on. Throws as
   * {@link VhostUserFrontend.sendRarp}, without `CONFIG`.
   */
  async getConfig(offset: number, length: number): Promise<Uint8Array> {
    return getConfig(this.present, offset, length);
  }

  /** Writes bytes of the configuration, from `offset` on. Throws as {@link VhostUserFrontend.getConfig}. */
  async setConfig(offset: number, bytes: Uint8Array): Promise<void> {
    await setConfig(this.present, offset, bytes);
  }

  protected get neededFeatures(): bigint {
    return this.#service?.config.features ?? 0n;
  }

  protected lost(): void {
    this.#service?.wake();
  }

  protected async replay(session: Session): Promise<void> {
    if (this.#mtu !== undefined && session.has(VHOST_USER_PROTOCOL_F_MTU)) {
      await setMtu(session, this.#mtu);
    }
    if (!this.#begun) return;
    this.#begun.recover();
    await this.#begun.bringUp(session, this.#log);
    this.#served = true;
  }

  protected async release(): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    if (service) await this.#takeDown(service);
    this.#log?.release(this);
    this.#log = undefined;
  }

  /**
   * Begins to serve something in the session, or without one: then the next does. So it does where this one ends
   * meanwhile, unless none ever served: who hangs up on the first rings may mean to refuse them.
   */
  async #begin(work: (session: Session | undefined) => Promise<void>): Promise<void> {
    const { session } = this;
    try {
      await work(session);
      if (session) this.#served = true;
    } catch (error) {
      // It may be that nothing more was sent that would have told.
      if (isHangUp(error)) session?.close(error as Error);
      if (!session?.closed || !this.#served || this.closed || !isDisconnect(error)) throw error;
      logVhostUser('the next back end begins with it: %o', error);
      await work(undefined);
    }
  }

  async #takeDown(service: FrontendService): Promise<void> {
    try {
      const bases = await service.takeDown(this.session);
      for (const [index, base] of bases) this.#bases[index] = base;
    } finally {
      this.#forget(service);
    }
  }

  /** What begins anew has nothing in flight. */
  #forget(service: FrontendService): void {
    if (this.#service === service) this.#service = undefined;
    if (this.#begun === service) this.#begun = undefined;
    this.#inflight.forget();
    service.close();
  }

  async #logAgain(log: DirtyLog | undefined): Promise<void> {
    const { session } = this;
    if (!session) return;
    await this.#begun?.switchLog(session, log).catch((error) => session.close(error));
  }

  #running(): FrontendService {
    this.assertOpen();
    if (!this.#service) throw new StateError('ERR_BUSY', 'the backend is not running');
    return this.#service;
  }

  #serviceFor(index: number): FrontendService {
    const service = this.#running();
    checkInteger('index', index, 0, this.#bases.length - 1);
    return service;
  }

  /** Throws for what no back end behind a socket can do. */
  #check({ memory, pairs, features, iotlb }: BackendConfig): void {
    checkPairCount(pairs.length, this.queuePairs);
    const offered = this.session?.features ?? this.features;
    const missing = features & ~(this.features & offered);
    if (missing !== 0n) {
      throw new StateError(
        'ERR_FEATURES_NOT_OFFERED',
        `the back end does not offer ${featureNames(missing).join(', ')}`,
        'leave it out, or use a back end that has it',
      );
    }
    if (iotlb) throw valueError('a vhost-user front end has no IOTLB: leave `iotlb` out');
    this.#log?.checkCovers(memory);
  }
}
