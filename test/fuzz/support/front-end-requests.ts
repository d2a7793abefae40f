/**
 * The requests of a front-end, from the table of messages: as they may be, and as they may not. Each is drawn as what
 * it says and what comes with it, and then as the bytes that go, to which more may happen.
 */
import {
  type Descriptor,
  encodeVhostUserRequest,
  hasBit,
  VHOST_USER_MESSAGES,
  type VhostUserMessageRule,
  type VhostUserRequestName,
} from '../../../lib/index.js';
import { fittingDescriptors } from '../../support/vhost-user.js';
import type { FrontEnd, Part } from './front-end.js';
import { MEMORY } from './front-end.js';
import type { Random } from './random.js';
import { DRAWN } from './vhost-user.js';

export interface Message {
  name: VhostUserRequestName;
  bytes: Uint8Array;
  descriptors: readonly Descriptor[];
}

type Draw = (front: FrontEnd, random: Random, ring: number) => Part;

/** All of them. */
export const NAMES: readonly VhostUserRequestName[] = Object.entries(VHOST_USER_MESSAGES).flatMap(
  ([name, { from }]) => (from === 'front-end' ? [name as VhostUserRequestName] : []),
);

const file =
  (polled: number): Draw =>
  ({ event }, random, index) =>
    random.chance(polled)
      ? [{ index, noDescriptor: true }]
      : [{ index, noDescriptor: false }, [event]];

/** What an honest front-end could send. Of what is not here, nothing is served, or nothing is said. */
const HONEST: { readonly [N in VhostUserRequestName]?: Draw } = {
  VHOST_USER_SET_FEATURES: (front) => [front.features()],
  VHOST_USER_SET_PROTOCOL_FEATURES: (front) => [front.protocolFeatures()],
  VHOST_USER_SET_MEM_TABLE: (front, random) =>
    random.chance(300)
      ? [
          [front.region(), front.region(true)],
          [front.shared, front.file],
        ]
      : [[front.region()], [front.shared]],
  VHOST_USER_ADD_MEM_REG: (front) => [front.region(true), [front.file]],
  VHOST_USER_REM_MEM_REG: (front) => [front.region(true)],
  VHOST_USER_SET_LOG_BASE: ({ file }, random) => [
    { size: BigInt(random.pick([1, 16, 4096, MEMORY / 2])), offset: random.pick([0n, 4096n]) },
    [file],
  ],
  VHOST_USER_SET_LOG_FD: ({ event }) => [undefined, [event]],
  VHOST_USER_SET_VRING_NUM: ({ size }, _, index) => [{ index, num: size }],
  VHOST_USER_SET_VRING_ADDR: (front, _, index) => [front.addresses(index)],
  VHOST_USER_SET_VRING_BASE: (_, random, index) => [{ index, num: random.below(4) }],
  VHOST_USER_GET_VRING_BASE: (_, __, index) => [{ index, num: 0 }],
  VHOST_USER_SET_VRING_KICK: file(200),
  VHOST_USER_SET_VRING_CALL: file(200),
  VHOST_USER_SET_VRING_ERR: file(200),
  VHOST_USER_SET_VRING_ENABLE: (_, random, index) => [{ index, num: Number(random.chance(900)) }],
  VHOST_USER_VRING_KICK: (_, __, index) => [{ index, num: 0 }],
  VHOST_USER_NET_SET_MTU: (_, random) => [BigInt(random.between(68, 9000))],
  VHOST_USER_SET_STATUS: (_, random) => [random.chance(850) ? 15n : random.pick([0n, 1n, 7n])],
  VHOST_USER_SET_BACKEND_REQ_FD: (front) => [undefined, [front.channel()]],
  VHOST_USER_GET_CONFIG: (_, random) => [
    { offset: random.below(20), flags: 0, bytes: new Uint8Array(random.between(1, 12)) },
  ],
  VHOST_USER_SET_CONFIG: (_, random) => [
    { offset: random.below(20), flags: 0, bytes: new Uint8Array(random.between(1, 12)) },
  ],
  VHOST_USER_GET_INFLIGHT_FD: ({ rings, size }) => [
    { mmapSize: 0n, mmapOffset: 0n, numQueues: rings, queueSize: size },
  ],
  VHOST_USER_SET_INFLIGHT_FD: ({ area, file, rings, size }) =>
    area
      ? [area[0], [area[1]]]
      : [{ mmapSize: BigInt(MEMORY), mmapOffset: 0n, numQueues: rings, queueSize: size }, [file]],
};

