/** Turns: what takes time and must not overlap, one after another. */

export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Whether nothing is under way. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  /** Does `work` when all before it is done, however that ended. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    try {
      return await done;
    } finally {
      this.#waiting--;
    }
  }
}
