/** A driver that knows nothing of a card but how to read and write it: virtio 1.3 §4.1, §3.1.1. */
import type { VirtioPciTransport } from '../../lib/device/virtio-pci-transport.js';
import { bit, VIRTIO_F_VERSION_1 } from '../../lib/uapi/virtio-net.js';

export interface Capability {
  at: number;
  bar: number;
  offset: number;
  length: number;
}

/** Where this driver places the BAR, and the memory that its rings are in. */
export const BAR_AT = 0xc000_0000n;
export const RINGS_AT = 0x10_000;

export class PciDriver {
  readonly transport: VirtioPciTransport;
  /** By `cfg_type`. */
  readonly capabilities = new Map<number, Capability>();
  /** Where the MSI-X capability is. */
  msix = 0;

  constructor(transport: VirtioPciTransport) {
    this.transport = transport;
    let at = this.config(0x34, 1);
    for (let i = 0; at !== 0 && i < 48; i++, at = this.config(at + 1, 1)) {
      if (this.config(at, 1) === 0x11) this.msix = at;
      if (this.config(at, 1) !== 0x09) continue;
      this.capabilities.set(this.config(at + 3, 1), {
        at,
        bar: this.config(at + 4, 1),
        offset: this.config(at + 8, 4),
        length: this.config(at + 12, 4),
      });
    }
  }

  config(offset: number, width: number): number {
    return number(this.transport.readConfig(offset, width));
  }

  setConfig(offset: number, width: number, value: number): Promise<void> | undefined {
    return this.transport.writeConfig(offset, bytesOf(value, width));
  }

  bar(offset: number, width: number): number {
    return number(this.transport.readBar(offset, width));
  }

  setBar(offset: number, width: number, value: number | bigint): Promise<void> | undefined {
    return this.transport.writeBar(offset, bytesOf(value, width));
  }

  /** A structure that a capability of type `type` leads to. */
  structure(type: number): number {
    return this.capabilities.get(type)?.offset ?? Number.NaN;
  }

  common(offset: number, width: number): number {
    return this.bar(this.structure(1) + offset, width);
  }

  setCommon(offset: number, width: number, value: number | bigint): Promise<void> | undefined {
    return this.setBar(this.structure(1) + offset, width, value);
  }

  get status(): number {
    return this.common(20, 1);
  }

  setStatus(status: number): Promise<void> | undefined {
    return this.setCommon(20, 1, status);
  }

  /** Writes the command register: memory space 2, bus master 4, INTx disable 0x400. */
  command(value: number): void {
    this.setConfig(0x04, 2, value);
  }

  placeBar(address: bigint): void {
    this.setConfig(0x10, 4, Number(address & 0xffff_ffffn));
    this.setConfig(0x14, 4, Number(address >> 32n));
  }

  /** Message control: enable 0x8000, mask all 0x4000. */
  msixControl(value: number): void {
    this.setConfig(this.msix + 2, 2, value);
  }

  get tableAt(): number {
    return this.config(this.msix + 4, 4) & ~7;
  }

  get pendingAt(): number {
    return this.config(this.msix + 8, 4) & ~7;
  }

  setMessage(vector: number, address: bigint, data: number): void {
    const at = this.tableAt + 16 * vector;
    this.setBar(at, 8, address);
    this.setBar(at + 8, 4, data);
  }

  mask(vector: number, masked: boolean): void {
    this.setBar(this.tableAt + 16 * vector + 12, 4, masked ? 1 : 0);
  }

  isPending(vector: number): boolean {
    const word = this.bar(this.pendingAt + 4 * (vector >> 5), 4);
    return ((word >>> (vector & 31)) & 1) === 1;
  }

  /** Offered features, 64 of them. */
  get features(): bigint {
    const words = [0, 1].map((word) => {
      this.setCommon(0, 4, word);
      return BigInt(this.common(4, 4));
    });
    return (words[0] as bigint) | ((words[1] as bigint) << 32n);
  }

  /** §3.1.1, steps 1 to 6. Returns the status that reads back. */
  negotiate(features = bit(VIRTIO_F_VERSION_1)): number {
    for (const status of [1, 3]) this.setStatus(status);
    for (const word of [0, 1]) {
      this.setCommon(8, 4, word);
      this.setCommon(12, 4, BigInt.asUintN(32, features >> BigInt(32 * word)));
    }
    this.setStatus(0xb);
    return this.status;
  }

  /** §4.1.5.1.3 for one queue; `vector`: none where it is left out. */
  setUpQueue(index: number, vector?: number): Promise<void> | undefined {
    this.setCommon(22, 2, index);
    if (vector !== undefined) this.setCommon(26, 2, vector);
    this.setCommon(24, 2, 16);
    const ring = RINGS_AT + 0x1000 * index;
    this.setCommon(32, 8, ring);
    this.setCommon(40, 4, ring + 0x400);
    this.setCommon(44, 4, 0);
    this.setCommon(48, 8, ring + 0x800);
    return this.setCommon(28, 2, 1);
  }

  /** All of §3.1.1: every queue has the vector behind its own number, the configuration has vector 0. */
  async bringUp(features?: bigint): Promise<void> {
    await this.setStatus(0);
    this.placeBar(BAR_AT);
    this.command(6);
    this.msixControl(0x8000);
    const queues = this.common(18, 2);
    this.negotiate(features);
    this.setCommon(16, 2, 0);
    for (let vector = 0; vector <= queues; vector++) {
      this.setMessage(vector, 0xfee0_0000n, 0x40 + vector);
      this.mask(vector, false);
    }
    for (let index = 0; index < queues; index++) this.setUpQueue(index, index + 1);
    await this.setStatus(0xf);
  }
}

export function number(bytes: Uint8Array): number {
  return Number(bytes.reduceRight((value, byte) => value * 256n + BigInt(byte), 0n));
}

export function bytesOf(value: number | bigint, width: number): Uint8Array {
  let rest = BigInt.asUintN(8 * width, BigInt(value));
  return Uint8Array.from({ length: width }, () => {
    const byte = Number(rest & 0xffn);
    rest >>= 8n;
    return byte;
  });
}
