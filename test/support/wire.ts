/** The other side of a TAP, as a raw packet socket sees it. */
import { setImmediate as turn } from 'node:timers/promises';
import { PacketSocket } from '../../lib/index.js';
import { checkFrameBytes, ETHERTYPE, type LengthOf, writeFrame } from './frames.js';

const BATCH = 64;
/** Waiting longer than this for the next frame fails, in ms. */
const PATIENCE = 60_000;

/** Fails a loop that makes no progress. */
export class Patience {
  #since = Date.now();
  #at = -1;

  check(progress: number, what: string): void {
    if (progress !== this.#at) {
      this.#at = progress;
      this.#since = Date.now();
    } else if (Date.now() - this.#since > PATIENCE) {
      throw new Error(`${what}: stuck after ${progress} frames`);
    }
  }
}

/** Waits for `done`, and fails where `progress` stands still meanwhile. */
export async function whileGoing<T>(progress: () => number, done: Promise<T>): Promise<T> {
  const patience = new Patience();
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      try {
        patience.check(progress(), 'waiting');
      } catch (error) {
        reject(error);
      }
    }, 100);
  });
  try {
    return await Promise.race([done, stuck]);
  } finally {
    clearInterval(timer);
  }
}

export class Wire {
  readonly socket: PacketSocket;
  readonly #slotSize: number;
  readonly #slots: Uint8Array;
  readonly #lengths = new Uint32Array(BATCH);
  /** Frames read and checked so far. */
  received = 0;

  /** Frames of at most `slotSize` bytes go over it. */
  constructor(interfaceName: string, slotSize = 2048) {
    this.socket = PacketSocket.open(interfaceName, {
      protocol: ETHERTYPE,
      ignoreOutgoing: true,
      receiveBuffer: 64 << 20,
    });
    this.#slotSize = slotSize;
    this.#slots = new Uint8Array(BATCH * slotSize);
  }

  /**
   * Sends frames `first` to `first + count - 1`, never more than `window` ahead of `received()`: the
   * TAP's queue holds 500 and drops what is too much.
   */
  async send(
    count: number,
    lengthOf: LengthOf,
    received: () => number,
    { first = 0, window = 256 } = {},
  ): Promise<void> {
    const patience = new Patience();
    let sent = 0;
    while (sent < count) {
      const n = Math.min(BATCH, count - sent, window - (sent - received()));
      for (let i = 0; i < n; i++) {
        const sequence = first + sent + i;
        const length = lengthOf(sequence);
        this.#lengths[i] = length;
        writeFrame(this.#slots.subarray(i * this.#slotSize), length, sequence);
      }
      if (n > 0) sent += this.socket.send(this.#slots, this.#slotSize, this.#lengths, n);
      patience.check(sent + received(), 'sending on the wire');
      await turn();
    }
  }

  /** The frames that wait, at most 64, as views that the next call overwrites. */
  read(): Uint8Array[] {
    const n = this.socket.receive(this.#slots, this.#slotSize, this.#lengths);
    return Array.from({ length: n }, (_, i) => {
      const at = i * this.#slotSize;
      return this.#slots.subarray(at, at + (this.#lengths[i] as number));
    });
  }

  /** Reads frames `first` to `first + count - 1` and checks each. */
  async expect(count: number, lengthOf: LengthOf, first = 0): Promise<void> {
    const patience = new Patience();
    for (let done = 0; done < count; ) {
      for (const bytes of this.read()) {
        const sequence = first + done++;
        if (done > count) throw new Error(`more than ${count} frames came`);
        checkFrameBytes(bytes, lengthOf(sequence), sequence);
        this.received++;
      }
      patience.check(done, 'reading from the wire');
      await turn();
    }
  }

  close(): void {
    this.socket.close();
  }
}
