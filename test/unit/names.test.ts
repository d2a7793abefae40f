import { expect, test } from 'vitest';
import { checkInterfaceName, NetInterface } from '../../lib/host/net-interface.js';

// dev_valid_name() of net/core/dev.c: at most 15 bytes, not '.' or '..', no '/', no ':', no isspace(),
// where the kernel's isspace() has 0xa0 of Latin-1 among the spaces.

test.each(['vnet0', 'a', 'x'.repeat(15), 'tap%d', 'br-lan.10', '...', 'ü0', 'vm@host', '日本'])(
  '%j can be the name of an interface',
  (name) => {
    expect(checkInterfaceName(name)).toBe(name);
  },
);

test.each([
  '',
  '.',
  '..',
  'a/b',
  'a:b',
  'a b',
  'a\tb',
  'a\nb',
  'a\u000bb',
  'a\u000cb',
  'a\rb',
  'a\0b',
  'a\u00a0b',
  'voilà',
])('%j cannot be the name of an interface', (name) => {
  expect(() => checkInterfaceName(name)).toThrow(
    expect.objectContaining({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_VALUE',
      message: `'${name}' cannot be the name of an interface`,
    }),
  );
});

test.each([
  ['x'.repeat(16), 16],
  ['ä'.repeat(8), 16],
  ['name-of-the-uplink', 18],
])('%j is too long, counted in bytes', (name, bytes) => {
  expect(() => checkInterfaceName(name)).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARG_VALUE',
      message: `the interface name '${name}' has ${bytes} bytes; the kernel allows 15`,
    }),
  );
});

test.each([undefined, null, 0, {}, ['vnet0']])('%j is no string', (name) => {
  expect(() => checkInterfaceName(name)).toThrow(
    expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }),
  );
});

test('a NetInterface checks its name before it asks the kernel', () => {
  expect(() => new NetInterface('a/b')).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
  );
});
