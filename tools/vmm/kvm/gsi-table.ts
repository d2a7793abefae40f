/** GsiTable: what each global system interrupt of the guest is. */
import type { EventFd, KvmVm, MsiRoute, MsiRoutes } from '../../../lib/index.js';
import type { GsiRoute } from './addon.js';

/** Pins of the I/O APIC; they have the first numbers. */
const PINS = 24;

interface Message {
  address: bigint;
  data: number;
}

export class GsiTable implements MsiRoutes {
  readonly #events: KvmVm;
  readonly #setRouting: (routes: readonly GsiRoute[]) => void;
  /** Of each number in use behind the pins; undefined before its first message. */
  readonly #messages = new Map<number, Message | undefined>();

  constructor(events: KvmVm, setRouting: (routes: readonly GsiRoute[]) => void) {
    this.#events = events;
    this.#setRouting = setRouting;
    this.#apply();
  }

  allocate(): MsiRoute {
    let gsi = PINS;
    while (this.#messages.has(gsi)) gsi++;
    this.#messages.set(gsi, undefined);
    const events = this.#events;
    return {
      update: (address: bigint, data: number) => this.#set(gsi, { address, data }),
      connect: (eventFd: EventFd) => events.assignIrqfd({ gsi, eventFd }),
      disconnect: (eventFd: EventFd) => events.deassignIrqfd({ gsi, eventFd }),
      close: () => this.#remove(gsi),
    };
  }

  #set(gsi: number, message: Message): void {
    this.#messages.set(gsi, message);
    this.#apply();
  }

  #remove(gsi: number): void {
    this.#messages.delete(gsi);
    this.#apply();
  }

  /** KVM takes the whole table at a time. */
  #apply(): void {
    const routes: GsiRoute[] = [];
    for (let pin = 0; pin < PINS; pin++) routes.push({ gsi: pin, pin });
    for (const [gsi, message] of this.#messages) if (message) routes.push({ gsi, ...message });
    this.#setRouting(routes);
  }
}
