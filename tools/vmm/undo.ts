/** Undo: what is to be given back, in the reverse of the order in which it was taken. */

export class Undo {
  readonly #steps: (() => unknown)[] = [];

  /** Returns `taken`, which `giveBack` gives back. */
  add<T>(taken: T, giveBack: (taken: T) => unknown): T {
    this.#steps.push(() => giveBack(taken));
    return taken;
  }

  /** Every step, also after one that failed; throws the first error at the end. */
  async run(): Promise<void> {
    const errors: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
