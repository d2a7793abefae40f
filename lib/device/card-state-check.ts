/** Whether a state can be a card's: one that cannot must not change anything. */
import { OFFLOAD_FEATURES } from '../net/offload-features.js';
import {
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
} from '../uapi/virtio-net.js';
import type { CardState, QueueState } from './card-state.js';
import type { DeviceQueue } from './device-queue.js';
import { objectionTo } from './feature-offer.js';
import { MOST_ADDRESSES } from './rx-filter.js';
import {
  checkBoolean,
  checkHex,
  checkList,
  checkMacs,
  checkNumber,
  checkObject,
  stateError,
} from './state-fields.js';

const RX_FLAGS = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const;
const MOST_VLANS = 4096;

interface Card {
  readonly offered: bigint;
  readonly queuePairs: number;
  readonly queues: readonly DeviceQueue[];
}

/** Throws `ERR_INVALID_ARG_VALUE`. What the memory behind it must be, the backend sees. */
export function checkCardState(state: CardState, card: Card): void {
  checkObject('it', state);
  checkNumber('status', state.status, 0xff);
  checkFeatures(state, card.offered);
  checkMacs('mac', [state.mac], 1);
  checkNumber('configStatus', state.configStatus, 0xffff);
  checkNumber('configGeneration', state.configGeneration, 0xff);
  checkNumber('activePairs', state.activePairs, card.queuePairs);
  if (state.activePairs === 0) throw stateError('activePairs is 0');
  checkRxFilter(state.rxFilter);
  checkList('queues', state.queues, Number.POSITIVE_INFINITY);
  if (state.queues.length !== card.queues.length) {
    throw stateError(`the state has ${state.queues.length} queues, the card ${card.queues.length}`);
  }
  for (const [i, queue] of card.queues.entries()) {
    checkQueue(`queue ${i}`, state.queues[i] as QueueState, queue.maxSize);
  }
}

/** Whether a card in this status has its rings served: one that needs a reset waits for that. */
export function isServed(status: number): boolean {
  const served = VIRTIO_CONFIG_S_DRIVER_OK;
  return (status & (served | VIRTIO_CONFIG_S_NEEDS_RESET)) === served;
}

function checkFeatures({ status, features, offloads }: CardState, offered: bigint): void {
  checkHex('features', features, 128);
  checkHex('offloads', offloads, 128);
  const taken = BigInt(features);
  // Before FEATURES_OK it is a part of what the driver is about to take, and nobody looked at it yet.
  const final = (status & VIRTIO_CONFIG_S_FEATURES_OK) !== 0;
  const objection = final ? objectionTo(taken, offered) : undefined;
  if (objection !== undefined) throw stateError(objection);
  if (status & VIRTIO_CONFIG_S_DRIVER_OK && !final) throw stateError(`status is ${status}`);
  if (isServed(status) && BigInt(offloads) & ~(taken & OFFLOAD_FEATURES)) {
    throw stateError(`offloads is ${offloads}, of which features has a part`);
  }
}

function checkRxFilter(filter: CardState['rxFilter']): void {
  checkObject('rxFilter', filter);
  for (const flag of RX_FLAGS) checkBoolean(`rxFilter.${flag}`, filter[flag]);
  checkMacs('rxFilter.unicast', filter.unicast, MOST_ADDRESSES);
  checkMacs('rxFilter.multicast', filter.multicast, MOST_ADDRESSES);
  checkList('rxFilter.vlans', filter.vlans, MOST_VLANS);
  for (const id of filter.vlans) checkNumber('a VLAN', id, MOST_VLANS - 1);
}

function checkQueue(name: string, queue: QueueState, maxSize: number): void {
  checkObject(name, queue);
  const { size } = queue;
  checkNumber(`${name}.size`, size, maxSize);
  if (size === 0 || size & (size - 1)) throw stateError(`${name}.size is ${size}`);
  checkBoolean(`${name}.enabled`, queue.enabled);
  checkNumber(`${name}.base`, queue.base, 0xffff);
  checkBoolean(`${name}.call`, queue.call);
  checkHex(`${name}.desc`, queue.desc, 64);
  checkHex(`${name}.avail`, queue.avail, 64);
  checkHex(`${name}.used`, queue.used, 64);
}
