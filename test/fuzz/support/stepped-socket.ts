/** A socket that is read when a case says so, and not when the event loop comes to it: a case is the same every time. */
import type { Descriptor, UnixSocket } from '../../../lib/index.js';

export class SteppedSocket {
  /** What the other end takes: all, nothing, or half of the next message and then nothing. */
  takes: 'all' | 'half' | 'nothing' = 'all';
  readonly #socket: UnixSocket;
  #listener: (() => void) | undefined;

  /** Owns the socket. */
  constructor(socket: UnixSocket) {
    this.#socket = socket;
  }

  get peer() {
    return this.#socket.peer;
  }

  /** Has what there is to read read. */
  step(): void {
    this.#listener?.();
  }

  onReadable(listener: () => void): void {
    this.#listener = listener;
  }

  offReadable(): void {
    this.#listener = undefined;
  }

  unref(): this {
    return this;
  }

  receive(buffer: Uint8Array, mostDescriptors: number) {
    return this.#socket.receive(buffer, mostDescriptors);
  }

  send(bytes: Uint8Array, descriptors: readonly Descriptor[]): number {
    if (this.takes === 'all') return this.#socket.send(bytes, descriptors);
    if (this.takes === 'nothing') return 0;
    this.takes = 'nothing';
    return this.#socket.send(bytes.subarray(0, bytes.length >> 1), descriptors);
  }

  close(): void {
    this.#listener = undefined;
    this.#socket.close();
  }
}
