/** Memory regions in vhost-user messages: a wrapped or missing one would be read beyond its end. */
import { describe, expect, test } from 'vitest';
import {
  decodeVhostUserMessage,
  encodeVhostUserRequest,
  type VhostUserMemoryRegion,
} from '../../lib/index.js';
import { thrownSync } from '../support/errors.js';
import { le, message } from '../support/vhost-user.js';

const END = 1n << 64n;

const region = (fields: Partial<VhostUserMemoryRegion> = {}): VhostUserMemoryRegion => ({
  guestAddress: 0n,
  size: 0x1000n,
  userAddress: 0n,
  mmapOffset: 0n,
  ...fields,
});

/** What decoding a request of the front-end, given as bytes, throws. */
const refusal = (bytes: Uint8Array, descriptors = 0) =>
  thrownSync(() => decodeVhostUserMessage(bytes, 'front-end', 'requests', descriptors));

describe('a region', () => {
  const fields = ['guestAddress', 'userAddress', 'mmapOffset'] as const;
  const encodings = {
    VHOST_USER_SET_MEM_TABLE: (one: VhostUserMemoryRegion) =>
      encodeVhostUserRequest('VHOST_USER_SET_MEM_TABLE', [region(), one], 2),
    VHOST_USER_ADD_MEM_REG: (one: VhostUserMemoryRegion) =>
      encodeVhostUserRequest('VHOST_USER_ADD_MEM_REG', one, 1),
    VHOST_USER_REM_MEM_REG: (one: VhostUserMemoryRegion) =>
      encodeVhostUserRequest('VHOST_USER_REM_MEM_REG', one, 0),
  };
  const bytesOf = (fields: VhostUserMemoryRegion) =>
    le([8, fields.guestAddress], [8, fields.size], [8, fields.userAddress], [8, fields.mmapOffset]);
  const raw = {
    VHOST_USER_SET_MEM_TABLE: (one: VhostUserMemoryRegion) =>
      message(5, 0x1, Uint8Array.from([...le([8, 2]), ...bytesOf(region()), ...bytesOf(one)])),
    VHOST_USER_ADD_MEM_REG: (one: VhostUserMemoryRegion) =>
      message(37, 0x1, Uint8Array.from([...le([8, 0]), ...bytesOf(one)])),
    VHOST_USER_REM_MEM_REG: (one: VhostUserMemoryRegion) =>
      message(38, 0x1, Uint8Array.from([...le([8, 0]), ...bytesOf(one)])),
  };
  const counts = {
    VHOST_USER_SET_MEM_TABLE: 2,
    VHOST_USER_ADD_MEM_REG: 1,
    VHOST_USER_REM_MEM_REG: 0,
  };
  const names = Object.keys(counts) as (keyof typeof counts)[];

  test.each(names)('of %s may end at 2^64 and not one byte behind', (name) => {
    for (const field of fields) {
      const last = region({ [field]: END - 0x1000n });
      expect(encodings[name](last)).toEqual(raw[name](last));
      const beyond = region({ [field]: END - 0xfffn });
      const reason = /^VHOST_USER_\w+: (the )?region( 1)?, \w+ \w+: 0x1000 bytes from 0xf+001 end/;
      expect(refusal(raw[name](beyond), counts[name]).message).toMatch(reason);
      expect(thrownSync(() => encodings[name](beyond)).message).toMatch(reason);
      const all = region({ [field]: 1n, size: END - 1n });
      expect(encodings[name](all)).toEqual(raw[name](all));
      refusal(raw[name](region({ [field]: 2n, size: END - 1n })), counts[name]);
    }
  });

  test.each(names)('of %s has a byte at least', (name) => {
    expect(refusal(raw[name](region({ size: 0n })), counts[name]).message).toMatch(/size is 0$/);
    expect(thrownSync(() => encodings[name](region({ size: 0n }))).code).toBe(
      'ERR_INVALID_ARG_VALUE',
    );
    expect(encodings[name](region({ size: 1n }))).toEqual(raw[name](region({ size: 1n })));
  });
});

describe('a table of regions is refused', () => {
  const ofRegions = (count: number, told: number) =>
    message(
      5,
      0x1,
      Uint8Array.from([
        ...le([4, told], [4, 0]),
        ...Array(count)
          .fill([...le([8, 0], [8, 1], [8, 0], [8, 0])])
          .flat(),
      ]),
    );

  test.each([
    [1, 0],
    [1, 2],
    [2, 1],
    [8, 9],
    [8, 2 ** 32 - 1],
    [8, 2 ** 31],
  ])('where it has %i and counts %i', (count, told) => {
    for (const descriptors of [count, Math.min(told, 8)]) {
      expect(refusal(ofRegions(count, told), descriptors).message).toBe(
        `VHOST_USER_SET_MEM_TABLE: it counts ${told} regions and has ${count}`,
      );
    }
  });

  test('where it has none, or nine', () => {
    for (const count of [0, 9]) {
      expect(refusal(ofRegions(count, count), Math.min(count, 8)).message).toMatch(
        /its payload has \d+ bytes, not 8 and 32 for each of 1 to 8 regions$/,
      );
      const regions = Array(count).fill(region());
      const call = () => encodeVhostUserRequest('VHOST_USER_SET_MEM_TABLE', regions, count);
      expect(thrownSync(call).code).toBe('ERR_INVALID_ARG_VALUE');
    }
  });
});
