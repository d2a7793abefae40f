/** The kernel that the tests run on, and names that nobody else has. */
import { randomBytes } from 'node:crypto';
import { release } from 'node:os';

/** The kernel's line, as `'6.12'`. */
export const KERNEL_LINE = release().split('.').slice(0, 2).join('.');

/** A name for a TAP that no test used before. */
export function tapName(): string {
  return `t${randomBytes(5).toString('hex')}`;
}

/** Waits up to `limit` ms until `happened` is true: it is for what hangs, as an emulated process starts for a minute. */
export async function until(happened: () => boolean, what: string, limit = 90_000): Promise<void> {
  const deadline = Date.now() + limit;
  while (!happened()) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
