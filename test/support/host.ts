/** The kernel that the tests run on, and names that nobody else has. */
import { randomBytes } from 'node:crypto';
import { release } from 'node:os';

/** The kernel's line, as `'6.12'`. */
export const KERNEL_LINE = release().split('.').slice(0, 2).join('.');

/** How the names begin that this process gives: others may run tests on this machine at the same time. */
const OURS = `t${randomBytes(4).toString('hex')}`;
let names = 0;

/** A name for a TAP that no test used before. */
export function tapName(): string {
  return `${OURS}_${(names++).toString(16)}`;
}

/** Whether another process's test named it. */
export function isAnothersTap(name: string): boolean {
  return /^t[0-9a-f]{8}_/.test(name) && !name.startsWith(OURS);
}

/** Waits up to `limit` ms until `happened` is true: it is for what hangs, as an emulated process starts for a minute. */
export async function until(
  happened: () => boolean | Promise<boolean>,
  what: string,
  limit = 90_000,
): Promise<void> {
  const deadline = Date.now() + limit;
  while (!(await happened())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
