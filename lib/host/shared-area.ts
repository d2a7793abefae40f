/** SharedArea: a piece of a file, of any size, that two processes keep notes in. */
import { closedError, rangeError, StateError } from '../errors.js';
import { type Fd, native } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import { duplicate } from './descriptor.js';
import { isSealed, sealedMemfd } from './memory-region.js';

/** More than any log or in-flight area can need; what is larger is no such thing. */
const MOST_BYTES = 2 ** 32;

/** Shared and writable. A file that its owner may cut short is guarded, as {@link MemoryRegion.guard}. */
export class SharedArea {
  readonly #fd: Fd;
  readonly #bytes: Uint8Array;
  #closed = false;

  private constructor(fd: Fd, offset: number, size: number) {
    const mapped = checkedValue<{ buffer: ArrayBuffer }>(
      native.memoryMap(fd, BigInt(offset), BigInt(size)),
      'mmap',
      undefined,
      [fd.number(), offset, size],
    );
    this.#fd = fd;
    this.#bytes = new Uint8Array(mapped.buffer);
    if (isSealed(fd)) return;
    const guarded = native.memoryGuard(mapped.buffer);
    if (guarded < 0) native.memoryDetach(mapped.buffer);
    checked(guarded, 'sigaction(SIGBUS)');
  }

  /** A new memfd of `size` bytes, a multiple of the page size, all 0; sealed. Throws `ENOMEM`. */
  static create(size: number): SharedArea {
    return opened(sealedMemfd(size, 0), (fd) => new SharedArea(fd, 0, size));
  }

  /**
   * Maps `size` bytes from `offset` on, a multiple of the page size, of a file that somebody else owns; the
   * descriptor is duplicated. Throws `ERR_OUT_OF_RANGE` where the file has not so many bytes.
   */
  static map(fd: number, offset: bigint, size: bigint): SharedArea {
    return opened(duplicate(fd), (own) => {
      // Both are below 2^64 each: as numbers of unlimited length their sum cannot wrap.
      const fileSize = checkedValue<bigint>(native.fileSize(own), 'statx', undefined, [fd]);
      if (size <= 0n || size > BigInt(MOST_BYTES) || offset + size > fileSize) {
        throw rangeError(`the file has ${fileSize} bytes, not ${size} from ${offset} on`);
      }
      return new SharedArea(own, Number(offset), Number(size));
    });
  }

  /** All of it. Throws `ERR_CLOSED`. */
  get bytes(): Uint8Array {
    if (this.#closed) throw closedError('the shared area');
    return this.#bytes;
  }

  /** The file's descriptor, for the other end. Throws `ERR_CLOSED`. */
  get fd(): number {
    if (this.#closed) throw closedError('the shared area');
    return this.#fd.number();
  }

  /** @internal As {@link MemoryRegion.cut}. */
  get cut(): boolean {
    return !this.#closed && native.memoryIsCut(this.#bytes.buffer as ArrayBuffer);
  }

  /** All views of it become empty. Twice is no error. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#fd.close();
    if (!native.memoryDetach(this.#bytes.buffer as ArrayBuffer)) {
      throw new StateError('ERR_BUFFERS_REFUSED', 'the runtime did not detach the buffer');
    }
  }
}

function opened(fd: Fd, map: (fd: Fd) => SharedArea): SharedArea {
  try {
    return map(fd);
  } catch (error) {
    fd.close();
    throw error;
  }
}
