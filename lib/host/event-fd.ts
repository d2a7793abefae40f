/** EventFd: the kernel's counter behind kick, call, err, ioeventfd and irqfd. */
import { checkInteger, StateError, typeError } from '../errors.js';
import { type Fd, native, type Poller } from '../native.js';
import { checked, checkedValue, systemError } from '../syscall.js';
import { Descriptor, duplicate } from './descriptor.js';

const EAGAIN = -11;

/** An eventfd, never blocking and close-on-exec (eventfd(2)). */
export class EventFd extends Descriptor {
  #poller: Poller | undefined;

  private constructor(fd: Fd) {
    super(fd, 'eventfd');
  }

  /** A new eventfd with count `initial` (0 to 2^32 - 1). Throws `EMFILE`, `ENFILE`. */
  static create(initial = 0): EventFd {
    checkInteger('initial', initial, 0, 0xffff_ffff);
    return new EventFd(
      checkedValue<Fd>(native.eventfdCreate(initial), 'eventfd', undefined, [initial]),
    );
  }

  /**
   * A duplicate of an eventfd that somebody else owns; the original stays theirs. The open file that
   * both share becomes non-blocking, so that nothing here can wait. Throws `EBADF`.
   */
  static fromFd(fd: number): EventFd {
    const own = duplicate(fd);
    try {
      checked(native.setNonblock(own), 'fcntl(F_SETFL)', undefined, [own.number()]);
      return new EventFd(own);
    } catch (error) {
      own.close();
      throw error;
    }
  }

  /** Adds `count` (1 to 2^32 - 1) and wakes whoever waits. Throws `EAGAIN` if the counter is full. */
  signal(count = 1): void {
    if (count !== 1) checkInteger('count', count, 1, 0xffff_ffff);
    const result = native.eventfdWrite(this.handle, count);
    if (result < 0) throw systemError(result, 'write(eventfd)');
  }

  /**
   * As {@link EventFd.signal}, for an eventfd that its other end may have filled: a counter that is full has been
   * signalled, and is no error.
   */
  wake(): void {
    const result = native.eventfdWrite(this.handle, 1);
    if (result < 0 && result !== EAGAIN) throw systemError(result, 'write(eventfd)');
  }

  /** The count since the last read, which becomes 0; 0 when nobody signalled. Never waits. */
  read(): number {
    const result = native.eventfdRead(this.handle);
    if (result >= 0) return result;
    if (result === EAGAIN) return 0;
    throw systemError(result, 'read(eventfd)');
  }

  /**
   * Calls `listener` on the event loop with the count since the last call, until
   * {@link EventFd.offSignal} or `close()`. The eventfd is drained before the call; what the listener
   * throws becomes an `uncaughtException`. Keeps the process alive until {@link EventFd.unref}.
   * Throws `ERR_BUSY` if there is a listener already.
   */
  onSignal(listener: (count: number) => void): void {
    if (typeof listener !== 'function') throw typeError('listener must be a function');
    if (this.#poller) throw new StateError('ERR_BUSY', 'the eventfd has a listener already');
    const poller = new native.Poller(this.handle, true, (count) => {
      if (count >= 0) return listener(count);
      // It would fail again and again: whatever it is, it is no eventfd that works.
      this.offSignal();
      throw systemError(count, 'read(eventfd)');
    });
    checked(poller.error, 'uv_poll_start');
    this.#poller = poller;
  }

  /** Ends the subscription. The listener is not called again. */
  offSignal(): void {
    this.#poller?.close();
    this.#poller = undefined;
  }

  /** Lets the process end although there is a listener. */
  unref(): this {
    this.#poller?.unref();
    return this;
  }

  /** Undoes {@link EventFd.unref}. */
  ref(): this {
    this.#poller?.ref();
    return this;
  }

  override close(): void {
    this.offSignal();
    super.close();
  }

  override closeAsync(): Promise<void> {
    this.offSignal();
    return super.closeAsync();
  }
}
