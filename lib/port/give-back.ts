/** Ways to end: give a list of things back, all of them; wait for a thing, but not for ever. */

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

/** Waits for `work`, for at most `limit` ms; neither an error nor the limit is one here. */
export async function within(limit: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limit);
  });
  await Promise.race([Promise.resolve(work).catch(() => {}), timeout]);
  clearTimeout(timer);
}
