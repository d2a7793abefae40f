/** What a back end does for each request of a front-end. What one throws is why it is refused. */
import { ReceivedDescriptor, UnixSocket } from '../host/unix-socket.js';
import * as uapi from '../uapi/vhost-user.js';
import { checkProtocolFeatures } from './backend-features.js';
import { BackendInflight } from './backend-inflight.js';
import { BackendLog } from './backend-log.js';
import { BackendMemory, MOST_MEMORY_SLOTS } from './backend-memory.js';
import type { BackendState } from './backend-state.js';
import type {
  VhostUserReplyPayload,
  VhostUserRequest,
  VhostUserRequestName,
} from './message-types.js';
import type { VhostUserVringFile } from './ring-payloads.js';
import { eventFdOf } from './ring-signal.js';

/** The reply of a request that has one of its own. */
export interface OwnReply<N extends VhostUserRequestName = VhostUserRequestName> {
  payload: VhostUserReplyPayload<N>;
  /** Closed when it was sent. */
  descriptor?: ReceivedDescriptor;
}

type Handler<N extends VhostUserRequestName> = (
  state: BackendState,
  payload: VhostUserRequest<N>['payload'],
  fds: readonly number[],
) => OwnReply<N> | undefined;

type Handlers = { readonly [N in VhostUserRequestName]?: Handler<N> };

const SHORTEST_MTU = 68;
const LONGEST_MTU = 65_535;

/** Where a ring's signals go when no descriptor came. */
function without(state: BackendState): 'in-band' | undefined {
  const inBand = state.has(uapi.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);
  return inBand ? 'in-band' : undefined;
}

function fdOf({ noDescriptor }: VhostUserVringFile, fds: readonly number[]): number | undefined {
  return noDescriptor ? undefined : fds[0];
}

/** Throws unless a number is small enough to be one. */
function small(what: string, value: bigint, least: number, most: number): number {
  if (value < BigInt(least) || value > BigInt(most)) {
    throw new Error(`its ${what} is ${value}, and can be from ${least} to ${most}`);
  }
  return Number(value);
}

const NEGOTIATION: Handlers = {
  VHOST_USER_GET_FEATURES: ({ limits }) => ({ payload: limits.features }),
  VHOST_USER_SET_FEATURES(state, features) {
    state.setFeatures(features);
    return undefined;
  },
  VHOST_USER_GET_PROTOCOL_FEATURES: ({ limits }) => ({ payload: limits.protocolFeatures }),
  VHOST_USER_SET_PROTOCOL_FEATURES(state, chosen) {
    checkProtocolFeatures(chosen, state.limits.protocolFeatures);
    state.protocolFeatures = chosen;
    return undefined;
  },
  VHOST_USER_GET_QUEUE_NUM: ({ limits }) => ({ payload: BigInt(limits.queuePairs) }),
  VHOST_USER_SET_OWNER: () => undefined,
  // Deprecated, and meant by some as a reset, by others as nothing: rings that are stopped harm neither.
  VHOST_USER_RESET_OWNER(state) {
    state.reset();
    return undefined;
  },
  VHOST_USER_RESET_DEVICE(state) {
    state.reset();
    return undefined;
  },
  VHOST_USER_SET_STATUS(state, status) {
    state.status = small('status', status, 0, 255);
    return undefined;
  },
  VHOST_USER_GET_STATUS: ({ status }) => ({ payload: BigInt(status) }),
  VHOST_USER_NET_SET_MTU(state, mtu) {
    state.mtu = small('MTU', mtu, SHORTEST_MTU, LONGEST_MTU);
    return undefined;
  },
  VHOST_USER_SEND_RARP(state, mac) {
    // The address is the first six bytes of the number as it lies in memory.
    state.announce(new Uint8Array(BigUint64Array.of(mac).buffer, 0, 6));
    return undefined;
  },
  VHOST_USER_GET_CONFIG({ config }, { offset, bytes }) {
    const read = config.read(offset, bytes.length);
    // No payload is how a front-end is told of an error.
    return { payload: read && { offset, flags: 0, bytes: read } };
  },
  VHOST_USER_SET_CONFIG({ config }, { offset, bytes }) {
    config.write(offset, bytes);
    return undefined;
  },
  VHOST_USER_SET_BACKEND_REQ_FD(state, _, [fd = -1]) {
    state.setChannel(UnixSocket.fromFd(fd, 'stream'));
    return undefined;
  },
};

