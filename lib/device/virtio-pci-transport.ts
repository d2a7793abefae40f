/**
 * VirtioPciTransport: a card on a PCI bus, as a modern virtio driver finds it (virtio 1.3 §4.1). A VMM leads
 * the guest's accesses of configuration space and of the BAR here; kicks and interrupts it leads past it,
 * where it has KVM.
 */

import { closedError, rangeError } from '../errors.js';
import { logDevice } from '../log.js';
import {
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
} from '../uapi/pci.js';
import { VIRTIO_ID_NET } from '../uapi/virtio-net.js';
import { PCI_VENDOR_ID_REDHAT_QUMRANET, VIRTIO_PCI_MODERN_DEVICE_ID } from '../uapi/virtio-pci.js';
import type { MsiRoutes } from './msi-delivery.js';
import { addCapabilities, BAR_LAYOUT, BAR_SIZE, MAX_VECTORS } from './pci-capabilities.js';
import { PciCommonConfig } from './pci-common-config.js';
import { PciConfig } from './pci-config.js';
import { PciConfigWindow } from './pci-config-window.js';
import { PciInterrupts } from './pci-interrupts.js';
import { type IoeventfdHost, PciNotify } from './pci-notify.js';
import { checkPciRegisters, type PciRegisters, type VirtioPciState } from './pci-state.js';
import { checkObject } from './state-fields.js';
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
  /** Where the capability of MSI-X is. */
  readonly #msixAt: number;
  readonly #window: PciConfigWindow;
  readonly #interrupts: PciInterrupts;
  readonly #common: PciCommonConfig;
  readonly #notify: PciNotify;
  readonly #onConfig = () => this.#interrupts.configChanged();
  readonly #onReset = () => this.#reset();
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
    const capabilities = addCapabilities(this.#config, queues.length, vectors);
    this.#msixAt = capabilities.msix;
    this.#window = new PciConfigWindow(this.#config, capabilities.pciConfig, this);
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
    device.on('reset', this.#onReset);
  }

  /** Where the BAR is, guest-physical; undefined while memory space is disabled, or it has no place. */
  get barAddress(): bigint | undefined {
    return this.#barAddress;
  }

  /** A read of configuration space, `length` bytes from `offset` on. Never throws. */
  readConfig(offset: number, length: number): Uint8Array {
    if (this.#closed) return new Uint8Array(length).fill(0xff);
    if (this.#window.isTouched(offset, length)) this.#window.read();
    return this.#config.read(offset, length);
  }

  /** A write of configuration space. Never throws. A promise where the vCPU is to wait. */
  writeConfig(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    if (this.#closed) return undefined;
    this.#config.write(offset, bytes);
    this.#followConfig();
    return this.#window.isTouched(offset, bytes.length) ? this.#window.write() : undefined;
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

  /**
   * Stops the card, whose guest stands still, and returns all that it was, the transport included: for
   * {@link VirtioPciTransport.start} of this one or another. Until then the card is as after a reset. Messages
   * that KVM was to send have been sent after it: save its interrupt controllers then. Throws `ERR_CLOSED`.
   */
  async stop(): Promise<VirtioPciState> {
    if (this.#closed) throw closedError('the transport');
    await this.#common.resets.settled();
    const own: PciRegisters[] = [];
    const card = await this.#device.stop(() => {
      this.#interrupts.hold();
      own.push(this.#save());
    });
    return { card, ...(own[0] as PciRegisters) };
  }

  /**
   * Goes on where a card was stopped, on a transport of the same making: its BAR is where it was, and what
   * waited to interrupt waits, or interrupts now. Restore KVM's interrupt controllers and its routes before.
   * Throws as {@link VirtioNetDevice.start}, `ERR_CLOSED` too; then the BAR is where it was before.
   */
  async start(state: VirtioPciState): Promise<void> {
    if (this.#closed) throw closedError('the transport');
    checkObject('it', state);
    checkPciRegisters(state, this.#config, {
      queues: this.#device.queues.length,
      vectors: this.#interrupts.table.vectors,
    });
    let before: PciRegisters | undefined;
    try {
      await this.#device.start(state.card, () => {
        before = this.#save();
        this.#restore(state);
      });
    } catch (error) {
      if (before) this.#restore(before);
      throw error;
    }
  }

  /** Gives routes and ioeventfds back; reads give ones after it. Closing twice is no error. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#device.off('config', this.#onConfig);
    this.#device.off('reset', this.#onReset);
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
    const { barAddress } = this.#config;
    this.#interrupts.setMode(...this.#mode());
    this.#showStatus(this.#raised);
    if (barAddress === this.#barAddress) return;
    this.#barAddress = barAddress;
    this.#notify.move(notifyAddress(barAddress));
    this.#options.onBarChange?.(barAddress);
  }

  /** Whether MSI-X is enabled, and whether no vector may send. */
  #mode(): [enabled: boolean, quiet: boolean] {
    const control = this.#config.get16(this.#msixAt + PCI_MSIX_FLAGS);
    const masked = (control & PCI_MSIX_FLAGS_MASKALL) !== 0;
    const mayWrite = (this.#config.command & PCI_COMMAND_MASTER) !== 0;
    return [(control & PCI_MSIX_FLAGS_ENABLE) !== 0, masked || !mayWrite];
  }

  /** What is the transport's own goes back with the card (virtio 1.3 §4.1.4.3.1, §4.1.5.1.2). */
  #reset(): void {
    this.#common.reset();
    this.#interrupts.reset();
  }

  #save(): PciRegisters {
    const { features, queueSelect } = this.#common;
    const config = this.#config.save();
    return { config, queueSelect, ...features.save(), ...this.#interrupts.save() };
  }

  #restore(state: PciRegisters): void {
    this.#config.restore(state.config);
    this.#common.features.restore(state);
    this.#common.queueSelect = state.queueSelect;
    this.#interrupts.restore(state, ...this.#mode());
    this.#followConfig();
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
}

function isIn({ at, size }: { at: number; size: number }, offset: number): boolean {
  return offset >= at && offset < at + size;
}

function notifyAddress(barAddress: bigint | undefined): bigint | undefined {
  return barAddress === undefined ? undefined : barAddress + BigInt(BAR_LAYOUT.notify.at);
}
