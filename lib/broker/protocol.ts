/**
 * What a broker and its client say to each other, over a socket of whole messages (`SOCK_SEQPACKET`),
 * so that descriptors never part from the words about them. The client sends one request and gets one
 * answer, in several messages where it has more descriptors than fit in one; then the broker closes.
 * Each message is a JSON object in UTF-8. Neither side believes the other.
 */
import { checkInteger } from '../errors.js';
import { checkInterfaceName } from '../host/net-interface.js';
import { MOST_DESCRIPTORS } from '../host/unix-socket.js';

/** Said in every message; a message of another version is not understood. */
export const PROTOCOL_VERSION = 1;
/** Bytes. The longest request that can be meant has about 60. */
export const LONGEST_REQUEST = 256;
/** Bytes. */
export const LONGEST_ANSWER = 4096;
/** Queues that an interface can have (the kernel's `MAX_TAP_QUEUES`). */
export const MOST_QUEUES = 256;
/** A TAP queue and a vhost device each. */
export const PAIRS_PER_MESSAGE = Math.floor(MOST_DESCRIPTORS / 2);

/** Queue pairs of one TAP. */
export interface QueueRequest {
  tap: string;
  queues: number;
}

/** Descriptors come with it: of each pair the TAP queue, then the vhost device. */
export interface QueuesAnswer {
  answer: 'queues';
  /** In this message. */
  pairs: number;
  /** In messages to come. */
  left: number;
}

/** The client may not, or was not understood. */
export interface RefusedAnswer {
  answer: 'refused';
  reason: string;
  hint?: string;
}

/** The client may, but a system call failed. */
export interface FailedAnswer {
  answer: 'failed';
  /** Negative. */
  errno: number;
  syscall: string;
  path?: string;
}

export type Answer = QueuesAnswer | RefusedAnswer | FailedAnswer;

/** A message as it goes over the wire. */
export function encode(message: QueueRequest | Answer): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ version: PROTOCOL_VERSION, ...message }));
}

/** A request as a client sent it. Throws an `Error` that says what is wrong with it. */
export function parseRequest(bytes: Uint8Array): QueueRequest {
  const { tap, queues, ...rest } = parseMessage(bytes);
  const strange = Object.keys(rest);
  // What is not understood may be what was meant: ignoring it would grant something else.
  if (strange.length > 0) throw new Error(`it has more than 'tap' and 'queues'`);
  const name = checkInterfaceName(tap);
  if (name.includes('%')) throw new Error(`'${name}' is a pattern; ask for one TAP by its name`);
  return { tap: name, queues: checkInteger('queues', queues, 1, MOST_QUEUES) };
}

/** An answer as a broker sent it. Throws an `Error` that says what is wrong with it. */
export function parseAnswer(bytes: Uint8Array): Answer {
  const { answer, pairs, left, reason, hint, errno, syscall, path } = parseMessage(bytes);
  if (answer === 'queues') {
    return {
      answer,
      pairs: checkInteger('pairs', pairs, 1, PAIRS_PER_MESSAGE),
      left: checkInteger('left', left, 0, MOST_QUEUES),
    };
  }
  if (answer === 'refused' && typeof reason === 'string') {
    return { answer, reason, ...(typeof hint === 'string' ? { hint } : {}) };
  }
  if (answer === 'failed' && typeof syscall === 'string') {
    checkInteger('errno', errno, -4095, -1);
    return {
      answer,
      errno: errno as number,
      syscall,
      ...(typeof path === 'string' ? { path } : {}),
    };
  }
  throw new Error('it is no answer');
}

/** The fields of a message of our version. */
function parseMessage(bytes: Uint8Array): Record<string, unknown> {
  let message: unknown;
  try {
    message = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new Error('it is no JSON in UTF-8');
  }
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    throw new Error('it is no JSON object');
  }
  const { version, ...fields } = message as Record<string, unknown>;
  if (version !== PROTOCOL_VERSION) {
    throw new Error(`it is not of version ${PROTOCOL_VERSION} of the protocol`);
  }
  return fields;
}
