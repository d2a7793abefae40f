/** How a vhost-user back end is to be, and what it tells of. */
import { checkInteger, valueError } from '../errors.js';
import { VHOST_USER_PROTOCOL_F_CONFIG } from '../uapi/vhost-user.js';
import { bit } from '../uapi/virtio-net.js';
import { checkConfig } from './backend-config.js';
import type { VhostUserDevice } from './backend-device.js';
import {
  BACKEND_FEATURES,
  BACKEND_OFFLOADS,
  BACKEND_PROTOCOL_FEATURES,
  type BackendLimits,
} from './backend-features.js';
import type { MemoryPolicy } from './backend-memory.js';
import type { SessionHooks } from './backend-session.js';

/** Queue pairs that a message can name the rings of. */
const MOST_PAIRS = 128;

export interface VhostUserBackendOptions extends SessionHooks {
  /** The socket: where to listen, or who to connect to. */
  path: string;
  /** Queue pairs on offer to each front-end, 1 to 128. Default: 128. */
  queuePairs?: number;
  /**
   * Checksums and TCP segmentation are on offer, in both directions: frames come with them undone, and may be
   * given so. Default: false.
   */
  offload?: boolean;
  /** Virtio features that are not to be offered, a mask. Default: none. */
  without?: bigint;
  /** Features of the protocol that are not to be offered, a mask. Default: none. */
  withoutProtocol?: bigint;
  /**
   * The configuration of the devices, `struct virtio_net_config` and 1 to 256 bytes, of which each has a copy: its
   * front-end may read and write it (`CONFIG`). Default: none, the front-end has it.
   */
  config?: Uint8Array;
  /**
   * `'guarded'`: a front-end that cuts its shared files short loses its connection. `'sealed'`: memory that is not
   * sealed against it (`F_SEAL_SHRINK`) is refused. Default: `'guarded'`.
   */
  memory?: MemoryPolicy;
}

export interface VhostUserBackendEvents {
  /** A front-end connected (DPDK's `new_connection`). */
  connect: [device: VhostUserDevice];
  /** It is gone, and nothing of its device is left (`destroy_connection`). `error` as `'close'` of a connection. */
  disconnect: [device: VhostUserDevice, error: Error | undefined];
  /** Its device runs: frames go both ways (`new_device`). */
  start: [device: VhostUserDevice];
  /** It does not any more (`destroy_device`). */
  stop: [device: VhostUserDevice];
  /** A ring, 2·pair for what the guest receives and 2·pair + 1 for what it sends, is served or not (`vring_state_changed`). */
  ring: [device: VhostUserDevice, ring: number, active: boolean];
  /** The front-end acknowledged features (`features_changed`). */
  features: [device: VhostUserDevice, features: bigint];
  /** The guest was called for a ring (`guest_notified`). */
  notified: [device: VhostUserDevice, ring: number];
  /** The guest's driver broke a ring, which is stopped: `ERR_RING_BROKEN`. */
  ringError: [device: VhostUserDevice, ring: number, error: Error];
  /** The back end cannot accept, or not connect, for other reasons than that nobody is there. */
  error: [error: Error];
}

/** Throws `ERR_OUT_OF_RANGE`, `ERR_INVALID_ARG_VALUE`, `ERR_INVALID_ARG_TYPE`. */
export function limitsOf(options: VhostUserBackendOptions): BackendLimits {
  const { queuePairs = MOST_PAIRS, offload = false, memory = 'guarded' } = options;
  if (memory !== 'guarded' && memory !== 'sealed') {
    throw valueError(`memory is 'guarded' or 'sealed', not '${String(memory)}'`);
  }
  const features = BACKEND_FEATURES | (offload ? BACKEND_OFFLOADS : 0n);
  const config = checkConfig(options.config);
  const protocolFeatures =
    BACKEND_PROTOCOL_FEATURES | (config ? bit(VHOST_USER_PROTOCOL_F_CONFIG) : 0n);
  return {
    features: features & ~(options.without ?? 0n),
    protocolFeatures: protocolFeatures & ~(options.withoutProtocol ?? 0n),
    config,
    queuePairs: checkInteger('queuePairs', queuePairs, 1, MOST_PAIRS),
    memory,
  };
}
