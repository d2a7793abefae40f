/** The table of vhost-user messages against the specification, written down a second time. */
import { describe, expect, test } from 'vitest';
import { VHOST_USER_MESSAGES, type VhostUserMessageRule } from '../../lib/index.js';
import * as uapi from '../../lib/uapi/vhost-user.js';
import { decodeHeader } from '../../lib/vhost-user/codec.js';
import type { VhostUserBody } from '../../lib/vhost-user/descriptor-rules.js';
import type { VhostUserDirection } from '../../lib/vhost-user/header.js';
import { thrownSync } from '../support/errors.js';
import { message } from '../support/vhost-user.js';

/** Bytes of each kind of payload. */
const SIZES: Record<string, readonly number[]> = {
  nothing: [0],
  u64: [8],
  state: [8],
  addr: [40],
  memory: [40, 72, 104, 136, 168, 200, 232, 264],
  region: [40],
  log: [16],
  iotlb: [32],
  config: Array.from({ length: 257 }, (_, i) => 12 + i),
  area: [24],
  inflight: [20, 24],
  uuid: [16],
  transfer: [8],
  mmap: [40],
  shmem: [2056],
  session: Array.from({ length: 4089 }, (_, i) => 8 + i),
};

/** Sizes of a payload: each that any but three kinds can have, and those around the edges of the three. */
const TRIED = [
  ...Array(300).keys(),
  ...[2055, 2056, 2057, 4095, 4096, 4097, 2 ** 31, 2 ** 32 - 20, 2 ** 32 - 1],
];

/**
 * id, name, request, descriptors with it; when there is a reply, its payload, descriptors with it; the
 * protocol feature. `0/1` descriptors: as bit 8 of the payload says. `n`: as many as regions.
 */
const FRONT_END = `
 1 GET_FEATURES          nothing 0 | always u64 0 | -
 2 SET_FEATURES          u64 0 | if-asked u64 0 | -
 3 SET_OWNER             nothing 0 | if-asked u64 0 | -
 4 RESET_OWNER           nothing 0 | if-asked u64 0 | -
 5 SET_MEM_TABLE         memory n | if-asked u64 0, memory 0 | -
 6 SET_LOG_BASE          log 1, u64 0 | if-log-comes nothing 0, u64 0, log 0 | -
 7 SET_LOG_FD            nothing 1 | if-asked u64 0 | -
 8 SET_VRING_NUM         state 0 | if-asked u64 0 | -
 9 SET_VRING_ADDR        addr 0 | if-asked u64 0 | -
10 SET_VRING_BASE        state 0 | if-asked u64 0 | -
11 GET_VRING_BASE        state 0 | always state 0 | -
12 SET_VRING_KICK        u64 0/1 | if-asked u64 0 | -
13 SET_VRING_CALL        u64 0/1 | if-asked u64 0 | -
14 SET_VRING_ERR         u64 0/1 | if-asked u64 0 | -
15 GET_PROTOCOL_FEATURES nothing 0 | always u64 0 | -
16 SET_PROTOCOL_FEATURES u64 0 | if-asked u64 0 | -
17 GET_QUEUE_NUM         nothing 0 | always u64 0 | 0 MQ
18 SET_VRING_ENABLE      state 0 | if-asked u64 0 | -
19 SEND_RARP             u64 0 | if-asked u64 0 | 2 RARP
20 NET_SET_MTU           u64 0 | if-asked u64 0 | 4 MTU
21 SET_BACKEND_REQ_FD    nothing 1 | if-asked u64 0 | 5 BACKEND_REQ
22 IOTLB_MSG             iotlb 0 | always u64 0 | -
23 SET_VRING_ENDIAN      state 0 | if-asked u64 0 | 6 CROSS_ENDIAN
24 GET_CONFIG            config 0 | always config 0, nothing 0 | 9 CONFIG
25 SET_CONFIG            config 0 | if-asked u64 0 | 9 CONFIG
26 CREATE_CRYPTO_SESSION session 0 | always session 0 | 7 CRYPTO_SESSION
27 CLOSE_CRYPTO_SESSION  u64 0 | if-asked u64 0 | 7 CRYPTO_SESSION
28 POSTCOPY_ADVISE       nothing 0 | always nothing 0-1 | 8 PAGEFAULT
29 POSTCOPY_LISTEN       nothing 0 | if-asked u64 0 | 8 PAGEFAULT
30 POSTCOPY_END          nothing 0 | always u64 0 | 8 PAGEFAULT
31 GET_INFLIGHT_FD       inflight 0 | always inflight size | 12 INFLIGHT_SHMFD
32 SET_INFLIGHT_FD       inflight 1 | if-asked u64 0 | 12 INFLIGHT_SHMFD
33 GPU_SET_SOCKET        nothing 1 | if-asked u64 0 | -
34 RESET_DEVICE          nothing 0 | if-asked u64 0 | 13 RESET_DEVICE
35 VRING_KICK            state 0 | if-asked u64 0 | 14 INBAND_NOTIFICATIONS
36 GET_MAX_MEM_SLOTS     nothing 0 | always u64 0 | 15 CONFIGURE_MEM_SLOTS
37 ADD_MEM_REG           region 1 | if-asked u64 0, region 0 | 15 CONFIGURE_MEM_SLOTS
38 REM_MEM_REG           region 0-1 | if-asked u64 0 | 15 CONFIGURE_MEM_SLOTS
39 SET_STATUS            u64 0 | if-asked u64 0 | 16 STATUS
40 GET_STATUS            nothing 0 | always u64 0 | 16 STATUS
41 GET_SHARED_OBJECT     uuid 0 | always nothing 0-1, u64 0-1, uuid 0-1 | 18 SHARED_OBJECT
42 SET_DEVICE_STATE_FD   transfer 1 | always u64 0/1 | 19 DEVICE_STATE
43 CHECK_DEVICE_STATE    nothing 0 | always u64 0 | 19 DEVICE_STATE
44 GET_SHMEM_CONFIG      nothing 0 | always shmem 0 | 21 SHMEM`;

