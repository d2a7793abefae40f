/** A stopped port as plain data: with the descriptors of its memory and queues, it goes on elsewhere. */
import { typeError, valueError } from '../errors.js';
import type { OffloadName } from '../net/offload-names.js';
import type { PairState } from './queue-pair.js';

/** Can be sent as JSON. Addresses in it are offsets in the port's memory. */
export interface PortState {
  version: 1;
  /** The acknowledged virtio features, as `'0x…'`. */
  features: string;
  /** The offloads that the port has. */
  offload: readonly OffloadName[];
  /** Descriptors of each ring. */
  queueSize: number;
  /** Bytes of each receive buffer. */
  bufferSize: number;
  pairs: readonly (PairState & {
    /** Whether the pair is served while the port runs. */
    served: boolean;
  })[];
}

/** Throws a `TypeError` for what is no state; its rings' own parts are checked where they are used. */
export function checkPortState(state: PortState): bigint {
  if (typeof state !== 'object' || state === null) throw typeError('state must be an object');
  if (state.version !== 1) throw valueError(`a port's state has version 1, not ${state.version}`);
  if (!/^0x[0-9a-f]{1,32}$/.test(state.features) || !Array.isArray(state.pairs)) {
    throw typeError('state is no state of a port');
  }
  return BigInt(state.features);
}
