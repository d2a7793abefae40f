/** LinkMonitor: hears from the kernel what happens to interfaces. */
import { StateError } from '../errors.js';
import { logHost } from '../log.js';
import { type Fd, type LinkEvent, native, type Poller } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import { IFF_RUNNING, IFF_UP } from '../uapi/tun.js';
import { Descriptor } from './descriptor.js';

const EAGAIN = -11;
const ENOBUFS = -105;

/** What an interface looks like after a change. */
export interface LinkChange {
  /** The kernel's index, which a rename does not change. */
  index: number;
  /** The present name. */
  name: string;
  up: boolean;
  /** Up, and with a carrier. */
  running: boolean;
  /** The interface is gone from this network namespace. */
  deleted: boolean;
}

/** A subscription to rtnetlink's link messages of this network namespace. */
export class LinkMonitor extends Descriptor {
  #poller: Poller | undefined;

  private constructor(fd: Fd) {
    super(fd, 'link monitor');
  }

  /** Throws `EMFILE`, `ENFILE`. */
  static open(): LinkMonitor {
    return new LinkMonitor(checkedValue<Fd>(native.linkMonitorOpen(), 'socket(NETLINK_ROUTE)'));
  }

  /**
   * Calls `listener` for every change, on the event loop; `lost` for changes that came too fast to
   * keep, after which the listener should look for itself. Does not keep the process alive.
   */
  onChange(listener: (change: LinkChange) => void, lost: () => void): void {
    if (this.#poller) throw new StateError('ERR_BUSY', 'the monitor has a listener already');
    const poller = new native.Poller(this.handle, false, () => this.#drain(listener, lost));
    checked(poller.error, 'uv_poll_start');
    poller.unref();
    this.#poller = poller;
  }

  override close(): void {
    this.#poller?.close();
    this.#poller = undefined;
    super.close();
  }

  #drain(listener: (change: LinkChange) => void, lost: () => void): void {
    // The listener may close this monitor.
    while (!this.closed) {
      const events: LinkEvent[] | number = native.linkMonitorRead(this.handle);
      if (events === EAGAIN) return;
      if (typeof events === 'number') {
        // ENOBUFS, or a host without memory: what could not be read is the same loss.
        logHost('link changes lost: %s', native.errnoName(-events));
        lost();
        if (events !== ENOBUFS) return;
      } else {
        for (const event of events) {
          const running = (event.flags & (IFF_UP | IFF_RUNNING)) === (IFF_UP | IFF_RUNNING);
          const change: LinkChange = {
            index: event.index,
            name: event.name ?? '',
            up: (event.flags & IFF_UP) !== 0,
            running,
            deleted: event.deleted,
          };
          logHost('link %o', change);
          if (!this.closed) listener(change);
        }
      }
    }
  }
}
