/** Runs jobs a few at a time: a layer takes one processor for most of its time, and a machine has several. */
import { availableParallelism } from 'node:os';

/**
 * Runs `jobs` in their order, `slots` at a time. Returns their results in that order. Where one throws, no other
 * begins, and its error is thrown when those that run have ended.
 */
export async function runInSlots<T>(
  jobs: readonly (() => Promise<T>)[],
  slots = availableParallelism(),
): Promise<T[]> {
  const results = new Array<T>(jobs.length);
  let next = 0;
  const serve = async () => {
    while (next < jobs.length) {
      const index = next++;
      try {
        results[index] = await (jobs[index] as () => Promise<T>)();
      } catch (error) {
        next = jobs.length;
        throw error;
      }
    }
  };
  const served = await Promise.allSettled(Array.from({ length: slots }, serve));
  const failed = served.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return results;
}
