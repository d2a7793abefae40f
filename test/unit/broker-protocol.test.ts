import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Answer,
  encode,
  LONGEST_REQUEST,
  PAIRS_PER_MESSAGE,
  parseAnswer,
  parseRequest,
} from '../../lib/broker/protocol.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const request = (fields: object) => bytes(JSON.stringify({ version: 1, ...fields }));

describe('a request', () => {
  test('is understood as it was meant', () => {
    expect(parseRequest(encode({ tap: 'vnet0', queues: 2 }))).toEqual({ tap: 'vnet0', queues: 2 });
  });

  test('with the longest name is short enough', () => {
    const longest = encode({ tap: '\u0001'.repeat(15), queues: 256 });
    expect(longest.length).toBeLessThan(LONGEST_REQUEST);
  });

  test.each([
    ['nothing', bytes(''), /no JSON/],
    ['no JSON', bytes('{'), /no JSON/],
    ['no UTF-8', Uint8Array.of(0x22, 0xff, 0x22), /no JSON in UTF-8/],
    ['a number', bytes('1'), /no JSON object/],
    ['null', bytes('null'), /no JSON object/],
    ['an array', bytes('[1]'), /no JSON object/],
    ['no version', bytes('{"tap":"vnet0","queues":1}'), /version 1/],
    ['another version', bytes('{"version":2,"tap":"vnet0","queues":1}'), /version 1/],
    ['no TAP', request({ queues: 1 }), /must be a string/],
    ['no number of queues', request({ tap: 'vnet0' }), /queues must be a number/],
    ['no queues', request({ tap: 'vnet0', queues: 0 }), /from 1 to 256/],
    ['257 queues', request({ tap: 'vnet0', queues: 257 }), /from 1 to 256/],
    ['half a queue', request({ tap: 'vnet0', queues: 1.5 }), /from 1 to 256/],
    ['queues as text', request({ tap: 'vnet0', queues: '1' }), /must be a number/],
    ['a path', request({ tap: '../etc', queues: 1 }), /cannot be the name/],
    ['a name of 16 bytes', request({ tap: 'x'.repeat(16), queues: 1 }), /allows 15/],
    ['a list of names', request({ tap: ['vnet0'], queues: 1 }), /must be a string/],
    ['a pattern of the kernel', request({ tap: 'vm%d', queues: 1 }), /by its name/],
    ['more than is known', request({ tap: 'vnet0', queues: 1, mtu: 9000 }), /more than/],
    ['a prototype', bytes('{"version":1,"tap":"a","queues":1,"__proto__":{}}'), /more than/],
  ])('that is or has %s is refused', (_what, message, reason) => {
    expect(() => parseRequest(message)).toThrow(reason);
  });

  test('of any bytes is understood or refused, and changes nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 256 }), (message) => {
        expect(() => parseRequest(message)).toThrow(Error);
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(() => parseRequest(bytes(JSON.stringify(value)))).toThrow(Error);
      }),
    );
  });
});

describe('an answer', () => {
  const answers: Answer[] = [
    { answer: 'queues', pairs: PAIRS_PER_MESSAGE, left: 130 },
    { answer: 'refused', reason: 'no' },
    { answer: 'refused', reason: 'no', hint: 'ask another' },
    { answer: 'failed', errno: -16, syscall: 'ioctl(TUNSETIFF)', path: 'vnet0' },
    { answer: 'failed', errno: -24, syscall: 'open' },
  ];
  test.each(answers)('is understood as it was meant: %j', (answer) => {
    expect(parseAnswer(encode(answer))).toEqual(answer);
  });

  test.each([
    {},
    { answer: 'granted' },
    { answer: 'queues' },
    { answer: 'queues', pairs: 0, left: 0 },
    { answer: 'queues', pairs: PAIRS_PER_MESSAGE + 1, left: 0 },
    { answer: 'queues', pairs: 1, left: 257 },
    { answer: 'refused' },
    { answer: 'refused', reason: 1 },
    { answer: 'failed', errno: -16 },
    { answer: 'failed', errno: 0, syscall: 'open' },
    { answer: 'failed', errno: -5000, syscall: 'open' },
    { answer: 'failed', errno: '-16', syscall: 'open' },
  ])('that cannot be meant is refused: %j', (answer) => {
    expect(() => parseAnswer(request(answer))).toThrow(Error);
  });

  test('keeps nothing that it does not know', () => {
    const answer = parseAnswer(request({ answer: 'refused', reason: 'no', hint: 1, extra: 2 }));
    expect(answer).toEqual({ answer: 'refused', reason: 'no' });
  });
});

test('the descriptors of one message are within what the kernel takes', () => {
  expect(2 * PAIRS_PER_MESSAGE).toBeLessThanOrEqual(253);
});
