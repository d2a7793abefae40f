/** What a port is made of, and making it: all of it, or nothing. */
import type { GuestMemory } from '../host/guest-memory.js';
import { LinkMonitor } from '../host/link-monitor.js';
import { Tap } from '../host/tap.js';
import { UNLIMITED_SEND_BUFFER } from '../host/tun-queue.js';
import { logPort } from '../log.js';
import { negotiate } from '../net/features.js';
import { headerLengthOf } from '../net/header.js';
import { VHOST_NET_F_VIRTIO_NET_HDR } from '../uapi/vhost.js';
import { hasBit } from '../uapi/virtio-net.js';
import { VhostNet } from '../vhost/vhost-net.js';
import { giveBack } from './give-back.js';
import { obtainOffload, offloadNeeds } from './offload.js';
import { openPortBackend } from './port-backend.js';
import { createPortMemory } from './port-memory.js';
import { type CheckedPortOptions, type QueueSource, requiredFeatures } from './port-options.js';
import type { PortState } from './port-state.js';
import { QueuePair } from './queue-pair.js';
import { Serving } from './serving.js';

export interface PortParts {
  /** One queue for each pair. */
  taps: readonly Tap[];
  /** The acknowledged virtio features. */
  features: bigint;
  /** The obtained offloads, as `TUN_F_*`. */
  offload: number;
  memory: GuestMemory;
  pairs: readonly QueuePair[];
  /** Running. */
  serving: Serving;
  monitor: LinkMonitor;
}

/** A port that stopped elsewhere and goes on here. */
export interface Stopped {
  state: PortState;
  /** A descriptor of its memory. */
  memory: number;
}

/**
 * Opens and starts everything that a port needs, and hands it to `make`. Where a step or `make` throws,
 * everything before is given back, and the error goes on.
 */
export async function withParts<T>(
  options: CheckedPortOptions,
  stopped: Stopped | undefined,
  make: (parts: PortParts) => T,
): Promise<T> {
  const { queueSize, bufferSize, queuePairs, source, busyPoll } = options;
  const supplied = hasBit(options.features, VHOST_NET_F_VIRTIO_NET_HDR);
  const undo: (() => unknown)[] = [];
  try {
    const taps = openTaps(source, supplied);
    const [tap] = taps as [Tap];
    undo.unshift(() => Promise.all(taps.map((queue) => queue.closeAsync())));
    const fd = stopped?.memory;
    const { memory, pairs: layouts } = createPortMemory({ queueSize, bufferSize, queuePairs, fd });
    undo.unshift(() => memory.close());
    const devices = openDevices(source);
    const backend = openPortBackend(taps, options.backend, { devices, busyPoll });
    undo.unshift(() => backend.close());
    // A port that goes on has its features already: all of them must be had here too.
    const asked = stopped ? options.features : requiredFeatures(options.features);
    const required = asked | offloadNeeds(options.offload);
    const features = negotiate(backend.features, options.features, required);
    const offload = obtainOffload(tap, options.offload);
    if (!supplied) tap.setVnetHeaderSize(headerLengthOf(features));
    // A TAP that persists may have another from its last use.
    tap.setSendBuffer(UNLIMITED_SEND_BUFFER);
    const pairs: QueuePair[] = [];
    undo.unshift(() => giveBack(pairs.map((pair) => () => pair.close())));
    for (const [index, layout] of layouts.entries()) {
      const state = stopped?.state.pairs[index];
      const pair = { index, memory, layout, queueSize, bufferSize, features, state };
      pairs.push(new QueuePair(pair));
    }
    const monitor = LinkMonitor.open();
    undo.unshift(() => monitor.close());
    const served = stopped?.state.pairs.map((pair) => pair.served);
    const serving = new Serving({ backend, memory, features, taps, pairs, served });
    await serving.start();
    // Who may use a TAP that somebody prepared need not have the right to bring it up.
    if (options.up && !tap.interface.up) tap.interface.setUp();
    return make({ taps, features, offload, memory, pairs, serving, monitor });
  } catch (error) {
    // What was wrong first is the news.
    await giveBack(undo).catch((another) => logPort('undoing: %o', another));
    throw error;
  }
}

function openTaps(source: QueueSource, supplied: boolean): Tap[] {
  if ('tap' in source) {
    const { tap, queuePairs, exclusive } = source;
    return Tap.openQueues(tap, queuePairs, { vnetHeader: !supplied, exclusive });
  }
  return allOrNone(
    source.queues.map(({ tap }) => tap),
    (fd) => Tap.fromFd(fd),
  );
}

/** The devices that came with the queues; none where the backend is to open them. */
function openDevices(source: QueueSource): VhostNet[] {
  if ('tap' in source) return [];
  const fds = source.queues.flatMap(({ vhost }) => (vhost === undefined ? [] : [vhost]));
  return allOrNone(fds, (fd) => VhostNet.fromFd(fd));
}

function allOrNone<T extends { close(): void }>(fds: number[], open: (fd: number) => T): T[] {
  const opened: T[] = [];
  try {
    for (const fd of fds) opened.push(open(fd));
    return opened;
  } catch (error) {
    for (const one of opened) one.close();
    throw error;
  }
}
