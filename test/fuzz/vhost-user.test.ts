/** Streams of vhost-user messages, sound and not, cut anywhere, against what may be read of them. */
import {
  encodeVhostUserReply,
  encodeVhostUserRequest,
  VHOST_USER_MESSAGES,
  type VhostUserMessage,
  type VhostUserMessageRule,
  type VhostUserRequestName,
} from '../../lib/index.js';
import { MessageReader } from '../../lib/vhost-user/message-reader.js';
import { fittingDescriptors } from '../support/vhost-user.js';
import type { Random } from './support/random.js';
import { fuzz, type Sights, same, see, type Trace } from './support/run.js';
import { DRAWN, FakeDescriptor, FakeStream } from './support/vhost-user.js';

const END = 1n << 64n;
const MESSAGES = 40;
const RULES = Object.entries(VHOST_USER_MESSAGES) as [VhostUserRequestName, VhostUserMessageRule][];

type Kind = 'request' | 'reply';

interface Sent {
  name: VhostUserRequestName;
  bytes: Uint8Array;
  descriptors: FakeDescriptor[];
  /** Nothing was done to it: it must arrive. */
  sound: boolean;
}

function draw(random: Random, from: string, kind: Kind): Sent {
  const [name, rule] = random.pick(RULES.filter(([, candidate]) => candidate.from === from));
  const body = random.pick(rule[kind]);
  const payload = DRAWN[body.payload](random);
  const count = fittingDescriptors(body.descriptors, payload);
  const encode = kind === 'request' ? encodeVhostUserRequest : encodeVhostUserReply;
  const bytes = (encode as (name: string, payload: unknown, count: number) => Uint8Array)(
    name,
    payload,
    count,
  );
  const sent = { name, bytes, count, sound: !random.chance(30) };
  if (!sent.sound) spoil(random, sent);
  const descriptors = Array.from({ length: sent.count }, () => new FakeDescriptor());
  return { name, bytes: sent.bytes, descriptors, sound: sent.sound };
}

/** Changes something, which may leave the message sound all the same. */
function spoil(random: Random, message: { bytes: Uint8Array; count: number }): void {
  const { bytes } = message;
  const view = new DataView(bytes.buffer);
  for (let left = random.between(1, 2); left > 0; left--) {
    switch (random.below(6)) {
      case 0:
        bytes[random.below(bytes.length)] = random.below(256);
        break;
      case 1:
        view.setUint32(4 * random.below(bytes.length >> 2), random.edge(bytes.length), true);
        break;
      case 2:
        view.setUint32(8, random.edge(bytes.length - 12), true);
        break;
      case 3:
        message.count = random.pick([0, 1, 2, 7, 8, 9, 253]);
        break;
      case 4:
        message.bytes = bytes.subarray(0, random.between(1, bytes.length));
        break;
      default:
        if (bytes.length >= 20) {
          view.setBigUint64(12 + 8 * random.below((bytes.length - 12) >> 3), -1n, true);
        }
    }
  }
}

/** Sends a message in one piece or several; its descriptors with the first. */
function send(random: Random, stream: FakeStream, { bytes, descriptors }: Sent): void {
  const cuts = random.chance(400) ? random.between(1, 4) : 0;
  let from = 0;
  for (let i = 0; i < cuts; i++) {
    const to = random.between(from, bytes.length);
    if (to === 0) continue;
    stream.send(bytes.subarray(from, to), from === 0 ? descriptors : []);
    from = to;
  }
  stream.send(bytes.subarray(from), from === 0 ? descriptors : []);
}

const RANGES: Record<string, string> = {
  guestAddress: 'size',
  userAddress: 'size',
  mmapOffset: 'size',
  fdOffset: 'len',
  shmOffset: 'len',
};

