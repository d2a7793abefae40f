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

export class PcapWriter {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(BUFFER);
  #used = 0;
  #closed = false;

  /** Creates or empties the file. Throws what open(2) says. */
  constructor(path: string) {
    this.#fd = openSync(path, 'w');
    this.#buffer.writeUInt32LE(MAGIC, 0);
    this.#buffer.writeUInt16LE(2, 4);
    this.#buffer.writeUInt16LE(4, 6);
    this.#buffer.writeUInt32LE(SNAPLEN, 16);
    this.#buffer.writeUInt32LE(LINKTYPE_ETHERNET, 20);
    this.#used = HEADER;
  }

  /** Adds frames as seen now. */
  write(frames: readonly Sendable[]): void {
    const now = performance.timeOrigin + performance.now();
    const seconds = Math.floor(now / 1000);
    const microseconds = Math.floor((now - seconds * 1000) * 1000);
    for (const frame of frames) {
      const bytes = frame instanceof Uint8Array ? frame : frame.bytes;
      if (this.#used + RECORD + bytes.length > BUFFER) this.flush();
      const at = this.#used;
      this.#buffer.writeUInt32LE(seconds, at);
      this.#buffer.writeUInt32LE(microseconds, at + 4);
      this.#buffer.writeUInt32LE(bytes.length, at + 8);
      this.#buffer.writeUInt32LE(bytes.length, at + 12);
      this.#buffer.set(bytes, at + RECORD);
      this.#used = at + RECORD + bytes.length;
    }
  }

  /** Writes out what is gathered. Throws `ENOSPC` and the like. */
  flush(): void {
    for (let done = 0; done < this.#used; ) {
      done += writeSync(this.#fd, this.#buffer, done, this.#used - done);
    }
    this.#used = 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.flush();
    } finally {
      closeSync(this.#fd);
    }
  }
}