/** What a back end of network devices has an answer for. */
const SERVED: readonly VhostUserRequestName[] = [
  ...(Object.keys(HONEST) as VhostUserRequestName[]),
  'VHOST_USER_GET_FEATURES',
  'VHOST_USER_SET_OWNER',
  'VHOST_USER_RESET_OWNER',
  'VHOST_USER_GET_PROTOCOL_FEATURES',
  'VHOST_USER_GET_QUEUE_NUM',
  'VHOST_USER_SEND_RARP',
  'VHOST_USER_RESET_DEVICE',
  'VHOST_USER_GET_MAX_MEM_SLOTS',
  'VHOST_USER_GET_STATUS',
];

/** What a front-end sends most. */
const USUAL: readonly VhostUserRequestName[] = [
  'VHOST_USER_SET_VRING_NUM',
  'VHOST_USER_SET_VRING_ADDR',
  'VHOST_USER_SET_VRING_KICK',
  'VHOST_USER_SET_VRING_CALL',
  'VHOST_USER_SET_VRING_ENABLE',
  'VHOST_USER_VRING_KICK',
  'VHOST_USER_SET_STATUS',
  'VHOST_USER_SET_MEM_TABLE',
  'VHOST_USER_ADD_MEM_REG',
  'VHOST_USER_REM_MEM_REG',
];

/** Which request, of which ring. */
export type Wanted = readonly [name: VhostUserRequestName, ring: number];

/** Brings a ring up. */
export function ringUp(ring: number): readonly Wanted[] {
  return USUAL.slice(0, 5).map((name) => [name, ring]);
}

/** Brings a device up, as far as it goes, so that there is something to break. */
export const BRING_UP: readonly Wanted[] = [
  ['VHOST_USER_SET_PROTOCOL_FEATURES', 0],
  ['VHOST_USER_SET_FEATURES', 0],
  ['VHOST_USER_SET_BACKEND_REQ_FD', 0],
  ['VHOST_USER_SET_MEM_TABLE', 0],
  ['VHOST_USER_GET_INFLIGHT_FD', 0],
  ...[0, 1, 2, 3].flatMap(ringUp),
  ['VHOST_USER_SET_STATUS', 0],
];

/** A request of a front-end: `wanted`, or any. */
export function drawRequest(front: FrontEnd, random: Random, wanted?: Wanted): Message {
  const [name, ring] = wanted ?? [drawName(front, random), random.below(front.rings)];
  const honest = HONEST[name]?.(front, random, ring) ?? meaningless(front, random, name);
  let part = honest;
  // Less of it as long as there is nothing to break yet.
  const often = wanted ? 10 : 80;
  const drawn = random.below(1000);
  if (drawn < often) part = meaningless(front, random, name);
  else if (drawn < 2 * often) part = spoiled(front, random, name, honest);
  if (random.chance(often)) part = [part[0], (part[1] ?? []).map(() => front.any)];
  const needReply = random.chance(980);
  const message = encoded(name, part, needReply) ?? encoded(name, honest, needReply);
  return random.chance(wanted ? 1 : 8)
    ? damaged(front, random, message as Message)
    : (message as Message);
}