/** Fails where a region or an index got through that a layer above would trust. */
function hold({ request, payload, descriptors }: VhostUserMessage): void {
  same('what a message may bring', descriptors.length <= 8, true);
  const parts = (Array.isArray(payload) ? payload : [payload]) as unknown[];
  if (request === 'VHOST_USER_SET_MEM_TABLE' && Array.isArray(payload)) {
    same('regions', parts.length >= 1 && parts.length <= 8, true);
    if (descriptors.length > 0) same('descriptors', descriptors.length, parts.length);
  }
  for (const part of parts) {
    if (typeof part !== 'object' || part === null) continue;
    const fields = part as Record<string, bigint | number | boolean>;
    if ('mmapSize' in fields || 'type' in fields) continue;
    for (const [start, size] of Object.entries(RANGES)) {
      if (!(start in fields)) continue;
      const length = fields[size] as bigint;
      same(start, length > 0n && (fields[start] as bigint) + length <= END, true);
    }
    if ('noDescriptor' in fields) {
      same('bit 8', descriptors.length, fields.noDescriptor ? 0 : 1);
      if ('index' in fields) same('index', (fields.index as number) < 256, true);
    }
  }
}

function play(random: Random, sights: Sights, trace: Trace): number {
  const from = random.pick(['front-end', 'back-end'] as const);
  const kind = random.pick(['request', 'reply'] as const);
  const stream = new FakeStream();
  let longest = 0;
  const reader = new MessageReader(
    (buffer, most) => {
      longest = Math.max(longest, buffer.length);
      return stream.receive(buffer, most);
    },
    from,
    kind === 'request' ? 'requests' : 'replies',
  );
  const sent = Array.from({ length: MESSAGES }, () => draw(random, from, kind));
  const arrived: VhostUserMessage[] = [];
  let reason = '';
  let next = 0;
  while (reason === '') {
    for (let some = random.below(4); some > 0 && next < sent.length; some--) {
      send(random, stream, sent[next++] as Sent);
    }
    stream.ended = next === sent.length;
    try {
      for (let message = reader.read(); message !== undefined; message = reader.read()) {
        if (message === 'end') {
          reason = 'end';
          break;
        }
        hold(message);
        arrived.push(message);
        trace?.(`${arrived.length}: ${message.request} with ${message.descriptors.length}`);
      }
    } catch (error) {
      reason = (error as { code?: string }).code ?? String(error);
      if (!/^ERR_VHOST_USER_(PROTOCOL|DISCONNECTED)$/.test(reason)) throw error;
      trace?.(`  ${(error as Error).message}`);
    }
  }
  // As far as nothing was done to them, messages arrive as they are, with their own descriptors.
  const spoiled = sent.findIndex(({ sound }) => !sound);
  const sure = spoiled < 0 ? sent.length : spoiled;
  same('messages that arrived', arrived.length >= sure, true);
  for (let i = 0; i < sure; i++) {
    same('the message', arrived[i]?.request, sent[i]?.name);
    const own = arrived[i]?.descriptors as unknown as FakeDescriptor[];
    same('its descriptors', own.length, sent[i]?.descriptors.length);
    own.forEach((descriptor, at) => {
      same(`descriptor ${at}`, descriptor, sent[i]?.descriptors[at]);
    });
  }
  if (spoiled < 0) same('the end', reason, 'end');
  // What is not a message's is closed, and what is a message's is open.
  const given = new Set<unknown>(arrived.flatMap(({ descriptors }) => [...descriptors]));
  for (const descriptor of stream.installed) {
    same('a descriptor that is closed', descriptor.closed, !given.has(descriptor));
  }
  same('the longest read', longest <= 4096, true);
  see(sights, `${from}’s ${kind}: ${reason}`);
  if (arrived.length > sure) see(sights, 'spoiled and sound all the same');
  return arrived.length + 1;
}

fuzz({
  name: 'vhost-user',
  states: 200_000,
  play,
  reaches: [
    ...['front-end', 'back-end'].flatMap((from) =>
      ['request', 'reply'].flatMap((kind) =>
        ['end', 'ERR_VHOST_USER_PROTOCOL', 'ERR_VHOST_USER_DISCONNECTED'].map(
          (reason) => `${from}’s ${kind}: ${reason}`,
        ),
      ),
    ),
    'spoiled and sound all the same',
  ],
});
