/**
 * Messages out of a stream. Only as much is read as the message that is being read still lacks, so no
 * read ever touches two messages: what descriptors come with a read are that message's, and nothing is
 * buffered that a hostile writer could make long.
 */
import type { ReceivedDescriptor, ReceivedMessage } from '../host/unix-socket.js';
import { decodeHeader, decodePayload, type Heading } from './codec.js';
import { MOST_MESSAGE_DESCRIPTORS } from './descriptor-rules.js';
import { disconnected, protocolError } from './errors.js';
import { HEADER_SIZE, type VhostUserDirection } from './header.js';
import type { VhostUserRequester } from './message-rules.js';
import type { VhostUserMessage } from './message-types.js';

/** As {@link UnixSocket.receive}: what waits, or undefined; 0 bytes at the end. */
export type Receive = (buffer: Uint8Array, mostDescriptors: number) => ReceivedMessage | undefined;

export class MessageReader {
  readonly #receive: Receive;
  readonly #requester: VhostUserRequester;
  readonly #direction: VhostUserDirection;
  /** What is being read, the header or the payload, and how much of it is there. */
  #buffer = new Uint8Array(HEADER_SIZE);
  #filled = 0;
  /** Of the message whose payload is being read. */
  #heading: Heading | undefined;
  #descriptors: ReceivedDescriptor[] = [];

  constructor(receive: Receive, requester: VhostUserRequester, direction: VhostUserDirection) {
    this.#receive = receive;
    this.#requester = requester;
    this.#direction = direction;
  }

  /**
   * The next message, whose descriptors are the caller's then; undefined while it has not arrived whole;
   * `'end'` where the other end closed between two messages. Throws `ERR_VHOST_USER_PROTOCOL`,
   * `ERR_VHOST_USER_DISCONNECTED` where it closed in the middle of one, and what receiving throws; then
   * no descriptor stays open, and nothing more is to be read.
   */
  read(): VhostUserMessage | 'end' | undefined {
    try {
      return this.#read();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Closes the descriptors of a message that has not arrived whole. */
  close(): void {
    for (const descriptor of this.#descriptors.splice(0)) descriptor.close();
  }

  #read(): VhostUserMessage | 'end' | undefined {
    for (;;) {
      while (this.#filled < this.#buffer.length) {
        const size = this.#fill();
        if (size === undefined) return undefined;
        if (size > 0) continue;
        if (!this.#heading && this.#filled === 0) return 'end';
        throw disconnected(`in the middle of ${this.#heading?.request ?? 'a header'}`);
      }
      const heading = this.#heading;
      if (heading) return this.#finish(heading);
      this.#heading = decodeHeader(this.#buffer, this.#requester, this.#direction);
      this.#expect(this.#heading.size);
    }
  }

  /** Receives some of what is missing; returns how many bytes, 0 at the end. */
  #fill(): number | undefined {
    // Descriptors go with the first byte, but a read may reach beyond it and may not, so all pieces of a
    // message are alike: what comes with any is its own, and all together are no more than it may have.
    const most = MOST_MESSAGE_DESCRIPTORS - this.#descriptors.length;
    const received = this.#receive(this.#buffer.subarray(this.#filled), most);
    if (!received) return undefined;
    this.#descriptors.push(...received.descriptors);
    if (received.truncated) {
      throw protocolError(
        this.#heading?.request ?? 'a message',
        `more than ${MOST_MESSAGE_DESCRIPTORS} descriptors came with it, or more than this process may open`,
      );
    }
    this.#filled += received.size;
    return received.size;
  }

  #finish(heading: Heading): VhostUserMessage {
    const decoded = decodePayload(heading, this.#buffer, this.#descriptors.length);
    const descriptors = this.#descriptors;
    this.#descriptors = [];
    this.#heading = undefined;
    this.#expect(HEADER_SIZE);
    return { ...decoded, descriptors } as VhostUserMessage;
  }

  #expect(size: number): void {
    this.#buffer = new Uint8Array(size);
    this.#filled = 0;
  }
}
