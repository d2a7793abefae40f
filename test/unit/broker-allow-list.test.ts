import { describe, expect, test } from 'vitest';
import { AllowList } from '../../lib/broker/allow-list.js';

const INVALID = expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' });

const allows = (taps: string, name: string) =>
  new AllowList([{ uid: 1000, taps }]).allows(1000, name);

describe('a pattern', () => {
  test.each([
    ['vnet0', 'vnet0'],
    ['vm1-*', 'vm1-'],
    ['vm1-*', 'vm1-eth0'],
    ['*', 'anything'],
    ['*-0', 'vm-0'],
    ['a*b*c', 'abc'],
    ['a*b*c', 'a1b2b3c'],
    ['tap.0', 'tap.0'],
    ['a+(b)', 'a+(b)'],
    ['ü*', 'ü1'],
  ])('%j matches %j', (taps, name) => {
    expect(allows(taps, name)).toBe(true);
  });

  test.each([
    ['vnet0', 'vnet01'],
    ['vnet0', 'xvnet0'],
    ['vnet0', 'VNET0'],
    ['vm1-*', 'vm1'],
    ['vm1-*', 'vm10-eth0'],
    ['vm1-*', 'xvm1-a'],
    ['*-0', 'vm-01'],
    ['tap.0', 'tapx0'],
    ['[ab]', 'a'],
    ['a?', 'ab'],
    ['a|b', 'a'],
  ])('%j does not match %j', (taps, name) => {
    expect(allows(taps, name)).toBe(false);
  });

  test.each(['', 'a/b', 'a b*', 'a-name-of-17-byte', 'a:b', 'a\0b'])('cannot be %j', (taps) => {
    expect(() => new AllowList([{ uid: 0, taps }])).toThrow(INVALID);
  });
});

describe('the list', () => {
  const list = new AllowList([
    { uid: 1000, taps: 'vm1-*' },
    { uid: 1000, taps: 'shared' },
    { uid: 1001, taps: 'shared' },
  ]);

  test('adds up what a user may', () => {
    expect(list.allows(1000, 'vm1-0')).toBe(true);
    expect(list.allows(1000, 'shared')).toBe(true);
    expect(list.allows(1001, 'shared')).toBe(true);
  });

  test('lets nobody have what was allowed to another', () => {
    expect(list.allows(1001, 'vm1-0')).toBe(false);
  });

  test('knows nobody who is not on it, and makes no exception for root', () => {
    expect(list.knows(1000)).toBe(true);
    expect(list.knows(0)).toBe(false);
    expect(list.allows(0, 'shared')).toBe(false);
    expect(list.allows(1002, 'shared')).toBe(false);
  });

  test('must let somebody in, and says how', () => {
    expect(() => new AllowList([])).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_VALUE',
        hint: expect.stringMatching('--allow'),
      }),
    );
  });

  test.each([-1, 1.5, 2 ** 32 - 1, Number.NaN])('has no uid %d: that stands for none', (uid) => {
    expect(() => new AllowList([{ uid, taps: 'vnet0' }])).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
    );
  });
});
