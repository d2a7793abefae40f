/** A ring as a guest's driver fills it that may mean it well, or may not. */
import { placeVring } from '../../../lib/index.js';
import type { Random } from './random.js';

const [NEXT, WRITE, INDIRECT] = [1, 2, 4] as const;

export class GuestRing {
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  readonly #size: number;
  /** What is to be written to, or to be read, goes by each ring one way. */
  readonly #flags: number;
  /** Where its parts are, in halves. */
  readonly #avail: number;
  readonly #used: number;
  readonly #desc: number;

  /** In memory from `at` on. */
  constructor(memory: ArrayBuffer, at: number, size: number, receives: boolean) {
    const { desc, avail, used } = placeVring(BigInt(at), size);
    this.#words = new Uint32Array(memory);
    this.#halves = new Uint16Array(memory);
    this.#size = size;
    this.#flags = receives ? WRITE : 0;
    this.#desc = Number(desc) / 4;
    this.#avail = Number(avail) / 2;
    this.#used = Number(used) / 2;
  }

  /** Nothing is on offer any more: as a driver leaves it that begins anew. */
  renew(): void {
    this.#halves[this.#avail + 1] = this.#halves[this.#used + 1] as number;
  }

  /** Changes descriptors and offers some; `wild` times in a thousand each part is anything. */
  scribble(random: Random, wild: number, memory: number): void {
    const words = this.#words;
    const halves = this.#halves;
    const size = this.#size;
    const offered = this.#avail + 1;
    const open = ((halves[offered] as number) - (halves[this.#used + 1] as number)) & 0xffff;
    for (let left = Math.min(random.below(3), size - open); left > 0; left--) {
      const head = random.below(size);
      this.#describe(random, wild, memory, head);
      const at = halves[offered] as number;
      halves[this.#avail + 2 + (at & (size - 1))] = random.chance(wild) ? random.u32() : head;
      halves[offered] = at + 1;
    }
    halves[this.#avail] = random.below(2);
    halves[this.#avail + 2 + size] = random.u32();
    if (random.chance(wild >> 3)) halves[offered] = random.u32();
    if (random.chance(wild >> 3)) words[random.below(memory >> 2)] = random.u32();
  }

  #describe(random: Random, wild: number, memory: number, head: number): void {
    const words = this.#words;
    let at = head;
    for (let left = random.pick([1, 1, 2, 3]); left > 0; left--) {
      const word = this.#desc + 4 * at;
      const length = random.between(12, 2000);
      const next = random.below(this.#size);
      const more = left > 1 && next > at;
      words[word] = random.chance(wild) ? random.edge(memory) : random.below(memory - length);
      words[word + 1] = random.chance(wild) ? random.u32() : Number(random.chance(100));
      words[word + 2] = random.chance(wild) ? random.edge(1500) : length;
      const flags = random.chance(wild)
        ? random.pick([0, NEXT, WRITE, NEXT | WRITE, INDIRECT])
        : this.#flags | (more ? NEXT : 0);
      words[word + 3] = (next << 16) | flags;
      if (!more) return;
      at = next;
    }
  }
}
