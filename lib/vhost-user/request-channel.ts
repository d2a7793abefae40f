/** RequestChannel: what the back end asks of the front end, on a socket of its own. */
import type { UnixSocket } from '../host/unix-socket.js';
import { logVhostUser } from '../log.js';
import { VhostUserConnection } from './connection.js';
import type { VhostUserMessage } from './message-types.js';

export interface RequestHandlers {
  /** The device's configuration is another now. */
  configChanged(): void;
  /** What came over the channel is no request. */
  broken(error: Error): void;
}

/** Success, and what is said to a request that this end does not serve. */
const DONE = 0n;
const REFUSED = 1n;

export class RequestChannel {
  readonly #connection: VhostUserConnection;
  readonly #handlers: RequestHandlers;

  /** Owns the socket. */
  constructor(socket: UnixSocket, handlers: RequestHandlers) {
    this.#handlers = handlers;
    this.#connection = new VhostUserConnection(socket, {
      requester: 'back-end',
      role: 'answers',
    });
    // A back end that wants to ask nothing closes it; one that breaks it is broken itself.
    this.#connection.on('close', (error) => {
      if (error) handlers.broken(error);
    });
    this.#connection.listen((message) => this.#answer(message));
    this.#connection.unref();
  }

  close(): void {
    this.#connection.close();
  }

  #answer(message: VhostUserMessage): void {
    for (const descriptor of message.descriptors) descriptor.close();
    const done = this.#serve(message);
    if (!done) logVhostUser('refused %s', message.request);
    if (message.kind !== 'request' || !message.needReply || this.#connection.closed) return;
    this.#connection.sendReply(
      message.request as 'VHOST_USER_BACKEND_CONFIG_CHANGE_MSG',
      done ? DONE : REFUSED,
    );
  }

  /** Whether it was done. There is no IOTLB here, and no memory of the device's that could be mapped. */
  #serve({ request }: VhostUserMessage): boolean {
    if (request !== 'VHOST_USER_BACKEND_CONFIG_CHANGE_MSG') return false;
    this.#handlers.configChanged();
    return true;
  }
}
