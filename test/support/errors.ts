/** What a call threw, and whether it is the error that the library promises. */
import { constants } from 'node:os';
import { expect } from 'vitest';
import { VhostError } from '../../lib/index.js';

/** Any error of the library. */
export type Thrown = Error & {
  code?: string;
  errno?: number;
  syscall?: string;
  path?: string;
  hint?: string;
};

/** What `call`, called `name`, throws or rejects with. Fails the test where it does neither. */
export async function thrownBy(call: () => unknown, name = 'the call'): Promise<Thrown> {
  let value: unknown;
  try {
    value = await call();
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    return error as Thrown;
  }
  throw new Error(`nothing was thrown; ${name} returned ${String(value)}`);
}

/** The number of an errno. Node's table lacks EBADFD, which an unattached TUN descriptor returns. */
export function errnoOf(code: string): number {
  const number = { ...constants.errno, EBADFD: 77 }[code];
  if (number === undefined) throw new Error(`no errno is called ${code}`);
  return number;
}

/**
 * Fails unless `call` fails with the errno `code` in `syscall`, as `'ioctl(VHOST_SET_OWNER)'`, and the
 * error has everything that it promises: the negative errno, the message in Node's form, a hint.
 */
export async function expectSystemError(
  call: () => unknown,
  code: string,
  syscall: string,
  path?: string,
): Promise<VhostError> {
  const error = await thrownBy(call);
  expect(error).toBeInstanceOf(VhostError);
  expect(error.message).toMatch(/^E[A-Z0-9]+: [a-z].*, \S/);
  expect({
    code: error.code,
    errno: error.errno,
    syscall: error.syscall,
    path: error.path,
  }).toEqual({ code, errno: -errnoOf(code), syscall, path });
  expect(error.message.startsWith(`${code}: `)).toBe(true);
  expect(
    error.message.endsWith(path === undefined ? `, ${syscall}` : `, ${syscall} '${path}'`),
  ).toBe(true);
  expect(error.hint, `hint of ${code} from ${syscall}`).toMatch(/\w+ \w+/);
  return error as VhostError;
}

/** Fails unless `call` throws an error with this `code`. */
export async function expectCode(call: () => unknown, code: string): Promise<Thrown> {
  const error = await thrownBy(call);
  expect(error.code, error.message).toBe(code);
  return error;
}

/** What `call` throws at once. Fails the test where it throws nothing. */
export function thrownSync(call: () => unknown): Thrown {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    return error as Thrown;
  }
  throw new Error('nothing was thrown');
}
