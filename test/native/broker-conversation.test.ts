/** A broker's side of the conversation, with clients that do what they should not. */
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { AllowList } from '../../lib/broker/allow-list.js';
import { converse, type Outcome, type Policy } from '../../lib/broker/conversation.js';
import { type Answer, encode, parseAnswer } from '../../lib/broker/protocol.js';
import { EventFd, type UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { until } from '../support/host.js';
import { bytes, kept, socketPair } from '../support/sockets.js';

holdNothingLeaks();

const UID = 1000;
const PEER = { pid: 1, uid: UID, gid: UID };
const POLICY: Policy = {
  allow: new AllowList([{ uid: UID, taps: 'vm1-*' }]),
  maxQueues: 4,
  up: false,
  mtu: undefined,
  persist: false,
};

/** A conversation, and the client's end of it. */
function begin(stop = new AbortController().signal): [UnixSocket, Promise<Outcome>] {
  const [client, socket] = socketPair();
  return [client, converse(socket, PEER, POLICY, stop)];
}

/** What the broker answered before it closed. */
async function answers(client: UnixSocket): Promise<Answer[]> {
  const buffer = new Uint8Array(4096);
  const all: Answer[] = [];
  let closed = false;
  await until(() => {
    const message = client.receive(buffer, 253);
    closed = message?.size === 0;
    message?.descriptors.forEach(kept);
    if (message && !closed) all.push(parseAnswer(buffer.subarray(0, message.size)));
    return closed;
  }, 'the broker closes the connection');
  return all;
}

describe('a client is refused in words, and let go, that', () => {
  test.each([
    ['sends no JSON', bytes('give me'), /^not understood: it is no JSON/],
    ['asks for another user’s TAP', encode({ tap: 'vm2-0', queues: 1 }), /1000 .* TAP 'vm2-0'$/],
    ['asks for more queues than there are', encode({ tap: 'vm1-0', queues: 257 }), /1 to 256/],
    ['asks for more than one may have', encode({ tap: 'vm1-0', queues: 5 }), /the 4 of one/],
    ['sends 257 bytes', new Uint8Array(257).fill(0x20), /more than 256 bytes/],
    ['sends 100 kB', new Uint8Array(100_000), /more than 256 bytes/],
  ])('%s', async (_what, message, reason) => {
    const [client, conversation] = begin();
    client.send(message);
    const { refusal } = await conversation;
    expect(refusal?.reason).toMatch(reason);
    expect(await answers(client)).toEqual([{ answer: 'refused', ...refusal }]);
  });

  test('sends descriptors, which never enter the broker', async () => {
    const [client, conversation] = begin();
    const event = kept(EventFd.create());
    const before = readdirSync('/proc/self/fd').length;
    client.send(encode({ tap: 'vm1-0', queues: 1 }), new Array(253).fill(event));
    const { refusal } = await conversation;
    expect(refusal?.reason).toMatch(/or descriptors$/);
    expect(await answers(client)).toHaveLength(1);
    // The broker's end of the connection is gone, and nothing came.
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(before);
  });

  test('says nothing for five seconds', async () => {
    const [client, conversation] = begin();
    const { refusal } = await conversation;
    expect(refusal?.reason).toBe('no request within 5000 ms');
    expect(await answers(client)).toHaveLength(1);
  });
});

test('a client that leaves without a word is no error', async () => {
  const [client, conversation] = begin();
  client.close();
  expect((await conversation).refusal?.reason).toBe('it left without a request');
});

test('a client that sends and leaves at once is no error', async () => {
  const [client, conversation] = begin();
  client.send(bytes('x'));
  client.close();
  expect((await conversation).refusal?.reason).toMatch(/^not understood/);
});

test('a refusal says what would allow it', async () => {
  const [client, conversation] = begin();
  client.send(encode({ tap: 'vm2-0', queues: 1 }));
  const { request, refusal } = await conversation;
  expect(request).toEqual({ tap: 'vm2-0', queues: 1 });
  expect(refusal?.hint).toBe('allow it where the broker runs: --allow 1000:vm2-0');
});

test('a broker that is stopped lets go of clients that said nothing yet', async () => {
  const stop = new AbortController();
  const [client, conversation] = begin(stop.signal);
  stop.abort();
  expect((await conversation).refusal?.reason).toBe('the broker is being stopped');
  expect(await answers(client)).toHaveLength(1);
});
