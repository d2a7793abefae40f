/** QueueResets: the resets of single queues that a driver asked for, until they are done (virtio 1.3 §2.6.1). */
import { hasBit, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_F_RING_RESET } from '../uapi/virtio-net.js';
import type { VirtioNetDevice } from './virtio-net-device.js';

export class QueueResets {
  readonly #device: VirtioNetDevice;
  readonly #underWay = new Map<number, Promise<void>>();

  constructor(device: VirtioNetDevice) {
    this.#device = device;
  }

  /** Whether a driver may ask for them. */
  get negotiated(): boolean {
    const { status, driverFeatures } = this.#device;
    return (
      (status & VIRTIO_CONFIG_S_FEATURES_OK) !== 0 && hasBit(driverFeatures, VIRTIO_F_RING_RESET)
    );
  }

  /** What whoever writes to the queue meanwhile waits for; undefined where it is not being reset. */
  of(index: number): Promise<void> | undefined {
    return this.#underWay.get(index);
  }

  /** Resets a queue, and then calls `forget`. Undefined where that is done at once. */
  start(index: number, forget: () => void = () => {}): Promise<void> | undefined {
    const reset = this.#device.resetQueue(index);
    if (!reset) {
      forget();
      return undefined;
    }
    const done = reset.then(() => {
      this.#underWay.delete(index);
      forget();
    });
    this.#underWay.set(index, done);
    return done;
  }

  /** When none is under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay.values());
  }
}
