/** From the addon's `-errno` to an error with everything in it, and a line in the log. */
import { inspect } from 'node:util';
import { VhostError } from './errors.js';
import { hintFor } from './hints.js';
import { logIoctl } from './log.js';
import { native } from './native.js';

/** The error of a system call that returned `result`, a negative errno. */
export function systemError(result: number, syscall: string, path?: string): VhostError {
  const errno = -result;
  const code = native.errnoName(errno) ?? `ERRNO_${errno}`;
  const text = native.errnoText(errno);
  return new VhostError({
    code,
    errno: result,
    text: inSentence(text),
    syscall,
    path,
    hint: hintFor(syscall, code, path),
  });
}

/** Logs a call and returns its result, or throws where the result is a negative errno. */
export function checked<T>(result: T, syscall: string, path?: string, args?: unknown): T {
  if (logIoctl.enabled) {
    logIoctl(
      '%s%s %o = %s',
      syscall,
      path === undefined ? '' : ` '${path}'`,
      args ?? [],
      shown(result),
    );
  }
  if (typeof result === 'number' && result < 0) throw systemError(result, syscall, path);
  return result;
}

/**
 * {@link checked} for functions that return a value that is not a number: whatever number comes back
 * is an errno.
 */
export function checkedValue<T>(
  result: T | number,
  syscall: string,
  path?: string,
  args?: unknown,
): Exclude<T, number> {
  return checked(result, syscall, path, args) as Exclude<T, number>;
}

/** The C library's text as it goes on after a colon; acronyms stay as they are. */
function inSentence(text: string): string {
  return /^[A-Z][a-z ]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}

/** A result for the log: a descriptor as its number, a mapping as its address, never its bytes. */
function shown(result: unknown): string {
  if (typeof result === 'object' && result !== null) {
    if ('number' in result && typeof result.number === 'function') return `fd ${result.number()}`;
    if ('address' in result && typeof result.address === 'bigint') {
      return `0x${result.address.toString(16)}`;
    }
  }
  return inspect(result, { depth: 1, breakLength: Number.POSITIVE_INFINITY, maxArrayLength: 16 });
}
