/** What the headers of a vhost-user guest's frames may ask for: what was negotiated for that direction, and no more. */
import { describe, expect, test } from 'vitest';
import {
  bit,
  Frame,
  type Offload,
  plainOffload,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  writeHeader,
} from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { HEADER, numbered } from '../support/front-end.js';
import { until } from '../support/host.js';
import { up } from '../support/hostile-front-end.js';

holdNothingLeaks();

const LENGTH = 200;
const PLAIN = bit(VIRTIO_F_VERSION_1) | bit(VHOST_USER_F_PROTOCOL_FEATURES);

/** What a header asks for, and the features of each direction that allow it, one after another. */
interface Row {
  asks: string;
  header: Partial<Offload>;
  sent: readonly number[];
  given: readonly number[];
}

const TCP4 = { headerLength: 54, gsoSize: 100 };
const TCP6 = { headerLength: 74, gsoSize: 100 };
const SUM = { flags: 1, checksumStart: 34, checksumOffset: 16 };

const ROWS: readonly Row[] = [
  { asks: 'a checksum', header: SUM, sent: [VIRTIO_NET_F_CSUM], given: [VIRTIO_NET_F_GUEST_CSUM] },
  {
    asks: 'TSO over IPv4',
    header: { ...SUM, ...TCP4, gsoType: 1 },
    sent: [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4],
    given: [VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4],
  },
  {
    asks: 'TSO over IPv6',
    header: { ...SUM, ...TCP6, gsoType: 4 },
    sent: [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO6],
    given: [VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO6],
  },
  {
    asks: 'TSO over IPv4 with ECN',
    header: { ...SUM, ...TCP4, gsoType: 0x81 },
    sent: [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_ECN],
    given: [VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_ECN],
  },
  {
    asks: 'TSO over IPv6 with ECN',
    header: { ...SUM, ...TCP6, gsoType: 0x84 },
    sent: [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN],
    given: [VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN],
  },
];

/** What no back end of ours has on offer, whatever the features are. */
const NEVER: readonly (readonly [asks: string, header: Partial<Offload>])[] = [
  ['UFO', { ...SUM, ...TCP4, gsoType: 3 }],
  ['USO', { ...SUM, ...TCP4, gsoType: 5 }],
  ['TSO in a tunnel', { ...SUM, ...TCP4, gsoType: 0x21 }],
  ['TSO in two tunnels', { ...SUM, ...TCP4, gsoType: 0x61 }],
  ['ECN of no TCP', { ...SUM, ...TCP4, gsoType: 0x80 }],
  ['a type that there is none of', { ...SUM, ...TCP4, gsoType: 0x7f }],
  ['a type that is two', { ...SUM, ...TCP4, gsoType: 2 }],
  ['the checksum of a tunnel', { ...SUM, flags: 9 }],
];

const sum = (features: readonly number[]) => features.reduce((all, one) => all | bit(one), 0n);
const every = (direction: 'sent' | 'given') => sum(ROWS.flatMap((row) => row[direction]));
const other = (direction: 'sent' | 'given') => (direction === 'sent' ? 'given' : 'sent');
const has = (features: bigint, wanted: bigint) => (features & wanted) === wanted;

/** Sets of features of one direction, each with all of the other, which must not matter. */
const CASES = (direction: 'sent' | 'given') =>
  [[], ...ROWS.map((row) => row[direction]), ROWS.flatMap((row) => row[direction])].map(
    (features) => ({ features: sum(features), most: sum(features) | every(other(direction)) }),
  );

const offloadOf = (header: Partial<Offload>): Offload => ({ ...plainOffload(), ...header });

function headerOf(offload: Partial<Offload>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER);
  writeHeader(bytes, 0, HEADER, offloadOf(offload));
  return bytes;
}

describe('a guest that took, of what it sends, the features', () => {
  test.each(CASES('sent'))('$features has no header taken that needs others', async (taken) => {
    const { guest, frames, device } = await up({ offload: true }, PLAIN | taken.most);
    const expected: [string, Offload][] = [];
    const all = [...ROWS.map(({ asks, header }) => [asks, header] as const), ...NEVER];
    for (const [i, [asks, header]] of all.entries()) {
      const { length } = frames;
      guest.send(numbered(i, LENGTH), headerOf(header));
      guest.kick();
      await until(() => guest.taken(1).length === 1, 'the chain');
      const row = ROWS[i];
      if (row && has(taken.features, sum(row.sent))) expected.push([asks, offloadOf(header)]);
      expect(frames.length - length, asks).toBe(expected.at(-1)?.[0] === asks ? 1 : 0);
    }
    expect(frames.map(({ offload }) => offload)).toEqual(expected.map(([, offload]) => offload));
    expect(device().counters()).toMatchObject({ errors: all.length - expected.length });
  });
});

