/** DirtyMarks: what a ring's service writes to guest memory, as pages of a dirty log. */
import type { MemoryRegion } from '../host/memory-region.js';
import { VHOST_PAGE_SIZE } from '../uapi/vhost.js';
import type { DirtyLog } from '../vhost/dirty-log.js';

export class DirtyMarks {
  readonly #log: DirtyLog;
  /** Number of each region's first page. */
  readonly #pages = new Map<MemoryRegion, number>();

  constructor(log: DirtyLog) {
    this.#log = log;
  }

  /** Marks the pages of `bytes` bytes, at least one, that were written at an offset of a region. */
  mark(region: MemoryRegion, offset: number, bytes: number): void {
    let page = this.#pages.get(region);
    if (page === undefined) {
      page = Number(region.guestAddress / BigInt(VHOST_PAGE_SIZE));
      this.#pages.set(region, page);
    }
    const first = page + Math.floor(offset / VHOST_PAGE_SIZE);
    const last = page + Math.floor((offset + bytes - 1) / VHOST_PAGE_SIZE);
    this.#log.mark(first, last);
  }

  /** Signals the log's eventfd, where it has one. */
  tell(): void {
    this.#log.tell();
  }
}
