/** MsiDelivery: how the message of an MSI-X vector gets to the guest: KVM's routes, or a callback. */
import type { EventFd } from '../host/event-fd.js';
import { logDevice } from '../log.js';
import type { MsixTable } from './msix.js';

/** A way for one message to the guest: with KVM, a global system interrupt of its own. */
export interface MsiRoute {
  /** What a signal sends from now on. */
  update(address: bigint, data: number): void;
  /**
   * From now on what is signalled sends the message, what was signalled before and nobody read included:
   * with KVM, an irqfd.
   */
  connect(eventFd: EventFd): void;
  /**
   * Ends that: what was signalled before has been sent, and what is signalled after it stays in the
   * eventfd's counter. KVM sees to both as it takes an irqfd back.
   */
  disconnect(eventFd: EventFd): void;
  close(): void;
}

/** Who has routes to give: a VMM. */
export interface MsiRoutes {
  /** One more route. It is asked for when a vector is first used. */
  allocate(): MsiRoute;
}

interface Routed {
  route: MsiRoute;
  /** The message that the route has. */
  address?: bigint;
  data?: number;
}

export class MsiDelivery {
  readonly #table: MsixTable;
  readonly #msi: MsiRoutes;
  readonly #routes = new Map<number, Routed>();

  constructor(table: MsixTable, msi: MsiRoutes) {
    this.#table = table;
    this.#msi = msi;
  }

  /** The vector's message may be another. */
  update(vector: number): void {
    const routed = this.#routes.get(vector);
    if (routed) attempt('update a route', () => this.#update(vector, routed));
  }

  /** Whether `eventFd` sends the vector's message from now on. */
  connect(vector: number, eventFd: EventFd): boolean {
    return attempt('connect a route', () => {
      let routed = this.#routes.get(vector);
      if (!routed) {
        routed = { route: this.#msi.allocate() };
        this.#routes.set(vector, routed);
      }
      this.#update(vector, routed);
      routed.route.connect(eventFd);
    });
  }

  disconnect(vector: number, eventFd: EventFd): void {
    attempt('disconnect a route', () => this.#routes.get(vector)?.route.disconnect(eventFd));
  }

  close(): void {
    for (const { route } of this.#routes.values()) attempt('close a route', () => route.close());
    this.#routes.clear();
  }

  /** A change of KVM's routing is dear: only where there is one. */
  #update(vector: number, routed: Routed): void {
    const address = this.#table.address(vector);
    const data = this.#table.data(vector);
    if (routed.address === address && routed.data === data) return;
    routed.route.update(address, data);
    routed.address = address;
    routed.data = data;
  }
}

/** What the VMM fails at must not end a guest's access: its interrupts are held then. */
function attempt(what: string, action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    logDevice('cannot %s: %o', what, error);
    return false;
  }
}
