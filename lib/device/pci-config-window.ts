/**
 * PciConfigWindow: accesses of the BAR through configuration space, for who cannot reach the BAR itself
 * (virtio 1.3 §4.1.4.9).
 */
import { logDevice } from '../log.js';
import {
  VIRTIO_PCI_CAP_BAR,
  VIRTIO_PCI_CAP_LENGTH,
  VIRTIO_PCI_CAP_OFFSET,
  VIRTIO_PCI_CFG_DATA,
} from '../uapi/virtio-pci.js';
import { BAR_INDEX } from './pci-capabilities.js';
import type { PciConfig } from './pci-config.js';

/** Who has the BAR. */
interface Bar {
  readBar(offset: number, length: number): Uint8Array;
  writeBar(offset: number, bytes: Uint8Array): Promise<void> | undefined;
}

export class PciConfigWindow {
  readonly #config: PciConfig;
  readonly #at: number;
  readonly #bar: Bar;

  /** `at`: where the capability is. */
  constructor(config: PciConfig, at: number, bar: Bar) {
    this.#config = config;
    this.#at = at;
    this.#bar = bar;
  }

  /** Whether an access of configuration space is one of the BAR. */
  isTouched(offset: number, length: number): boolean {
    const at = this.#at + VIRTIO_PCI_CFG_DATA;
    return offset < at + 4 && offset + length > at;
  }

  /** Reads what the driver selected, to where it reads it. */
  read(): void {
    const selected = this.#selected();
    if (!selected) return;
    const bytes = this.#bar.readBar(selected.offset, selected.length);
    this.#config.set(this.#at + VIRTIO_PCI_CFG_DATA, bytes);
  }

  /** Writes what the driver wrote to where it selected. A promise where the vCPU is to wait. */
  write(): Promise<void> | undefined {
    const selected = this.#selected();
    if (!selected) return undefined;
    const bytes = this.#config.read(this.#at + VIRTIO_PCI_CFG_DATA, selected.length);
    return this.#bar.writeBar(selected.offset, bytes);
  }

  /** Undefined where nothing can be meant. */
  #selected(): { offset: number; length: number } | undefined {
    const [bar] = this.#config.read(this.#at + VIRTIO_PCI_CAP_BAR, 1);
    const offset = this.#config.get32(this.#at + VIRTIO_PCI_CAP_OFFSET);
    const length = this.#config.get32(this.#at + VIRTIO_PCI_CAP_LENGTH);
    if (bar === BAR_INDEX && [1, 2, 4].includes(length) && offset % length === 0) {
      return { offset, length };
    }
    logDevice('%d bytes of BAR %d at %d through configuration space', length, bar, offset);
    return undefined;
  }
}
