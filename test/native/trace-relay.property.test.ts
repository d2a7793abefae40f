/** What passes through a trace's relay, of any bytes in any pieces: drawn at random. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventFd } from '../../lib/index.js';
import { type RawMessage, Relay } from '../../tools/cli/trace/relay.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { kept, receive, socketPair } from '../support/sockets.js';
import { counts } from '../support/traced.js';
import { aWhile } from '../support/turns.js';
import { message } from '../support/vhost-user.js';
import { sendPieces } from '../support/vhost-user-peer.js';

holdNothingLeaks();

/** A message with any id, flags and payload, its descriptors, and where its bytes are parted. */
const drawn = fc
  .record({
    id: fc.nat({ max: 60 }),
    flags: fc.nat({ max: 31 }),
    payload: fc.uint8Array({ maxLength: 100 }),
    descriptors: fc.nat({ max: 3 }),
    cuts: fc.uniqueArray(fc.integer({ min: 1, max: 111 }), { maxLength: 4 }),
  })
  .map(({ id, flags, payload, descriptors, cuts }) => {
    const bytes = message(id, flags, payload);
    const sorted = cuts.filter((at) => at < bytes.length).sort((a, b) => a - b);
    return { bytes, descriptors, cuts: sorted };
  });

test('arrives as it was sent, each descriptor with the first byte of its message', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(drawn, { minLength: 1, maxLength: 8 }), async (sent) => {
      const [near, from] = socketPair('stream');
      const [to, far] = socketPair('stream');
      const seen: RawMessage[] = [];
      const relay = new Relay(from, to, {
        message(raw, held) {
          seen.push(raw);
          return held;
        },
        ended: () => {},
      });
      relay.start();
      let count = 0;
      const places: number[] = [];
      let at = 0;
      for (const { bytes, descriptors, cuts } of sent) {
        const fds = Array.from({ length: descriptors }, () => kept(EventFd.create(++count)));
        sendPieces(near, bytes, cuts, fds);
        places.push(...fds.map(() => at));
        at += bytes.length;
        if (descriptors === 1) await aWhile();
      }
      const heard: number[] = [];
      const came: number[] = [];
      const numbers: number[] = [];
      while (heard.length < at) {
        // A byte at a time, so that a descriptor's place is known.
        const got = receive(far, 1, 253);
        if (!got) await aWhile();
        else {
          numbers.push(...counts(got.descriptors.map(({ fd }) => fd)));
          came.push(...got.descriptors.map(() => heard.length));
          heard.push(...(got.raw ?? []));
        }
      }
      expect(heard).toEqual(sent.flatMap(({ bytes }) => [...bytes]));
      expect(came).toEqual(places);
      expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i + 1));
      expect(seen.map(({ bytes }) => bytes)).toEqual(sent.map(({ bytes }) => bytes));
      expect(seen.map(({ descriptors }) => descriptors.length)).toEqual(
        sent.map(({ descriptors }) => descriptors),
      );
      relay.close();
      for (const socket of [near, from, to, far]) socket.close();
    }),
    { numRuns: 40 },
  );
});

test('of bytes that are no messages is every one, and every descriptor', async () => {
  const piece = fc.record({
    bytes: fc.uint8Array({ minLength: 1, maxLength: 200 }),
    descriptors: fc.nat({ max: 2 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 8 }), async (sent) => {
      const [near, from] = socketPair('stream');
      const [to, far] = socketPair('stream');
      let ended = false;
      const relay = new Relay(from, to, {
        message: (_, held) => held,
        ended: () => {
          ended = true;
        },
      });
      relay.start();
      let count = 0;
      for (const { bytes, descriptors } of sent) {
        const fds = Array.from({ length: descriptors }, () => kept(EventFd.create(++count)));
        near.send(bytes, fds);
      }
      near.close();
      while (!ended) await aWhile();
      const heard: number[] = [];
      const numbers: number[] = [];
      for (let got = receive(far, 4096, 253); got; got = receive(far, 4096, 253)) {
        numbers.push(...counts(got.descriptors.map(({ fd }) => fd)));
        heard.push(...(got.raw ?? []));
      }
      expect(heard).toEqual(sent.flatMap(({ bytes }) => [...bytes]));
      expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i + 1));
      relay.close();
      for (const socket of [from, to, far]) socket.close();
    }),
    { numRuns: 40 },
  );
});
