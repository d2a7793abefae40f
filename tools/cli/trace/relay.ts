/**
 * One direction of one socket: what comes in goes out, bytes and descriptors as they came. Messages are only
 * looked at, so what is no message passes as well.
 */
import {
  type Descriptor,
  type ReceivedDescriptor,
  type ReceivedMessage,
  readVhostUserHeader,
  type UnixSocket,
  VHOST_USER_HEADER_SIZE,
  type VhostUserHeader,
} from '../../../lib/index.js';
import { type DescriptorKind, describeDescriptor } from './descriptor-kind.js';
import { PieceQueue } from './piece-queue.js';

/** The kernel's most: whoever sends more than the protocol allows shall be seen doing it. */
const MOST_DESCRIPTORS = 253;
/** Bytes of a message that are looked at: more than any that the protocol has. */
const LOOKED_AT = 8192;
/** Bytes that are held, at most, until their message is whole. */
const HELD = 64 * 1024;
/** Reads before other work of the event loop gets its turn, and those at the end for what is left to read. */
const BATCH = 32;
const LAST_WORDS = 1024;

/** A message as it came, sound or not. */
export interface RawMessage {
  header: VhostUserHeader;
  /** Header and payload; of a very long one only the start. */
  bytes: Uint8Array;
  /** Those that came with it, in order. */
  descriptors: readonly DescriptorKind[];
  /** Bytes of it that did not come: its sender is gone. */
  lacking: number;
}

export interface RelayListener {
  /**
   * A message came. `held` are its descriptors where none of it has been passed on yet; returned is what goes in their
   * place, most often they themselves. What is not returned is the listener's to close.
   */
  message(message: RawMessage, held: readonly ReceivedDescriptor[]): readonly Descriptor[];
  /** The end that sends or the one that receives is gone, or, with `error`, it cannot go on. */
  ended(gone: 'sender' | 'receiver', error?: Error): void;
}

export class Relay {
  readonly #from: UnixSocket;
  readonly #queue: PieceQueue;
  readonly #listener: RelayListener;
  /** What came and has not been passed on, never of more than one message. */
  readonly #held = new Uint8Array(HELD);
  #heldBytes = 0;
  #heldDescriptors: readonly Descriptor[] = [];
  /** Of the message that is coming: its start, how much of it came, and its descriptors. */
  readonly #start = new Uint8Array(LOOKED_AT);
  #came = 0;
  #header: VhostUserHeader | undefined;
  #kinds: DescriptorKind[] = [];
  /** The sender is gone, and what it sent last still waits. */
  #ending = false;
  /** What comes from now on is only looked at. */
  #over = false;

