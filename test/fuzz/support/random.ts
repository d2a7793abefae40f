/** Numbers that look random and are the same for the same seed, on every machine. */

export class Random {
  #state: number;

  /** One stream of numbers for each `stream` of a seed. */
  constructor(seed: number, stream: number) {
    this.#state = mix(mix(seed) ^ stream);
  }

  /** 0 to 2^32 - 1 (mulberry32). */
  u32(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    return mix(this.#state);
  }

  /** 0 to `limit` - 1. */
  below(limit: number): number {
    return this.u32() % limit;
  }

  /** `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True `times` times in a thousand. */
  chance(times: number): boolean {
    return this.below(1000) < times;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** A number at an edge: near `around`, near a power of two, or any of 32 bits. */
  edge(around: number): number {
    switch (this.below(4)) {
      case 0:
        return (around + this.between(-2, 2)) >>> 0;
      case 1:
        return (2 ** this.below(33) + this.between(-1, 1)) >>> 0;
      case 2:
        return this.below(1 + 2 * around);
      default:
        return this.u32();
    }
  }
}

function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 15), x | 1);
  x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
  return (x ^ (x >>> 14)) >>> 0;
}
