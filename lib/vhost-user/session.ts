/** Session: one connection to a back end, and what was negotiated over it. */
import { StateError } from '../errors.js';
import type { Descriptor } from '../host/descriptor.js';
import type { UnixSocket } from '../host/unix-socket.js';
import { VHOST_MEMORY_BASELINE_NREGIONS } from '../uapi/vhost-user.js';
import { hasBit } from '../uapi/virtio-net.js';
import { VhostUserConnection } from './connection.js';
import { disconnected } from './errors.js';
import { MemoryTable } from './memory-table.js';
import type {
  VhostUserReply,
  VhostUserRequestName,
  VhostUserRequestPayload,
} from './message-types.js';
import { VhostUserRequests } from './requests.js';

export class Session {
  readonly connection: VhostUserConnection;
  /** The virtio features that the back end offers, with the bits of vhost-user among them. */
  features = 0n;
  /** The protocol features that both ends have. */
  protocolFeatures = 0n;
  queuePairs = 1;
  /** Regions of memory that the back end can have at a time. */
  memorySlots = VHOST_MEMORY_BASELINE_NREGIONS;
  readonly memory = new MemoryTable(this);
  /** Called when the back end says that the device's configuration is another now. */
  onConfigChanged: () => void = () => {};
  readonly #requests: VhostUserRequests;
  readonly #timeout: number;

  /** Owns the socket. `timeout`: how long the back end may take for an answer, in ms. */
  constructor(socket: UnixSocket, timeout: number) {
    this.connection = new VhostUserConnection(socket, { role: 'asks' });
    this.#requests = new VhostUserRequests(this.connection);
    // Whoever waits for an answer keeps the process alive, and nobody else.
    this.connection.unref();
    this.#timeout = timeout;
  }

  get closed(): boolean {
    return this.connection.closed;
  }

  /** Whether a protocol feature was negotiated. */
  has(feature: number): boolean {
    return hasBit(this.protocolFeatures, feature);
  }

  /** What both ends have from now on. */
  agree(protocolFeatures: bigint, replyAck: boolean): void {
    this.protocolFeatures = protocolFeatures;
    this.#requests.replyAck = replyAck;
  }

  /**
   * Sends a request and waits for its reply. A back end that does not answer in time loses the connection.
   * Rejects as {@link VhostUserRequests.request}.
   */
  async ask<N extends VhostUserRequestName>(
    name: N,
    payload: VhostUserRequestPayload<N>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<VhostUserReply<N>> {
    const limit = setTimeout(() => {
      this.close(disconnected(`since ${name} was not answered within ${this.#timeout} ms`));
    }, this.#timeout);
    try {
      return await this.#requests.request(name, payload, descriptors);
    } finally {
      clearTimeout(limit);
    }
  }

  /**
   * Sends a request that says nothing but whether it was done, and waits for that where the back end can tell.
   * Else {@link Session.settle} does, for all that were sent. Rejects with `ERR_VHOST_USER_REFUSED`.
   */
  async command<N extends VhostUserRequestName>(
    name: N,
    payload: VhostUserRequestPayload<N>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<void> {
    if (!this.#requests.replyAck) {
      this.connection.sendRequest(name, payload, descriptors);
      return;
    }
    const reply = await this.ask(name, payload, descriptors);
    if (reply.payload !== 0n) throw refused(name, reply.payload as bigint);
  }

  /** Waits until the back end has done all that it was sent; what it could not do ended the connection. */
  async settle(): Promise<void> {
    if (!this.#requests.replyAck) await this.ask('VHOST_USER_GET_FEATURES', undefined);
  }

  close(error?: Error): void {
    this.connection.close(error);
  }
}

function refused(name: string, answer: bigint): StateError {
  return new StateError(
    'ERR_VHOST_USER_REFUSED',
    `the back end refused ${name}: it answered ${answer}`,
    'its own log says why',
  );
}
