/** What every class that owns a descriptor has in common. */
import { closedError, StateError, typeError } from '../errors.js';
import { logHost } from '../log.js';
import { type Fd, native } from '../native.js';
import { checked, checkedValue } from '../syscall.js';

const EBUSY = -16;

/**
 * A kernel object behind a descriptor of our own. After `close()` every method throws `ERR_CLOSED`
 * before it touches the number.
 */
export abstract class Descriptor {
  readonly #fd: Fd;
  readonly #what: string;
  #closed = false;

  /** @internal */
  protected constructor(fd: Fd, what: string) {
    this.#fd = fd;
    this.#what = what;
    logHost('open %s fd=%d', what, fd.number());
  }

  /** Whether `close()` was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The descriptor's number, for the life of this object only: duplicate it to keep it. */
  get fd(): number {
    return this.handle.number();
  }

  /** @internal The addon's handle. Throws `ERR_CLOSED`. */
  get handle(): Fd {
    if (this.#closed) throw closedError(this.#what);
    return this.#fd;
  }

  /**
   * Closes the descriptor. Closing twice is no error. Throws `ERR_BUSY` while a call on the thread
   * pool uses it, `EBADF` where somebody else closed its number; it is closed then.
   */
  close(): void {
    if (this.#closed) return;
    logHost('close %s fd=%d', this.#what, this.#fd.number());
    this.#finish(this.#fd.close());
  }

  /** As {@link Descriptor.close}, on the thread pool: closing a TAP waits for the network stack. */
  async closeAsync(): Promise<void> {
    if (this.#closed) return;
    logHost('close %s fd=%d', this.#what, this.#fd.number());
    const closing = this.#fd.closeAsync();
    // The addon gave up the number at once, unless a call is using it.
    this.#closed = this.#fd.number() < 0;
    this.#finish(await closing);
  }

  #finish(result: number): void {
    if (result === EBUSY) {
      throw new StateError('ERR_BUSY', `${this.#what} is in use by a call that has not returned`);
    }
    this.#closed = true;
    checked(result, 'close');
  }

  [Symbol.dispose](): void {
    this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.closeAsync();
  }
}

/** A duplicate, close-on-exec, of a descriptor that somebody else owns. Throws `EBADF`. */
export function duplicate(fd: number): Fd {
  if (!Number.isInteger(fd) || fd < 0)
    throw typeError(`fd must be a descriptor's number, not ${fd}`);
  return checkedValue<Fd>(native.dup(fd), 'fcntl(F_DUPFD_CLOEXEC)', undefined, [fd]);
}