const BACK_END = `
 1 IOTLB_MSG               iotlb 0 | if-asked u64 0 | -
 2 CONFIG_CHANGE_MSG       nothing 0 | if-asked u64 0 | 9 CONFIG
 3 VRING_HOST_NOTIFIER_MSG area 0/1 | if-asked u64 0 | 11 HOST_NOTIFIER
 4 VRING_CALL              state 0 | if-asked u64 0 | 14 INBAND_NOTIFICATIONS
 5 VRING_ERR               state 0 | if-asked u64 0 | 14 INBAND_NOTIFICATIONS
 6 SHARED_OBJECT_ADD       uuid 0 | if-asked u64 0 | 18 SHARED_OBJECT
 7 SHARED_OBJECT_REMOVE    uuid 0 | if-asked u64 0 | 18 SHARED_OBJECT
 8 SHARED_OBJECT_LOOKUP    uuid 0 | always u64 0-1 | 18 SHARED_OBJECT
 9 SHMEM_MAP               mmap 1 | if-asked u64 0 | 21 SHMEM
10 SHMEM_UNMAP             mmap 0 | if-asked u64 0 | 21 SHMEM`;

interface Row {
  from: 'front-end' | 'back-end';
  id: number;
  name: string;
  requests: string[];
  replies: string;
  reply: string[];
  needs: string;
}

function rowsOf(table: string, from: Row['from'], prefix: string): Row[] {
  return table
    .trim()
    .split('\n')
    .map((line) => {
      const [left = '', middle = '', needs = ''] = line.split('|').map((part) => part.trim());
      const [id = '', name = '', ...request] = left.split(/ +/);
      const [replies = '', ...reply] = middle.split(' ');
      const bodies = (words: string[]) => words.join(' ').split(', ');
      return {
        from,
        id: Number(id),
        name: `${prefix}${name}`,
        requests: bodies(request),
        replies,
        reply: bodies(reply),
        needs,
      };
    });
}

const ROWS = [
  ...rowsOf(FRONT_END, 'front-end', 'VHOST_USER_'),
  ...rowsOf(BACK_END, 'back-end', 'VHOST_USER_BACKEND_'),
];

const table: Record<string, VhostUserMessageRule> = VHOST_USER_MESSAGES;
const constants: Record<string, unknown> = { ...uapi };

/** A body's descriptors, in the words of the tables above. */
function descriptorsOf({ descriptors: { least, most, exactly } }: VhostUserBody): string {
  if (!exactly) return least === most ? `${least}` : `${least}-${most}`;
  const count = exactly as (payload: unknown) => number;
  if (most === 8) return count([1, 2, 3]) === 3 && least === 1 ? 'n' : '?';
  const byBit = count({ noDescriptor: true }) === 0 && count({ noDescriptor: false }) === 1;
  const bySize = count({ mmapSize: 0n }) === 0 && count({ mmapSize: 1n }) === 1;
  if (least !== 0 || most !== 1) return '?';
  return byBit && !count({ noDescriptor: true, mmapSize: 0n }) ? '0/1' : bySize ? 'size' : '?';
}

