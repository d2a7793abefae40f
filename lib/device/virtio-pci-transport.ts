/**
 * VirtioPciTransport: a card on a PCI bus, as a modern virtio driver finds it (virtio 1.3 §4.1). A VMM leads
 * the guest's accesses of configuration space and of the BAR here; kicks and interrupts it leads past it,
 * where it has KVM.
 */

import { rangeError } from '../errors.js';
import { logDevice } from '../log.js';
import {
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
} from '../uapi/pci.js';
import { VIRTIO_ID_NET } from '../uapi/virtio-net.js';
import {
  PCI_VENDOR_ID_REDHAT_QUMRANET,
  VIRTIO_PCI_CAP_BAR,
  VIRTIO_PCI_CAP_LENGTH,
  VIRTIO_PCI_CAP_OFFSET,
  VIRTIO_PCI_CFG_DATA,
  VIRTIO_PCI_MODERN_DEVICE_ID,
} from '../uapi/virtio-pci.js';
import type { MsiRoutes } from './msi-delivery.js';
import {
  addCapabilities,
  BAR_INDEX,
  BAR_LAYOUT,
  BAR_SIZE,
  type CapabilityOffsets,
  MAX_VECTORS,
} from './pci-capabilities.js';
import { PciCommonConfig } from './pci-common-config.js';
import { PciConfig } from './pci-config.js';
import { PciInterrupts } from './pci-interrupts.js';
import { type IoeventfdHost, PciNotify } from './pci-notify.js';
import type { VirtioNetDevice } from './virtio-net-device.js';

const NETWORK_CONTROLLER = 0x020000;

export interface VirtioPciTransportOptions {
  /** Where the BAR is before the guest places it: a multiple of 512 KiB. Default: nowhere. */
  barAddress?: bigint;
  /** Called when the BAR is somewhere else, or nowhere; ioeventfds have been moved before. */
  onBarChange?(address: bigint | undefined): void;
  /** Gives each MSI-X vector a route, as with KVM's irqfds. */
  msi?: MsiRoutes;
  /** Sends a message, where there is no `msi`: as an emulator does. */
  onMsi?(address: bigint, data: number): void;
  /** The level of INTA#, each time that it changes. Without it the card says that it has no such pin. */
  onIntx?(level: boolean): void;
}

export class VirtioPciTransport {
  /** Bytes of the BAR. */
  readonly barSize = BAR_SIZE;
  readonly #device: VirtioNetDevice;
  readonly #options: VirtioPciTransportOptions;
  readonly #config: PciConfig;
  readonly #capabilities: CapabilityOffsets;
  readonly #interrupts: PciInterrupts;
  readonly #common: PciCommonConfig;
  readonly #notify: PciNotify;
  readonly #onConfig = () => this.#interrupts.configChanged();
  #barAddress: bigint | undefined;
  /** Whether a bit of the ISR status is to raise the line, and the line's level. */
  #raised = false;
  #level = false;
  #closed = false;