  constructor(from: UnixSocket, to: UnixSocket, listener: RelayListener) {
    this.#from = from;
    this.#listener = listener;
    this.#queue = new PieceQueue(to, {
      drained: () => this.#drained(),
      failed: (error) => listener.ended('receiver', error),
    });
  }

  /** Begins, or goes on, to pass on. Where no descriptor is to be had for that, it ends with an error. */
  start(): void {
    if (this.#over) return;
    try {
      this.#from.onReadable(() => this.#pump());
    } catch (error) {
      this.#end(error as Error);
    }
  }

  /** Reads what there still is, for it to be seen; passes it on where that can be. */
  finish(): void {
    this.#over = true;
    this.#from.offReadable();
    for (let i = 0; i < LAST_WORDS && !this.#queue.waiting; i++) if (!this.#step()) return;
  }

  close(): void {
    this.#over = true;
    this.#queue.close();
    for (const descriptor of this.#heldDescriptors) descriptor.close();
    this.#heldDescriptors = [];
  }

  #pump(): void {
    for (let i = 0; i < BATCH && !this.#over; i++) {
      if (!this.#step()) return;
      if (this.#queue.waiting) {
        // Nothing is read that could not be passed on.
        this.#from.offReadable();
        return;
      }
    }
  }

  #drained(): void {
    if (this.#over) return;
    if (this.#ending) this.#listener.ended('sender');
    else this.start();
  }

  /** Reads once. Returns whether there may be more, now. */
  #step(): boolean {
    let received: ReceivedMessage | undefined;
    try {
      received = receive(this.#from, this.#room());
    } catch (error) {
      this.#end(error as Error);
      return false;
    }
    if (received?.truncated) {
      this.#end(new Error('descriptors are lost: this process may not open so many'));
    } else if (received?.size === 0) {
      this.#passOn();
      this.#end();
    } else if (received) {
      this.#take(received);
      return true;
    } else if (this.#header) {
      // The rest of the message is still on its way: what is there does not wait for it here.
      this.#passOn();
    }
    return false;
  }

  /** Where the next bytes go: as many as the message lacks, so that no read touches two messages. */
  #room(): Uint8Array {
    const lacks = VHOST_USER_HEADER_SIZE + (this.#header?.size ?? 0) - this.#came;
    return this.#held.subarray(this.#heldBytes, this.#heldBytes + lacks);
  }

  #take({ size, descriptors }: ReceivedMessage): void {
    const at = this.#heldBytes;
    if (descriptors.length > 0 && at > 0) {
      // Descriptors go with the bytes that they came with.
      this.#passOn();
      this.#held.copyWithin(0, at, at + size);
    }
    if (descriptors.length > 0) {
      this.#heldDescriptors = descriptors;
      this.#kinds.push(...descriptors.map(describeDescriptor));
    }
    const bytes = this.#held.subarray(this.#heldBytes, this.#heldBytes + size);
    if (this.#came < LOOKED_AT)
      this.#start.set(bytes.subarray(0, LOOKED_AT - this.#came), this.#came);
    this.#heldBytes += size;
    this.#came += size;
    if (this.#came === VHOST_USER_HEADER_SIZE) this.#header = readVhostUserHeader(this.#start);
    const header = this.#header;
    if (header && this.#came === VHOST_USER_HEADER_SIZE + header.size) this.#complete(header);
    else if (this.#heldBytes === HELD) this.#passOn();
  }

  #complete(header: VhostUserHeader): void {
    const whole = this.#heldBytes === this.#came;
    const held = this.#heldDescriptors as readonly ReceivedDescriptor[];
    const instead = this.#listener.message(this.#raw(header), whole ? held : []);
    if (whole) this.#heldDescriptors = instead;
    this.#passOn();
    this.#came = 0;
    this.#header = undefined;
    this.#kinds = [];
  }

  #raw(header: VhostUserHeader): RawMessage {
    return {
      header,
      bytes: this.#start.slice(0, Math.min(this.#came, LOOKED_AT)),
      descriptors: this.#kinds,
      lacking: VHOST_USER_HEADER_SIZE + header.size - this.#came,
    };
  }

  #passOn(): void {
    if (this.#heldBytes === 0) return;
    const piece = {
      bytes: this.#held.slice(0, this.#heldBytes),
      descriptors: this.#heldDescriptors,
    };
    this.#heldBytes = 0;
    this.#heldDescriptors = [];
    this.#queue.send(piece);
  }

  #end(error?: Error): void {
    this.#from.offReadable();
    if (this.#header) this.#listener.message(this.#raw(this.#header), []);
    this.#header = undefined;
    if (error === undefined && this.#queue.waiting) {
      this.#ending = true;
      return;
    }
    if (!this.#over) this.#listener.ended('sender', error);
  }
}

/** As the socket, but for a reset: what the other end sent before it can still be read, and then its end. */
function receive(from: UnixSocket, room: Uint8Array): ReceivedMessage | undefined {
  try {
    return from.receive(room, MOST_DESCRIPTORS);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ECONNRESET') throw error;
    return from.receive(room, MOST_DESCRIPTORS);
  }
}
