/** Every vhost-user message there and back, whatever its payload is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DecodedVhostUserMessage,
  decodeVhostUserMessage,
  encodeVhostUserReply,
  encodeVhostUserRequest,
  VHOST_USER_MESSAGES,
  type VhostUserMessageRule,
  type VhostUserRequestName,
} from '../../lib/index.js';
import { thrownSync } from '../support/errors.js';
import { ARBITRARY, fittingDescriptors, message } from '../support/vhost-user.js';

const table: Record<string, VhostUserMessageRule> = VHOST_USER_MESSAGES;
const NAMES = Object.keys(table) as VhostUserRequestName[];
const encoders = { request: encodeVhostUserRequest, reply: encodeVhostUserReply } as const;
const directions = { request: 'requests', reply: 'replies' } as const;

/** Every body of every message, in either direction. */
const BODIES = NAMES.flatMap((name) =>
  (['request', 'reply'] as const).flatMap((kind) =>
    (table[name]?.[kind] ?? []).map((body) => ({ name, kind, body, is: body.payload })),
  ),
);

describe.each(BODIES)(
  'the $kind $name with $is',
  ({ name, kind, body: { payload, descriptors } }) => {
    const { from } = table[name] as VhostUserMessageRule;
    const encode = encoders[kind] as (name: string, payload: unknown, count: number) => Uint8Array;
    const decode = (bytes: Uint8Array, count: number) =>
      decodeVhostUserMessage(bytes, from, directions[kind], count);

    test('arrives as it was sent', () => {
      fc.assert(
        fc.property(ARBITRARY[payload] as fc.Arbitrary<unknown>, (value) => {
          const count = fittingDescriptors(descriptors, value);
          const decoded = decode(encode(name, value, count), count);
          expect(decoded).toEqual({
            kind,
            request: name,
            payload: value,
            ...(kind === 'request' && { needReply: false }),
          });
        }),
        { numRuns: 25 },
      );
    });

    test('comes with its descriptors, not one more or less', () => {
      fc.assert(
        fc.property(ARBITRARY[payload] as fc.Arbitrary<unknown>, (value) => {
          const bytes = encode(name, value, fittingDescriptors(descriptors, value));
          const exact = descriptors.exactly?.(value as never);
          for (let count = 0; count <= 9; count++) {
            const allowed =
              exact === undefined
                ? count >= descriptors.least && count <= descriptors.most
                : count === exact;
            if (allowed) {
              decode(bytes, count);
              encode(name, value, count);
              continue;
            }
            const reason = `${name}: ${count} descriptors came with it, not `;
            const received = thrownSync(() => decode(bytes, count));
            if (received.code !== 'ERR_VHOST_USER_PROTOCOL') throw received;
            if (!received.message.startsWith(reason)) throw received;
            const sent = thrownSync(() => encode(name, value, count));
            if (sent.code !== 'ERR_INVALID_ARG_VALUE') throw sent;
          }
        }),
        { numRuns: 3 },
      );
    });

    test('is any bytes of its size that can be sent again, or is refused', () => {
      const sizes = fc.oneof(fc.constantFrom(0, 8, 16, 20, 24, 32, 40, 72, 264), fc.nat(300));
      fc.assert(
        fc.property(
          sizes.chain((size) => fc.uint8Array({ minLength: size, maxLength: size })),
          fc.nat(8),
          (bytes, count) => {
            const flags = kind === 'request' ? 0x9 : 0x5;
            let decoded: DecodedVhostUserMessage;
            try {
              decoded = decode(message(table[name]?.id ?? 0, flags, bytes), count);
            } catch (error) {
              if ((error as { code?: string }).code !== 'ERR_VHOST_USER_PROTOCOL') throw error;
              return;
            }
            const again = encode(name, decoded.payload, count);
            expect(decode(again, count).payload).toEqual(decoded.payload);
          },
        ),
        { numRuns: 50 },
      );
    });
  },
);
