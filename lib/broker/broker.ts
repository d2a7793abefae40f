/** Broker: opens TAP queues and vhost devices with its rights, for processes that have none. */
import { EventEmitter, setMaxListeners } from 'node:events';
import { checkInteger, typeError } from '../errors.js';
import { Tap } from '../host/tap.js';
import { UnixListener } from '../host/unix-listener.js';
import type { PeerCredentials, UnixSocket } from '../host/unix-socket.js';
import { logBroker } from '../log.js';
import { VhostNet } from '../vhost/vhost-net.js';
import { type AllowEntry, AllowList } from './allow-list.js';
import { converse, notAllowed, type Outcome, type Policy, Refusal, tell } from './conversation.js';
import { MOST_QUEUES } from './protocol.js';

/** Clients of one user that are served at a time. */
const CLIENTS_PER_USER = 16;

export interface BrokerOptions {
  /** Path of the socket. Only root should be able to write to its folder. */
  path: string;
  /** Who may have queues of which TAPs; nobody else may anything. */
  allow: readonly AllowEntry[];
  /** Queue pairs in one request, from 1 to 256. Default: 16. */
  maxQueues?: number;
  /** Bring a TAP up when queues of it are given away. Default: true. */
  up?: boolean;
  /** MTU of every TAP that queues are given away of, from 68 to 65521 bytes. Default: as it is. */
  mtu?: number;
  /** Let a TAP outlive its last queue. Default: false; a TAP that persists already goes on to. */
  persist?: boolean;
}

/** A client got what it asked for. */
export interface BrokerGrant {
  peer: PeerCredentials;
  tap: string;
  queues: number;
  /** The broker made the interface; false where it existed. */
  created: boolean;
}

/** A client got nothing. */
export interface BrokerRefusal {
  peer: PeerCredentials;
  /** What it asked for, where it was understood. */
  tap?: string;
  queues?: number;
  reason: string;
}

interface BrokerEvents {
  granted: [grant: BrokerGrant];
  refused: [refusal: BrokerRefusal];
  /** The broker is closed, and its socket gone. */
  close: [];
}

/**
 * Serves queue pairs on a unix socket; clients ask with {@link requestQueues}. Who a client is comes
 * from the kernel (`SO_PEERCRED`), what it may from the allow-list. The broker keeps no descriptor that
 * it gave away. It keeps the process alive until it is closed.
 */
export class Broker extends EventEmitter<BrokerEvents> {
  readonly #listener: UnixListener;
  readonly #policy: Policy;
  readonly #stop = new AbortController();
  /** Clients that are being served, by user. */
  readonly #clients = new Map<number, number>();
  readonly #conversations = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  private constructor(listener: UnixListener, policy: Policy) {
    super();
    this.#listener = listener;
    this.#policy = policy;
    // Every client that is being served listens: Node would warn of a leak at the eleventh.
    setMaxListeners(0, this.#stop.signal);
    listener.onSocket(
      (socket) => {
        this.#serve(socket);
        return true;
      },
      (error) => logBroker('not accepting: %o', error),
    );
  }

  /**
   * Begins to serve. Anybody may connect (the socket's mode is 0666), for the list says who may have
   * what. Throws `ERR_INVALID_ARG_VALUE` for a list that lets nobody in, what {@link UnixListener.listen}
   * throws, and `ENOENT` or `EACCES` where there is nothing to give away: `/dev/vhost-net` or
   * `/dev/net/tun` does not open.
   */
  static listen(options: BrokerOptions): Broker {
    if (typeof options !== 'object' || options === null)
      throw typeError('options must be an object');
    const { mtu } = options;
    if (mtu !== undefined) checkInteger('mtu', mtu, 68, 65_521);
    const policy: Policy = {
      allow: new AllowList(options.allow),
      maxQueues: checkInteger('maxQueues', options.maxQueues ?? 16, 1, MOST_QUEUES),
      up: options.up ?? true,
      mtu,
      persist: options.persist ?? false,
    };
    VhostNet.open().close();
    Tap.hostFeatures();
    return new Broker(UnixListener.listen(options.path, 'seqpacket', { mode: 0o666 }), policy);
  }

  /** Path of the socket. */
  get path(): string {
    return this.#listener.path;
  }

  /** Stops serving: the socket goes, clients that are being served are told so. Twice is no error. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#listener.close();
    this.#stop.abort();
    await Promise.all(this.#conversations);
    this.emit('close');
  }

  #serve(socket: UnixSocket): void {
    const { peer } = socket;
    const { uid } = peer;
    const clients = this.#clients.get(uid) ?? 0;
    // Whoever may nothing does not get to wait either, and so cannot fill the place of others.
    const refusal = this.#policy.allow.knows(uid)
      ? clients >= CLIENTS_PER_USER &&
        new Refusal(`uid ${uid} is asking ${clients} times already`, 'try again when it is served')
      : notAllowed(uid);
    if (refusal) {
      this.#report({ peer, refusal: tell(socket, refusal) });
      socket.close();
      return;
    }
    this.#clients.set(uid, clients + 1);
    const conversation = converse(socket, peer, this.#policy, this.#stop.signal).then((outcome) => {
      const left = (this.#clients.get(uid) ?? 1) - 1;
      if (left === 0) this.#clients.delete(uid);
      else this.#clients.set(uid, left);
      this.#conversations.delete(conversation);
      this.#report(outcome);
    });
    this.#conversations.add(conversation);
  }

  #report({ peer, request, created = false, refusal }: Outcome): void {
    logBroker('%o', { peer, request, refusal });
    if (refusal) this.emit('refused', { peer, ...request, reason: refusal.reason });
    else if (request) this.emit('granted', { peer, ...request, created });
  }
}
