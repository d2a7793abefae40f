/** InflightArea: where a back end notes what it has of the rings, so that one after a crash goes on with it. */
import { rangeError } from '../errors.js';
import type { ReceivedDescriptor } from '../host/unix-socket.js';
import { VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD } from '../uapi/vhost-user.js';
import type { VhostUserInflight } from './memory-payloads.js';
import type { Session } from './session.js';

/** Descriptors that a ring may have at least: those that start later need not be as those that are there. */
const LEAST_QUEUE_SIZE = 1024;

export class InflightArea {
  #area: { where: VhostUserInflight; file: ReceivedDescriptor } | undefined;
  #queueSize = 0;

  /**
   * Gives the back end the area that the one before it had, or asks for a new one. Nothing where it keeps none: then
   * what lies in the area is over. `queues`: rings at most; `size`: descriptors of the largest.
   */
  async share(session: Session, queues: number, size: number): Promise<void> {
    if (!session.has(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD)) {
      this.forget();
      return;
    }
    this.#area ??= await this.#obtain(session, queues, Math.max(size, LEAST_QUEUE_SIZE));
    if (!this.#area) return;
    const { where, file } = this.#area;
    await session.command('VHOST_USER_SET_INFLIGHT_FD', where, [file]);
  }

  /** Throws `ERR_OUT_OF_RANGE` for a ring that has no room in the area. */
  check(size: number): void {
    if (!this.#area || size <= this.#queueSize) return;
    throw rangeError(
      `a ring of ${size} descriptors cannot join others: the back end keeps record of ${this.#queueSize}`,
      'start it with the others, or make it smaller',
    );
  }

  /** What lies in the area is over: nothing is in flight, or it was served by who kept no record. */
  forget(): void {
    this.#area?.file.close();
    this.#area = undefined;
  }

  async #obtain(session: Session, numQueues: number, queueSize: number) {
    const wanted = { mmapSize: 0n, mmapOffset: 0n, numQueues, queueSize };
    const { payload, descriptors } = await session.ask('VHOST_USER_GET_INFLIGHT_FD', wanted);
    const [file] = descriptors;
    if (!file) return undefined;
    this.#queueSize = queueSize;
    return { where: payload, file };
  }
}
