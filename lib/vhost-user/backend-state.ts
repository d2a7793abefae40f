/** All that a front-end told a back end of one device, and what follows from it: which rings are served. */
import { StateError } from '../errors.js';
import type { EventFd } from '../host/event-fd.js';
import type { UnixSocket } from '../host/unix-socket.js';
import { Frame } from '../net/frame.js';
import { VHOST_F_LOG_ALL } from '../uapi/vhost.js';
import * as uapi from '../uapi/vhost-user.js';
import { hasBit, VIRTIO_CONFIG_S_DRIVER_OK } from '../uapi/virtio-net.js';
import { BackendChannel } from './backend-channel.js';
import { BackendConfigSpace } from './backend-config.js';
import type { BackendLimits } from './backend-features.js';
import type { BackendInflight } from './backend-inflight.js';
import type { BackendLog } from './backend-log.js';
import type { BackendMemory } from './backend-memory.js';
import { BackendPair } from './backend-pair.js';
import type { BackendRing } from './backend-ring.js';
import type { FramesListener, PairHost } from './pair-host.js';
import { rarpFrame } from './rarp.js';
import { type RingUse, ringUse } from './ring-use.js';

/** What a device tells of itself. */
export interface StateEvents {
  started(): void;
  stopped(): void;
  ring(index: number, active: boolean): void;
  features(features: bigint): void;
  notified(ring: number): void;
  ringError(ring: number, error: Error): void;
  failed(error: Error): void;
}

export class BackendState implements PairHost {
  readonly limits: BackendLimits;
  readonly pairs: readonly BackendPair[];
  use: RingUse = ringUse(0n);
  listener: FramesListener | undefined;
  /** Acknowledged. */
  features = 0n;
  status = 0;
  /** As the front-end set it, 0 before. */
  mtu = 0;
  memory: BackendMemory | undefined;
  log: BackendLog | undefined;
  inflight: BackendInflight | undefined;
  readonly config: BackendConfigSpace;
  #protocolFeatures = 0n;
  /** Asked for every burst, so not of a bigint, whose arithmetic allocates: the front-end tells the status. */
  #hasStatus = false;
  /** The front-end acknowledged VHOST_F_LOG_ALL: what is written to buffers is to be noted. */
  #logsAll = false;
  #logEvent: EventFd | undefined;
  readonly #events: StateEvents;
  #channel: BackendChannel | undefined;
  /** What listeners were told last: whether the device runs, and each ring. */
  #running = false;
  #failed = false;
  readonly #active: boolean[];

  constructor(limits: BackendLimits, events: StateEvents) {
    this.limits = limits;
    this.config = new BackendConfigSpace(limits.config);
    this.#events = events;
    this.pairs = Array.from({ length: limits.queuePairs }, (_, i) => new BackendPair(i, this));
    this.#active = new Array(2 * limits.queuePairs).fill(false);
  }

  /** Acknowledged. */
  get protocolFeatures(): bigint {
    return this.#protocolFeatures;
  }

  set protocolFeatures(features: bigint) {
    this.#protocolFeatures = features;
    this.#hasStatus = this.has(uapi.VHOST_USER_PROTOCOL_F_STATUS);
  }

  get bufferLog(): BackendLog | undefined {
    return this.#logsAll ? this.log : undefined;
  }

  has(protocolFeature: number): boolean {
    return hasBit(this.protocolFeatures, protocolFeature);
  }

