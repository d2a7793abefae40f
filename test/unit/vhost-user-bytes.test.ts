/** vhost-user messages byte for byte, as QEMU's C structs have them. */
import { describe, expect, test } from 'vitest';
import {
  type DecodedVhostUserMessage,
  decodeVhostUserMessage,
  encodeVhostUserReply,
  encodeVhostUserRequest,
} from '../../lib/index.js';
import { le, message } from '../support/vhost-user.js';

describe('a message is, byte for byte,', () => {
  test.each<[string, Uint8Array, DecodedVhostUserMessage, number]>([
    [
      'a header where there is no payload',
      message(1, 0x1),
      { kind: 'request', request: 'VHOST_USER_GET_FEATURES', payload: undefined, needReply: false },
      0,
    ],
    [
      'a number',
      message(2, 0x9, le([8, 0x1_4000_0000n])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_FEATURES',
        payload: 0x1_4000_0000n,
        needReply: true,
      },
      0,
    ],
    [
      'a table of regions',
      message(
        5,
        0x9,
        le(
          [4, 2],
          [4, 0],
          ...([
            [8, 0],
            [8, 0xa0000],
            [8, 0x7f00_0000_0000n],
            [8, 0],
          ] as const),
          ...([
            [8, 0xc0000],
            [8, 0x7f4_0000],
            [8, 0x7f00_000c_0000n],
            [8, 0xc0000],
          ] as const),
        ),
      ),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_MEM_TABLE',
        payload: [
          {
            guestAddress: 0n,
            size: 0xa0000n,
            userAddress: 0x7f00_0000_0000n,
            mmapOffset: 0n,
          },
          {
            guestAddress: 0xc0000n,
            size: 0x7f4_0000n,
            userAddress: 0x7f00_000c_0000n,
            mmapOffset: 0xc0000n,
          },
        ],
        needReply: true,
      },
      2,
    ],
    [
      'a ring’s addresses, used before avail',
      message(9, 0x1, le([4, 1], [4, 1], [8, 0x10], [8, 0x20], [8, 0x30], [8, 0x40])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_VRING_ADDR',
        payload: { index: 1, flags: 1, desc: 0x10n, used: 0x20n, avail: 0x30n, log: 0x40n },
        needReply: false,
      },
      0,
    ],
    [
      'a ring’s index beside its descriptor',
      message(12, 0x1, le([8, 0x03])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_VRING_KICK',
        payload: { index: 3, noDescriptor: false },
        needReply: false,
      },
      1,
    ],
    [
      'a ring’s index, and bit 8 for no descriptor',
      message(14, 0x1, le([8, 0x1ff])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_VRING_ERR',
        payload: { index: 255, noDescriptor: true },
        needReply: false,
      },
      0,
    ],
    [
      'a number for the log where the descriptor does not come',
      message(6, 0x1, le([8, 0x1234])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_LOG_BASE',
        payload: 0x1234n,
        needReply: false,
      },
      0,
    ],
    [
      'size and offset of the log where it does',
      message(6, 0x1, le([8, 0x1000], [8, 0x2000])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_LOG_BASE',
        payload: { size: 0x1000n, offset: 0x2000n },
        needReply: false,
      },
      1,
    ],
    [
      'padding before a single region',
      message(37, 0x9, le([8, 0], [8, 0x1000], [8, 0x2000], [8, 0x3000], [8, 0x4000])),
      {
        kind: 'request',
        request: 'VHOST_USER_ADD_MEM_REG',
        payload: {
          guestAddress: 0x1000n,
          size: 0x2000n,
          userAddress: 0x3000n,
          mmapOffset: 0x4000n,
        },
        needReply: true,
      },
      1,
    ],
    [
      'an IOTLB message, padded to 32 bytes',
      message(22, 0x1, le([8, 0x1000], [8, 0x2000], [8, 0x3000], [1, 3], [1, 2], [2, 0], [4, 0])),
      {
        kind: 'request',
        request: 'VHOST_USER_IOTLB_MSG',
        payload: { iova: 0x1000n, size: 0x2000n, userAddress: 0x3000n, permission: 3, type: 2 },
        needReply: false,
      },
      0,
    ],
    [
      'a head of 12 bytes and a piece of configuration space',
      message(25, 0x1, le([4, 2], [4, 3], [4, 1], [1, 7], [1, 8], [1, 9])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_CONFIG',
        payload: { offset: 2, flags: 1, bytes: Uint8Array.of(7, 8, 9) },
        needReply: false,
      },
      0,
    ],
    [
      'an area for what is in flight, padded to 24 bytes',
      message(32, 0x1, le([8, 0x1000], [8, 0x2000], [2, 2], [2, 256], [4, 0])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_INFLIGHT_FD',
        payload: { mmapSize: 0x1000n, mmapOffset: 0x2000n, numQueues: 2, queueSize: 256 },
        needReply: false,
      },
      1,
    ],
    [
      'direction and phase of a transfer',
      message(42, 0x1, le([4, 1], [4, 0])),
      {
        kind: 'request',
        request: 'VHOST_USER_SET_DEVICE_STATE_FD',
        payload: { direction: 1, phase: 0 },
        needReply: false,
      },
      1,
    ],
  ])('%s', (_, bytes, decoded, count) => {
    expect(decodeVhostUserMessage(bytes, 'front-end', 'requests', count)).toEqual(decoded);
    if (decoded.kind !== 'request') throw new Error('no request');
    expect(
      encodeVhostUserRequest(decoded.request, decoded.payload, count, decoded.needReply),
    ).toEqual(bytes);
  });

  test('in a reply, its own flags and nothing else', () => {
    expect(encodeVhostUserReply('VHOST_USER_GET_VRING_BASE', { index: 1, num: 65_535 })).toEqual(
      message(11, 0x5, le([4, 1], [4, 65_535])),
    );
    expect(encodeVhostUserReply('VHOST_USER_GET_CONFIG', undefined)).toEqual(message(24, 0x5));
    const reply = { error: 0, noDescriptor: true };
    expect(encodeVhostUserReply('VHOST_USER_SET_DEVICE_STATE_FD', reply)).toEqual(
      message(42, 0x5, le([8, 0x100])),
    );
  });

  test('from the back-end, of its own ids', () => {
    const mapping = { shmid: 9, fdOffset: 0x1000n, shmOffset: 0x2000n, len: 0x3000n, flags: 1n };
    expect(encodeVhostUserRequest('VHOST_USER_BACKEND_SHMEM_MAP', mapping, 1)).toEqual(
      message(9, 0x1, le([8, 9], [8, 0x1000], [8, 0x2000], [8, 0x3000], [8, 1])),
    );
    const area = { index: 2, noDescriptor: false, size: 0x1000n, offset: 0x2000n };
    const name = 'VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG';
    expect(encodeVhostUserRequest(name, area, 1)).toEqual(
      message(3, 0x1, le([8, 2], [8, 0x1000], [8, 0x2000])),
    );
  });
});

test('an area for what is in flight may be 20 bytes, without C’s padding', () => {
  const bytes = message(31, 0x1, le([8, 0], [8, 0], [2, 1], [2, 128]));
  expect(decodeVhostUserMessage(bytes, 'front-end', 'requests')).toMatchObject({
    payload: { mmapSize: 0n, mmapOffset: 0n, numQueues: 1, queueSize: 128 },
  });
});
