/** PciHost: the bridge to a PCI bus, whose configuration space is behind two ports. */
import type { BusDevice } from './bus.js';

/** A function on the bus: a `VirtioPciTransport` is one. */
export interface PciFunction {
  readConfig(offset: number, length: number): Uint8Array;
  writeConfig(offset: number, bytes: Uint8Array): Promise<void> | undefined;
}

/** The first port selects a register, the four from `DATA` on are that register. */
export const PCI_HOST_PORT = 0xcf8;
export const PCI_HOST_PORTS = 8;
const DATA = 4;
const ENABLE = 0x8000_0000;

/** The bridge itself, in slot 0: Linux looks for one before it trusts the ports. */
const BRIDGE = new Uint8Array(64);
// Vendor Red Hat and its generic host bridge; class 0x0600.
BRIDGE.set([0x36, 0x1b, 0x08, 0x00], 0);
BRIDGE.set([0x00, 0x06], 10);

const bridge: PciFunction = {
  readConfig: (offset, length) => {
    const bytes = new Uint8Array(length);
    bytes.set(BRIDGE.subarray(offset, offset + length));
    return bytes;
  },
  writeConfig: () => undefined,
};

export class PciHost implements BusDevice {
  readonly #functions: PciFunction[] = [bridge];
  #address = 0;

  /** The slot that {@link PciHost.add} fills. */
  get nextSlot(): number {
    return this.#functions.length;
  }

  add(pciFunction: PciFunction): void {
    this.#functions.push(pciFunction);
  }

  read(offset: number, length: number): Uint8Array {
    if (offset >= DATA) {
      const found = this.#selected();
      if (found) return found.readConfig(this.#register(offset), length);
    } else if (offset === 0 && length === 4) {
      return new Uint8Array(Uint32Array.of(this.#address).buffer);
    }
    return new Uint8Array(length).fill(0xff);
  }

  write(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    if (offset >= DATA) return this.#selected()?.writeConfig(this.#register(offset), bytes);
    if (offset === 0 && bytes.length === 4) {
      this.#address = Buffer.from(bytes).readUInt32LE(0);
    }
    return undefined;
  }

  #register(offset: number): number {
    return (this.#address & 0xfc) + offset - DATA;
  }

  /** Bus 0 alone, and function 0 of each slot. */
  #selected(): PciFunction | undefined {
    const address = this.#address;
    if (!(address & ENABLE) || address & 0x00ff_0700) return undefined;
    return this.#functions[(address >>> 11) & 0x1f];
  }
}
