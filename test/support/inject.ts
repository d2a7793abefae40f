/** Faults at the boundary to the addon: one call of a sequence fails, and never reaches the kernel. */
import { constants } from 'node:os';
import { expect } from 'vitest';
import { type Errno, type IoUring, type Native, native, type Poller } from '../../lib/native.js';
import { type Thrown, thrownBy } from './errors.js';
import { expectNoLeaks, leakSnapshot } from './leaks.js';

/** One call of a sequence, as `'vhostSetVringNum 2'`: the function, and which of its calls. */
export type Step = string;

/** What a machine runs out of. */
export const SHORTAGES = [
  { code: 'ENOMEM', errno: -constants.errno.ENOMEM },
  { code: 'EMFILE', errno: -constants.errno.EMFILE },
];

/** These have no errno to give: they look into tables, or let go. */
const CANNOT_FAIL: ReadonlySet<string> = new Set<keyof Native>([
  'Fd',
  'pageSize',
  'errnoName',
  'errnoText',
  'memoryDetach',
  'layouts',
  'requests',
  'constants',
]);

/** These answer with a promise, of the errno too. */
const ON_THE_POOL: ReadonlySet<string> = new Set<keyof Native>([
  'vhostSetOwner',
  'vhostResetOwner',
  'vhostNetSetBackend',
  'iotlbWriteAll',
]);

type Call = (...args: unknown[]) => unknown;

/**
 * Runs `run` with every call into the addon shown to `fault` first. Where it returns an errno, the
 * call returns that instead of being made; 0 lets it through. The addon is itself again afterwards.
 */
async function intercept<T>(fault: (step: Step) => Errno | 0, run: () => Promise<T>): Promise<T> {
  const addon = native as unknown as Record<string, Call>;
  const real = { ...addon };
  const counts = new Map<string, number>();
  const next = (name: string) => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return fault(`${name} ${count}`);
  };
  for (const name of Object.keys(real).filter((key) => !CANNOT_FAIL.has(key))) {
    const call = real[name] as Call;
    addon[name] = (...args) => {
      const errno = next(name);
      if (errno === 0) return call(...args);
      return ON_THE_POOL.has(name) ? Promise.resolve(errno) : errno;
    };
  }
  native.Poller = class {
    constructor(...args: ConstructorParameters<Native['Poller']>) {
      const error = next('Poller');
      // biome-ignore lint/correctness/noConstructorReturn: the addon's own object, where there is one.
      return error === 0 ? new (real.Poller as unknown as Native['Poller'])(...args) : idle(error);
    }
  } as Native['Poller'];
  native.IoUring = class {
    constructor(entries: number) {
      const error = next('IoUring');
      // biome-ignore lint/correctness/noConstructorReturn: the addon's own object, where there is one.
      return error === 0
        ? new (real.IoUring as unknown as Native['IoUring'])(entries)
        : noUring(error);
    }
  } as Native['IoUring'];
  try {
    return await run();
  } finally {
    Object.assign(addon, real);
  }
}

/** What the addon's Poller is after it could not start. */
function idle(error: Errno): Poller {
  const nothing = () => {};
  return {
    error,
    close: nothing,
    pause: nothing,
    resume: () => error,
    ref: nothing,
    unref: nothing,
  };
}

function noUring(error: Errno): IoUring {
  return { error, write: () => error, close: () => {} };
}

/** Every call that `run` makes into the addon, in order. */
export async function stepsOf(run: () => Promise<unknown>): Promise<Step[]> {
  const steps: Step[] = [];
  await intercept((step) => {
    steps.push(step);
    return 0;
  }, run);
  return steps;
}

/**
 * Runs `run`, in which `step` returns `errno` instead of being made; with `onwards` every call after it
 * does too, and only closing still works.
 */
export function withFault<T>(
  step: Step,
  errno: Errno,
  run: () => Promise<T>,
  { onwards = false } = {},
): Promise<T> {
  let reached = false;
  return intercept((each) => {
    if (each === step) reached = true;
    return each === step || (onwards && reached) ? errno : 0;
  }, run);
}

/** The steps that only tell by what name a TAP goes now, or that its link changed: who is not told looks. */
const onlyTells = (step: Step) => /^(tunGetIff (?!1$)|linkMonitorRead )/.test(step);

/**
 * Fails where `run` with a fault at a step does not throw `code`, or leaves anything. It comes to a step
 * only if all before it work once more.
 */
export async function expectAtEach(
  steps: readonly Step[],
  code: string,
  run: (step: Step) => Promise<unknown>,
): Promise<void> {
  const others: [Step, Thrown][] = [];
  for (const step of steps.filter((each) => !onlyTells(each))) {
    const before = await leakSnapshot();
    const error = await thrownBy(() => run(step), step);
    if (error.code !== code) others.push([step, error]);
    await expectNoLeaks(before);
  }
  expect(others).toEqual([]);
}
