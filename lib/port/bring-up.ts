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
import type { VhostBackend } from '../vhost/backend.js';
import { VhostNet } from '../vhost/vhost-net.js';
import { VhostUserFrontend } from '../vhost-user/frontend.js';
import type { CheckedFrontendOptions } from '../vhost-user/frontend-options.js';
import { giveBack } from './give-back.js';
import { type LinkListener, LinkState, type PortLink } from './link-state.js';
import { obtainOffload, obtainPeerOffload, offloadNeeds } from './offload.js';
import { PeerLink } from './peer-link.js';
import { openPortBackend } from './port-backend.js';
import { createPortMemory } from './port-memory.js';
import { type CheckedPortOptions, type QueueSource, requiredFeatures } from './port-options.js';
import type { PortState } from './port-state.js';
import { QueuePair } from './queue-pair.js';
import { Serving } from './serving.js';

export interface PortParts {
  /** The interface, or the socket. */
  name: string;
  /** One queue for each pair; none on a socket. */
  taps: readonly Tap[];
  /** The acknowledged virtio features. */
  features: bigint;
  /** The obtained offloads, as `TUN_F_*`. */
  offload: number;
  memory: GuestMemory;
  pairs: readonly QueuePair[];
  /** Running. */
  serving: Serving;
  /** Tells of the link from now on. */
  watch(listener: LinkListener): PortLink;
}

/** What moves frames between a port's rings and the world. */
type Ground = Pick<PortParts, 'name' | 'taps' | 'watch' | 'features' | 'offload'> & {
  backend: VhostBackend;
};

type InterfaceSource = Exclude<QueueSource, { socket: unknown }>;

/** What is to be done, last first, to give back what was opened. */
type Undo = (() => unknown)[];

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
  const { queueSize, bufferSize, queuePairs, source } = options;
  const undo: Undo = [];
  try {
    const fd = stopped?.memory;
    const { memory, pairs: layouts } = createPortMemory({ queueSize, bufferSize, queuePairs, fd });
    undo.unshift(() => memory.close());
    // A port that goes on has its features already: all of them must be had here too.
    const required = stopped ? options.features : requiredFeatures(options.features);
    const ground =
      'socket' in source
        ? await openSocket(source.socket, options, required, undo)
        : openInterface(source, options, required, undo);
    const { backend, features, taps } = ground;
    const pairs: QueuePair[] = [];
    undo.unshift(() => giveBack(pairs.map((pair) => () => pair.close())));
    for (const [index, layout] of layouts.entries()) {
      const state = stopped?.state.pairs[index];
      const pair = { index, memory, layout, queueSize, bufferSize, features, state };
      pairs.push(new QueuePair(pair));
    }
    const served = stopped?.state.pairs.map((pair) => pair.served);
    const serving = new Serving({ backend, memory, features, taps, pairs, served });
    await serving.start();
    // Who may use a TAP that somebody prepared need not have the right to bring it up.
    const host = options.up ? taps[0]?.interface : undefined;
    if (host && !host.up) host.setUp();
    return make({ ...ground, memory, pairs, serving });
  } catch (error) {
    // What was wrong first is the news.
    await giveBack(undo).catch((another) => logPort('undoing: %o', another));
    throw error;
  }
}

function openInterface(
  source: InterfaceSource,
  options: CheckedPortOptions,
  asked: bigint,
  undo: Undo,
): Ground {
  const { busyPoll } = options;
  const supplied = hasBit(options.features, VHOST_NET_F_VIRTIO_NET_HDR);
  const taps = openTaps(source, supplied);
  const [tap] = taps as [Tap];
  undo.unshift(() => Promise.all(taps.map((queue) => queue.closeAsync())));
  const devices = openDevices(source);
  const backend = openPortBackend(taps, options.backend, { devices, busyPoll });
  undo.unshift(() => backend.close());
  const required = asked | offloadNeeds(options.offload);
  const features = negotiate(backend.features, options.features, required);
  const offload = obtainOffload(tap, options.offload);
  if (!supplied) tap.setVnetHeaderSize(headerLengthOf(features));
  // A TAP that persists may have another from its last use.
  tap.setSendBuffer(UNLIMITED_SEND_BUFFER);
  const monitor = LinkMonitor.open();
  undo.unshift(() => monitor.close());
  const watch = (listener: LinkListener) => new LinkState(tap, monitor, listener);
  return {
    ...{ taps, backend, features, offload, watch },
    // When all runs: what only tells must not be the first that fails.
    get name() {
      return tap.interface.name;
    },
  };
}

async function openSocket(
  socket: CheckedFrontendOptions,
  options: CheckedPortOptions,
  required: bigint,
  undo: Undo,
): Promise<Ground> {
  const backend = await VhostUserFrontend.open(socket);
  undo.unshift(() => backend.close());
  const { offload, needs } = obtainPeerOffload(backend.features, options.offload);
  const features = negotiate(backend.features, options.features | needs, required);
  const watch = (listener: LinkListener) => new PeerLink(backend, listener);
  return { name: socket.path, taps: [], backend, features, offload, watch };
}

function openTaps(source: InterfaceSource, supplied: boolean): Tap[] {
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
function openDevices(source: InterfaceSource): VhostNet[] {
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
