/** FeatureRegisters: features through a window of 32 bits, one for what is offered and one for what is taken. */
import { logDevice } from '../log.js';
import type { VirtioNetDevice } from './virtio-net-device.js';

/** Words of 32 bits: 128 features, as far as virtio 1.3 numbers them (§2.2). */
const WORDS = 4;

export class FeatureRegisters {
  /** Which word of the offer is read: 32 bits without a sign. */
  deviceWord = 0;
  /** Which word of what the driver takes is written. */
  driverWord = 0;
  readonly #device: VirtioNetDevice;

  constructor(device: VirtioNetDevice) {
    this.#device = device;
  }

  /** The selected word of the offer; 0 beyond the last. */
  get offered(): number {
    return Number((this.#device.offered >> BigInt(32 * this.deviceWord)) & 0xffff_ffffn);
  }

  /** The driver takes these of the selected word. Dropped beyond the last. */
  take(bits: number): void {
    if (this.driverWord < WORDS) this.#device.setDriverFeatures(this.driverWord, bits);
    else logDevice('features 0x%x written to word %d', bits, this.driverWord);
  }

  /** The card was reset. */
  reset(): void {
    this.deviceWord = 0;
    this.driverWord = 0;
  }
}
