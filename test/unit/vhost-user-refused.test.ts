/** Payloads of vhost-user that fit and cannot be meant, received and to be sent. */
import { describe, expect, test } from 'vitest';
import {
  decodeVhostUserMessage,
  encodeVhostUserReply,
  encodeVhostUserRequest,
} from '../../lib/index.js';
import { thrownSync } from '../support/errors.js';
import { le, message } from '../support/vhost-user.js';

const END = 1n << 64n;

/** What decoding a request of the front-end, given as bytes, throws. */
const refusal = (bytes: Uint8Array, descriptors = 0) =>
  thrownSync(() => decodeVhostUserMessage(bytes, 'front-end', 'requests', descriptors));

describe('what is refused of', () => {
  test.each<[string, Uint8Array, number, RegExp]>([
    ['a ring’s index: bit 9', message(12, 1, le([8, 0x200])), 1, /0x200, above bit 8$/],
    ['a ring’s index: bit 63', message(13, 1, le([8, 1n << 63n])), 1, /above bit 8$/],
    ['a ring’s index: bit 8 with a descriptor', message(12, 1, le([8, 0x100])), 1, /not 0$/],
    ['a ring’s index: neither', message(12, 1, le([8, 0])), 0, /not 1$/],
    [
      'a ring’s addresses: flags',
      message(9, 1, le([4, 0], [4, 2], [8, 0], [8, 0], [8, 0], [8, 0])),
      0,
      /flags are 0x2/,
    ],
    [
      'a ring’s addresses: the highest flag',
      message(9, 1, le([4, 0], [4, 2 ** 31], [8, 0], [8, 0], [8, 0], [8, 0])),
      0,
      /flags are/,
    ],
    ['a log: no bytes', message(6, 1, le([8, 0], [8, 0])), 1, /size is 0$/],
    ['a log: its end', message(6, 1, le([8, 2], [8, END - 1n])), 1, /beyond 2\^64$/],
    ['a log: no descriptor', message(6, 1, le([8, 1], [8, 0])), 0, /^.* 0 descriptors .*not 1$/],
    ['a log: a number with a descriptor', message(6, 1, le([8, 1])), 1, /not 0$/],
    [
      'what is in flight: its end',
      message(32, 1, le([8, 2], [8, END - 1n], [2, 1], [2, 1])),
      1,
      /beyond 2\^64$/,
    ],
    [
      'what is in flight: no queue',
      message(32, 1, le([8, 2], [8, 0], [2, 0], [2, 1])),
      1,
      /numQueues is 0/,
    ],
    [
      'what is in flight: too long a queue',
      message(32, 1, le([8, 2], [8, 0], [2, 1], [2, 32_769])),
      1,
      /queueSize is 32769/,
    ],
    [
      'the IOTLB: type 0',
      message(22, 1, le([8, 0], [8, 1], [8, 0], [1, 3], [1, 0], [2, 0], [4, 0])),
      0,
      /type is 0/,
    ],
    [
      'the IOTLB: type 5',
      message(22, 1, le([8, 0], [8, 1], [8, 0], [1, 3], [1, 5], [2, 0], [4, 0])),
      0,
      /type is 5/,
    ],
    [
      'the IOTLB: an update’s permission',
      message(22, 1, le([8, 0], [8, 1], [8, 0], [1, 4], [1, 2], [2, 0], [4, 0])),
      0,
      /permission is 4/,
    ],
    [
      'the IOTLB: an update of nothing',
      message(22, 1, le([8, 0], [8, 0], [8, 0], [1, 3], [1, 2], [2, 0], [4, 0])),
      0,
      /size is 0$/,
    ],
    [
      'the IOTLB: an update’s end',
      message(22, 1, le([8, END - 1n], [8, 2], [8, 0], [1, 3], [1, 2], [2, 0], [4, 0])),
      0,
      /beyond 2\^64$/,
    ],
    [
      'the IOTLB: an update’s end here',
      message(22, 1, le([8, 0], [8, 2], [8, END - 1n], [1, 3], [1, 2], [2, 0], [4, 0])),
      0,
      /beyond 2\^64$/,
    ],
    [
      'the configuration: a size that is not there',
      message(24, 1, le([4, 0], [4, 2], [4, 0], [1, 0])),
      0,
      /size is 2, and it has 1$/,
    ],
    [
      'the configuration: its end',
      message(24, 1, le([4, 2 ** 32 - 1], [4, 2], [4, 0], [2, 0])),
      0,
      /beyond 2\^32$/,
    ],
    ['a transfer: direction', message(42, 1, le([4, 2], [4, 0])), 1, /direction is 2/],
  ])('%s', (_, bytes, descriptors, reason) => {
    const error = refusal(bytes, descriptors);
    expect(error).toMatchObject({ name: 'StateError', code: 'ERR_VHOST_USER_PROTOCOL' });
    expect(error.message).toMatch(reason);
    expect(error.message).toMatch(/^VHOST_USER_\w+: /);
  });

  test('a transfer’s reply: an error with a descriptor, and bits above 8', () => {
    for (const [value, count] of [
      [0x001, 1],
      [0x200, 1],
      [1n << 40n, 1],
    ] as const) {
      const bytes = message(42, 0x5, le([8, value]));
      expect(
        thrownSync(() => decodeVhostUserMessage(bytes, 'front-end', 'replies', count)),
      ).toMatchObject({ code: 'ERR_VHOST_USER_PROTOCOL' });
    }
  });

  test('an area of the back-end’s: its end, and no bytes', () => {
    for (const area of [le([8, 0], [8, 2], [8, END - 1n]), le([8, 0], [8, 0], [8, 0])]) {
      const bytes = message(3, 0x1, area);
      expect(
        thrownSync(() => decodeVhostUserMessage(bytes, 'back-end', 'requests', 1)),
      ).toMatchObject({ code: 'ERR_VHOST_USER_PROTOCOL' });
    }
    // It goes away: nothing is said of where it was.
    const gone = message(3, 0x1, le([8, 0x100], [8, 0], [8, 0]));
    expect(decodeVhostUserMessage(gone, 'back-end', 'requests', 0)).toMatchObject({
      payload: { noDescriptor: true },
    });
  });

  test('a message: fewer bytes than a header, or than it tells', () => {
    for (const size of [0, 11]) expect(refusal(new Uint8Array(size)).code).toMatch(/PROTOCOL$/);
    expect(refusal(message(2, 0x1, new Uint8Array(7), 8)).message).toMatch(/has 7 bytes/);
    expect(refusal(message(2, 0x1, new Uint8Array(9), 8)).message).toMatch(/has 9 bytes/);
  });
});

