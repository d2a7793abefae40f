/** CardState: all that a card is, for another to go on with: plain data that JSON carries. */
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
  /** Whether its call was signalled, and nobody took it yet. */
  call: boolean;
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
  /** Which a driver compares that reads the configuration in several accesses. */
  configGeneration: number;
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
  readonly status: number;
  readonly driverFeatures: bigint;
  readonly config: ConfigSpace;
  readonly queues: readonly DeviceQueue[];
  readonly rxFilter: RxFilterState;
}

/** `served`: what its driver had set while the queues were served. They are not any more, and calls are taken. */
export function saveCard(
  card: Shown,
  served: { activePairs: number; offloads: bigint },
): CardState {
  const { status, driverFeatures, config, queues, rxFilter } = card;
  const { unicast, multicast, ...rest } = rxFilter;
  return {
    status,
    features: hex(driverFeatures),
    activePairs: served.activePairs,
    offloads: hex(served.offloads),
    mac: formatMac(config.mac),
    configStatus: config.status,
    configGeneration: config.generation,
    rxFilter: { ...rest, unicast: unicast.map(formatMac), multicast: multicast.map(formatMac) },
    queues: queues.map(({ size, enabled, base, call, addresses: { desc, avail, used } }) => ({
      size,
      enabled,
      base,
      call: call.read() > 0,
      desc: hex(desc),
      avail: hex(avail),
      used: hex(used),
    })),
  };
}

/** For a state that {@link checkCardState} let pass. */
export function restoreCard(
  { config, queues }: Pick<Shown, 'config' | 'queues'>,
  state: CardState,
): void {
  for (const [i, { size, enabled, base, desc, avail, used }] of state.queues.entries()) {
    const queue = queues[i] as DeviceQueue;
    queue.size = size;
    queue.enabled = enabled;
    queue.base = base;
    queue.addresses = { desc: BigInt(desc), avail: BigInt(avail), used: BigInt(used) };
  }
  // It goes up with each of the next: whoever reads the fields meanwhile reads them again.
  config.generation = state.configGeneration;
  config.mac = Uint8Array.from(parseMac(state.mac));
  config.status = state.configStatus;
}

/** What waited goes on: whoever serves the rings looks at them, and a call that nobody took is there again. */
export function wakeQueues(queues: readonly DeviceQueue[], state: CardState): void {
  for (const [i, { kick, call, enabled }] of queues.entries()) {
    // Of what the driver notified meanwhile nobody knows: once too often does no harm.
    if (enabled) kick.signal();
    if (state.queues[i]?.call) call.signal();
  }
}

export function restoreFilter({
  unicast,
  multicast,
  ...rest
}: CardState['rxFilter']): RxFilterState {
  const bytes = (list: string[]) => list.map((mac) => Uint8Array.from(parseMac(mac)));
  return { ...rest, unicast: bytes(unicast), multicast: bytes(multicast) };
}
