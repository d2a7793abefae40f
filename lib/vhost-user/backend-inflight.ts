/**
 * The in-flight area of a split ring (vhost-user, "Inflight I/O tracking"): which chains were taken and not given
 * back, in a file that outlives this process. What lies in it comes from the front-end, and is believed in nothing.
 */
import { rangeError } from '../errors.js';
import { SharedArea } from '../host/shared-area.js';
import { native } from '../native.js';
import type { VhostUserInflight } from './memory-payloads.js';
import type { ChainNotes } from './ring-burst.js';

const MASK = 0xffff;
/** `struct QueueRegionSplit`: features, version, desc_num, last_batch_head, used_idx; then the states. */
const VERSION = 8;
const DESC_NUM = 10;
const LAST_BATCH_HEAD = 12;
const USED_IDX = 14;
const HEAD_BYTES = 16;
/** `struct DescStateSplit`: inflight, padding, next, counter. */
const STATE_BYTES = 16;
const NEXT = 6;
const COUNTER = 8;
/** What each ring's part is aligned to, as DPDK and libvhost-user have it. */
const ALIGNMENT = 64;

const bytesOfRing = (size: number) =>
  Math.ceil((HEAD_BYTES + STATE_BYTES * size) / ALIGNMENT) * ALIGNMENT;

export class BackendInflight {
  readonly #area: SharedArea;
  readonly #rings: number;
  readonly #ringSize: number;

  private constructor(area: SharedArea, { numQueues, queueSize }: VhostUserInflight) {
    this.#area = area;
    this.#rings = numQueues;
    this.#ringSize = queueSize;
  }

  /** A new area, empty. Throws where it is for more rings than `most`. */
  static create(wanted: VhostUserInflight, most: number): BackendInflight {
    checkRings(wanted, most);
    const bytes = wanted.numQueues * bytesOfRing(wanted.queueSize);
    const size = Math.ceil(bytes / native.pageSize) * native.pageSize;
    return new BackendInflight(SharedArea.create(size), wanted);
  }

  /** One that a process before this one made. Throws where it is too small for its rings, or for its file. */
  static map(given: VhostUserInflight, fd: number, most: number): BackendInflight {
    checkRings(given, most);
    const bytes = given.numQueues * bytesOfRing(given.queueSize);
    if (given.mmapSize < BigInt(bytes)) {
      throw rangeError(`its area has ${given.mmapSize} bytes, and its rings need ${bytes}`);
    }
    return new BackendInflight(SharedArea.map(fd, given.mmapOffset, given.mmapSize), given);
  }

  /** What the front-end is to know of it. */
  get told(): VhostUserInflight {
    const { length } = this.#area.bytes;
    return {
      mmapSize: BigInt(length),
      mmapOffset: 0n,
      numQueues: this.#rings,
      queueSize: this.#ringSize,
    };
  }

  get fd(): number {
    return this.#area.fd;
  }

  get cut(): boolean {
    return this.#area.cut;
  }

  /** The part of one ring. Throws where it has none, or one that is too small. */
  ring(index: number, size: number): RingInflight {
    if (index >= this.#rings || size > this.#ringSize) {
      throw rangeError(
        `ring ${index} of ${size} descriptors has no room among ${this.#rings} of ${this.#ringSize} in flight`,
      );
    }
    const start = index * bytesOfRing(this.#ringSize);
    return new RingInflight(
      this.#area.bytes.subarray(start, start + bytesOfRing(this.#ringSize)),
      size,
    );
  }

  close(): void {
    this.#area.close();
  }
}

/** What is noted of one ring. The order of every store matters: a process may die between any two. */
export class RingInflight implements ChainNotes {
  readonly #bytes: Uint8Array;
  readonly #half: Uint16Array;
  readonly #words: Uint32Array;
  readonly #size: number;
  #counter = 1;

  constructor(bytes: Uint8Array, size: number) {
    const { buffer, byteOffset, length } = bytes;
    this.#bytes = bytes;
    this.#half = new Uint16Array(buffer, byteOffset, length / 2);
    this.#words = new Uint32Array(buffer, byteOffset, length / 4);
    this.#size = size;
  }

  /**
   * The heads of the chains that are in flight, in the order in which they were taken, where the used ring
   * stands at `used`. A new area has none.
   */
  resume(used: number): number[] {
    const half = this.#half;
    if (half[DESC_NUM / 2] === 0) {
      half[VERSION / 2] = 1;
      half[DESC_NUM / 2] = this.#size;
    }
    // The used ring told of the last batch, and this area was not told of that.
    const batch = (used - (half[USED_IDX / 2] as number)) & MASK;
    let head = half[LAST_BATCH_HEAD / 2] as number;
    for (let i = 0; i < Math.min(batch, this.#size) && head < this.#size; i++) {
      Atomics.store(this.#bytes, stateAt(head), 0);
      head = half[(stateAt(head) + NEXT) / 2] as number;
    }
    Atomics.store(half, USED_IDX / 2, used);
    const found: [head: number, counter: number][] = [];
    for (let at = 0; at < this.#size; at++) {
      if (this.#bytes[stateAt(at)] === 1) found.push([at, this.#counterOf(at)]);
    }
    found.sort((a, b) => a[1] - b[1]);
    this.#counter = (found[found.length - 1]?.[1] ?? 0) + 1;
    return found.map(([at]) => at);
  }

  taken(head: number): void {
    const at = stateAt(head);
    const word = (at + COUNTER) / 4;
    const counter = this.#counter++;
    this.#words[word] = counter >>> 0;
    this.#words[word + 1] = Math.floor(counter / 2 ** 32);
    Atomics.store(this.#bytes, at, 1);
  }

  given(heads: Uint16Array, count: number): void {
    const half = this.#half;
    for (let i = 0; i < count; i++) {
      const head = heads[i] as number;
      half[(stateAt(head) + NEXT) / 2] = half[LAST_BATCH_HEAD / 2] as number;
      Atomics.store(half, LAST_BATCH_HEAD / 2, head);
    }
  }

  shown(heads: Uint16Array, count: number): void {
    for (let i = 0; i < count; i++) Atomics.store(this.#bytes, stateAt(heads[i] as number), 0);
    const used = this.#half[USED_IDX / 2] as number;
    Atomics.store(this.#half, USED_IDX / 2, (used + count) & MASK);
  }

  #counterOf(head: number): number {
    const word = (stateAt(head) + COUNTER) / 4;
    return (this.#words[word] as number) + (this.#words[word + 1] as number) * 2 ** 32;
  }
}

const stateAt = (head: number) => HEAD_BYTES + STATE_BYTES * head;

function checkRings({ numQueues }: VhostUserInflight, most: number): void {
  if (numQueues > most) throw rangeError(`it is for ${numQueues} rings, and there are ${most}`);
}
