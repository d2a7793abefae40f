import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  checkInteger,
  checkUint64,
  closedError,
  rangeError,
  StateError,
  typeError,
  VhostError,
  valueError,
} from '../../lib/errors.js';
import { HINTS, hintFor } from '../../lib/hints.js';
import { native } from '../../lib/native.js';
import { checked, checkedValue, systemError } from '../../lib/syscall.js';

/** Linux has the errnos 1 to 133, without 41 and 58, which are other names of EAGAIN and EDEADLK. */
const ERRNOS = Array.from({ length: 133 }, (_, i) => i + 1).filter((n) => n !== 41 && n !== 58);
/** What POSIX has two names for; Node prefers the second. */
const ALIASES = new Set(['EWOULDBLOCK', 'ENOTSUP', 'EDEADLOCK']);

describe('the addon’s table of errnos', () => {
  test('names every errno of Linux, each by its own name', () => {
    const names = ERRNOS.map((errno) => native.errnoName(errno));
    expect(names.filter((name) => !/^E[A-Z0-9]+$/.test(name ?? ''))).toEqual([]);
    expect(new Set(names).size).toBe(131);
  });

  test('agrees with Node about every name that Node knows', () => {
    for (const [name, errno] of Object.entries(constants.errno)) {
      if (!ALIASES.has(name)) expect(native.errnoName(errno)).toBe(name);
    }
  });

  test.each([
    [77, 'EBADFD'],
    [76, 'ENOTUNIQ'],
    [95, 'EOPNOTSUPP'],
    [11, 'EAGAIN'],
    [35, 'EDEADLK'],
    [130, 'EOWNERDEAD'],
    [133, 'EHWPOISON'],
  ])('calls %i %s, which libuv does not', (errno, name) => {
    expect(native.errnoName(errno)).toBe(name);
  });

  test.each([0, -1, 41, 58, 134, 524, 4095])('has no name for %i', (errno) => {
    expect(native.errnoName(errno)).toBeUndefined();
  });

  test('has a sentence for every errno', () => {
    for (const errno of ERRNOS) expect(native.errnoText(errno)).toMatch(/^(?!Unknown)\S.{3,}$/);
  });
});

describe('the error of a failed system call', () => {
  test('looks like Node’s: code, negative errno, syscall, path, and a hint', () => {
    const error = systemError(-1, 'ioctl(TUNSETIFF)', 'tap0');
    expect(error).toBeInstanceOf(VhostError);
    expect(error).toBeInstanceOf(Error);
    expect(error.message).toBe("EPERM: operation not permitted, ioctl(TUNSETIFF) 'tap0'");
    expect({ ...error }).toEqual({
      name: 'VhostError',
      code: 'EPERM',
      errno: -1,
      syscall: 'ioctl(TUNSETIFF)',
      path: 'tap0',
      hint: expect.stringContaining('CAP_NET_ADMIN'),
    });
  });

  test('has neither path nor hint where there is none', () => {
    const error = systemError(-77, 'read');
    expect(error.message).toBe('EBADFD: file descriptor in bad state, read');
    expect([Object.hasOwn(error, 'path'), Object.hasOwn(error, 'hint')]).toEqual([false, false]);
  });

  test('of an errno that Linux does not have is still an error', () => {
    expect(systemError(-524, 'ioctl(X)')).toMatchObject({ code: 'ERRNO_524', errno: -524 });
  });

  test('leaves acronyms as they are', () => {
    for (const errno of ERRNOS) {
      expect(systemError(-errno, 'x').message).not.toMatch(/^\w+: [a-z][A-Z]/);
    }
    expect(systemError(-132, 'x').message).toMatch(/^ERFKILL: [Oo]peration/);
    expect(systemError(-74, 'x').message).toBe('EBADMSG: bad message, x');
  });

  test('checked() passes on what is no errno, and throws what is', () => {
    expect(checked(0, 'x')).toBe(0);
    expect(checked(7, 'x')).toBe(7);
    expect(checked('value', 'x')).toBe('value');
    expect(checkedValue<bigint>(-5n, 'x')).toBe(-5n);
    expect(() => checked(-2, 'open', '/dev/vhost-net')).toThrow(
      expect.objectContaining({
        code: 'ENOENT',
        path: '/dev/vhost-net',
        hint: expect.stringContaining('modprobe vhost_net'),
      }),
    );
  });
});

describe('hints', () => {
  const all = Object.entries(HINTS).flatMap(([call, hints]) =>
    Object.entries(hints).map(([code, text]) => [call, code, text] as const),
  );
  const names = new Set(ERRNOS.map((errno) => native.errnoName(errno)));

  test.each(all)('%s %s is an errno of Linux with a sentence of ours', (_, code, text) => {
    expect(names).toContain(code);
    expect(text).toMatch(/^\S+ .*\S$/);
    expect(text).not.toMatch(/^[A-Z][a-z]|\.$|\n| {2}/);
  });

  test('are found by the name of the ioctl, and for open() by the path', () => {
    expect(hintFor('ioctl(VHOST_SET_OWNER)', 'EBUSY')).toContain('has an owner already');
    expect(hintFor('KVM_IRQFD', 'EBUSY')).toContain('irqfd already');
    expect(hintFor('open', 'EACCES', '/dev/kvm')).toContain('usermod -aG kvm');
    expect(hintFor('open', 'EACCES', '/tmp/x')).toBeUndefined();
    expect(hintFor('ioctl(VHOST_SET_OWNER)', 'EXDEV')).toBeUndefined();
  });
});

describe('misuse', () => {
  test.each([
    [typeError('m', 'h'), TypeError, 'ERR_INVALID_ARG_TYPE'],
    [valueError('m', 'h'), TypeError, 'ERR_INVALID_ARG_VALUE'],
    [rangeError('m', 'h'), RangeError, 'ERR_OUT_OF_RANGE'],
    [rangeError('m', 'h', 'ERR_FRAME_SIZE'), RangeError, 'ERR_FRAME_SIZE'],
    [new StateError('ERR_BUSY', 'm', 'h'), StateError, 'ERR_BUSY'],
  ])('%s has its class, code, message and hint', (error, type, code) => {
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({ code, message: 'm', hint: 'h' });
  });

  test('an error without a hint has no such property', () => {
    for (const error of [typeError('m'), rangeError('m'), closedError('it')]) {
      expect(Object.hasOwn(error, 'hint')).toBe(false);
    }
    expect(closedError('the port')).toMatchObject({
      name: 'StateError',
      code: 'ERR_CLOSED',
      message: 'the port is closed',
    });
  });

  test('checkInteger() takes both bounds and nothing beyond, between or else', () => {
    expect([checkInteger('n', 1, 1, 3), checkInteger('n', 3, 1, 3)]).toEqual([1, 3]);
    for (const value of [0, 4, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => checkInteger('n', value, 1, 3)).toThrow(`n must be an integer from 1 to 3`);
    }
    expect(() => checkInteger('n', 2n, 1, 3)).toThrow('n must be a number, not bigint');
  });

  test('checkUint64() takes 64 bits without a sign', () => {
    const most = 2n ** 64n - 1n;
    expect([checkUint64('a', 0n), checkUint64('a', most)]).toEqual([0n, most]);
    expect(() => checkUint64('a', -1n)).toThrow(RangeError);
    expect(() => checkUint64('a', most + 1n)).toThrow(RangeError);
    expect(() => checkUint64('a', 1)).toThrow('a must be a bigint, not number');
  });
});
