/** Messages on their way out: sent at once where they fit into the socket, else kept, and not without end. */
import { StateError } from '../errors.js';
import type { Descriptor } from '../host/descriptor.js';
import { ReceivedDescriptor, type UnixSocket } from '../host/unix-socket.js';
import { logVhostUser } from '../log.js';
import { isHangUp } from './errors.js';

/** Messages that wait at a time. The kernel holds over a hundred before the first has to. */
const MOST_WAITING = 64;
/**
 * How long until it is tried again, in ms. The addon's poller tells of what can be read only; a peer that
 * lets its socket fill up is one that hangs, or nearly so.
 */
const RETRY_AFTER = 2;

interface Waiting {
  /** What has not been sent of it. */
  bytes: Uint8Array;
  /** Duplicates, until the first byte has been sent. */
  descriptors: readonly Descriptor[];
}

export class SendQueue {
  readonly #socket: UnixSocket;
  readonly #waiting: Waiting[] = [];
  readonly #onFailure: (error: Error) => void;
  #retry: NodeJS.Timeout | undefined;

  /** `onFailure` hears why what waited could not be sent, unless the other end is gone. */
  constructor(socket: UnixSocket, onFailure: (error: Error) => void) {
    this.#socket = socket;
    this.#onFailure = onFailure;
  }

  /** Messages that wait. */
  get length(): number {
    return this.#waiting.length;
  }

  /**
   * Sends a message, or keeps it and duplicates of its descriptors. Throws `ERR_VHOST_USER_BACKLOG` where
   * 64 wait already, and what {@link UnixSocket.send} throws; then nothing of the message was sent.
   */
  send(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    let sent = 0;
    if (this.#waiting.length === 0) sent = this.#socket.send(bytes, descriptors);
    if (sent === bytes.length) return;
    if (this.#waiting.length === MOST_WAITING) {
      throw new StateError(
        'ERR_VHOST_USER_BACKLOG',
        `the other end does not read: ${MOST_WAITING} messages wait to be sent`,
        'close the connection',
      );
    }
    this.#waiting.push({
      bytes: bytes.subarray(sent),
      descriptors: sent === 0 ? duplicates(descriptors) : [],
    });
    this.#retry ??= setTimeout(() => this.#flush(), RETRY_AFTER);
  }

  /** Forgets what waits. */
  close(): void {
    clearTimeout(this.#retry);
    for (const { descriptors } of this.#waiting.splice(0)) closeAll(descriptors);
  }

  #flush(): void {
    this.#retry = undefined;
    try {
      for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
        const sent = this.#socket.send(next.bytes, next.descriptors);
        if (sent > 0) closeAll(next.descriptors);
        if (sent < next.bytes.length) {
          this.#waiting[0] = {
            bytes: next.bytes.subarray(sent),
            descriptors: sent > 0 ? [] : next.descriptors,
          };
          this.#retry = setTimeout(() => this.#flush(), RETRY_AFTER);
          return;
        }
        this.#waiting.shift();
      }
    } catch (error) {
      logVhostUser('not sent: %o', error);
      this.close();
      if (!isHangUp(error)) this.#onFailure(error as Error);
    }
  }
}

function duplicates(descriptors: readonly Descriptor[]): Descriptor[] {
  const own: Descriptor[] = [];
  try {
    for (const { fd } of descriptors) own.push(ReceivedDescriptor.fromFd(fd));
    return own;
  } catch (error) {
    closeAll(own);
    throw error;
  }
}

function closeAll(descriptors: readonly Descriptor[]): void {
  for (const descriptor of descriptors) descriptor.close();
}