/** Less often one whose refusal would end the connection, as one is that has an answer of its own. */
function drawName(front: FrontEnd, random: Random): VhostUserRequestName {
  for (;;) {
    const name = random.pick(random.chance(400) ? USUAL : random.chance(800) ? SERVED : NAMES);
    const { needs, replies }: VhostUserMessageRule = VHOST_USER_MESSAGES[name];
    const refused = needs !== null && !hasBit(front.agreed, needs);
    const ends = replies === 'always' && (refused || name === 'VHOST_USER_GET_INFLIGHT_FD');
    // What nobody serves is drawn seldom enough.
    if (!ends || random.chance(SERVED.includes(name) ? 200 : 600)) return name;
  }
}

/** Undefined for what cannot be sent. */
function encoded(
  name: VhostUserRequestName,
  [payload, descriptors = []]: Part,
  needReply: boolean,
): Message | undefined {
  try {
    const bytes = encodeVhostUserRequest(name, payload as never, descriptors.length, needReply);
    return { name, bytes, descriptors };
  } catch {
    return undefined;
  }
}

function bodyOf(name: VhostUserRequestName, random: Random) {
  const { request }: VhostUserMessageRule = VHOST_USER_MESSAGES[name];
  return random.pick(request);
}

/** What the table allows, and nobody would mean. */
function meaningless(front: FrontEnd, random: Random, name: VhostUserRequestName): Part {
  const { payload: kind, descriptors } = bodyOf(name, random);
  const payload = DRAWN[kind](random);
  const count = fittingDescriptors(descriptors, payload);
  return [payload, Array.from({ length: count }, () => front.any)];
}

/** The same, of which a number is another, and with as many descriptors as it should have then. */
function spoiled(
  front: FrontEnd,
  random: Random,
  name: VhostUserRequestName,
  [payload, own = []]: Part,
): Part {
  const { descriptors } = bodyOf(name, random);
  const other = spoil(random, payload);
  let count = own.length;
  try {
    count = fittingDescriptors(descriptors, other);
  } catch {
    // Of another of its payloads.
  }
  return [other, Array.from({ length: count }, (_, i) => own[i] ?? front.any)];
}

function spoil(random: Random, value: unknown): unknown {
  switch (typeof value) {
    case 'bigint': {
      const near = value + random.pick([1n, -1n, 4096n, -4096n, value, 1n << 63n]);
      return random.chance(500) ? near & 0xffff_ffff_ffff_ffffn : DRAWN.u64(random);
    }
    case 'number':
      return random.edge(random.chance(500) ? 4 : value);
    case 'boolean':
      return !value;
    default:
  }
  if (value === undefined || value === null || ArrayBuffer.isView(value)) return value;
  const key = random.pick(Object.keys(value));
  const other = spoil(random, (value as Record<string, unknown>)[key]);
  return Array.isArray(value)
    ? value.map((one, i) => (String(i) === key ? other : one))
    : { ...value, [key]: other };
}

/** What no encoder makes. */
function damaged(front: FrontEnd, random: Random, message: Message): Message {
  const bytes = message.bytes.slice();
  const header = new DataView(bytes.buffer);
  switch (random.below(6)) {
    case 0:
      header.setUint32(0, random.chance(500) ? random.below(60) : random.edge(45), true);
      return { ...message, bytes };
    case 1:
      header.setUint32(4, random.edge(9), true);
      return { ...message, bytes };
    case 2:
      if (bytes.length >= 16) {
        header.setUint32(4 * random.between(3, (bytes.length >> 2) - 1), random.edge(4), true);
      }
      return { ...message, bytes };
    case 3: {
      const length = random.pick([0, 1, 2, 7, 8, 9, 20]);
      return { ...message, descriptors: Array.from({ length }, () => front.any) };
    }
    case 4: {
      const other = new Uint8Array(12 + random.below(400));
      other.set(bytes.subarray(0, other.length));
      new DataView(other.buffer).setUint32(8, other.length - 12, true);
      return { ...message, bytes: other };
    }
    default:
      return { ...message, bytes: bytes.subarray(0, random.between(1, bytes.length)) };
  }
}