  /** With `STATUS` rings are served once the driver is ready; without, that is not to be known. */
  get serving(): boolean {
    if (!this.#hasStatus) return true;
    return (this.status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
  }

  /** Whether frames go: both rings of the first pair are started and enabled, and the driver is ready. */
  get running(): boolean {
    return this.serving && (this.pairs[0] as BackendPair).active;
  }

  /** Ends the connection where the front-end was caught at having cut a file short. */
  checkFiles(): void {
    if (this.#failed || !(this.memory?.cut || this.log?.cut || this.inflight?.cut)) return;
    this.failed(
      new StateError(
        'ERR_MEMORY_TRUNCATED',
        'the front-end cut a file short that it shares',
        'have it seal its memory (F_SEAL_SHRINK), or look for who truncates its file',
      ),
    );
  }

  /** A ring by its number. Throws for one that is not on offer. */
  ring(index: number): BackendRing {
    const ring = this.pairOf(index)?.rings[index % 2];
    if (!ring) throw new Error(`there is no ring ${index} of ${2 * this.pairs.length}`);
    return ring;
  }

  pairOf(ring: number): BackendPair | undefined {
    return this.pairs[Math.floor(ring / 2)];
  }

  get #rings(): BackendRing[] {
    return this.pairs.flatMap(({ rings }) => [...rings]);
  }

  /** Throws for features that were not offered, and for a change that rings in use cannot follow. */
  setFeatures(features: bigint): void {
    const strange = features & ~this.limits.features;
    if (strange !== 0n) throw new Error(`the bits 0x${strange.toString(16)} were not offered`);
    const use = ringUse(features);
    const same = JSON.stringify(use) === JSON.stringify(this.use);
    if (!same && this.#rings.some(({ device }) => device)) {
      throw new Error('the rings are started, and their features cannot change');
    }
    this.features = features;
    this.use = use;
    this.#logsAll = hasBit(features, VHOST_F_LOG_ALL);
    // Without features of the protocol there is no message that would enable a ring.
    if (!hasBit(features, uapi.VHOST_USER_F_PROTOCOL_FEATURES)) {
      for (const ring of this.#rings) ring.use = 'enabled';
    }
    this.#events.features(features);
  }

  /**
   * Serves the rings out of other memory. Rings that are started go on where they are, and throw where the
   * other memory has them not; then all stays as it was.
   */
  replaceMemory(memory: BackendMemory | undefined): void {
    const started = this.#rings.filter(({ device }) => device);
    for (const { transmit } of this.pairs)
      if (transmit.device) this.pairOf(transmit.index)?.release();
    const devices = started.map((ring) => {
      if (!memory) throw new Error('rings are started in it');
      return ring.deviceIn(memory, this.use);
    });
    const before = this.memory;
    this.memory = memory;
    started.forEach((ring, i) => {
      // What the one before led to may have ended the connection: a file was found cut short.
      if (this.memory !== memory) return;
      ring.device = devices[i];
      // What was in flight when it started, and did not come yet, is in flight still.
      const notes = this.#notesOf(ring);
      const again = memory ? notes?.resume(ring.usedIndex(memory)) : [];
      this.pairOf(ring.index)?.started(ring, notes, again ?? []);
    });
    before?.close(memory);
  }

  /** Starts what is ready to be, and tells of what changed. Throws where a ring's parts are not in memory. */
  refresh(): void {
    if (this.memory)
      for (const ring of this.#rings) if (!ring.device && ring.ready) this.#start(ring);
    this.#tell();
    for (const pair of this.pairs) pair.look();
  }

  /** Stops a ring; what was taken of it goes back. Returns its position. */
  stopRing(ring: BackendRing): number {
    const base = this.pairOf(ring.index)?.stop(ring) ?? 0;
    this.#tell();
    return base;
  }

  /** As when the front-end has just connected, but for what was negotiated. */
  reset(): void {
    for (const ring of this.#rings) {
      if (hasBit(this.features, uapi.VHOST_USER_F_PROTOCOL_FEATURES)) ring.use = 'unsaid';
      this.pairOf(ring.index)?.stop(ring);
    }
    this.status = 0;
    this.#tell();
  }

  setLog(log: BackendLog): void {
    this.log?.close();
    this.log = log;
    log.event = this.#logEvent;
  }

  /** Signalled when something is noted, in this log and in others. */
  setLogEvent(event: EventFd): void {
    this.#logEvent?.close();
    this.#logEvent = event;
    if (this.log) this.log.event = event;
  }

  setInflight(inflight: BackendInflight): void {
    if (this.#rings.some(({ device }) => device)) {
      inflight.close();
      throw new Error('rings are started');
    }
    this.inflight?.close();
    this.inflight = inflight;
  }

  /** The socket over which this end asks. */
  setChannel(socket: UnixSocket): void {
    const channel = new BackendChannel(socket, this.has(uapi.VHOST_USER_PROTOCOL_F_REPLY_ACK));
    this.#channel?.close();
    this.#channel = channel;
  }

  inBand({ index }: BackendRing, what: 'call' | 'err'): void {
    this.#channel?.ring(index, what);
  }

  /** Tells the front-end that the configuration is another now. One that gave no socket for that is not told. */
  configChanged(): void {
    if (this.has(uapi.VHOST_USER_PROTOCOL_F_CONFIG)) this.#channel?.configChanged();
  }

  called({ index }: BackendRing): void {
    this.#events.notified(index);
  }

  broken(ring: BackendRing, error: Error): void {
    this.checkFiles();
    this.stopRing(ring);
    this.#events.ringError(ring.index, error);
  }

  failed(error: Error): void {
    this.#failed = true;
    this.#events.failed(error);
  }

  /** Has every switch learn where the guest is: for one that cannot announce itself (`SEND_RARP`). */
  announce(mac: Uint8Array): void {
    this.pairs[0]?.inject(Frame.from(rarpFrame(mac)));
  }

  close(): void {
    for (const pair of this.pairs) pair.close();
    this.#tell();
    this.#channel?.close();
    this.log?.close();
    this.#logEvent?.close();
    this.inflight?.close();
    this.memory?.close();
    this.log = this.inflight = this.memory = undefined;
  }

  #start(ring: BackendRing): void {
    const memory = this.memory as BackendMemory;
    const notes = this.#notesOf(ring);
    const used = ring.usedIndex(memory);
    // A back end gives chains back in the order of the ring, so it goes on where the used ring ends, whatever position
    // the front-end tells: DPDK's tells 0 to the next back end when one was killed, and leaves its rings as they were.
    const again = notes?.resume(used) ?? [];
    ring.start(memory, this.use, (used + again.length) & 0xffff);
    this.pairOf(ring.index)?.started(ring, notes, again);
  }

  #notesOf(ring: BackendRing) {
    return this.inflight?.ring(ring.index, ring.size);
  }

  #tell(): void {
    for (const { index, device, enabled } of this.#rings) {
      const active = device !== undefined && enabled;
      if (this.#active[index] === active) continue;
      this.#active[index] = active;
      this.#events.ring(index, active);
    }
    const { running } = this;
    if (this.#running === running) return;
    this.#running = running;
    if (running) this.#events.started();
    else this.#events.stopped();
  }
}
