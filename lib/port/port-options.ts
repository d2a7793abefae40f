/** What a port can be opened with, and what of it cannot be. */
import { checkInteger, rangeError, typeError, valueError } from '../errors.js';
import { checkInterfaceName } from '../host/net-interface.js';
import { MEANING_CHANGERS, PORT_FEATURES } from '../net/features.js';
import { OFFLOADS, type OffloadName, type OffloadWish, offloadWish } from '../net/offload-names.js';
import { VHOST_F_LOG_ALL, VHOST_NET_F_VIRTIO_NET_HDR } from '../uapi/vhost.js';
import {
  bit,
  featureNames,
  hasBit,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../uapi/virtio-net.js';
import {
  type CheckedFrontendOptions,
  checkFrontendOptions,
  type VhostUserFrontendOptions,
} from '../vhost-user/frontend-options.js';
import { checkRingSize } from '../vring/layout.js';
import { PORT_BACKENDS, type PortBackend } from './port-backend.js';

/** Descriptors of a queue pair that somebody with the right opened. They are duplicated. */
export interface QueueDescriptors {
  /** A TAP queue. */
  tap: number;
  /** A vhost-net device without an owner. Default: open one. */
  vhost?: number;
}

/** Where the vhost-user back end of a port is; it has as many queue pairs as the port. */
export type PortSocket = Omit<VhostUserFrontendOptions, 'queuePairs'>;

export interface NetPortOptions {
  /** Name of the TAP: joined if it exists, else created, for as long as the port is open. */
  tap?: string;
  /** Instead of `tap`, queues that are open already: one for each queue pair. */
  queues?: readonly QueueDescriptors[];
  /**
   * Instead of `tap`, a vhost-user back end: the path where it listens, or more of how it is come to. Such a port
   * has no TAP: its link is up while the back end is there.
   */
  socket?: string | PortSocket;
  /**
   * Queue pairs, 1 to 256 (to 128 with `socket`): each with a vhost device, a worker and a TAP queue of its own. What is sent
   * spreads over them, and a flow stays on its pair. Default: 1.
   */
  queuePairs?: number;
  /** Descriptors of each ring: a power of two from 2 to 32768. Default: 256. */
  queueSize?: number;
  /**
   * Bytes of each receive buffer, header included, from 128 to 65600. A longer frame is put together
   * of several (with VIRTIO_NET_F_MRG_RXBUF; all of them together hold at least 65600 bytes) or
   * dropped (without). Default: 1600, or what the longest frame needs of a ring of less than 64; 65600
   * with offloads that bring super-frames, so that each lies in one.
   */
  bufferSize?: number;
  /**
   * The virtio features to ask for; of these, the backend's are used. Default: `PORT_FEATURES`. A bit
   * that changes what the rings mean (`MEANING_CHANGERS`) must be offered where it is asked for.
   */
  features?: bigint;
  /**
   * What the host may leave undone, `frame.offload` saying so, and may be left to it: checksums, and
   * cutting super-frames of up to 64 KiB into segments. True asks for all that there is but tunnels, a
   * list for just these; see `OFFLOADS`, {@link NetPort.offloads}. Default: none.
   */
  offload?: boolean | readonly OffloadName[];
  /**
   * µs for which a worker looks for more work before it sleeps, 0 to 2^32 - 1: less delay, for a busy
   * processor. A port that goes on elsewhere has the default there. Default: 0.
   */
  busyPoll?: number;
  /**
   * Who moves the frames: the kernel's vhost-net, or this process, on its event loop. Default: the kernel
   * where the host has `/dev/vhost-net`, else this process; {@link NetPort.backend} tells which it is.
   */
  backend?: PortBackend;
  /** Bring the interface up. Default: true with `tap`, false with `queues`. */
  up?: boolean;
  /** Fail with `EBUSY` rather than join an interface that exists. Default: false. */
  exclusive?: boolean;
}

/** Where a port's queues come from. */
export type QueueSource =
  | { tap: string; queuePairs: number; exclusive: boolean }
  | { queues: readonly QueueDescriptors[] }
  | { socket: CheckedFrontendOptions };

export interface CheckedPortOptions {
  source: QueueSource;
  queuePairs: number;
  queueSize: number;
  bufferSize: number;
  features: bigint;
  offload: OffloadWish;
  busyPoll: number;
  backend: PortBackend | undefined;
  up: boolean;
}

/** The kernel's limit of queues of a TAP. */
const MOST_QUEUE_PAIRS = 256;

/**
 * 1526 bytes hold a full Ethernet frame with its header. 25 cache lines, an odd number, let
 * consecutive buffers begin in different sets of the cache.
 */
const DEFAULT_BUFFER_SIZE = 1600;
/** Bytes that hold any frame of a TAP, whose MTU is 65521 at most, with its header. */
const LARGEST_BUFFER_SIZE = 65_600;

/** Throws a `TypeError` or `RangeError` that names the option. */
export function checkPortOptions(options: NetPortOptions): CheckedPortOptions {
  if (typeof options !== 'object' || options === null) {
    throw typeError("options must be an object, as { tap: 'vnet0' }");
  }
  const source = checkSource(options);
  const queueSize = checkRingSize('queueSize', options.queueSize ?? 256);
  if (queueSize < 2) throw rangeError('queueSize must be a power of two from 2 to 32768, not 1');
  const features = options.features ?? PORT_FEATURES;
  if (typeof features !== 'bigint') throw typeError('features must be a bigint');
  const unsupported = features & (bit(VHOST_F_LOG_ALL) | bit(VIRTIO_F_ACCESS_PLATFORM));
  if (unsupported !== 0n) {
    throw valueError(`a port cannot use ${featureNames(unsupported).join(', ')}`);
  }
  const offload = offloadWish(options.offload);
  if (offload.wanted !== 0 && hasBit(features, VHOST_NET_F_VIRTIO_NET_HDR)) {
    throw valueError(
      'a header that vhost supplies says nothing: leave out offload, or the feature',
    );
  }
  const bufferSize = checkBufferSize(
    options.bufferSize ?? (bringsSuperFrames(offload) ? LARGEST_BUFFER_SIZE : undefined),
    queueSize,
    features,
  );
  return {
    source,
    queuePairs: pairsOf(source),
    queueSize,
    bufferSize,
    features,
    offload,
    backend: checkBackend(options, source),
    busyPoll: checkInteger('busyPoll', options.busyPoll ?? 0, 0, 0xffff_ffff),
    up: options.up ?? 'tap' in source,
  };
}

function pairsOf(source: QueueSource): number {
  if ('queues' in source) return source.queues.length;
  return 'tap' in source ? source.queuePairs : source.socket.queuePairs;
}

function checkSource(options: NetPortOptions): QueueSource {
  const { queues, socket } = options;
  if (socket !== undefined) return { socket: checkSocket(options, socket) };
  if (queues === undefined) {
    const tap = checkInterfaceName(options.tap);
    const queuePairs = options.queuePairs ?? 1;
    checkInteger('queuePairs', queuePairs, 1, MOST_QUEUE_PAIRS);
    return { tap, queuePairs, exclusive: options.exclusive ?? false };
  }
  for (const name of ['tap', 'queuePairs', 'exclusive'] as const) {
    if (options[name] !== undefined) throw valueError(`queues are open already: leave out ${name}`);
  }
  if (!Array.isArray(queues)) throw typeError('queues must be an array, as [{ tap: 3 }]');
  checkInteger('the number of queues', queues.length, 1, MOST_QUEUE_PAIRS);
  for (const queue of queues) {
    if (typeof queue !== 'object' || queue === null)
      throw typeError('a queue must be { tap, vhost? }');
    const { tap, vhost } = queue;
    checkInteger('tap', tap, 0, 0x7fff_ffff);
    if (vhost !== undefined) checkInteger('vhost', vhost, 0, 0x7fff_ffff);
  }
  if (new Set(queues.map(({ vhost }) => vhost === undefined)).size > 1) {
    throw valueError('either every queue has a vhost device, or none');
  }
  return { queues };
}

function checkBackend(
  { backend, busyPoll }: NetPortOptions,
  source: QueueSource,
): PortBackend | undefined {
  if (backend === undefined) return hasDevices(source) ? 'kernel' : undefined;
  if (!PORT_BACKENDS.includes(backend)) {
    throw valueError(`backend must be ${PORT_BACKENDS.join(' or ')}, not ${String(backend)}`);
  }
  if (backend === 'in-process' && (hasDevices(source) || busyPoll !== undefined)) {
    throw valueError("vhost devices and busyPoll are the kernel's: leave them out, or the backend");
  }
  return backend;
}

function hasDevices(source: QueueSource): boolean {
  return 'queues' in source && source.queues.some(({ vhost }) => vhost !== undefined);
}

function checkSocket(options: NetPortOptions, socket: string | PortSocket): CheckedFrontendOptions {
  for (const name of ['tap', 'queues', 'exclusive', 'backend', 'busyPoll', 'up'] as const) {
    if (options[name] !== undefined) {
      throw valueError(`a port on a socket has no TAP and no vhost worker: leave out ${name}`);
    }
  }
  const where = typeof socket === 'string' ? { path: socket } : socket;
  return checkFrontendOptions({ ...where, queuePairs: options.queuePairs ?? 1 });
}

/**
 * A frame that all receive buffers together cannot hold would stop the ring for good: with mergeable
 * buffers the kernel waits until there are enough.
 */
function checkBufferSize(given: unknown, queueSize: number, features: bigint): number {
  const mergeable = hasBit(features, VIRTIO_NET_F_MRG_RXBUF);
  const least = mergeable ? Math.ceil(LARGEST_BUFFER_SIZE / queueSize / 64) * 64 : 0;
  const value = given ?? Math.max(DEFAULT_BUFFER_SIZE, least);
  const bufferSize = checkInteger('bufferSize', value, 128, LARGEST_BUFFER_SIZE);
  if (mergeable && bufferSize * queueSize < LARGEST_BUFFER_SIZE) {
    throw rangeError(
      `${queueSize} receive buffers of ${bufferSize} bytes cannot hold the longest frame: they need ${LARGEST_BUFFER_SIZE} bytes together`,
      `use a bufferSize of at least ${least}, or a larger queueSize`,
    );
  }
  return bufferSize;
}

function bringsSuperFrames({ wanted }: OffloadWish): boolean {
  return (wanted & ~OFFLOADS.csum) !== 0;
}

/** The bits of {@link MEANING_CHANGERS} that are asked for by name, and so must be offered. */
export function requiredFeatures(features: bigint): bigint {
  return features & MEANING_CHANGERS;
}
