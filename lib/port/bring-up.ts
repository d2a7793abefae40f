/** What a port is made of, and making it: all of it, or nothing. */
import { LinkMonitor } from '../host/link-monitor.js';
import { Tap, UNLIMITED_SEND_BUFFER } from '../host/tap.js';
import { logPort } from '../log.js';
import { negotiate } from '../net/features.js';
import { headerLengthOf } from '../net/header.js';
import { VHOST_NET_F_VIRTIO_NET_HDR } from '../uapi/vhost.js';
import { hasBit } from '../uapi/virtio-net.js';
import type { VhostBackend } from '../vhost/backend.js';
import { KernelBackend } from '../vhost/kernel-backend.js';
import { noCounters, type PortCounters } from './counters.js';
import { giveBack } from './give-back.js';
import { type CheckedPortOptions, requiredFeatures } from './port-options.js';
import { QueuePair } from './queue-pair.js';

export interface PortParts {
  tap: Tap;
  /** The acknowledged virtio features. */
  features: bigint;
  /** Running. */
  backend: VhostBackend;
  pair: QueuePair;
  counters: PortCounters;
  monitor: LinkMonitor;
}

/**
 * Opens and starts everything that a port needs, and hands it to `make`. Where a step or `make` throws,
 * everything before is given back, and the error goes on.
 */
export async function withParts<T>(
  options: CheckedPortOptions,
  make: (parts: PortParts) => T,
): Promise<T> {
  const supplied = hasBit(options.features, VHOST_NET_F_VIRTIO_NET_HDR);
  const undo: (() => unknown)[] = [];
  try {
    const tap = Tap.open(options.tap, { vnetHeader: !supplied, exclusive: options.exclusive });
    undo.unshift(() => tap.closeAsync());
    const backend = KernelBackend.open([tap]);
    undo.unshift(() => backend.close());
    const required = requiredFeatures(options.features);
    const features = negotiate(backend.features, options.features, required);
    if (!supplied) tap.setVnetHeaderSize(headerLengthOf(features));
    // A TAP that persists may have another from its last use.
    tap.setSendBuffer(UNLIMITED_SEND_BUFFER);
    const counters = noCounters();
    const { queueSize, bufferSize } = options;
    const pair = new QueuePair({ queueSize, bufferSize, features, counters });
    // Behind the backend in this list: it must let go of the memory first.
    undo.splice(1, 0, () => pair.close());
    const monitor = LinkMonitor.open();
    undo.unshift(() => monitor.close());
    await backend.start({ memory: pair.memory, features, pairs: [pair.config] });
    // Who may use a TAP that somebody prepared need not have the right to bring it up.
    if (options.up && !tap.interface.up) tap.interface.setUp();
    return make({ tap, features, backend, pair, counters, monitor });
  } catch (error) {
    // What was wrong first is the news.
    await giveBack(undo).catch((another) => logPort('undoing: %o', another));
    throw error;
  }
}
