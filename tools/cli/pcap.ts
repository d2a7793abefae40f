/** Writes frames to a capture file that tcpdump and Wireshark read (libpcap's format, in µs). */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Sendable } from '../../lib/index.js';

const MAGIC = 0xa1b2c3d4;
const LINKTYPE_ETHERNET = 1;
const SNAPLEN = 262_144;
const HEADER = 24;
const RECORD = 16;
/** Bytes gathered before a write. */
const BUFFER = 256 * 1024;
/** How long fewer of them wait, in ms: whoever reads along sees them soon, and busy ports make no more calls. */
const WAIT = 500;

export class PcapWriter {
  readonly #fd: number;
  readonly #failed: (() => void) | undefined;
  readonly #buffer = Buffer.alloc(BUFFER);
  #used = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Why no more is written. */
  #failure: Error | undefined;
  #closed = false;

  /**
   * Creates or empties the file. Throws what open(2) and write(2) say. `failed` is called when it cannot be written to
   * any more; why is thrown by {@link PcapWriter.write} and {@link PcapWriter.close}.
   */
  constructor(path: string, failed?: () => void) {
    this.#fd = openSync(path, 'w');
    this.#failed = failed;
    this.#buffer.writeUInt32LE(MAGIC, 0);
    this.#buffer.writeUInt16LE(2, 4);
    this.#buffer.writeUInt16LE(4, 6);
    this.#buffer.writeUInt32LE(SNAPLEN, 16);
    this.#buffer.writeUInt32LE(LINKTYPE_ETHERNET, 20);
    this.#used = HEADER;
    try {
      this.#flush();
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Adds frames as seen now. Throws `ENOSPC` and the like. */
  write(frames: readonly Sendable[]): void {
    if (this.#failure) throw this.#failure;
    const now = performance.timeOrigin + performance.now();
    const seconds = Math.floor(now / 1000);
    const microseconds = Math.floor((now - seconds * 1000) * 1000);
    for (const frame of frames) {
      const bytes = frame instanceof Uint8Array ? frame : frame.bytes;
      if (this.#used + RECORD + bytes.length > BUFFER) this.#flush();
      const at = this.#used;
      this.#buffer.writeUInt32LE(seconds, at);
      this.#buffer.writeUInt32LE(microseconds, at + 4);
      this.#buffer.writeUInt32LE(bytes.length, at + 8);
      this.#buffer.writeUInt32LE(bytes.length, at + 12);
      this.#buffer.set(bytes, at + RECORD);
      this.#used = at + RECORD + bytes.length;
    }
    this.#timer ??= setTimeout(() => this.#flushLate(), WAIT);
  }

  /** Writes the rest. Throws why it cannot, or could not before. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    try {
      if (this.#failure) throw this.#failure;
      this.#flush();
    } finally {
      closeSync(this.#fd);
    }
  }

  #flush(): void {
    try {
      for (let done = 0; done < this.#used; ) {
        done += writeSync(this.#fd, this.#buffer, done, this.#used - done);
      }
    } catch (error) {
      this.#failure = error as Error;
      this.#failed?.();
      throw error;
    }
    this.#used = 0;
  }

  #flushLate(): void {
    this.#timer = undefined;
    try {
      this.#flush();
    } catch {
      // Kept for who writes or closes next.
    }
  }
}
