/** One front-end's connection to a back end, served as `VhostUserBackend` does it, and what must be true of it. */
import { setImmediate, setTimeout } from 'node:timers/promises';
import {
  decodeVhostUserMessage,
  UnixSocket,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VhostUserConnection,
  VhostUserDevice,
  type VhostUserRequestName,
} from '../../../lib/index.js';
import type { BackendLimits } from '../../../lib/vhost-user/backend-features.js';
import { type SessionHooks, serveRequests } from '../../../lib/vhost-user/backend-session.js';
import { BackendState } from '../../../lib/vhost-user/backend-state.js';
import { MessageReader } from '../../../lib/vhost-user/message-reader.js';
import { hasOwnReply } from '../../../lib/vhost-user/requests.js';
import type { FrontEnd } from './front-end.js';
import type { Message } from './front-end-requests.js';
import { type Sights, same, see, type Trace } from './run.js';
import { SteppedSocket } from './stepped-socket.js';

/** Of what a connection ends: the corpus must reach each. */
export const ENDS: readonly string[] = [
  'no error',
  'ERR_VHOST_USER_PROTOCOL',
  'ERR_VHOST_USER_DISCONNECTED',
  'ERR_VHOST_USER_BACKLOG',
  'ERR_MEMORY_TRUNCATED',
  'ERR_CONSUMER',
  'EPIPE',
];
/** Of what it may end as well, if seldom. */
const SELDOM = 'ECONNRESET';
const HEADER = 12;
/** Longer than anything waits that the other end takes. */
const LIMIT = 5000;

export class ServedDevice {
  readonly device: VhostUserDevice;
  readonly #connection: VhostUserConnection;
  readonly #state: BackendState;
  readonly #near: SteppedSocket;
  readonly #far: UnixSocket;
  readonly #replies: MessageReader;
  readonly #front: FrontEnd;
  readonly #sights: Sights;
  /** What has not been answered, in the order in which it was asked. */
  readonly #awaited: VhostUserRequestName[] = [];
  #started = false;

  constructor(
    front: FrontEnd,
    limits: BackendLimits,
    hooks: SessionHooks,
    sights: Sights,
    trace: Trace,
  ) {
    const [near, far] = UnixSocket.pair('stream');
    this.#near = new SteppedSocket(near);
    this.#far = far;
    this.#front = front;
    this.#sights = sights;
    this.#replies = new MessageReader((...of) => far.receive(...of), 'front-end', 'replies');
    const connection = new VhostUserConnection(this.#near as unknown as UnixSocket, {
      role: 'answers',
    });
    this.#connection = connection;
    this.#state = new BackendState(limits, {
      started: () => this.#tell('started', true),
      stopped: () => this.#tell('stopped', false),
      ring: () => {},
      features: () => {},
      notified: () => see(sights, 'called'),
      ringError: (_, error) => {
        same('what breaks a ring', (error as { code?: string }).code, 'ERR_RING_BROKEN');
        see(sights, 'a broken ring');
      },
      failed: (error) => connection.close(error),
    });
    this.device = new VhostUserDevice(this.#state, near.peer, (error) => connection.close(error));
    connection.on('close', (error) => {
      this.#state.close();
      const reason = error ? ((error as { code?: string }).code ?? error.stack) : 'no error';
      same(`an end for ${reason}`, [...ENDS, SELDOM].includes(`${reason}`), true);
      see(sights, `the end: ${reason}`);
      trace?.(`  the end: ${error?.message}`);
    });
    serveRequests(connection, this.#state, hooks);
  }

  get closed(): boolean {
    return this.#connection.closed;
  }

  /** Whether a ring is started. */
  isStarted(ring: number): boolean {
    return this.#state.ring(ring).device !== undefined;
  }

  get pairs(): number {
    return this.#state.pairs.length;
  }

  /** Looks at the rings of a pair, as after a kick. */
  look(pair: number): void {
    this.#state.pairs[pair]?.look();
  }

  /** Sends a message, and has it handled and answered. */
  send({ name, bytes, descriptors }: Message): void {
    const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const whole = bytes.length >= HEADER && bytes.length === HEADER + header.getUint32(8, true);
    const decoded = decodedOf(bytes, descriptors.length);
    const acknowledged = this.#state.has(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    this.#far.send(bytes, descriptors);
    this.#near.step();
    if (!whole) this.hangUp();
    if (decoded?.kind === 'request') see(this.#sights, decoded.request);
    else same(`the end after no ${name}`, this.closed, true);
    if (decoded?.kind === 'request' && !this.closed) {
      const { request, payload, needReply } = decoded;
      const own = hasOwnReply(request, payload as never);
      if (own || (needReply && acknowledged)) this.#awaited.push(request);
    }
    this.#receive();
  }

  /** The front-end reads no more from now on, or stops in the middle of a message. */
  stall(takes: 'half' | 'nothing'): void {
    this.#near.takes = takes;
  }

  /** It reads again, and is told all that it has missed. */
  async resume(): Promise<void> {
    this.#near.takes = 'all';
    for (let tries = 0; this.#connection.waiting > 0 && !this.closed; tries++) {
      same('messages that wait', tries < LIMIT, true);
      await setTimeout(1);
    }
    this.#receive();
  }

  /** The front-end goes, after some last requests whose answers it does not wait for. */
  hangUp(last: readonly Message[] = []): void {
    for (const { bytes, descriptors } of last) this.#far.send(bytes, descriptors);
    this.#far.close();
    this.#near.step();
    same('the end after its end', this.closed, true);
  }

  /** Has the event loop deliver what there is. */
  async turn(): Promise<void> {
    for (let turns = 0; turns < 2; turns++) await setImmediate();
  }

  /** Ends the connection. */
  close(): void {
    this.#connection.close();
    this.#receive();
    this.#replies.close();
    this.#far.close();
    same('whether it runs', this.#started || this.device.running, false);
  }

  #tell(what: string, started: boolean): void {
    same(`what is ${what}`, this.#started, !started);
    this.#started = started;
    see(this.#sights, what);
  }

  /** Takes what was answered: in order, and nothing is missing that could have come. */
  #receive(): void {
    if (this.#far.closed) return;
    try {
      for (let reply = this.#replies.read(); reply; reply = this.#replies.read()) {
        if (reply === 'end') break;
        same('what is answered', reply.request, this.#awaited.shift());
        if (reply.payload === 1n) see(this.#sights, 'refused');
        const [descriptor] = reply.descriptors;
        if (reply.request !== 'VHOST_USER_GET_INFLIGHT_FD')
          same('a descriptor', descriptor, undefined);
        else if (descriptor) this.#front.keep(reply.payload as never, descriptor);
      }
    } catch (error) {
      // It ended before all was said.
      const { code } = error as { code?: string };
      if (!this.closed || !['ECONNRESET', 'ERR_VHOST_USER_DISCONNECTED'].includes(`${code}`))
        throw error;
    }
    if (this.closed || this.#connection.waiting > 0) return;
    same('what is not answered', this.#awaited[0], undefined);
  }
}

function decodedOf(bytes: Uint8Array, descriptors: number) {
  try {
    return decodeVhostUserMessage(bytes, 'front-end', 'requests', descriptors);
  } catch {
    return undefined;
  }
}
