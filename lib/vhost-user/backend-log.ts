/** The dirty log of a front-end: a bit for each page of 4 KiB of guest memory, which two processes set. */
import type { EventFd } from '../host/event-fd.js';
import { SharedArea } from '../host/shared-area.js';
import { VHOST_PAGE_SIZE } from '../uapi/vhost.js';
import type { VhostUserLog } from './memory-payloads.js';
import type { WriteLog } from './ring-fill.js';

export class BackendLog implements WriteLog {
  /** Signalled when something was noted. */
  event: EventFd | undefined;
  readonly #area: SharedArea;
  #noted = false;

  private constructor(area: SharedArea) {
    this.#area = area;
  }

  /** Maps a log out of a file, whose descriptor stays the caller's. Throws where the file is too short. */
  static map({ size, offset }: VhostUserLog, fd: number): BackendLog {
    return new BackendLog(SharedArea.map(fd, offset, size));
  }

  get cut(): boolean {
    return this.#area.cut;
  }

  /**
   * Sets the bits of the pages that `length` bytes at a guest address are in. What the log does not cover is not
   * noted: a front-end that makes it too short copies too little, and nothing else is written to.
   */
  mark(guestAddress: number, length: number): void {
    const { bytes } = this.#area;
    this.#noted = true;
    const last = Math.floor((guestAddress + length - 1) / VHOST_PAGE_SIZE);
    for (let page = Math.floor(guestAddress / VHOST_PAGE_SIZE); page <= last; page++) {
      const at = Math.floor(page / 8);
      if (at >= bytes.length) return;
      // The other end takes bits away meanwhile.
      Atomics.or(bytes, at, 1 << (page % 8));
    }
  }

  /** Signals what was noted since the last time. */
  tell(): void {
    if (!this.#noted) return;
    this.#noted = false;
    this.event?.wake();
  }

  close(): void {
    this.#area.close();
  }
}
