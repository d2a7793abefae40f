/** Pieces of a stream on their way out, which wait where the other end does not read. */
import type { Descriptor, UnixSocket } from '../../../lib/index.js';

/**
 * How long until it is tried again, in ms, the first time and at most: it doubles. A socket does not tell when there is
 * room, and who does not read at once may not for long.
 */
const RETRY_AFTER = 1;
const RETRY_AT_MOST = 64;

/** Errors of who is gone: an end like any other. */
const GONE = ['EPIPE', 'ECONNRESET'];

/** Bytes, and the descriptors that go with the first of them. They are the queue's to close. */
export interface Piece {
  bytes: Uint8Array;
  descriptors: readonly Descriptor[];
}

export interface PieceQueueEvents {
  /** All that waited went. */
  drained(): void;
  /** The other end is gone, or, with `error`, it cannot be sent to. Whatever is given from now on is dropped. */
  failed(error?: Error): void;
}

export class PieceQueue {
  readonly #to: UnixSocket;
  readonly #events: PieceQueueEvents;
  /** At most two: whoever gives them stops while any waits. */
  readonly #pieces: Piece[] = [];
  #retry: NodeJS.Timeout | undefined;
  #pause = RETRY_AFTER;
  #failed = false;

  constructor(to: UnixSocket, events: PieceQueueEvents) {
    this.#to = to;
    this.#events = events;
  }

  /** Whether anything waits. */
  get waiting(): boolean {
    return this.#pieces.length > 0;
  }

  /** Sends a piece, or what can be sent of it; the rest waits. */
  send(piece: Piece): void {
    this.#pieces.push(piece);
    if (this.#retry === undefined) this.#flush();
  }

  /** Forgets what waits. */
  close(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#failed = true;
    for (const { descriptors } of this.#pieces.splice(0)) closeAll(descriptors);
  }

  #flush(): void {
    try {
      for (let next = this.#pieces[0]; next; next = this.#pieces[0]) {
        if (!this.#failed && !this.#went(next)) return;
        closeAll(next.descriptors);
        this.#pieces.shift();
      }
    } catch (error) {
      this.close();
      const { code = '' } = error as { code?: string };
      this.#events.failed(GONE.includes(code) ? undefined : (error as Error));
    }
  }

  /** Whether all of a piece went; else it is tried again later. */
  #went(piece: Piece): boolean {
    const sent = this.#to.send(piece.bytes, piece.descriptors);
    if (sent === piece.bytes.length) return true;
    if (sent > 0) {
      closeAll(piece.descriptors);
      this.#pieces[0] = { bytes: piece.bytes.subarray(sent), descriptors: [] };
      this.#pause = RETRY_AFTER;
    }
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#flush();
      if (!this.waiting && !this.#failed) this.#events.drained();
    }, this.#pause);
    this.#pause = Math.min(2 * this.#pause, RETRY_AT_MOST);
    return false;
  }
}

function closeAll(descriptors: readonly Descriptor[]): void {
  for (const descriptor of descriptors) descriptor.close();
}
