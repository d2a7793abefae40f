/**
 * A device that writes at the same time: every word that the driver reads with `Atomics.load` may
 * change right before, and right after. What it reads plainly, it reads once, after such a word.
 */

import { mutate } from './liar.js';
import type { Observer } from './observer.js';
import type { Random } from './random.js';
import type { Trace } from './run.js';

const load = Atomics.load;

export class Races {
  #random: Random | undefined;
  #observer: Observer | undefined;
  #lies = 0;
  #seen: number | undefined;
  #trace: Trace;

  /** What was loaded since the last question, if anything was. */
  readonly seen = (): number | undefined => {
    const seen = this.#seen;
    this.#seen = undefined;
    return seen;
  };

  /** Runs `work` while the device of `observer` writes. */
  during(
    options: { random: Random; observer: Observer; lies: number; trace: Trace },
    work: () => void,
  ): void {
    ({ random: this.#random, observer: this.#observer, lies: this.#lies } = options);
    this.#trace = options.trace;
    Atomics.load = ((words: Uint16Array, index: number) => this.#load(words, index)) as typeof load;
    try {
      work();
    } finally {
      Atomics.load = load;
    }
  }

  #load(words: Uint16Array, index: number): number {
    this.#change();
    const value = load(words, index);
    this.#change();
    this.#seen = value;
    return value;
  }

  #change(): void {
    const random = this.#random as Random;
    if (!random.chance(400)) return;
    const change = mutate(random, this.#observer as Observer, this.#lies);
    this.#trace?.(`    meanwhile: ${change}`);
  }
}
