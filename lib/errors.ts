/**
 * Errors as Node has them. A failed system call is a {@link VhostError} with `code`, negative
 * `errno`, `syscall` and `path`; misuse is a `TypeError` or `RangeError` with an `ERR_…` code; a
 * state that forbids the call is a {@link StateError}. All may carry a `hint`: what to do about it.
 */

/** A failed system call, or a device that failed. */
export class VhostError extends Error {
  override readonly name: string = 'VhostError';
  /** The errno's name, as `'EBUSY'`. */
  readonly code: string;
  /** The negative errno, as Node has it. */
  readonly errno: number;
  /** What failed, as `'ioctl(VHOST_SET_OWNER)'`. */
  readonly syscall: string;
  /** The file or interface, where there is one. */
  declare readonly path?: string;
  /** What to do about it, where that is known. */
  declare readonly hint?: string;

  constructor(fields: {
    code: string;
    errno: number;
    text: string;
    syscall: string;
    path?: string | undefined;
    hint?: string | undefined;
  }) {
    const path = fields.path === undefined ? '' : ` '${fields.path}'`;
    super(`${fields.code}: ${fields.text}, ${fields.syscall}${path}`);
    this.code = fields.code;
    this.errno = fields.errno;
    this.syscall = fields.syscall;
    if (fields.path !== undefined) this.path = fields.path;
    if (fields.hint !== undefined) this.hint = fields.hint;
  }
}

/** Codes of errors that are not a system call's. `docs/errors.md` has the cause and cure of each. */
export type ErrorCode =
  | 'ERR_ADDON_NOT_FOUND'
  | 'ERR_BROKER_PROTOCOL'
  | 'ERR_BROKER_REFUSED'
  | 'ERR_BUFFERS_REFUSED'
  | 'ERR_BUSY'
  | 'ERR_CLOSED'
  | 'ERR_FEATURES_NOT_OFFERED'
  | 'ERR_FRAME_OFFLOAD'
  | 'ERR_FRAME_SIZE'
  | 'ERR_HEADER_LENGTH'
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE'
  | 'ERR_IOTLB_UNMAPPED'
  | 'ERR_MEMORY_IN_USE'
  | 'ERR_MEMORY_NOT_SHARED'
  | 'ERR_MEMORY_TRUNCATED'
  | 'ERR_NO_TAP'
  | 'ERR_OUT_OF_RANGE'
  | 'ERR_REGION_TOO_LARGE'
  | 'ERR_RING_BROKEN'
  | 'ERR_UNSUPPORTED_PLATFORM'
  | 'ERR_VHOST_USER_BACKLOG'
  | 'ERR_VHOST_USER_DISCONNECTED'
  | 'ERR_VHOST_USER_PROTOCOL'
  | 'ERR_VHOST_USER_REFUSED';

/** The object is in a state that forbids the call: closed, busy, in use, broken. */
export class StateError extends Error {
  override readonly name: string = 'StateError';
  readonly code: ErrorCode;
  declare readonly hint?: string;

  constructor(code: ErrorCode, message: string, hint?: string) {
    super(message);
    this.code = code;
    if (hint !== undefined) this.hint = hint;
  }
}

type Coded<E extends Error> = E & { code: ErrorCode; hint?: string };

function coded<E extends Error>(error: E, code: ErrorCode, hint?: string): Coded<E> {
  return Object.assign(error, hint === undefined ? { code } : { code, hint });
}

/** Misuse: an argument of the wrong type. */
export function typeError(message: string, hint?: string): Coded<TypeError> {
  return coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE', hint);
}

/** Misuse: an argument of the right type that cannot be meant. */
export function valueError(message: string, hint?: string): Coded<TypeError> {
  return coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE', hint);
}

/** Misuse: a number, an address or a length outside its range. */
export function rangeError(
  message: string,
  hint?: string,
  code: ErrorCode = 'ERR_OUT_OF_RANGE',
): Coded<RangeError> {
  return coded(new RangeError(message), code, hint);
}

/** The error of every method of a closed object. */
export function closedError(what: string): StateError {
  return new StateError('ERR_CLOSED', `${what} is closed`);
}

/** Throws unless `value` is an integer from `least` to `most`. */
export function checkInteger(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number') throw typeError(`${name} must be a number, not ${typeof value}`);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw rangeError(`${name} must be an integer from ${least} to ${most}, not ${value}`);
  }
  return value;
}

/** Throws unless `value` is a bigint of 64 bits without a sign. */
export function checkUint64(name: string, value: unknown): bigint {
  if (typeof value !== 'bigint') throw typeError(`${name} must be a bigint, not ${typeof value}`);
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) {
    throw rangeError(`${name} must be from 0 to 2^64 - 1, not ${value}`);
  }
  return value;
}