describe('a guest that took, of what it is given, the features', () => {
  test.each(CASES('given'))('$features is given no header that needs others', async (taken) => {
    const { guest, device } = await up({ offload: true }, PLAIN | taken.most);
    const all = [...ROWS.map(({ asks, header }) => [asks, header] as const), ...NEVER];
    for (const [i, [asks, header]] of all.entries()) {
      const frame = Frame.from(numbered(i, LENGTH), offloadOf(header));
      const row = ROWS[i];
      if (row && has(taken.features, sum(row.given))) {
        guest.post(1);
        expect(device().enqueue([frame]), asks).toBe(1);
        const [got] = await guest.received(1);
        const expected = headerOf(header);
        expected[10] = 1;
        expect(got?.subarray(0, HEADER), asks).toEqual(expected);
      } else {
        const error = await expectCode(() => device().enqueue([frame]), 'ERR_FEATURES_NOT_OFFERED');
        expect(error.message).toContain('does not take');
      }
    }
    expect(guest.taken(0)).toEqual([]);
  });
});

describe('a flag that asks for nothing', () => {
  const VALID = { flags: 2 };

  test('is not a guest’s to set: its frame comes without', async () => {
    const { guest, frames } = await up({ offload: true }, PLAIN | every('sent') | every('given'));
    guest.send(numbered(1), headerOf({ flags: 0xf6 }));
    guest.send(numbered(2), headerOf({ ...SUM, flags: 3 }));
    guest.kick();
    await until(() => frames.length === 2, 'the frames');
    expect(frames.map(({ offload: { flags } }) => flags)).toEqual([0, 1]);
  });

  test.each([
    ['is given to a guest that takes checksums', every('given'), 2],
    ['is left out for a guest that does not', every('sent'), 0],
  ])('%s', async (_, features, expected) => {
    const { guest, device } = await up({ offload: true }, PLAIN | features);
    guest.post(1);
    expect(device().enqueue([Frame.from(numbered(1), offloadOf(VALID))])).toBe(1);
    const [got] = await guest.received(1);
    expect(got?.[0]).toBe(expected);
  });
});

describe('a header that was negotiated is no frame’s where it', () => {
  const TSO = { ...SUM, ...TCP4, gsoType: 1 };

  test.each<[string, Partial<Offload>, boolean]>([
    ['has the checksum end with the frame', { ...TSO, checksumStart: LENGTH - 18 }, true],
    ['has the checksum end behind the frame', { ...TSO, checksumStart: LENGTH - 17 }, false],
    ['has the checksum begin behind the frame', { ...SUM, checksumStart: 0xffff }, false],
    [
      'has the two add up to little in 16 bits',
      { ...SUM, checksumStart: 0xffff, checksumOffset: 2 },
      false,
    ],
    ['has headers as long as the frame', { ...TSO, headerLength: LENGTH }, true],
    ['has headers that are longer than the frame', { ...TSO, headerLength: LENGTH + 1 }, false],
    ['has segments of a byte', { ...TSO, gsoSize: 1 }, true],
    ['has segments of none', { ...TSO, gsoSize: 0 }, false],
    ['has segments of none, with ECN', { ...TSO, gsoType: 0x81, gsoSize: 0 }, false],
  ])('%s: %j is taken: %s', async (_, header, taken) => {
    const { guest, frames, device } = await up({ offload: true }, PLAIN | every('sent'));
    guest.send(numbered(1, LENGTH), headerOf(header));
    guest.kick();
    await until(() => guest.taken(1).length === 1, 'the chain');
    expect(frames.map(({ offload }) => offload)).toEqual(taken ? [offloadOf(header)] : []);
    expect(device().counters().errors).toBe(taken ? 0 : 1);
  });
});

test('a guest’s offloads cannot change under rings that are started', async () => {
  const { guest } = await up({ offload: true }, PLAIN | every('sent'));
  const less = PLAIN | bit(VIRTIO_NET_F_CSUM);
  await expect(guest.ack('VHOST_USER_SET_FEATURES', less)).rejects.toThrow('refused');
});