const MEMORY: Handlers = {
  VHOST_USER_SET_MEM_TABLE(state, regions, fds) {
    const memory = BackendMemory.map(regions, fds, state.limits.memory);
    replace(state, memory);
    return undefined;
  },
  VHOST_USER_GET_MAX_MEM_SLOTS: () => ({ payload: BigInt(MOST_MEMORY_SLOTS) }),
  VHOST_USER_ADD_MEM_REG(state, region, fds) {
    const { memory, limits } = state;
    replace(
      state,
      memory
        ? memory.plus(region, fds[0] as number, limits.memory)
        : BackendMemory.map([region], fds, limits.memory),
    );
    return undefined;
  },
  VHOST_USER_REM_MEM_REG(state, region) {
    if (!state.memory) throw new Error('there is no such region');
    replace(state, state.memory.minus(region));
    return undefined;
  },
  VHOST_USER_SET_LOG_BASE(state, log, [fd = -1]) {
    if (typeof log === 'bigint') throw new Error('a log without a descriptor cannot be shared');
    if (!state.has(uapi.VHOST_USER_PROTOCOL_F_LOG_SHMFD)) {
      throw new Error('a log with a descriptor needs LOG_SHMFD, which was not negotiated');
    }
    state.setLog(BackendLog.map(log, fd));
    return { payload: 0n };
  },
  VHOST_USER_SET_LOG_FD(state, _, [fd = -1]) {
    state.setLogEvent(eventFdOf(fd));
    return undefined;
  },
  VHOST_USER_GET_INFLIGHT_FD(state, wanted) {
    const inflight = BackendInflight.create(wanted, 2 * state.limits.queuePairs);
    state.setInflight(inflight);
    return {
      payload: inflight.told,
      descriptor: ReceivedDescriptor.fromFd(inflight.fd),
    };
  },
  VHOST_USER_SET_INFLIGHT_FD(state, given, [fd = -1]) {
    state.setInflight(BackendInflight.map(given, fd, 2 * state.limits.queuePairs));
    return undefined;
  },
};

const RINGS: Handlers = {
  VHOST_USER_SET_VRING_NUM(state, { index, num }) {
    state.ring(index).setSize(num);
    return undefined;
  },
  VHOST_USER_SET_VRING_ADDR(state, addresses) {
    state.ring(addresses.index).setAddresses(addresses, state.memory);
    return undefined;
  },
  VHOST_USER_SET_VRING_BASE(state, { index, num }) {
    state.ring(index).setBase(num);
    return undefined;
  },
  VHOST_USER_GET_VRING_BASE(state, { index }) {
    return { payload: { index, num: state.stopRing(state.ring(index)) } };
  },
  VHOST_USER_SET_VRING_KICK(state, file, fds) {
    const ring = state.ring(file.index);
    ring.setKick(fdOf(file, fds), without(state) ?? 'polled');
    state.pairOf(file.index)?.listen(ring);
    return undefined;
  },
  VHOST_USER_SET_VRING_CALL(state, file, fds) {
    state.ring(file.index).setCall(fdOf(file, fds), without(state));
    return undefined;
  },
  VHOST_USER_SET_VRING_ERR(state, file, fds) {
    state.ring(file.index).setErr(fdOf(file, fds), without(state));
    return undefined;
  },
  // Before SET_FEATURES as well: QEMU enables the rings of a virtio-net device when it makes it.
  VHOST_USER_SET_VRING_ENABLE(state, { index, num }) {
    const enabled = small('value', BigInt(num), 0, 1) === 1;
    state.ring(index).use = enabled ? 'enabled' : 'disabled';
    return undefined;
  },
  VHOST_USER_VRING_KICK(state, { index }) {
    state.pairOf(index)?.kicked(state.ring(index));
    return undefined;
  },
};

export const HANDLERS: Handlers = { ...NEGOTIATION, ...MEMORY, ...RINGS };

/** Replaces the memory, or lets go of the new one. */
function replace(state: BackendState, memory: BackendMemory | undefined): void {
  const { memory: before } = state;
  try {
    state.replaceMemory(memory);
  } catch (error) {
    memory?.close(before);
    throw error;
  }
}
