/** Console: the terminal as the guest's serial port, with a few keys of the VMM's own behind Ctrl-A. */
import type { ReadStream } from 'node:tty';

export interface ConsoleKeys {
  /** What is typed for the guest. */
  onInput(bytes: Uint8Array): void;
  /** A letter behind Ctrl-A. */
  onKey(letter: string): void;
}

const CONTROL_A = 1;

export class Console {
  readonly #input: ReadStream;
  readonly #output: NodeJS.WritableStream;
  readonly #keys: ConsoleKeys;
  #written: number[] = [];
  #escaped = false;
  readonly #onData = (bytes: Uint8Array) => this.#typed(bytes);

  constructor(input: ReadStream, output: NodeJS.WritableStream, keys: ConsoleKeys) {
    this.#input = input;
    this.#output = output;
    this.#keys = keys;
    // Every key goes to the guest as it is typed, Ctrl-C too.
    if (input.isTTY) input.setRawMode(true);
    input.on('data', this.#onData);
  }

  /** A byte from the guest. Those of one turn of the event loop go out together. */
  write(byte: number): void {
    if (this.#written.push(byte) === 1) setImmediate(() => this.#flush());
  }

  /** Gives the terminal back. */
  close(): void {
    this.#flush();
    this.#input.off('data', this.#onData);
    if (this.#input.isTTY) this.#input.setRawMode(false);
    this.#input.pause();
  }

  #flush(): void {
    if (this.#written.length === 0) return;
    this.#output.write(Uint8Array.from(this.#written));
    this.#written = [];
  }

  #typed(bytes: Uint8Array): void {
    // What comes through a pipe is all for the guest.
    if (!this.#input.isTTY) {
      this.#keys.onInput(bytes);
      return;
    }
    const forGuest: number[] = [];
    for (const byte of bytes) {
      if (this.#escaped && byte !== CONTROL_A) this.#keys.onKey(String.fromCharCode(byte));
      else if (this.#escaped || byte !== CONTROL_A) forGuest.push(byte);
      this.#escaped = !this.#escaped && byte === CONTROL_A;
    }
    if (forGuest.length > 0) this.#keys.onInput(Uint8Array.from(forGuest));
  }
}
