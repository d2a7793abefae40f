/** VirtioMmioState: all that a card behind registers is, for another to go on with: plain data that JSON carries. */
import { VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING } from '../uapi/virtio-mmio.js';
import type { CardState } from './card-state.js';
import type { FeatureSelectors } from './feature-registers.js';
import type { MmioInterrupt } from './mmio-interrupts.js';
import { checkNumber, stateError } from './state-fields.js';

/** What is the transport's own. */
export interface MmioRegisters extends FeatureSelectors {
  queueSelect: number;
  /** How it interrupts: the guest was told whether its line has edges or levels. */
  interrupt: MmioInterrupt['kind'];
  /** What the driver has not acknowledged, as far as the process knew: `VIRTIO_MMIO_INT_*`. */
  interruptStatus: number;
}

export interface VirtioMmioState extends MmioRegisters {
  card: CardState;
}

/** Throws `ERR_INVALID_ARG_VALUE` for registers that are none of a card with such an interrupt. */
export function checkMmioRegisters(state: MmioRegisters, kind: MmioInterrupt['kind']): void {
  checkNumber('queueSelect', state.queueSelect, 0xffff_ffff);
  checkNumber('deviceFeatureSelect', state.deviceFeatureSelect, 0xffff_ffff);
  checkNumber('driverFeatureSelect', state.driverFeatureSelect, 0xffff_ffff);
  if (state.interrupt !== kind) {
    throw stateError(`its interrupt is '${state.interrupt}', and this one's '${kind}'`);
  }
  checkNumber(
    'interruptStatus',
    state.interruptStatus,
    VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG,
  );
}