test('an IOTLB message that is no update is not looked into: QEMU leaves some of it unset', () => {
  const bytes = message(22, 1, le([8, 0], [8, 0], [8, END - 1n], [1, 77], [1, 3], [2, 0], [4, 0]));
  expect(decodeVhostUserMessage(bytes, 'front-end', 'requests')).toMatchObject({
    payload: { size: 0n, permission: 77, type: 3 },
  });
});

describe('to send', () => {
  test.each<[string, () => unknown, RegExp]>([
    [
      'a request that nobody has',
      () => encodeVhostUserRequest('toString' as never, undefined as never),
      /no request is called 'toString'/,
    ],
    [
      'a payload of another kind',
      () => encodeVhostUserRequest('VHOST_USER_SET_FEATURES', {} as never),
      /VHOST_USER_SET_FEATURES: it cannot have such a payload/,
    ],
    [
      'a payload where there is none',
      () => encodeVhostUserRequest('VHOST_USER_SET_OWNER', 0n as never),
      /cannot have such a payload/,
    ],
    [
      'a number for a bigint',
      () => encodeVhostUserRequest('VHOST_USER_SET_FEATURES', 1 as never),
      /cannot have such a payload/,
    ],
    [
      'more than 64 bits',
      () => encodeVhostUserRequest('VHOST_USER_SET_FEATURES', END),
      /VHOST_USER_SET_FEATURES: value must be from 0 to 2\^64 - 1/,
    ],
    [
      'an index that is truncated to another',
      () => encodeVhostUserRequest('VHOST_USER_SET_VRING_NUM', { index: 2 ** 32, num: 0 }),
      /VHOST_USER_SET_VRING_NUM: index must be an integer/,
    ],
    [
      'an index that bit 8 is in',
      () =>
        encodeVhostUserRequest('VHOST_USER_SET_VRING_KICK', { index: 256, noDescriptor: false }, 1),
      /index is 256/,
    ],
    [
      'a field that is missing',
      () => encodeVhostUserRequest('VHOST_USER_SET_VRING_NUM', { index: 0 } as never),
      /num must be a number, not undefined/,
    ],
    [
      '257 bytes of configuration',
      () =>
        encodeVhostUserRequest('VHOST_USER_SET_CONFIG', {
          offset: 0,
          flags: 0,
          bytes: new Uint8Array(257),
        }),
      /its payload has 269 bytes, not 12 and 0 to 256/,
    ],
    [
      'half of the sizes of shared memory',
      () =>
        encodeVhostUserReply('VHOST_USER_GET_SHMEM_CONFIG', {
          count: 0,
          sizes: new BigUint64Array(128),
        }),
      /has 128 sizes/,
    ],
  ])('%s is the sender’s mistake', (_, call, reason) => {
    const error = thrownSync(call);
    expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
    expect(error.message).toMatch(reason);
  });
});
