/** One client of a broker, from its request to the answer. It is held to be hostile. */
import { VhostError } from '../errors.js';
import type { PeerCredentials, UnixSocket } from '../host/unix-socket.js';
import { logBroker } from '../log.js';
import type { AllowList } from './allow-list.js';
import {
  type Answer,
  encode,
  LONGEST_REQUEST,
  PAIRS_PER_MESSAGE,
  parseRequest,
  type QueueRequest,
} from './protocol.js';
import { closePairs, openPairs, type TapSettings } from './queue-pairs.js';

/** How long a client may take to say what it wants, in ms. */
const REQUEST_LIMIT = 5000;

export interface Policy extends TapSettings {
  allow: AllowList;
  /** Queue pairs in one request. */
  maxQueues: number;
}

/** What became of a client. */
export interface Outcome {
  peer: PeerCredentials;
  /** What it asked for, where it was understood. */
  request?: QueueRequest;
  /** The broker made the interface. */
  created?: boolean;
  /** Why it got nothing. */
  refusal?: { reason: string; hint?: string };
}

/** Why a client gets nothing. */
export class Refusal extends Error {
  readonly hint: string | undefined;

  constructor(reason: string, hint?: string) {
    super(reason);
    this.hint = hint;
  }
}

/** Hears the request, opens what it asks for, hands it over, closes. Never rejects. */
export async function converse(
  socket: UnixSocket,
  peer: PeerCredentials,
  policy: Policy,
  stop: AbortSignal,
): Promise<Outcome> {
  let request: QueueRequest | undefined;
  try {
    request = await hear(socket, stop);
    judge(request, peer, policy);
    const pairs = await openPairs(request, policy);
    try {
      const created = pairs.some(({ tap }) => tap.created);
      handOver(socket, pairs);
      return { peer, request, created };
    } finally {
      await closePairs(pairs);
    }
  } catch (error) {
    const refusal = tell(socket, error);
    return { peer, ...(request && { request }), refusal };
  } finally {
    socket.close();
  }
}

/** Answers with what was thrown, as far as the client still listens. */
export function tell(socket: UnixSocket, error: unknown): { reason: string; hint?: string } {
  const { message: reason, hint } = error as Error & { hint?: string };
  const refusal = hint === undefined ? { reason } : { reason, hint };
  const answer: Answer =
    error instanceof VhostError
      ? {
          answer: 'failed',
          errno: error.errno,
          syscall: error.syscall,
          ...(error.path === undefined ? {} : { path: error.path }),
        }
      : { answer: 'refused', ...refusal };
  try {
    socket.send(encode(answer));
  } catch (gone) {
    logBroker('nobody to tell: %o', gone);
  }
  return refusal;
}

/** The client's request. Rejects where it is none, or takes too long. */
function hear(socket: UnixSocket, stop: AbortSignal): Promise<QueueRequest> {
  return new Promise((resolve, reject) => {
    const buffer = new Uint8Array(LONGEST_REQUEST);
    const limit = setTimeout(
      () => end(() => reject(new Refusal(`no request within ${REQUEST_LIMIT} ms`))),
      REQUEST_LIMIT,
    );
    const stopped = () => end(() => reject(new Refusal('the broker is being stopped')));
    const end = (settle: () => void) => {
      clearTimeout(limit);
      stop.removeEventListener('abort', stopped);
      socket.offReadable();
      settle();
    };
    stop.addEventListener('abort', stopped);
    if (stop.aborted) return stopped();
    socket.onReadable(() => {
      try {
        // No descriptor is wanted, so none of the client's ever enters this process.
        const message = socket.receive(buffer, 0);
        if (message) end(() => resolve(requestIn(buffer, message)));
      } catch (error) {
        end(() => reject(error));
      }
    });
  });
}

function requestIn(buffer: Uint8Array, { size, truncated }: { size: number; truncated: boolean }) {
  if (size === 0) throw new Refusal('it left without a request');
  if (truncated) {
    throw new Refusal(`not understood: it has more than ${LONGEST_REQUEST} bytes, or descriptors`);
  }
  try {
    return parseRequest(buffer.subarray(0, size));
  } catch (error) {
    throw new Refusal(`not understood: ${(error as Error).message}`);
  }
}

function judge({ tap, queues }: QueueRequest, { uid }: PeerCredentials, policy: Policy): void {
  if (!policy.allow.allows(uid, tap)) throw notAllowed(uid, tap);
  if (queues > policy.maxQueues) {
    throw new Refusal(
      `${queues} queue pairs are more than the ${policy.maxQueues} of one request`,
      `ask for fewer, or allow more where the broker runs: --max-queues ${queues}`,
    );
  }
}

/** Says to a user, and to who reads the broker's log, what would let them in. */
export function notAllowed(uid: number, tap?: string): Refusal {
  return new Refusal(
    `uid ${uid} may not have queues of ${tap === undefined ? 'any TAP' : `the TAP '${tap}'`}`,
    `allow it where the broker runs: --allow ${uid}:${tap ?? 'TAP'}`,
  );
}

function handOver(socket: UnixSocket, pairs: Awaited<ReturnType<typeof openPairs>>): void {
  for (let from = 0; from < pairs.length; from += PAIRS_PER_MESSAGE) {
    const some = pairs.slice(from, from + PAIRS_PER_MESSAGE);
    const left = pairs.length - from - some.length;
    const descriptors = some.flatMap(({ tap, vhost }) => [tap, vhost]);
    const message = encode({ answer: 'queues', pairs: some.length, left });
    if (socket.send(message, descriptors) === 0) throw new Refusal('it does not read the answer');
  }
}
