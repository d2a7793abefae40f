/**
 * InterruptSource: one reason to interrupt the driver, an eventfd that is signalled for it, and where that
 * leads at the moment. A signal that nobody takes stays in the eventfd's counter: so the counter is the
 * pending bit of a vector that is masked, and nothing between two ways is lost.
 */
import type { EventFd } from '../host/event-fd.js';
import { VIRTIO_MSI_NO_VECTOR } from '../uapi/virtio-pci.js';
import type { MsiDelivery } from './msi-delivery.js';

/**
 * `intx`: this process listens, and raises the line. `none`: there is no vector for it, and what is
 * signalled is dropped. `held`: the vector is masked. `route`: the vector's route takes the eventfd.
 * `callback`: this process listens, and sends the message.
 */
export type InterruptWay = 'intx' | 'none' | 'held' | 'route' | 'callback';

export class InterruptSource {
  readonly eventFd: EventFd;
  readonly #delivery: MsiDelivery | undefined;
  #vector = VIRTIO_MSI_NO_VECTOR;
  #way: InterruptWay = 'none';
  #listens = false;

  constructor(eventFd: EventFd, delivery: MsiDelivery | undefined) {
    this.eventFd = eventFd;
    this.#delivery = delivery;
  }

  get vector(): number {
    return this.#vector;
  }

  /** The eventfd is held between one vector and the next, and what it holds goes along. */
  set vector(vector: number) {
    if (this.#way !== 'intx') this.go('held');
    this.#vector = vector;
  }

  get way(): InterruptWay {
    return this.#way;
  }

  /** Takes another way. A route that cannot be had means that it is held. */
  go(way: InterruptWay): void {
    if (way === this.#way) return;
    if (this.#way === 'route') this.#delivery?.disconnect(this.#vector, this.eventFd);
    if (this.#way === 'none') this.take();
    this.stopListening();
    this.#way = way;
    if (way !== 'route') return;
    if (!this.#delivery?.connect(this.#vector, this.eventFd)) this.#way = 'held';
  }

  /** Whether it was signalled since somebody took it; it is not any more. */
  take(): boolean {
    // A card that was closed first has no interrupts left.
    return !this.eventFd.closed && this.eventFd.read() > 0;
  }

  /** Whether it waits for its vector to be unmasked. */
  isPending(): boolean {
    return this.#way === 'held' && this.isSignalled();
  }

  /** Whether it was signalled since somebody took it; that stays so. */
  isSignalled(): boolean {
    if (!this.take()) return false;
    this.signal();
    return true;
  }

  signal(): void {
    if (!this.eventFd.closed) this.eventFd.signal();
  }

  /** Begins to listen where its way needs that. Throws `EMFILE`, `ERR_BUSY`. */
  listen(listener: (source: InterruptSource) => void): void {
    if (this.#listens || (this.#way !== 'intx' && this.#way !== 'callback')) return;
    if (this.eventFd.closed) return;
    this.eventFd.onSignal(() => listener(this));
    // Whoever runs the guest keeps the process alive.
    this.eventFd.unref();
    this.#listens = true;
  }

  stopListening(): void {
    if (this.#listens) this.eventFd.offSignal();
    this.#listens = false;
  }
}
