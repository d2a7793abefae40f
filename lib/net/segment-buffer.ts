/** SegmentBuffer: memory and views for the segments of one frame, used again for the next. */

/** Frames begin on cache lines of their own. */
const ALIGNMENT = 64;
/** Up to so many segments, as 64 KiB of full Ethernet frames have, the list of them is kept. */
const KEPT_LISTS = 64;

export class SegmentBuffer {
  #memory = new Uint8Array(0);
  readonly #lists: Uint8Array[][] = [];
  /** Views by number; those of the last call, unless it needed fewer. */
  #views: Uint8Array[] = [];

  /** `count` views, of `length` bytes each but the last, which has `last`; not cleared. */
  take(count: number, length: number, last: number): Uint8Array[] {
    const stride = Math.ceil(length / ALIGNMENT) * ALIGNMENT;
    if (count * stride > this.#memory.length) {
      this.#memory = new Uint8Array(count * stride);
      this.#views = [];
    }
    const list = this.#list(count);
    for (let i = 0; i < count; i++) {
      list[i] = this.#view(i, i * stride, i < count - 1 ? length : last);
    }
    return list;
  }

  #list(count: number): Uint8Array[] {
    if (count > KEPT_LISTS) return new Array<Uint8Array>(count);
    this.#lists[count] ??= new Array<Uint8Array>(count);
    return this.#lists[count] as Uint8Array[];
  }

  #view(index: number, at: number, length: number): Uint8Array {
    const view = this.#views[index];
    if (view && view.byteOffset === at && view.length === length) return view;
    const made = this.#memory.subarray(at, at + length);
    this.#views[index] = made;
    return made;
  }
}