  /**
   * The card stays the caller's, to be closed after the transport. Throws `ERR_OUT_OF_RANGE`, `EMFILE`, and
   * `ERR_BUSY` where somebody listens to its calls already, as another transport does.
   */
  constructor(device: VirtioNetDevice, options: VirtioPciTransportOptions = {}) {
    const { queues } = device;
    if (queues.length > MAX_VECTORS) {
      throw rangeError(`a PCI card has at most ${MAX_VECTORS} queues, not ${queues.length}`);
    }
    this.#device = device;
    this.#options = options;
    this.#config = new PciConfig({
      vendor: PCI_VENDOR_ID_REDHAT_QUMRANET,
      device: VIRTIO_PCI_MODERN_DEVICE_ID + VIRTIO_ID_NET,
      revision: 1,
      classCode: NETWORK_CONTROLLER,
      subsystemVendor: PCI_VENDOR_ID_REDHAT_QUMRANET,
      subsystem: VIRTIO_PCI_MODERN_DEVICE_ID + VIRTIO_ID_NET,
      interruptPin: options.onIntx ? 1 : 0,
      barSize: BAR_SIZE,
    });
    if (options.barAddress !== undefined) this.#config.placeBar(options.barAddress);
    const vectors = Math.min(queues.length + 1, MAX_VECTORS);
    this.#capabilities = addCapabilities(this.#config, queues.length, vectors);
    this.#notify = new PciNotify(queues.map(({ kick }) => kick));
    this.#interrupts = new PciInterrupts({
      calls: queues.map(({ call }) => call),
      vectors,
      msi: options.msi,
      onMsi: options.onMsi?.bind(options),
      onStatus: (raised) => this.#showStatus(raised),
    });
    this.#common = new PciCommonConfig(device, this.#interrupts);
    device.on('config', this.#onConfig);
  }

  /** Where the BAR is, guest-physical; undefined while memory space is disabled, or it has no place. */
  get barAddress(): bigint | undefined {
    return this.#barAddress;
  }

  /** A read of configuration space, `length` bytes from `offset` on. Never throws. */
  readConfig(offset: number, length: number): Uint8Array {
    if (this.#closed) return new Uint8Array(length).fill(0xff);
    if (this.#touchesData(offset, length)) this.#readThroughConfig();
    return this.#config.read(offset, length);
  }

  /** A write of configuration space. Never throws. A promise where the vCPU is to wait. */
  writeConfig(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    if (this.#closed) return undefined;
    this.#config.write(offset, bytes);
    this.#followConfig();
    return this.#touchesData(offset, bytes.length) ? this.#writeThroughConfig() : undefined;
  }

  /** A read of the BAR, `length` bytes from `offset` on. Never throws. */
  readBar(offset: number, length: number): Uint8Array {
    if (this.#closed) return new Uint8Array(length).fill(0xff);
    const { common, isr, device, msixTable, msixPending } = BAR_LAYOUT;
    if (isIn(common, offset)) return this.#common.read(offset, length);
    if (isIn(device, offset)) return this.#device.config.read(offset - device.at, length);
    if (isIn(msixTable, offset)) return this.#interrupts.table.read(offset - msixTable.at, length);
    if (isIn(msixPending, offset)) {
      return this.#interrupts.readPending(offset - msixPending.at, length);
    }
    const bytes = new Uint8Array(length);
    // Wider accesses read it too: it is the first byte of what they ask for.
    if (isIn(isr, offset) && length > 0) bytes[0] = this.#interrupts.readIsr();
    return bytes;
  }

  /** A write of the BAR. Never throws. A promise where the vCPU is to wait. */
  writeBar(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    if (this.#closed) return undefined;
    const { common, notify, msixTable } = BAR_LAYOUT;
    try {
      if (isIn(common, offset)) return this.#common.write(offset, bytes);
      if (isIn(notify, offset)) this.#notify.write(offset - notify.at);
      else if (isIn(msixTable, offset)) this.#interrupts.writeTable(offset - msixTable.at, bytes);
      else logDevice('%d bytes written to the BAR at %d', bytes.length, offset);
    } catch (error) {
      // A card that was closed before its transport: to the guest it is gone.
      logDevice('a write of the BAR at %d failed: %o', offset, error);
    }
    return undefined;
  }

  /**
   * From now on KVM itself signals the queues that the driver notifies, wherever the BAR is moved to. Throws
   * `ERR_BUSY` where it does already, `EEXIST`, `ENOSPC`; then nothing is connected.
   */
  connect(vm: IoeventfdHost): void {
    this.#notify.connect(vm, notifyAddress(this.#barAddress));
  }

  /** Ends it: notifications come to {@link VirtioPciTransport.writeBar} again. */
  disconnect(): void {
    this.#notify.disconnect();
  }

  /** Gives routes and ioeventfds back; reads give ones after it. Closing twice is no error. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#device.off('config', this.#onConfig);
    this.#notify.disconnect();
    this.#interrupts.close();
    this.#barAddress = undefined;
    this.#raised = false;
    this.#setLevel(false);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Does what was written to the command register, the BAR and the control of MSI-X. */
  #followConfig(): void {
    const { command, barAddress } = this.#config;
    const control = this.#config.get16(this.#capabilities.msix + PCI_MSIX_FLAGS);
    const quiet = (control & PCI_MSIX_FLAGS_MASKALL) !== 0 || (command & PCI_COMMAND_MASTER) === 0;
    this.#interrupts.setMode((control & PCI_MSIX_FLAGS_ENABLE) !== 0, quiet);
    this.#showStatus(this.#raised);
    if (barAddress === this.#barAddress) return;
    this.#barAddress = barAddress;
    this.#notify.move(notifyAddress(barAddress));
    this.#options.onBarChange?.(barAddress);
  }

  #showStatus(raised: boolean): void {
    this.#raised = raised;
    this.#config.interruptStatus = raised;
    this.#setLevel(raised && !(this.#config.command & PCI_COMMAND_INTX_DISABLE));
  }

  #setLevel(level: boolean): void {
    if (level === this.#level) return;
    this.#level = level;
    this.#options.onIntx?.(level);
  }

  /** Whether an access is one of the BAR through `pci_cfg_data` (virtio 1.3 §4.1.4.9). */
  #touchesData(offset: number, length: number): boolean {
    const at = this.#capabilities.pciConfig + VIRTIO_PCI_CFG_DATA;
    return offset < at + 4 && offset + length > at;
  }

  #readThroughConfig(): void {
    const window = this.#window();
    if (!window) return;
    const bytes = this.readBar(window.offset, window.length);
    this.#config.set(this.#capabilities.pciConfig + VIRTIO_PCI_CFG_DATA, bytes);
  }

  #writeThroughConfig(): Promise<void> | undefined {
    const window = this.#window();
    if (!window) return undefined;
    const at = this.#capabilities.pciConfig + VIRTIO_PCI_CFG_DATA;
    return this.writeBar(window.offset, this.#config.read(at, window.length));
  }

  /** What of the BAR the driver selected; undefined where nothing can be meant. */
  #window(): { offset: number; length: number } | undefined {
    const at = this.#capabilities.pciConfig;
    const [bar] = this.#config.read(at + VIRTIO_PCI_CAP_BAR, 1);
    const offset = this.#config.get32(at + VIRTIO_PCI_CAP_OFFSET);
    const length = this.#config.get32(at + VIRTIO_PCI_CAP_LENGTH);
    if (bar === BAR_INDEX && [1, 2, 4].includes(length) && offset % length === 0) {
      return { offset, length };
    }
    logDevice('%d bytes of BAR %d at %d through configuration space', length, bar, offset);
    return undefined;
  }
}

function isIn({ at, size }: { at: number; size: number }, offset: number): boolean {
  return offset >= at && offset < at + size;
}

function notifyAddress(barAddress: bigint | undefined): bigint | undefined {
  return barAddress === undefined ? undefined : barAddress + BigInt(BAR_LAYOUT.notify.at);
}
