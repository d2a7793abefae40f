/** VirtioPciState: all that a card on a PCI bus is, for another to go on with: plain data that JSON carries. */
import { PCI_CFG_SPACE_SIZE, PCI_MSIX_ENTRY_SIZE } from '../uapi/pci.js';
import { VIRTIO_MSI_NO_VECTOR } from '../uapi/virtio-pci.js';
import type { CardState } from './card-state.js';
import type { FeatureSelectors } from './feature-registers.js';
import type { PciConfig } from './pci-config.js';
import type { PciInterruptState } from './pci-interrupts.js';
import { checkBoolean, checkBytes, checkList, checkNumber, stateError } from './state-fields.js';

/** What is the transport's own. */
export interface PciRegisters extends FeatureSelectors, PciInterruptState {
  /** Configuration space, 256 bytes, two digits a byte. */
  config: string;
  queueSelect: number;
}

export interface VirtioPciState extends PciRegisters {
  card: CardState;
}

interface Shape {
  queues: number;
  vectors: number;
}

/** Throws `ERR_INVALID_ARG_VALUE` for registers that are none of a card with this configuration space. */
export function checkPciRegisters(
  state: PciRegisters,
  config: PciConfig,
  { queues, vectors }: Shape,
): void {
  checkBytes('config', state.config, PCI_CFG_SPACE_SIZE);
  const at = config.differsAt(state.config);
  if (at !== undefined) {
    throw stateError(`byte 0x${at.toString(16)} of its configuration space is another card's`);
  }
  checkBytes('msixTable', state.msixTable, vectors * PCI_MSIX_ENTRY_SIZE);
  checkVector('configVector', state.configVector, vectors);
  checkList('queueVectors', state.queueVectors, queues);
  for (const vector of state.queueVectors) checkVector('queueVectors', vector, vectors);
  checkNumber('isr', state.isr, 3);
  checkBoolean('configSignalled', state.configSignalled);
  checkNumber('queueSelect', state.queueSelect, 0xffff);
  checkNumber('deviceFeatureSelect', state.deviceFeatureSelect, 0xffff_ffff);
  checkNumber('driverFeatureSelect', state.driverFeatureSelect, 0xffff_ffff);
}

function checkVector(name: string, vector: unknown, vectors: number): void {
  if (vector !== VIRTIO_MSI_NO_VECTOR) checkNumber(name, vector, vectors - 1);
}
