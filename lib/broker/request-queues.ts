/** A broker's client: asks for queue pairs, and makes objects of the descriptors that come. */
import { setTimeout as delay } from 'node:timers/promises';
import { checkInteger, StateError } from '../errors.js';
import { checkInterfaceName } from '../host/net-interface.js';
import { Tap } from '../host/tap.js';
import {
  MOST_DESCRIPTORS,
  type ReceivedDescriptor,
  type ReceivedMessage,
  UnixSocket,
} from '../host/unix-socket.js';
import { systemError } from '../syscall.js';
import { VhostNet } from '../vhost/vhost-net.js';
import { type Answer, encode, LONGEST_ANSWER, MOST_QUEUES, parseAnswer } from './protocol.js';
import { type BrokeredPair, closePairs } from './queue-pairs.js';

const ETIMEDOUT = -110;
/** How long a broker may take, in ms: 256 pairs took 9 s on an emulated machine. */
const ANSWER_LIMIT = 60_000;
/** Between two attempts to connect while too many others wait, in ms. */
const RETRY_AFTER = 20;

/**
 * Asks the broker on `path` for `queues` queue pairs (1 to 256, default 1) of a TAP. The pairs are the
 * caller's, to close. Throws `ERR_BROKER_REFUSED` where the broker will not give them, what failed in
 * the broker as a `VhostError` whose `syscall` begins with `broker: `, `ERR_BROKER_PROTOCOL`
 * where something else answers, and what {@link UnixSocket.connect} throws; then nothing stays open.
 */
export async function requestQueues(
  path: string,
  tap: string,
  queues = 1,
): Promise<readonly BrokeredPair[]> {
  checkInterfaceName(tap);
  checkInteger('queues', queues, 1, MOST_QUEUES);
  const deadline = Date.now() + ANSWER_LIMIT;
  const socket = await connect(path, deadline);
  const pairs: BrokeredPair[] = [];
  try {
    try {
      socket.send(encode({ tap, queues }));
    } catch (error) {
      // Whoever may nothing is told so, and the connection closed, before the request gets there.
      if (!hasCode(error, 'EPIPE')) throw error;
    }
    while (pairs.length < queues) await receivePairs(socket, path, queues, pairs, deadline);
    return pairs;
  } catch (error) {
    await closePairs(pairs);
    throw error;
  } finally {
    socket.close();
  }
}

async function connect(path: string, deadline: number): Promise<UnixSocket> {
  for (;;) {
    try {
      return UnixSocket.connect(path, 'seqpacket');
    } catch (error) {
      if (!hasCode(error, 'EAGAIN') || Date.now() > deadline) throw error;
    }
    await delay(RETRY_AFTER);
  }
}

/** Adds what the next message brings. Throws where it is no good news. */
async function receivePairs(
  socket: UnixSocket,
  path: string,
  queues: number,
  pairs: BrokeredPair[],
  deadline: number,
): Promise<void> {
  const buffer = new Uint8Array(LONGEST_ANSWER);
  const { size, descriptors, truncated } = await nextMessage(socket, path, buffer, deadline);
  try {
    if (size === 0) throw misunderstood(path, 'it closed the connection without an answer');
    if (truncated) {
      throw misunderstood(
        path,
        'its answer did not arrive whole',
        'the process may have too many open files: raise `ulimit -n`',
      );
    }
    const answer = understood(path, buffer.subarray(0, size));
    if (answer.answer === 'refused') {
      throw new StateError('ERR_BROKER_REFUSED', answer.reason, answer.hint);
    }
    if (answer.answer === 'failed') {
      throw systemError(answer.errno, `broker: ${answer.syscall}`, answer.path);
    }
    const whole = pairs.length + answer.pairs + answer.left === queues;
    if (!whole || descriptors.length !== 2 * answer.pairs) {
      throw misunderstood(path, 'it sent something else than what was asked for');
    }
    for (let i = 0; i < descriptors.length; i += 2) {
      const [tap, vhost] = descriptors.slice(i, i + 2) as [ReceivedDescriptor, ReceivedDescriptor];
      pairs.push(pairOf(tap, vhost));
    }
  } finally {
    for (const descriptor of descriptors) descriptor.close();
  }
}

async function nextMessage(
  socket: UnixSocket,
  path: string,
  buffer: Uint8Array,
  deadline: number,
): Promise<ReceivedMessage> {
  for (;;) {
    try {
      const message = socket.receive(buffer, MOST_DESCRIPTORS);
      if (message) return message;
      await readable(socket, path, deadline - Date.now());
    } catch (error) {
      // The broker closed without reading our request; what it said before can still be read.
      if (!hasCode(error, 'ECONNRESET')) throw error;
    }
  }
}

/** Rejects with `ETIMEDOUT` after `limit` ms. */
function readable(socket: UnixSocket, path: string, limit: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(late);
      socket.offReadable();
      settle();
    };
    const late = setTimeout(
      () => end(() => reject(systemError(ETIMEDOUT, 'recvmsg(AF_UNIX)', path))),
      limit,
    );
    socket.onReadable(() => end(resolve));
  });
}

function understood(path: string, bytes: Uint8Array): Answer {
  try {
    return parseAnswer(bytes);
  } catch (error) {
    throw misunderstood(path, (error as Error).message);
  }
}

function pairOf(tapFd: ReceivedDescriptor, vhostFd: ReceivedDescriptor): BrokeredPair {
  const tap = Tap.fromFd(tapFd.fd);
  try {
    return { tap, vhost: VhostNet.fromFd(vhostFd.fd) };
  } catch (error) {
    tap.close();
    throw error;
  }
}

function misunderstood(path: string, what: string, hint?: string): StateError {
  return new StateError(
    'ERR_BROKER_PROTOCOL',
    `the answer of the broker on '${path}' was not understood: ${what}`,
    hint ?? 'something else listens on the socket, or a broker of another version',
  );
}

function hasCode(error: unknown, code: string): boolean {
  return (error as { code?: string }).code === code;
}
