/** What looks into frames, against frames and headers that contradict themselves. */
import { completeChecksum } from '../../lib/net/checksum.js';
import { flowHash } from '../../lib/net/flow-hash.js';
import type { Offload } from '../../lib/net/header.js';
import { prepareOffload } from '../../lib/net/prepare-offload.js';
import { Segmenter } from '../../lib/net/segmenter.js';
import { drawOffload, drawPacket, type Packet } from './support/packets.js';
import type { Random } from './support/random.js';
import { fuzz, type Sights, same, see } from './support/run.js';

const STATES = 50;
/** Bytes around a frame that nobody may write, nor be led by. */
const MARGIN = 64;

const segmenter = new Segmenter();

/** The frame amid bytes that are not its own. */
function amid(bytes: Uint8Array, filler: number): Uint8Array {
  const room = new Uint8Array(bytes.length + 2 * MARGIN).fill(filler);
  room.set(bytes, MARGIN);
  return room.subarray(MARGIN, MARGIN + bytes.length);
}

function holdMargins(frame: Uint8Array, filler: number): void {
  const room = new Uint8Array(frame.buffer);
  const outside = [...room.subarray(0, MARGIN), ...room.subarray(MARGIN + frame.length)];
  same(
    'whether bytes outside were written',
    outside.every((byte) => byte === filler),
    true,
  );
}

/** Runs `call`; the one error it may throw is seen and gives undefined. */
function tried<T>(sights: Sights, what: string, call: () => T): T | undefined {
  try {
    const result = call();
    see(sights, `${what}: done`);
    return result;
  } catch (error) {
    if (!(error instanceof RangeError) || Reflect.get(error, 'code') !== 'ERR_FRAME_OFFLOAD') {
      throw error;
    }
    see(sights, `${what}: refused`);
    return undefined;
  }
}

/** Indices at which two frames of one length differ. */
function differences(a: Uint8Array, b: Uint8Array): number[] {
  const list: number[] = [];
  if (Buffer.compare(a, b) === 0) return list;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) list.push(i);
  return list;
}

function hash({ bytes }: Packet, random: Random): void {
  const one = flowHash(amid(bytes, 0));
  same('a hash', Number.isInteger(one) && one >= 0 && one < 2 ** 32, true);
  same('the hash amid others', flowHash(amid(bytes, 0xff)), one);
  // What lies behind its length is not the frame's, either.
  const longer = new Uint8Array(bytes.length + 40).fill(random.u32());
  longer.set(bytes);
  same('the hash with more behind it', flowHash(longer, bytes.length), one);
}

function checksum(packet: Packet, offload: Offload, sights: Sights): void {
  const frame = amid(packet.bytes, 0xee);
  const asked = { ...offload };
  tried(sights, 'completeChecksum', () => completeChecksum(frame, asked));
  holdMargins(frame, 0xee);
  const at = offload.checksumStart + offload.checksumOffset;
  const changed = differences(frame, packet.bytes);
  same(
    'whether another byte changed',
    changed.every((i) => i === at || i === at + 1),
    true,
  );
}

function prepare(packet: Packet, random: Random, sights: Sights): void {
  const frame = amid(packet.bytes, 0xee);
  const offload = drawOffload(random, packet);
  const mss = random.pick([0, 0, 536, 1460]);
  tried(sights, 'prepareOffload', () => prepareOffload(frame, offload, mss));
  holdMargins(frame, 0xee);
  const changed = differences(frame, packet.bytes);
  const at = offload.checksumStart + offload.checksumOffset;
  same(
    'whether another byte changed',
    changed.every((i) => i === at || i === at + 1),
    true,
  );
}

function segment(packet: Packet, offload: Offload, sights: Sights): void {
  const frame = amid(packet.bytes, 0xee);
  const asked = { ...offload };
  const segments = tried(sights, 'segment', () => segmenter.segment(frame, asked));
  holdMargins(frame, 0xee);
  same('whether the frame changed', differences(frame, packet.bytes).length, 0);
  same('whether its header changed', JSON.stringify(asked), JSON.stringify(offload));
  if (!segments || offload.gsoType === 0) return;
  same('whether there is a segment', segments.length > 0 && segments.length <= 2048, true);
  if (!packet.sound) return;
  // The payload, in order and whole.
  const { payload } = packet;
  const parts = segments.map((bytes) => bytes.subarray(payload));
  same('the payload', Buffer.compare(Buffer.concat(parts), frame.subarray(payload)), 0);
  for (const [i, { length }] of parts.entries()) {
    const full = i < parts.length - 1;
    same(
      'the length of a segment',
      full ? length : length <= offload.gsoSize,
      full ? offload.gsoSize : true,
    );
  }
  see(sights, 'a sound frame in segments');
}

fuzz({
  name: 'frames',
  states: 100_000,
  play: (random, sights, trace) => {
    for (let state = 0; state < STATES; state++) {
      const packet = drawPacket(random);
      const offload = drawOffload(random, packet);
      trace?.(`${state}: ${Buffer.from(packet.bytes).toString('hex')}`);
      trace?.(`  ${JSON.stringify(offload)}`);
      hash(packet, random);
      checksum(packet, offload, sights);
      prepare(packet, random, sights);
      segment(packet, offload, sights);
    }
    return STATES;
  },
  reaches: [
    ...['completeChecksum', 'prepareOffload', 'segment'].flatMap((call) => [
      `${call}: done`,
      `${call}: refused`,
    ]),
    'a sound frame in segments',
  ],
});
