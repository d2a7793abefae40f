/** Whether a port's link is up, kept as the kernel tells it. */
import type { LinkChange, LinkMonitor } from '../host/link-monitor.js';
import { NetInterface } from '../host/net-interface.js';
import type { Tap } from '../host/tap.js';
import { systemError } from '../syscall.js';
import type { VhostBackend } from '../vhost/backend.js';

const ENODEV = -19;

/** Whether frames can go, of whatever a port is on. */
export interface PortLink {
  /** As was last said. */
  readonly up: boolean;
  /** As it is now. */
  isUpNow(): boolean;
  /** Another backend serves the rings; the link was up or down `before`, as its listener knows. */
  follow?(backend: VhostBackend, before: boolean): void;
  close(): void;
}

/** Who is told of a link. */
export interface LinkListener {
  /** It went up or down. */
  changed(up: boolean): void;
  /** What the port is on is no more. */
  gone(error: Error): void;
}

export class LinkState implements PortLink {
  readonly #tap: Tap;
  readonly #monitor: LinkMonitor;
  /** A rename keeps the index, and another interface of the old name has another. */
  readonly #index: number;
  readonly #listener: LinkListener;
  #up: boolean;
  #isGone = false;

  constructor(tap: Tap, monitor: LinkMonitor, listener: LinkListener) {
    this.#tap = tap;
    this.#monitor = monitor;
    this.#index = tap.interface.index;
    this.#up = tap.interface.up;
    this.#listener = listener;
    monitor.onChange(
      (change) => this.#hear(change),
      () => this.#look(),
    );
  }

  /** As the kernel last said. */
  get up(): boolean {
    return this.#up;
  }

  /** As it is now: the news that the link came up may still be on its way. */
  isUpNow(): boolean {
    return this.#up || (this.#current() ?? false);
  }

  close(): void {
    this.#monitor.close();
  }

  /** What a message says may be old by now: those that were lost are the newest. */
  #hear({ index, deleted }: LinkChange): void {
    if (index !== this.#index) return;
    if (deleted) this.#set(undefined);
    else this.#look();
  }

  #look(): void {
    this.#set(this.#current());
  }

  #set(up: boolean | undefined): void {
    if (this.#isGone) return;
    this.#isGone = up === undefined;
    const before = this.#up;
    this.#up = up ?? false;
    if (up === undefined) this.#listener.gone(systemError(ENODEV, 'tap', this.#tap.interface.name));
    else if (up !== before) this.#listener.changed(up);
  }

  /** Undefined when the interface is gone, whatever it was called. */
  #current(): boolean | undefined {
    try {
      const now = new NetInterface(this.#tap.name);
      return now.index === this.#index ? now.up : undefined;
    } catch {
      return undefined;
    }
  }
}
