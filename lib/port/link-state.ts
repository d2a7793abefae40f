/** Whether a port's link is up, kept as the kernel tells it. */
import type { LinkChange, LinkMonitor } from '../host/link-monitor.js';
import { NetInterface } from '../host/net-interface.js';
import type { Tap } from '../host/tap.js';

export class LinkState {
  readonly #tap: Tap;
  readonly #monitor: LinkMonitor;
  /** A rename keeps the index, and another interface of the old name has another. */
  readonly #index: number;
  readonly #changed: (up: boolean) => void;
  readonly #gone: () => void;
  #up: boolean;
  #isGone = false;

  /** `changed` is called when the link goes up or down, `gone` when the interface is no more. */
  constructor(
    tap: Tap,
    monitor: LinkMonitor,
    { changed, gone }: { changed: (up: boolean) => void; gone: () => void },
  ) {
    this.#tap = tap;
    this.#monitor = monitor;
    this.#index = tap.interface.index;
    this.#up = tap.interface.up;
    this.#changed = changed;
    this.#gone = gone;
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
    if (up === undefined) this.#gone();
    else if (up !== before) this.#changed(up);
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
