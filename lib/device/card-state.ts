/** CardState: all that a card is, for another to go on with: plain data that JSON carries. */
import { valueError } from '../errors.js';
import { formatMac, parseMac } from '../host/net-interface.js';
import type { ConfigSpace } from './config-space.js';
import type { DeviceQueue } from './device-queue.js';
import type { RxFilterState } from './rx-filter.js';

/** Numbers of more than 53 bits are text, `'0x…'`. */
export interface QueueState {
  size: number;
  enabled: boolean;
  /** Position in the avail ring at which the device goes on. */
  base: number;
  /** Guest addresses. */
  desc: string;
  avail: string;
  used: string;
}

export interface CardState {
  status: number;
  /** What the driver took. */
  features: string;
  mac: string;
  /** Status of the configuration: link, announcement. */
  configStatus: number;
  activePairs: number;
  /** The feature bits of offloads that the guest takes now. */
  offloads: string;
  rxFilter: Omit<RxFilterState, 'unicast' | 'multicast'> & {
    unicast: string[];
    multicast: string[];
  };
  queues: QueueState[];
}

export const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** What a card shows its driver. */
interface Shown {
  readonly config: ConfigSpace;
  readonly queues: readonly DeviceQueue[];
  readonly rxFilter: RxFilterState;
}

/** The part of a card's state that can be seen from outside. */
export function saveCard({ config, queues, rxFilter }: Shown) {
  const { unicast, multicast, ...rest } = rxFilter;
  return {
    mac: formatMac(config.mac),
    configStatus: config.status,
    rxFilter: { ...rest, unicast: unicast.map(formatMac), multicast: multicast.map(formatMac) },
    queues: queues.map(({ size, enabled, base, addresses: { desc, avail, used } }) => ({
      size,
      enabled,
      base,
      desc: hex(desc),
      avail: hex(avail),
      used: hex(used),
    })),
  };
}

/** Throws `ERR_INVALID_ARG_VALUE` for queues that are not a card's of so many, or so small ones. */
export function restoreCard({ config, queues }: Omit<Shown, 'rxFilter'>, state: CardState): void {
  if (state.queues.length !== queues.length) {
    throw valueError(`the state has ${state.queues.length} queues, the card ${queues.length}`);
  }
  for (const [i, { size, enabled, base, desc, avail, used }] of state.queues.entries()) {
    const queue = queues[i] as DeviceQueue;
    if (size > queue.maxSize) {
      throw valueError(
        `queue ${i} of the state has ${size} descriptors, the card ${queue.maxSize}`,
      );
    }
    queue.size = size;
    queue.enabled = enabled;
    queue.base = base;
    queue.addresses = { desc: BigInt(desc), avail: BigInt(avail), used: BigInt(used) };
  }
  config.mac = Uint8Array.from(parseMac(state.mac));
  config.status = state.configStatus;
}

export function restoreFilter({
  unicast,
  multicast,
  ...rest
}: CardState['rxFilter']): RxFilterState {
  const bytes = (list: string[]) => list.map((mac) => Uint8Array.from(parseMac(mac)));
  return { ...rest, unicast: bytes(unicast), multicast: bytes(multicast) };
}
