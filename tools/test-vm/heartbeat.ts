/**
 * Notices a guest that stands still: QEMU's emulation sometimes lets a processor sleep for good, in a
 * kernel that waits for it, and the machine would stay until the time limit of its command.
 */

/** Seconds between two beats: the guest's scripts send one from each processor, see `guest.ts`. */
export const BEAT = 5;

/** Seconds of silence that are not slowness any more, on the slowest host we know of. */
export const SILENCE_LIMIT = 120;

/** Calls `tick` every `seconds`; what it returns ends that. */
export type Every = (seconds: number, tick: () => void) => () => void;

const everySoOften: Every = (seconds, tick) => {
  const timer = setInterval(tick, seconds * 1000);
  return () => clearInterval(timer);
};

/**
 * The beats of one or more hearts. Silence is counted in ticks of a timer, not read from a clock: while
 * this process is itself stopped (Ctrl-Z, a suspended host) it hears no beat, and that must not count.
 */
export class Heartbeat {
  readonly stop: () => void;
  readonly #silent: number[];
  #age = 0;

  /**
   * Calls `onStill` once, when one of `hearts` has been silent for `SILENCE_LIMIT`: with the seconds
   * since each one's last beat, and the second, counted from now, from which the longest silence lasts.
   */
  constructor(
    hearts: number,
    onStill: (silent: readonly number[], since: number) => void,
    every = everySoOften,
  ) {
    this.#silent = Array<number>(hearts).fill(0);
    this.stop = every(BEAT, () => {
      this.#age += BEAT;
      this.#silent.forEach((seconds, heart) => {
        this.#silent[heart] = seconds + BEAT;
      });
      const longest = Math.max(...this.#silent);
      if (longest < SILENCE_LIMIT) return;
      this.stop();
      onStill(this.#silent, this.#age - longest);
    });
  }

  beat(heart: number): void {
    if (heart in this.#silent) this.#silent[heart] = 0;
  }
}

/** What the two arguments of `onStill` mean where each heart is a processor. */
export function stoodStill(silent: readonly number[], since: number): string {
  const signs = silent.map((seconds, number) => `processor ${number} ${seconds} s ago`);
  return `the guest has stood still since second ${since} of its run; last sign of life: ${signs.join(', ')}`;
}
