/** One connection between a front end and a back end, and what comes of it: the socket of the back end's requests too. */
import {
  type Descriptor,
  type ReceivedDescriptor,
  UnixSocket,
  type VhostUserRequester,
} from '../../../lib/index.js';
import { Conversation, type SeenMessage } from './conversation.js';
import { type RawMessage, Relay } from './relay.js';

/** Sockets for a back end's requests that are followed at a time. A back end closes one when it is given another. */
const MOST_REQUEST_SOCKETS = 8;

/** Which of the two sockets of a pair: the one that connected to us, or the one that we connected to. */
type End = 0 | 1;

export interface SessionEvents {
  message(message: SeenMessage): void;
  /** It is over, and both ends are closed. */
  closed(how: SessionEnd): void;
}

export interface SessionEnd {
  /** Who closed first; undefined where neither did, or nobody has said a word. */
  by: VhostUserRequester | undefined;
  error?: Error;
  /** Requests that were to be answered and were not. */
  unanswered: readonly string[];
  /** Of both directions. */
  messages: number;
  ms: number;
}

/** A socket on either side, what comes in at one going out at the other. */
class Pair {
  readonly #sockets: readonly [UnixSocket, UnixSocket];
  readonly #relays: readonly [Relay, Relay];

  constructor(
    sockets: readonly [UnixSocket, UnixSocket],
    message: (
      from: End,
      raw: RawMessage,
      held: readonly ReceivedDescriptor[],
    ) => readonly Descriptor[],
    ended: (gone: End, error?: Error) => void,
  ) {
    const [near, far] = sockets;
    const relay = (from: End, to: End) =>
      new Relay(from === 0 ? near : far, to === 0 ? near : far, {
        message: (raw, held) => message(from, raw, held),
        ended: (gone, error) => ended(gone === 'sender' ? from : to, error),
      });
    this.#sockets = sockets;
    this.#relays = [relay(0, 1), relay(1, 0)];
  }

  /** It may be at an end at once, which is told as any other. */
  start(): void {
    for (const relay of this.#relays) relay.start();
  }

  /** Reads what is left on both sides, so that the last words are seen, and closes both. */
  close(): void {
    for (const relay of this.#relays) relay.finish();
    for (const relay of this.#relays) relay.close();
    for (const socket of this.#sockets) socket.close();
  }
}

export class Session {
  readonly #events: SessionEvents;
  readonly #began = performance.now();
  readonly #clock = () => performance.now() - this.#began;
  readonly #main: Pair;
  readonly #conversation = new Conversation('front-end', this.#clock);
  /** The sockets on which the back end asks, and what is said there. */
  readonly #requests = new Map<Pair, Conversation>();
  /** The one that speaks first: a back end has nothing to say before it is asked. */
  #frontEnd: End | undefined;
  #messages = 0;
  #closed = false;

  /** Owns both sockets. */
  constructor(near: UnixSocket, far: UnixSocket, events: SessionEvents) {
    this.#events = events;
    this.#main = new Pair(
      [near, far],
      (from, raw, held) => this.#pass(from, raw, held),
      (gone, error) => this.#end(gone, error),
    );
  }

  start(): void {
    this.#main.start();
  }

  close(): void {
    this.#end(undefined);
  }

  /** A message of the main socket. Returns the descriptors that go on with it. */
  #pass(from: End, raw: RawMessage, held: readonly ReceivedDescriptor[]): readonly Descriptor[] {
    this.#frontEnd ??= from;
    const kind = from === this.#frontEnd ? 'request' : 'reply';
    const message = this.#conversation.see(kind, raw);
    const [socket] = held;
    let instead: readonly Descriptor[] = held;
    if (socket && bringsSocket(message)) {
      try {
        instead = [this.#follow(socket)];
      } catch (error) {
        message.problem = `what goes over its socket is not shown: ${(error as Error).message}`;
      }
    }
    this.#tell(message);
    return instead;
  }

  /** Follows what goes over the front end's `socket`. Returns the one that the back end gets in its place. */
  #follow(socket: ReceivedDescriptor): UnixSocket {
    if (this.#requests.size === MOST_REQUEST_SOCKETS) {
      throw new Error(`${MOST_REQUEST_SOCKETS} such sockets are open`);
    }
    const own = UnixSocket.fromFd(socket.fd);
    let ends: [UnixSocket, UnixSocket];
    try {
      ends = UnixSocket.pair('stream');
    } catch (error) {
      own.close();
      throw error;
    }
    const [near, given] = ends;
    let failure: Error | undefined;
    const pair = new Pair(
      [near, own],
      (from, raw, held) => {
        this.#tell(conversation.see(from === 0 ? 'request' : 'reply', raw));
        return held;
      },
      (_, error) => {
        failure = error;
        if (this.#requests.delete(pair)) pair.close();
      },
    );
    const conversation = new Conversation('back-end', this.#clock);
    this.#requests.set(pair, conversation);
    pair.start();
    if (failure) {
      given.close();
      throw failure;
    }
    socket.close();
    return given;
  }

  #tell(message: SeenMessage): void {
    this.#messages++;
    this.#events.message(message);
  }

  #end(gone: End | undefined, error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#main.close();
    const conversations = [this.#conversation, ...this.#requests.values()];
    for (const pair of this.#requests.keys()) pair.close();
    const known = gone !== undefined && this.#frontEnd !== undefined;
    this.#events.closed({
      by: known ? (gone === this.#frontEnd ? 'front-end' : 'back-end') : undefined,
      ...(error && { error }),
      unanswered: conversations.flatMap(({ unanswered }) => unanswered),
      messages: this.#messages,
      ms: this.#clock(),
    });
  }
}

/** Whether a message gives the back end a socket to ask on. */
function bringsSocket({ kind, request, problem, descriptors }: SeenMessage): boolean {
  return (
    kind === 'request' &&
    request === 'VHOST_USER_SET_BACKEND_REQ_FD' &&
    problem === undefined &&
    descriptors[0]?.kind === 'socket'
  );
}
