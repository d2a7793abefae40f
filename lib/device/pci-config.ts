/** PciConfig: the configuration space of a PCI function with one 64-bit memory BAR (PCI 3.0 §6). */
import { checkUint64, rangeError } from '../errors.js';
import {
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_SIZE,
  PCI_CLASS_REVISION,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_DEVICE_ID,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STATUS_INTERRUPT,
  PCI_STD_HEADER_SIZEOF,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from '../uapi/pci.js';

export interface PciIdentity {
  vendor: number;
  device: number;
  revision: number;
  /** Base class, subclass and interface, as 0x020000. */
  classCode: number;
  subsystemVendor: number;
  subsystem: number;
  /** 0 none, 1 INTA#. */
  interruptPin: number;
  /** Bytes, a power of two from 4096 to 2^31. */
  barSize: number;
}

export class PciConfig {
  readonly #bytes = new Uint8Array(PCI_CFG_SPACE_SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  /** The bits of each byte that the guest may change. */
  readonly #writable = new Uint8Array(PCI_CFG_SPACE_SIZE);
  readonly #barSize: bigint;
  /** Where the pointer to the next capability stands, and where that has room. */
  #link = PCI_CAPABILITY_LIST;
  #end = PCI_STD_HEADER_SIZEOF;

  constructor(identity: PciIdentity) {
    const view = this.#view;
    view.setUint16(PCI_VENDOR_ID, identity.vendor, true);
    view.setUint16(PCI_DEVICE_ID, identity.device, true);
    view.setUint32(PCI_CLASS_REVISION, (identity.classCode << 8) | identity.revision, true);
    view.setUint16(PCI_SUBSYSTEM_VENDOR_ID, identity.subsystemVendor, true);
    view.setUint16(PCI_SUBSYSTEM_ID, identity.subsystem, true);
    view.setUint16(PCI_STATUS, PCI_STATUS_CAP_LIST, true);
    view.setUint8(PCI_INTERRUPT_PIN, identity.interruptPin);
    view.setUint32(PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_MEM_TYPE_64, true);
    this.#barSize = BigInt(identity.barSize);
    const masks = new DataView(this.#writable.buffer);
    const commands = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
    masks.setUint16(PCI_COMMAND, commands, true);
    masks.setUint8(PCI_INTERRUPT_LINE, 0xff);
    // The bits below the size read 0 whatever is written: so a driver finds the size.
    masks.setBigUint64(PCI_BASE_ADDRESS_0, -this.#barSize, true);
  }

  /** `PCI_COMMAND_*`. */
  get command(): number {
    return this.get16(PCI_COMMAND);
  }

  /** Guest-physical; undefined while the function decodes none. */
  get barAddress(): bigint | undefined {
    if (!(this.command & PCI_COMMAND_MEMORY)) return undefined;
    const address = this.#view.getBigUint64(PCI_BASE_ADDRESS_0, true) & -this.#barSize;
    // Not placed yet; or the ones of a driver that asks for the size without switching decoding off.
    const nowhere = address === 0n || address + this.#barSize === 1n << 64n;
    return nowhere ? undefined : address;
  }

  /** Places the BAR, as firmware does. Throws `ERR_OUT_OF_RANGE` where it is not aligned to its size. */
  placeBar(address: bigint): void {
    checkUint64('barAddress', address);
    if (address % this.#barSize !== 0n) {
      throw rangeError(`the BAR must be aligned to its ${this.#barSize} bytes`);
    }
    this.#view.setBigUint64(
      PCI_BASE_ADDRESS_0,
      address | BigInt(PCI_BASE_ADDRESS_MEM_TYPE_64),
      true,
    );
  }

  /** Whether the status register shows an interrupt. */
  set interruptStatus(raised: boolean) {
    const status = this.get16(PCI_STATUS) & ~PCI_STATUS_INTERRUPT;
    this.#view.setUint16(PCI_STATUS, raised ? status | PCI_STATUS_INTERRUPT : status, true);
  }

  /**
   * Appends a capability: `body` is what stands behind its identity and its link, `writable` the bits of
   * the body that the guest may change. Returns its offset.
   */
  addCapability(id: number, body: Uint8Array, writable = new Uint8Array(body.length)): number {
    const at = this.#end;
    this.#bytes[this.#link] = at;
    this.#bytes[at] = id;
    this.#bytes.set(body, at + 2);
    this.#writable.set(writable, at + 2);
    this.#link = at + 1;
    this.#end = (at + 2 + body.length + 3) & ~3;
    return at;
  }

  /** Bytes from `offset` on; zeroes outside. */
  read(offset: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.#bytes[offset + i] ?? 0);
  }

  /** Changes what may be changed. */
  write(offset: number, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) {
      const writable = this.#writable[offset + i];
      if (!writable) continue;
      const kept = (this.#bytes[offset + i] as number) & ~writable;
      this.#bytes[offset + i] = kept | (byte & writable);
    }
  }

  /** All of it, two digits a byte. */
  save(): string {
    return Buffer.from(this.#bytes).toString('hex');
  }

  /** For what {@link PciConfig.differsAt} has nothing against. */
  restore(saved: string): void {
    this.#bytes.set(Buffer.from(saved, 'hex'));
  }

  /** Where what was saved has another function's fixed bits; undefined for one that is the same. */
  differsAt(saved: string): number | undefined {
    const bytes = Buffer.from(saved, 'hex');
    const at = bytes.findIndex((byte, i) => {
      // Of the status register the interrupt bit is the only one that changes.
      const own = i === PCI_STATUS ? PCI_STATUS_INTERRUPT : 0;
      const fixed = ~((this.#writable[i] as number) | own);
      return (byte & fixed) !== ((this.#bytes[i] as number) & fixed);
    });
    return at < 0 ? undefined : at;
  }

  /** For what the device itself reads and writes, whatever the guest may change. */
  get16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  get32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  set(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset);
  }
}
