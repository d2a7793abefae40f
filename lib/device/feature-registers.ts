/** FeatureRegisters: features through a window of 32 bits, one for what is offered and one for what is taken. */
import type { VirtioNetDevice } from './virtio-net-device.js';

/** Which words were selected: 32 bits without a sign. */
export interface FeatureSelectors {
  deviceFeatureSelect: number;
  driverFeatureSelect: number;
}

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
    return wordOf(this.#device.offered, this.deviceWord);
  }

  /** The selected word of what the driver took; 0 beyond the last. */
  get taken(): number {
    return wordOf(this.#device.driverFeatures, this.driverWord);
  }

  /** The driver takes these of the selected word. Dropped beyond the last. */
  take(bits: number): void {
    this.#device.setDriverFeatures(this.driverWord, bits);
  }

  save(): FeatureSelectors {
    return { deviceFeatureSelect: this.deviceWord, driverFeatureSelect: this.driverWord };
  }

  restore({ deviceFeatureSelect, driverFeatureSelect }: FeatureSelectors): void {
    this.deviceWord = deviceFeatureSelect;
    this.driverWord = driverFeatureSelect;
  }

  /** The card was reset. */
  reset(): void {
    this.deviceWord = 0;
    this.driverWord = 0;
  }
}

function wordOf(features: bigint, word: number): number {
  return Number((features >> BigInt(32 * word)) & 0xffff_ffffn);
}
