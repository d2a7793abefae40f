/**
 * MmioRegisterPage: what a card's registers read, kept in memory that the guest reads for itself. Nothing that a
 * driver reads on virtio-mmio changes by being read, so all of it can lie there; only writes leave the guest.
 */
import { valueError } from '../errors.js';
import { VIRTIO_MMIO_CONFIG } from '../uapi/virtio-mmio.js';
import { type ConfigSpace, NET_CONFIG_SIZE } from './config-space.js';
import { READABLE_REGISTERS } from './mmio-register-bank.js';

const WORD = 4;
const REGISTERS = VIRTIO_MMIO_CONFIG / WORD;
const CONFIG_WORDS = Math.ceil(NET_CONFIG_SIZE / WORD);
/** Bytes that a page needs. */
const LEAST = WORD * (REGISTERS + CONFIG_WORDS);

export class MmioRegisterPage {
  readonly #words: Uint32Array;

  /** `bytes` are aligned to words, and begin with the first register. Throws `ERR_INVALID_ARG_VALUE`. */
  constructor(bytes: Uint8Array) {
    if (bytes.length < LEAST || bytes.byteOffset % WORD !== 0) {
      throw valueError(`a page of registers needs ${LEAST} bytes, aligned to ${WORD}`);
    }
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, LEAST / WORD);
  }

  /**
   * Writes what the registers read now. Each in one store, and so each field of the configuration but the MAC
   * address, which changes by the driver's own command: no vCPU reads half of one.
   */
  show(read: (offset: number) => number, config: ConfigSpace): void {
    const fields = new Uint32Array(config.read(0, WORD * CONFIG_WORDS).buffer);
    // The generation comes after what it is of: read in between, the old one says that it must be read again.
    this.#words.set(fields, REGISTERS);
    for (const offset of READABLE_REGISTERS) this.#words[offset / WORD] = read(offset);
  }

  /** There is no card here any more. */
  clear(): void {
    this.#words.fill(0);
  }
}
