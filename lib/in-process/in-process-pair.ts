/** One queue pair of the in-process back end: a queue, and the services of its two rings. */
import type { PacketQueue } from '../host/packet-queue.js';
import type { IoUring } from '../native.js';
import type { QueuePairState } from '../vhost/backend.js';
import type { DirtyLog } from '../vhost/dirty-log.js';
import { HeldFrame } from './held-frame.js';
import { noInProcessCounters } from './in-process-counters.js';
import { ReceiveService } from './receive-service.js';
import type { RingService, RingServiceOptions } from './ring-service.js';
import { TransmitService } from './transmit-service.js';

const RECEIVE = 0;

export class InProcessPair {
  readonly queue: PacketQueue;
  readonly counters = noInProcessCounters();
  readonly #uring: IoUring | undefined;
  readonly #held = new HeldFrame();
  /** The receive and the transmit ring, where they are served, and where they stopped last. */
  readonly #services: (RingService | undefined)[] = [undefined, undefined];
  readonly #bases = [0, 0];

  constructor(queue: PacketQueue, uring: IoUring | undefined) {
    this.queue = queue;
    this.#uring = uring;
  }

  /** Where the rings go on; 0 for rings that were never served. */
  get state(): QueuePairState {
    const [receive = 0, transmit = 0] = this.#services.map(
      (service, at) => service?.base ?? (this.#bases[at] as number),
    );
    return { receive, transmit };
  }

  serves(at: number): boolean {
    return this.#services[at] !== undefined;
  }

  /** Sets a ring up; nothing is touched yet. Throws as {@link RingService}. */
  prepareRing(at: number, options: Omit<RingServiceOptions, 'queue'>): void {
    const { queue, counters } = this;
    const all = { ...options, queue, counters };
    this.#services[at] =
      at === RECEIVE
        ? new ReceiveService({ ...all, held: this.#held })
        : new TransmitService({ ...all, uring: this.#uring });
  }

  startRing(at: number): void {
    this.#services[at]?.start();
  }

  /** Nothing where it is not served. */
  stopRing(at: number): void {
    const service = this.#services[at];
    if (!service) return;
    this.#bases[at] = service.base;
    this.#services[at] = undefined;
    service.stop();
  }

  stop(): void {
    for (const at of this.#services.keys()) this.stopRing(at);
  }

  setLog(log: DirtyLog | undefined): void {
    for (const service of this.#services) service?.setLog(log);
  }

  close(): void {
    this.stop();
    if (this.#held.waits) this.counters.receiveDropped++;
    this.#held.close();
  }
}
