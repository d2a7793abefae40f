/** MsixTable: the messages of a PCI function's interrupts, and which of them wait (PCI 3.0 §6.8.2). */
import {
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_ENTRY_LOWER_ADDR,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_ENTRY_UPPER_ADDR,
  PCI_MSIX_ENTRY_VECTOR_CTRL,
} from '../uapi/pci.js';

/** What the guest may change of each word of an entry. A message is written to an aligned address. */
const WRITABLE = new Map([
  [PCI_MSIX_ENTRY_LOWER_ADDR, 0xffff_fffc],
  [PCI_MSIX_ENTRY_UPPER_ADDR, 0xffff_ffff],
  [PCI_MSIX_ENTRY_DATA, 0xffff_ffff],
  [PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT],
]);

export class MsixTable {
  readonly vectors: number;
  readonly #view: DataView;

  /** `vectors`: 1 to 2048. All are masked. */
  constructor(vectors: number) {
    this.vectors = vectors;
    this.#view = new DataView(new ArrayBuffer(vectors * PCI_MSIX_ENTRY_SIZE));
    for (let vector = 0; vector < vectors; vector++) {
      const at = vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;
      this.#view.setUint32(at, PCI_MSIX_ENTRY_CTRL_MASKBIT, true);
    }
  }

  /** All entries, as they lie in the BAR. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.#view.buffer.slice(0));
  }

  set bytes(bytes: Uint8Array) {
    for (let at = 0; at < bytes.length; at += 4) this.write(at, bytes.subarray(at, at + 4));
  }

  address(vector: number): bigint {
    return this.#view.getBigUint64(vector * PCI_MSIX_ENTRY_SIZE, true);
  }

  data(vector: number): number {
    return this.#view.getUint32(vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_DATA, true);
  }

  isMasked(vector: number): boolean {
    const at = vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;
    return (this.#view.getUint32(at, true) & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0;
  }

  /** Of 32 or 64 aligned bits; all else reads zeroes. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    if (isWhole(offset, length) && offset + length <= this.#view.byteLength) {
      bytes.set(new Uint8Array(this.#view.buffer, offset, length));
    }
    return bytes;
  }

  /** Of 32 or 64 aligned bits. Returns the vector that it changed, or undefined where it was dropped. */
  write(offset: number, bytes: Uint8Array): number | undefined {
    const { length } = bytes;
    if (!isWhole(offset, length) || offset + length > this.#view.byteLength) return undefined;
    const written = new DataView(bytes.buffer, bytes.byteOffset, length);
    for (let i = 0; i < length; i += 4) {
      const writable = WRITABLE.get((offset + i) % PCI_MSIX_ENTRY_SIZE) ?? 0;
      this.#view.setUint32(offset + i, written.getUint32(i, true) & writable, true);
    }
    return Math.floor(offset / PCI_MSIX_ENTRY_SIZE);
  }
}

/** An access of the pending bits, 32 or 64 aligned bits; all else reads zeroes. */
export function readPendingBits(
  offset: number,
  length: number,
  isPending: (vector: number) => boolean,
): Uint8Array {
  const bytes = new Uint8Array(length);
  if (!isWhole(offset, length)) return bytes;
  for (let bit = 0; bit < 8 * length; bit++) {
    if (isPending(8 * offset + bit))
      bytes[bit >> 3] = (bytes[bit >> 3] as number) | (1 << (bit & 7));
  }
  return bytes;
}

function isWhole(offset: number, length: number): boolean {
  return (length === 4 || length === 8) && offset >= 0 && offset % length === 0;
}
