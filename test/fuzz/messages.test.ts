/** A broker's protocol against messages that nobody meant. */
import { encode, parseAnswer, parseRequest } from '../../lib/broker/protocol.js';
import type { Random } from './support/random.js';
import { fuzz, see } from './support/run.js';

const STATES = 200;
const MESSAGES = [
  { tap: 'vnet0', queues: 1 },
  { tap: 'vm1-eth0', queues: 256 },
  { answer: 'queues', pairs: 4, left: 0 },
  { answer: 'refused', reason: 'no', hint: 'ask' },
  { answer: 'failed', errno: -16, syscall: 'ioctl(TUNSETIFF)', path: 'vnet0' },
] as const;
const PIECES = [
  '"',
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '\\',
  '\\u0000',
  'null',
  '1e9',
  '-1',
  '0.5',
  '9'.repeat(400),
];
const NAMES = [
  '__proto__',
  'constructor',
  'version',
  'queues',
  'tap',
  'toString',
  '%d',
  '../x',
  '',
];

/** A message with some of its bytes replaced, removed, or put in. */
function draw(random: Random): Uint8Array {
  const message = random.pick(MESSAGES);
  let text = Buffer.from(encode(message)).toString('latin1');
  for (let left = random.below(4); left > 0; left--) {
    const at = random.below(text.length + 1);
    const piece = random.pick([
      random.pick(PIECES),
      JSON.stringify(random.pick(NAMES)),
      String.fromCharCode(random.below(256)),
      '',
    ]);
    text = text.slice(0, at) + piece + text.slice(at + random.below(4));
  }
  return Buffer.from(text, 'latin1');
}

const isWhole = (value: unknown, least: number, most: number) =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

function holdRequest({ tap, queues, ...rest }: ReturnType<typeof parseRequest>): void {
  const bytes = Buffer.byteLength(tap);
  const sound = bytes > 0 && bytes < 16 && !/[/:%\s\0]/.test(tap) && tap !== '.' && tap !== '..';
  if (!sound || !isWhole(queues, 1, 256) || Object.keys(rest).length > 0) {
    throw new Error(`a request of ${JSON.stringify(tap)}, ${queues}`);
  }
}

function holdAnswer(answer: ReturnType<typeof parseAnswer>): void {
  const sound =
    answer.answer === 'queues'
      ? isWhole(answer.pairs, 1, 126) && isWhole(answer.left, 0, 256)
      : answer.answer === 'failed'
        ? isWhole(answer.errno, -4095, -1) && typeof answer.syscall === 'string'
        : typeof answer.reason === 'string';
  if (!sound) throw new Error(`an answer of ${JSON.stringify(answer)}`);
}

fuzz({
  name: 'messages',
  states: 100_000,
  play: (random, sights, trace) => {
    for (let state = 0; state < STATES; state++) {
      const bytes = draw(random);
      trace?.(`${state}: ${JSON.stringify(Buffer.from(bytes).toString('latin1'))}`);
      for (const [name, parse] of [
        ['request', () => holdRequest(parseRequest(bytes))],
        ['answer', () => holdAnswer(parseAnswer(bytes))],
      ] as const) {
        let reason: string | undefined;
        try {
          parse();
        } catch (error) {
          if (!(error instanceof Error) || /^an? (request|answer) of/.test(error.message))
            throw error;
          reason = error.message;
        }
        see(sights, `${name}: ${reason === undefined ? 'understood' : 'refused'}`);
        trace?.(`  ${name}: ${reason ?? 'understood'}`);
      }
    }
    return STATES;
  },
  reaches: ['request', 'answer'].flatMap((name) => [`${name}: understood`, `${name}: refused`]),
});
