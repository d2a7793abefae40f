/**
 * HeldFrame: a frame that was read from a queue and waits for receive buffers. There is no way to ask a TAP how
 * long its next frame is, so one of several buffers may turn out not to fit into those that are there.
 */
import { native } from '../native.js';
import { checkedValue } from '../syscall.js';

/** Bytes of the longest frame with the longest header, and more. */
const SPARE_BYTES = 128 << 10;

export class HeldFrame {
  /** Where what does not fit into a frame's buffers goes; its address in this process. */
  readonly spare: Uint8Array;
  readonly address: number;
  /** What its driver had acknowledged. */
  features = 0n;
  readonly #bytes = new Uint8Array(SPARE_BYTES);
  #length = 0;
  readonly #buffer: ArrayBuffer;

  /** Throws `ENOMEM`. */
  constructor() {
    const size = BigInt(SPARE_BYTES);
    const mapped = checkedValue<{ address: bigint; buffer: ArrayBuffer }>(
      native.memoryMapAnonymous(size, BigInt(native.pageSize)),
      'mmap',
      undefined,
      ['anonymous', SPARE_BYTES],
    );
    this.#buffer = mapped.buffer;
    this.spare = new Uint8Array(mapped.buffer);
    this.address = Number(mapped.address);
  }

  /** The frame with its header; empty where none waits. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  get waits(): boolean {
    return this.#length > 0;
  }

  /**
   * Takes a frame: the first `inBuffers` of its `length` bytes are copied by `copy`, the others lie in the
   * spare memory.
   */
  take(inBuffers: number, length: number, copy: (target: Uint8Array) => void): void {
    copy(this.#bytes.subarray(0, inBuffers));
    this.#bytes.set(this.spare.subarray(0, length - inBuffers), inBuffers);
    this.#length = length;
  }

  clear(): void {
    this.#length = 0;
  }

  close(): void {
    this.clear();
    native.memoryDetach(this.#buffer);
  }
}
