/** What a port can be opened with, and what of it cannot be. */
import { checkInteger, rangeError, typeError, valueError } from '../errors.js';
import { checkInterfaceName } from '../host/net-interface.js';
import { MEANING_CHANGERS, PORT_FEATURES } from '../net/features.js';
import { VHOST_F_LOG_ALL } from '../uapi/vhost.js';
import { bit, featureNames, VIRTIO_F_ACCESS_PLATFORM } from '../uapi/virtio-net.js';
import { checkRingSize } from '../vring/layout.js';

export interface NetPortOptions {
  /** Name of the TAP: joined if it exists, else created, for as long as the port is open. */
  tap: string;
  /** Descriptors of each ring: a power of two from 2 to 32768. Default: 256. */
  queueSize?: number;
  /**
   * Bytes of each receive buffer, header included, from 128 to 65600. A longer frame is put together
   * of several (with VIRTIO_NET_F_MRG_RXBUF) or dropped (without). Default: 1600.
   */
  bufferSize?: number;
  /**
   * The virtio features to ask for; of these, the backend's are used. Default: `PORT_FEATURES`. A bit
   * that changes what the rings mean (`MEANING_CHANGERS`) must be offered where it is asked for.
   */
  features?: bigint;
  /** Bring the interface up. Default: true. */
  up?: boolean;
  /** Fail with `EBUSY` rather than join an interface that exists. Default: false. */
  exclusive?: boolean;
}

export type CheckedPortOptions = Required<NetPortOptions>;

/**
 * 1526 bytes hold a full Ethernet frame with its header. 25 cache lines, an odd number, let
 * consecutive buffers begin in different sets of the cache.
 */
const DEFAULT_BUFFER_SIZE = 1600;

/** Throws a `TypeError` or `RangeError` that names the option. */
export function checkPortOptions(options: NetPortOptions): CheckedPortOptions {
  if (typeof options !== 'object' || options === null) {
    throw typeError("options must be an object, as { tap: 'vnet0' }");
  }
  const tap = checkInterfaceName(options.tap);
  const queueSize = checkRingSize('queueSize', options.queueSize ?? 256);
  if (queueSize < 2) throw rangeError('queueSize must be a power of two from 2 to 32768, not 1');
  const bufferSize = checkInteger(
    'bufferSize',
    options.bufferSize ?? DEFAULT_BUFFER_SIZE,
    128,
    65_600,
  );
  const features = options.features ?? PORT_FEATURES;
  if (typeof features !== 'bigint') throw typeError('features must be a bigint');
  const unsupported = features & (bit(VHOST_F_LOG_ALL) | bit(VIRTIO_F_ACCESS_PLATFORM));
  if (unsupported !== 0n) {
    throw valueError(`a port cannot use ${featureNames(unsupported).join(', ')}`);
  }
  return {
    tap,
    queueSize,
    bufferSize,
    features,
    up: options.up ?? true,
    exclusive: options.exclusive ?? false,
  };
}

/** The bits of {@link MEANING_CHANGERS} that are asked for by name, and so must be offered. */
export function requiredFeatures(features: bigint): bigint {
  return features & MEANING_CHANGERS;
}
