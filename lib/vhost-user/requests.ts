/** VhostUserRequests: requests whose replies are waited for, over a connection that asks. */
import { StateError, valueError } from '../errors.js';
import type { Descriptor } from '../host/descriptor.js';
import { ruleOf } from './codec.js';
import type { VhostUserConnection } from './connection.js';
import { disconnected, protocolError } from './errors.js';
import type {
  VhostUserMessage,
  VhostUserReply,
  VhostUserRequestName,
  VhostUserRequestPayload,
} from './message-types.js';
import { shapeOf } from './payload.js';

interface Pending {
  name: VhostUserRequestName;
  /** The reply can only be a number: 0, or else. */
  isAck: boolean;
  resolve: (reply: never) => void;
  reject: (error: Error) => void;
}

/**
 * Sends requests and gives the reply to each. Replies come in the order of the requests; one that nobody
 * waits for, or that answers another request, ends the connection. It waits for as long as the connection
 * lasts: a limit is its user's to set, by closing the connection.
 */
export class VhostUserRequests {
  /** `REPLY_ACK` was negotiated: requests without a reply of their own can be acknowledged. */
  replyAck = false;
  readonly #connection: VhostUserConnection;
  readonly #pending: Pending[] = [];

  /** Begins to receive on `connection`. Throws `ERR_INVALID_ARG_VALUE` for one that answers, `ERR_BUSY`. */
  constructor(connection: VhostUserConnection) {
    if (connection.role !== 'asks') throw valueError('the connection answers, and does not ask');
    this.#connection = connection;
    connection.listen((message) => this.#settle(message));
    connection.once('close', (error) => this.#giveUp(error));
  }

  /**
   * Sends a request and waits for its reply, whose descriptors are the caller's to close. A request that has no reply
   * of its own is sent with the flag `NEED_REPLY`, and its reply is `0n` for success. Rejects with what
   * {@link VhostUserConnection.sendRequest} throws, with `ERR_FEATURES_NOT_OFFERED` where such a flag
   * would be ignored, `ERR_VHOST_USER_PROTOCOL`, `ERR_VHOST_USER_DISCONNECTED`.
   */
  request<N extends VhostUserRequestName>(
    name: N,
    payload: VhostUserRequestPayload<N>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<VhostUserReply<N>> {
    return new Promise((resolve, reject) => {
      const isAck = !hasOwnReply(name, payload);
      if (isAck && !this.replyAck) {
        throw new StateError(
          'ERR_FEATURES_NOT_OFFERED',
          `${name} has no reply unless VHOST_USER_PROTOCOL_F_REPLY_ACK is negotiated`,
          'send it without waiting, and ask for the features after it: they come when it is done',
        );
      }
      this.#connection.sendRequest(name, payload, descriptors, { needReply: isAck });
      this.#pending.push({ name, isAck, resolve, reject });
    });
  }

  #settle(message: VhostUserMessage): void {
    const pending = this.#pending[0];
    const wrong = whatIsWrong(message, pending);
    if (wrong === undefined) {
      this.#pending.shift();
      pending?.resolve(message as never);
      return;
    }
    for (const descriptor of message.descriptors) descriptor.close();
    throw protocolError(message.request, wrong);
  }

  #giveUp(error: Error | undefined): void {
    for (const { name, reject } of this.#pending.splice(0)) {
      reject(error ?? disconnected(`before ${name} was answered`));
    }
  }
}

function whatIsWrong(message: VhostUserMessage, pending: Pending | undefined): string | undefined {
  if (!pending) return 'nobody waits for this reply';
  if (message.request !== pending.name)
    return `it came in the place of the reply to ${pending.name}`;
  if (pending.isAck && shapeOf(message.payload) !== 'bigint') return 'it is no acknowledgement';
  return undefined;
}

/** Whether a request has a reply whatever its flags are. */
export function hasOwnReply<N extends VhostUserRequestName>(
  name: N,
  payload: VhostUserRequestPayload<N>,
): boolean {
  const { replies } = ruleOf(name);
  // The log comes as an object, with its descriptor; without, as the number that it was before LOG_SHMFD.
  return replies === 'always' || (replies === 'if-log-comes' && shapeOf(payload) === 'object');
}
