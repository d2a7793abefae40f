/** Giving back a list of things, all of them, whatever happens to one. */

/** Runs every step in order. Throws the first error when all have run. */
export async function giveBack(steps: readonly (() => unknown)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
