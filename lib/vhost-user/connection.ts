/** VhostUserConnection: one socket over which vhost-user messages go, checked in both directions. */
import { EventEmitter } from 'node:events';
import { closedError, StateError, valueError } from '../errors.js';
import type { Descriptor } from '../host/descriptor.js';
import type { UnixSocket } from '../host/unix-socket.js';
import { logVhostUser } from '../log.js';
import { encodeVhostUserReply, encodeVhostUserRequest, ruleOf } from './codec.js';
import { MessageReader } from './message-reader.js';
import type { VhostUserRequester } from './message-rules.js';
import type {
  VhostUserMessage,
  VhostUserReplyPayload,
  VhostUserRequestName,
  VhostUserRequestPayload,
} from './message-types.js';
import { SendQueue } from './send-queue.js';

const ECONNRESET = -104;
/** Messages that are handled before other work of the event loop gets its turn. */
const BATCH = 16;

export interface VhostUserConnectionOptions {
  /**
   * Whose requests go over the socket: the front-end's over the main one, the back-end's over that of
   * `VHOST_USER_SET_BACKEND_REQ_FD`. Default: `'front-end'`.
   */
  requester?: VhostUserRequester;
  /** Whether this end sends those requests and receives replies, or the other way. */
  role: 'asks' | 'answers';
}

/**
 * Takes a message, whose descriptors are its own to close from then on. While a promise of it is pending
 * no other message is read, so messages are handled one after another. What it throws, or rejects with,
 * ends the connection.
 */
export type VhostUserMessageListener = (message: VhostUserMessage) => void | Promise<void>;

interface ConnectionEvents {
  /**
   * The connection is over, once. `error` is `undefined` where either end closed it between two messages;
   * else what was wrong: `ERR_VHOST_USER_PROTOCOL`, `ERR_VHOST_USER_DISCONNECTED`, or what the listener threw.
   */
  close: [error: Error | undefined];
}

/**
 * A connection to a vhost-user peer, front-end or back-end. A message is sent, and is received, only as
 * the table of messages has it: id, size, contents, descriptors. It owns the socket, of type `'stream'`.
 * It knows nothing of what was negotiated, nor of the order of messages.
 */
export class VhostUserConnection extends EventEmitter<ConnectionEvents> {
  readonly requester: VhostUserRequester;
  readonly role: 'asks' | 'answers';
  readonly #socket: UnixSocket;
  readonly #reader: MessageReader;
  readonly #queue: SendQueue;
  #listener: VhostUserMessageListener | undefined;
  #keepsAlive = true;
  #closed = false;

  constructor(socket: UnixSocket, options: VhostUserConnectionOptions) {
    super();
    const { requester = 'front-end', role } = options;
    if (requester !== 'front-end' && requester !== 'back-end') {
      throw valueError(`requester is 'front-end' or 'back-end', not '${String(requester)}'`);
    }
    if (role !== 'asks' && role !== 'answers') {
      throw valueError(`role is 'asks' or 'answers', not '${String(role)}'`);
    }
    this.requester = requester;
    this.role = role;
    this.#socket = socket;
    this.#queue = new SendQueue(socket, (error) => this.close(error));
    this.#reader = new MessageReader(
      (buffer, most) => receive(socket, buffer, most),
      requester,
      role === 'asks' ? 'replies' : 'requests',
    );
  }

  /** Whether the connection is over. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Messages that wait to be sent, for the other end does not read. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Begins to receive. It keeps the process alive. Throws `ERR_BUSY` the second time, `ERR_CLOSED`. */
  listen(listener: VhostUserMessageListener): void {
    this.#assertOpen();
    if (this.#listener) throw new StateError('ERR_BUSY', 'the connection has a listener already');
    this.#listener = listener;
    this.#resume();
  }

  /**
   * Sends a request, with descriptors, which stay the caller's. Returns when it is on its way: it may wait
   * in this process. Throws `ERR_INVALID_ARG_VALUE` where the request is not this end's to send, or cannot
   * have this payload or so many descriptors; `ERR_VHOST_USER_BACKLOG` where too many wait already;
   * `EPIPE` or `ECONNRESET` where the other end is gone, `ERR_CLOSED`.
   */
  sendRequest<N extends VhostUserRequestName>(
    name: N,
    payload: VhostUserRequestPayload<N>,
    descriptors: readonly Descriptor[] = [],
    options: { needReply?: boolean } = {},
  ): void {
    this.#assertMay('asks', name);
    const bytes = encodeVhostUserRequest(
      name,
      payload,
      descriptors.length,
      options.needReply ?? false,
    );
    this.#queue.send(bytes, descriptors);
    logVhostUser('sent %s %o', name, payload);
  }

  /** Sends the reply to a request, as {@link VhostUserConnection.sendRequest}. */
  sendReply<N extends VhostUserRequestName>(
    name: N,
    payload: VhostUserReplyPayload<N>,
    descriptors: readonly Descriptor[] = [],
  ): void {
    this.#assertMay('answers', name);
    this.#queue.send(encodeVhostUserReply(name, payload, descriptors.length), descriptors);
    logVhostUser('sent reply %s %o', name, payload);
  }

  /** Lets the process end although the connection receives. */
  unref(): this {
    this.#keepsAlive = false;
    this.#socket.unref();
    return this;
  }

  /**
   * Ends the connection, for the reason that `'close'` will give. What waits to be sent is forgotten, and
   * descriptors of a message that has not arrived whole are closed. Twice is no error.
   */
  close(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    logVhostUser('closed: %o', error ?? 'no error');
    this.#queue.close();
    this.#reader.close();
    this.#socket.close();
    this.emit('close', error);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #resume(): void {
    this.#socket.onReadable(() => this.#receive());
    if (!this.#keepsAlive) this.#socket.unref();
  }

  #receive(): void {
    for (let i = 0; i < BATCH && !this.#closed; i++) if (!this.#receiveOne()) return;
  }

  /** Whether there may be more to receive, now. */
  #receiveOne(): boolean {
    let message: VhostUserMessage | 'end' | undefined;
    let handled: unknown;
    try {
      message = this.#reader.read();
      if (typeof message === 'object') {
        logVhostUser('received %s %s %o', message.kind, message.request, message.payload);
        handled = this.#listener?.(message);
      }
    } catch (error) {
      this.close(error as Error);
      return false;
    }
    if (message === 'end') this.close();
    const pending = handled instanceof Promise;
    if (pending) this.#pauseFor(handled as Promise<void>);
    return typeof message === 'object' && !pending;
  }

  #pauseFor(handled: Promise<void>): void {
    if (!this.#closed) this.#socket.offReadable();
    handled
      .then(() => {
        if (!this.#closed) this.#resume();
      })
      .catch((error: Error) => this.close(error));
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError('the vhost-user connection');
  }

  #assertMay(role: 'asks' | 'answers', name: VhostUserRequestName): void {
    this.#assertOpen();
    const { from } = ruleOf(name);
    if (from !== this.requester) {
      throw valueError(`${name} is the ${from}'s, and goes over another socket`);
    }
    if (role !== this.role) {
      throw valueError(
        `${name}: this end ${this.role === 'asks' ? 'sends requests' : 'sends replies'} only`,
      );
    }
  }
}

/**
 * As the socket, but for a reset: the other end closed without having read everything. What it sent
 * before can still be read, and then its end.
 */
function receive(socket: UnixSocket, buffer: Uint8Array, most: number) {
  try {
    return socket.receive(buffer, most);
  } catch (error) {
    if ((error as { errno?: number }).errno !== ECONNRESET) throw error;
    return socket.receive(buffer, most);
  }
}
