import { expect, test } from 'vitest';
import {
  OFFLOADS,
  type OffloadName,
  offloadNames,
  offloadWish,
} from '../../lib/net/offload-names.js';

test('every offload has a name, and a mask the names of what is wholly in it', () => {
  expect(offloadNames(0)).toEqual([]);
  expect(offloadNames(0x1ff)).toEqual([
    'csum',
    'tso4',
    'tso6',
    'ecn',
    'uso',
    'tunnel',
    'tunnel-csum',
  ]);
  // UFO has none, nor has USO for one version of IP.
  expect(offloadNames(0x31)).toEqual(['csum']);
  for (const [name, bits] of Object.entries(OFFLOADS)) expect(offloadNames(bits)).toEqual([name]);
});

test('nothing is asked for by default', () => {
  for (const option of [undefined, false, []]) {
    expect(offloadWish(option as undefined)).toEqual({ wanted: 0, required: 0 });
  }
});

test('true asks for all but tunnels, and requires nothing', () => {
  const { wanted, required } = offloadWish(true);
  expect(offloadNames(wanted)).toEqual(['csum', 'tso4', 'tso6', 'ecn', 'uso']);
  expect(required).toBe(0);
});

test('a list requires what it names, with the checksums that all stand on', () => {
  for (const [list, all] of [
    [['csum'], ['csum']],
    [['tso6'], ['csum', 'tso6']],
    [
      ['tunnel-csum', 'tunnel', 'uso'],
      ['csum', 'uso', 'tunnel', 'tunnel-csum'],
    ],
  ] as [OffloadName[], OffloadName[]][]) {
    const { wanted, required } = offloadWish(list);
    expect(offloadNames(wanted)).toEqual(all);
    expect(required).toBe(wanted);
  }
});

test.each([
  [['ecn'], 'offload has ecn without what that stands on'],
  [['tunnel'], 'offload has tunnel without what that stands on'],
  [['tso4', 'tunnel-csum'], 'offload has tunnel-csum without what that stands on'],
  [['tso4', 'tso'], 'offload has "tso", which is none of csum, tso4'],
  [['toString'], 'offload has "toString", which is none of csum'],
])('%j cannot be meant', (list, message) => {
  expect(() => offloadWish(list as OffloadName[])).toThrow(
    expect.objectContaining({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining(message),
    }),
  );
});

test.each([1, 'tso4', {}, null])('%j is no offload option', (option) => {
  expect(() => offloadWish(option as unknown as boolean)).toThrow(
    expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }),
  );
});
