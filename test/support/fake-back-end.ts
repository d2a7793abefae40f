/**
 * A vhost-user back end that does as a script has it: it answers every request as a good one would, writes down
 * what it was asked, and misbehaves where a test wants it to. It moves no frames.
 */
import {
  EventFd,
  type ReceivedDescriptor,
  UnixListener,
  UnixSocket,
  VHOST_USER_MESSAGES,
  VhostUserConnection,
  type VhostUserMessage,
  type VhostUserRequestName,
} from '../../lib/index.js';
import { until } from './host.js';
import { kept } from './sockets.js';

type Reply = Parameters<VhostUserConnection['sendReply']>[1];

export interface FakeBackEndOptions {
  features?: bigint;
  protocolFeatures?: bigint;
  queuePairs?: number;
  memorySlots?: number;
  /** What becomes of a request, where it is not done: refused, never answered, or the end of the connection. */
  trouble?: Partial<Record<VhostUserRequestName, 'refuse' | 'silence' | 'hang up'>>;
  /** Replies in the place of the usual ones; undefined is one without a payload. */
  replies?: Partial<Record<VhostUserRequestName, Reply>>;
}

/** What it was asked: the request without `VHOST_USER_`, and its payload. */
export interface Asked {
  request: string;
  payload: unknown;
  needReply: boolean;
}

/** One connection of a front end. */
export class FakeSession {
  readonly asked: Asked[] = [];
  readonly connection: VhostUserConnection;
  /** The descriptors that came with each request, to be looked at; closed when the test is over. */
  readonly descriptors = new Map<string, ReceivedDescriptor[]>();
  /** Where each ring stops. */
  readonly bases = new Map<number, number>();
  status = 0n;
  readonly #options: FakeBackEndOptions;

  constructor(socket: UnixSocket, options: FakeBackEndOptions) {
    this.#options = options;
    this.connection = kept(new VhostUserConnection(socket, { role: 'answers' }));
    this.connection.listen((message) => this.#take(message));
  }

  /** The requests, in order, without their payloads. */
  get requests(): string[] {
    return this.asked.map(({ request }) => request);
  }

  /** The payloads of every request of this name. */
  payloads(request: string): unknown[] {
    return this.asked.filter((one) => one.request === request).map(({ payload }) => payload);
  }

  /** Forgets what was asked so far. */
  forget(): void {
    this.asked.length = 0;
  }

  /** A duplicate of the eventfd that came last with this request, as `'SET_VRING_KICK 0'`. */
  eventFd(request: string): EventFd {
    const [descriptor] = this.descriptors.get(request) ?? [];
    return kept(EventFd.fromFd(descriptor?.fd ?? -1));
  }

  #take(message: VhostUserMessage): void {
    if (message.kind !== 'request') throw new Error('a reply came');
    const { request, payload, needReply, descriptors } = message;
    const name = request.replace('VHOST_USER_', '');
    this.asked.push({ request: name, payload, needReply });
    const { index } = (payload ?? {}) as { index?: number };
    this.descriptors.set(index === undefined ? name : `${name} ${index}`, [...descriptors]);
    descriptors.forEach(kept);
    const trouble = this.#options.trouble?.[request];
    if (trouble === 'hang up') this.connection.close();
    if (trouble === 'hang up' || trouble === 'silence') return;
    if (request === 'VHOST_USER_SET_STATUS') this.status = payload as bigint;
    if (request === 'VHOST_USER_SET_VRING_BASE') {
      const { index, num } = payload as { index: number; num: number };
      this.bases.set(index, num);
    }
    const { replies = {} } = this.#options;
    const reply = request in replies ? replies[request] : this.#reply(request, payload);
    const own = VHOST_USER_MESSAGES[request].replies !== 'if-asked';
    if (own && trouble !== 'refuse') this.#answer(request, reply);
    else if (needReply) this.#answer(request, trouble === 'refuse' ? 1n : (reply ?? 0n));
    else if (trouble === 'refuse') this.connection.close();
  }

  #answer(request: VhostUserRequestName, reply: Reply): void {
    const files = request === 'VHOST_USER_GET_INFLIGHT_FD' ? [kept(EventFd.create())] : [];
    this.connection.sendReply(request, reply as never, files);
  }

  #reply(request: VhostUserRequestName, payload: unknown): Reply {
    const { features = FEATURES, protocolFeatures = 0x1_b23fn } = this.#options;
    const { queuePairs = 4, memorySlots = 32 } = this.#options;
    switch (request) {
      case 'VHOST_USER_GET_FEATURES':
        return features;
      case 'VHOST_USER_GET_PROTOCOL_FEATURES':
        return protocolFeatures;
      case 'VHOST_USER_GET_QUEUE_NUM':
        return BigInt(queuePairs);
      case 'VHOST_USER_GET_MAX_MEM_SLOTS':
        return BigInt(memorySlots);
      case 'VHOST_USER_GET_STATUS':
        return this.status;
      case 'VHOST_USER_GET_CONFIG':
      case 'VHOST_USER_SET_LOG_BASE':
        return payload as Reply;
      case 'VHOST_USER_GET_INFLIGHT_FD':
        return {
          ...(payload as { numQueues: number; queueSize: number }),
          mmapSize: 4096n,
          mmapOffset: 0n,
        };
      case 'VHOST_USER_GET_VRING_BASE': {
        const { index } = payload as { index: number };
        return { index, num: this.bases.get(index) ?? 0 };
      }
      default:
        return undefined;
    }
  }
}

/** What the fake offers: 64 bits of everything that a port or a card may want, and bits 26 and 30. */
export const FEATURES = 0x1_7466_ffe3n | (1n << 26n);

export class FakeBackEnd {
  readonly sessions: FakeSession[] = [];
  /** Held by each session as it begins: set it between two. */
  options: FakeBackEndOptions;
  readonly #listener: UnixListener | undefined;

  private constructor(listener: UnixListener | undefined, options: FakeBackEndOptions) {
    this.#listener = listener;
    this.options = options;
  }

  /** Listens, as a front end in client mode needs it. */
  static listen(path: string, options: FakeBackEndOptions = {}): FakeBackEnd {
    const listener = kept(UnixListener.listen(path, 'stream'));
    const fake = new FakeBackEnd(listener, options);
    listener.onConnection(() => {
      const socket = listener.accept();
      if (socket) fake.sessions.push(new FakeSession(socket, fake.options));
    });
    return fake;
  }

  /** Connects, as a front end in server mode needs it. */
  static connect(path: string, options: FakeBackEndOptions = {}): FakeBackEnd {
    const fake = new FakeBackEnd(undefined, options);
    fake.sessions.push(new FakeSession(UnixSocket.connect(path, 'stream'), options));
    return fake;
  }

  /** The session that is under way. */
  get session(): FakeSession {
    return this.sessions.at(-1) as FakeSession;
  }

  /** The session of that number, from 0, once a front end has come. */
  async sessionOf(number: number): Promise<FakeSession> {
    await until(() => this.sessions.length > number, `session ${number}`);
    return this.sessions[number] as FakeSession;
  }

  /** Nobody can come any more. */
  close(): void {
    this.#listener?.close();
    this.session?.connection.close();
  }
}
