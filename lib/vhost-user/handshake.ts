/** The first words of a session: which features both ends have, and who owns the device. */
import { StateError } from '../errors.js';
import { UnixSocket } from '../host/unix-socket.js';
import * as uapi from '../uapi/vhost-user.js';
import { bit, featureNames, hasBit } from '../uapi/virtio-net.js';
import { disconnected } from './errors.js';
import { RequestChannel } from './request-channel.js';
import { Session } from './session.js';

/** The protocol features that a front end of this library has. */
export const FRONTEND_PROTOCOL_FEATURES: bigint =
  bit(uapi.VHOST_USER_PROTOCOL_F_MQ) |
  bit(uapi.VHOST_USER_PROTOCOL_F_LOG_SHMFD) |
  bit(uapi.VHOST_USER_PROTOCOL_F_RARP) |
  bit(uapi.VHOST_USER_PROTOCOL_F_REPLY_ACK) |
  bit(uapi.VHOST_USER_PROTOCOL_F_MTU) |
  bit(uapi.VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
  bit(uapi.VHOST_USER_PROTOCOL_F_CONFIG) |
  bit(uapi.VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
  bit(uapi.VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
  bit(uapi.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
  bit(uapi.VHOST_USER_PROTOCOL_F_STATUS);

export interface HandshakeOptions {
  /** Of those that this end has, which it may use. */
  protocolFeatures: bigint;
  /** What the back end must have. */
  needed: { features: bigint; queuePairs: number };
  /** ms that the back end may take to answer. */
  timeout: number;
  /** Ends it. */
  signal?: AbortSignal | undefined;
}

/**
 * Negotiates over a socket, and takes the device. Rejects with `ERR_FEATURES_NOT_OFFERED` where the back end has
 * less than is needed, and what a {@link Session} does; then the socket is closed.
 */
export async function openSession(socket: UnixSocket, options: HandshakeOptions): Promise<Session> {
  const session = new Session(socket, options.timeout);
  const { signal } = options;
  const abort = () => session.close(signal?.reason);
  signal?.addEventListener('abort', abort);
  try {
    signal?.throwIfAborted();
    await shakeHands(session, options);
    if (session.closed) throw disconnected('right after the handshake');
    return session;
  } catch (error) {
    session.close();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

async function shakeHands(
  session: Session,
  { protocolFeatures, needed }: HandshakeOptions,
): Promise<void> {
  const { payload: features } = await session.ask('VHOST_USER_GET_FEATURES', undefined);
  session.features = features;
  if (hasBit(features, uapi.VHOST_USER_F_PROTOCOL_FEATURES)) {
    const { payload: offered } = await session.ask('VHOST_USER_GET_PROTOCOL_FEATURES', undefined);
    const agreed = offered & protocolFeatures & FRONTEND_PROTOCOL_FEATURES;
    await session.command('VHOST_USER_SET_PROTOCOL_FEATURES', agreed);
    session.agree(agreed, hasBit(agreed, uapi.VHOST_USER_PROTOCOL_F_REPLY_ACK));
  }
  if (session.has(uapi.VHOST_USER_PROTOCOL_F_MQ)) {
    const { payload } = await session.ask('VHOST_USER_GET_QUEUE_NUM', undefined);
    session.queuePairs = atMost(payload, MOST_QUEUE_PAIRS);
  }
  if (session.has(uapi.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
    const { payload } = await session.ask('VHOST_USER_GET_MAX_MEM_SLOTS', undefined);
    session.memorySlots = atMost(payload, 0xffff);
  }
  checkNeeds(session, needed);
  if (session.has(uapi.VHOST_USER_PROTOCOL_F_BACKEND_REQ)) await openChannel(session);
  await session.command('VHOST_USER_SET_OWNER', undefined);
  await session.settle();
}

/** Queue pairs whose rings a message about a descriptor can name. */
export const MOST_QUEUE_PAIRS = (uapi.VHOST_USER_VRING_IDX_MASK + 1) / 2;

function atMost(told: bigint, most: number): number {
  return told > BigInt(most) ? most : Number(told);
}

function checkNeeds(session: Session, needed: HandshakeOptions['needed']): void {
  if (session.queuePairs < needed.queuePairs) {
    throw new StateError(
      'ERR_FEATURES_NOT_OFFERED',
      `the back end has ${session.queuePairs} queue pairs, ${needed.queuePairs} are asked for`,
      'ask for fewer, or start the back end with as many: testpmd’s `queues=N`',
    );
  }
  const features = needed.features & ~session.features;
  if (features !== 0n) {
    throw new StateError(
      'ERR_FEATURES_NOT_OFFERED',
      `the back end does not offer ${featureNames(features).join(', ')}, which the driver has taken`,
      'start it as the one before it: what a driver took cannot be taken back',
    );
  }
}

/** It ends with the session, and a back end that breaks it has broken the session. */
async function openChannel(session: Session): Promise<void> {
  const [near, far] = UnixSocket.pair('stream');
  try {
    const channel = new RequestChannel(near, {
      configChanged: () => session.onConfigChanged(),
      broken: (error) => session.close(error),
    });
    session.connection.once('close', () => channel.close());
    await session.command('VHOST_USER_SET_BACKEND_REQ_FD', undefined, [far]);
  } finally {
    far.close();
  }
}