test('the table has every request of the specification, and no other', () => {
  expect(Object.keys(table)).toEqual(ROWS.map(({ name }) => name));
});

describe.each(ROWS)('$name', ({ from, id, name, requests, replies, reply, needs }) => {
  const rule = table[name] as VhostUserMessageRule;

  test('has its id, its feature and its time of a reply', () => {
    const [bit, feature] = needs.split(' ');
    expect(rule).toMatchObject({
      from,
      id,
      replies,
      needs: feature === undefined ? null : Number(bit),
    });
    expect(constants[name]).toBe(id);
    if (feature !== undefined) {
      expect(constants[`VHOST_USER_PROTOCOL_F_${feature}`]).toBe(rule.needs);
    }
  });

  test('has its descriptors', () => {
    const words = (bodies: readonly string[]) => bodies.map((body) => body.split(' ')[1]);
    expect(rule.request.map(descriptorsOf)).toEqual(words(requests));
    expect(rule.reply.map(descriptorsOf)).toEqual(words(reply));
  });

  test.each([
    ['requests', 0x1, requests],
    ['requests', 0x9, requests],
    ['replies', 0x5, reply],
  ] as const)('has its sizes among %s with the flags %i', (direction, flags, bodies) => {
    const wanted = new Set(bodies.flatMap((body) => SIZES[body.split(' ')[0] ?? ''] ?? []));
    const taken: number[] = [];
    const wrong: unknown[] = [];
    for (const size of TRIED) {
      try {
        const header = message(id, flags, new Uint8Array(), size);
        const heading = decodeHeader(header, from, direction);
        taken.push(size);
        if (heading.request !== name || heading.needReply !== (flags === 0x9)) wrong.push(heading);
      } catch (error) {
        const { code, message } = error as Error & { code?: string };
        const isTold = message.startsWith(`${name}: its payload `) && message.includes(`${size}`);
        if (code !== 'ERR_VHOST_USER_PROTOCOL' || !isTold) wrong.push(error);
      }
    }
    expect(taken).toEqual(TRIED.filter((size) => wanted.has(size)));
    expect(wrong).toEqual([]);
  });
});

describe('a header is refused', () => {
  const directions: VhostUserDirection[] = ['requests', 'replies'];

  test.each([
    ['front-end', 0],
    ['front-end', 45],
    ['front-end', 2 ** 31],
    ['front-end', 2 ** 32 - 1],
    ['back-end', 0],
    ['back-end', 11],
    ['back-end', 2 ** 32 - 1],
  ] as const)('for the %s’s id %i, in both directions', (from, id) => {
    for (const direction of directions) {
      const header = message(id, direction === 'requests' ? 0x1 : 0x5);
      const error = thrownSync(() => decodeHeader(header, from, direction));
      expect(error).toMatchObject({
        code: 'ERR_VHOST_USER_PROTOCOL',
        message: `message ${id}: no request of the ${from} has this id`,
      });
      expect(error.hint).toMatch(/other end/);
    }
  });

  test.each([0x0, 0x2, 0x3, 0x8, 0xa])('for the version of the flags %i', (flags) => {
    for (const direction of directions) {
      expect(
        thrownSync(() => decodeHeader(message(1, flags), 'front-end', direction)),
      ).toMatchObject({
        code: 'ERR_VHOST_USER_PROTOCOL',
        message: `VHOST_USER_GET_FEATURES: it is of version ${flags & 3} of the protocol, not 1`,
      });
    }
  });

  test.each([
    ['requests', [0x1, 0x9]],
    ['replies', [0x5]],
  ] as const)('for any flags among %s but its own', (direction, own) => {
    const size = direction === 'requests' ? 0 : 8;
    const allFlags = [
      ...Array(16).keys(),
      ...Array.from({ length: 28 }, (_, i) => 2 ** (i + 4) + 1),
    ];
    const taken = allFlags.filter((flags) => {
      try {
        decodeHeader(message(1, flags, new Uint8Array(), size), 'front-end', direction);
        return true;
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_VHOST_USER_PROTOCOL' });
        return false;
      }
    });
    expect(taken).toEqual(own);
  });

  test('for a payload above 4096 bytes, whatever the id', () => {
    const header = message(26, 0x1, new Uint8Array(), 4097);
    expect(thrownSync(() => decodeHeader(header, 'front-end', 'requests')).message).toBe(
      'VHOST_USER_CREATE_CRYPTO_SESSION: its payload of 4097 bytes is above 4096',
    );
  });
});
