/**
 * RxFilter: which frames the guest wants, as its commands said, and as much of that as a TAP can filter.
 * What the TAP cannot is kept, for whoever asks: a card may hand over more than it was asked for.
 */
import { logDevice } from '../log.js';
import { ETH_ALEN, TUN_FLT_ALLMULTI } from '../uapi/tun.js';
import type { RxMode } from './control-commands.js';

/** What the guest asked for. */
export interface RxFilterState {
  promisc: boolean;
  allmulti: boolean;
  alluni: boolean;
  nomulti: boolean;
  nouni: boolean;
  nobcast: boolean;
  /** MAC addresses, six bytes each. */
  unicast: Uint8Array[];
  multicast: Uint8Array[];
  /** VLANs that it wants; a TAP filters none. */
  vlans: number[];
}

/** Who filters: a TAP, by `TUNSETTXFILTER`. */
export interface FilteringQueue {
  setTxFilter(addresses: Uint8Array, flags?: number): number;
}

const BROADCAST = new Uint8Array(ETH_ALEN).fill(0xff);
/** Addresses that are kept in all; a guest that has more gets everything. */
export const MOST_ADDRESSES = 1024;

/** As a card is before its driver says anything: it gets all there is. */
const initial = (): RxFilterState => ({
  promisc: true,
  allmulti: false,
  alluni: false,
  nomulti: false,
  nouni: false,
  nobcast: false,
  unicast: [],
  multicast: [],
  vlans: [],
});

export class RxFilter {
  readonly #queue: FilteringQueue | undefined;
  #state = initial();
  #mac: Uint8Array;

  /** Without a queue that filters, what was asked for is only kept. */
  constructor(queue: FilteringQueue | undefined, mac: Uint8Array) {
    this.#queue = queue;
    this.#mac = mac;
  }

  /** A copy. */
  get state(): RxFilterState {
    const { unicast, multicast, vlans, ...modes } = this.#state;
    const copies = (list: Uint8Array[]) => list.map((mac) => mac.slice());
    return {
      ...modes,
      unicast: copies(unicast),
      multicast: copies(multicast),
      vlans: [...vlans],
    };
  }

  setMode(mode: RxMode, on: boolean): boolean {
    return this.#change({ [mode]: on });
  }

  setTable(unicast: Uint8Array[], multicast: Uint8Array[]): boolean {
    if (unicast.length + multicast.length > MOST_ADDRESSES) return this.#change({ promisc: true });
    return this.#change({ unicast, multicast });
  }

  setVlan(id: number, on: boolean): boolean {
    const others = this.#state.vlans.filter((other) => other !== id);
    this.#state.vlans = on ? [...others, id] : others;
    return true;
  }

  setMac(mac: Uint8Array): boolean {
    this.#mac = mac;
    return this.#apply(this.#state);
  }

  /** Back to the beginning: a card that was reset gets everything. */
  reset(mac: Uint8Array): void {
    this.#mac = mac;
    this.#change(initial());
  }

  /** As another card had it. */
  restore(state: RxFilterState, mac: Uint8Array): void {
    this.#mac = mac;
    this.#state = state;
    this.#apply(state);
  }

  #change(change: Partial<RxFilterState>): boolean {
    const next = { ...this.#state, ...change };
    if (!this.#apply(next)) return false;
    this.#state = next;
    return true;
  }

  #apply(state: RxFilterState): boolean {
    if (!this.#queue) return true;
    try {
      // No address: no filter.
      const { addresses, flags } = filterOf(state, this.#mac);
      this.#queue.setTxFilter(addresses, flags);
      return true;
    } catch (error) {
      logDevice('the TAP does not filter: %o', error);
      return false;
    }
  }
}

/** What the TAP is told; no address where it is to hand over everything. */
function filterOf(state: RxFilterState, mac: Uint8Array): { addresses: Uint8Array; flags: number } {
  const { promisc, allmulti, alluni, nomulti, nouni, nobcast, unicast, multicast } = state;
  if (promisc || alluni) return { addresses: new Uint8Array(0), flags: 0 };
  const list = [
    ...(nouni ? [] : [mac, ...unicast]),
    ...(nobcast ? [] : [BROADCAST]),
    ...(nomulti ? [] : multicast),
  ];
  // It filters by none where it is given none: the card's own address does no harm.
  if (list.length === 0) list.push(mac);
  const addresses = new Uint8Array(list.length * ETH_ALEN);
  list.forEach((one, i) => {
    addresses.set(one, i * ETH_ALEN);
  });
  return { addresses, flags: allmulti && !nomulti ? TUN_FLT_ALLMULTI : 0 };
}
