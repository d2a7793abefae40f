/** What is said over one socket: each message decoded, and each reply held against its request. */
import {
  decodeVhostUserMessage,
  VHOST_USER_HEADER_SIZE,
  VHOST_USER_MESSAGES,
  VHOST_USER_NEED_REPLY,
  type VhostUserHeader,
  type VhostUserMessageRule,
  type VhostUserRequester,
  type VhostUserRequestName,
  vhostUserRequestName,
} from '../../../lib/index.js';
import type { DescriptorKind } from './descriptor-kind.js';
import type { RawMessage } from './relay.js';

/** Requests whose replies are waited for, at a time: who asks more without an answer has lost the first of them. */
const MOST_PENDING = 256;

/** A message, sound or not. */
export interface SeenMessage {
  from: VhostUserRequester;
  /** Whose requests, and the replies to them, go over the socket. */
  requester: VhostUserRequester;
  kind: 'request' | 'reply';
  header: VhostUserHeader;
  /** Undefined for an id that nobody knows. */
  request: VhostUserRequestName | undefined;
  /** The request asks for an acknowledgement. */
  needReply: boolean;
  /** Of a sound message. */
  payload?: unknown;
  /** Of any other, what is wrong with it, and its payload as it came. */
  problem?: string;
  bytes?: Uint8Array;
  descriptors: readonly DescriptorKind[];
  /** ms since the connection began. */
  ms: number;
  /** Of a reply: ms since its request. */
  replyMs?: number;
}

interface Pending {
  id: number;
  ms: number;
}

export class Conversation {
  readonly requester: VhostUserRequester;
  /** ms since the connection began. */
  readonly #clock: () => number;
  readonly #pending: Pending[] = [];

  constructor(requester: VhostUserRequester, clock: () => number) {
    this.requester = requester;
    this.#clock = clock;
  }

  /** Requests that are to be answered and were not, oldest first. */
  get unanswered(): string[] {
    return this.#pending.map(({ id }) => vhostUserRequestName(this.requester, id) ?? `${id}`);
  }

  see(kind: 'request' | 'reply', raw: RawMessage): SeenMessage {
    const { header, descriptors } = raw;
    const ms = this.#clock();
    const request = vhostUserRequestName(this.requester, header.request);
    const needReply = kind === 'request' && (header.flags & VHOST_USER_NEED_REPLY) !== 0;
    const replyMs = kind === 'reply' ? this.#answered(header.request, ms) : undefined;
    if (kind === 'request') this.#asked(header.request, needReply, request, ms);
    const other = this.requester === 'front-end' ? 'back-end' : 'front-end';
    return {
      from: kind === 'request' ? this.requester : other,
      requester: this.requester,
      kind,
      header,
      request,
      needReply,
      ...this.#decode(kind, raw),
      descriptors,
      ms,
      ...(replyMs !== undefined && { replyMs }),
    };
  }

  #decode(kind: 'request' | 'reply', { header, bytes, descriptors, lacking }: RawMessage) {
    const payload = bytes.subarray(VHOST_USER_HEADER_SIZE);
    if (lacking > 0) return { problem: `${lacking} bytes of it did not come`, bytes: payload };
    // Of a very long one not all is here, and the codec is to judge its size by the header alone.
    const whole = header.size === payload.length;
    const sound = whole ? bytes : bytes.subarray(0, VHOST_USER_HEADER_SIZE);
    const direction = kind === 'request' ? 'requests' : 'replies';
    try {
      return {
        payload: decodeVhostUserMessage(sound, this.requester, direction, descriptors.length)
          .payload,
      };
    } catch (error) {
      // The message's name comes first, and is told anyway.
      const problem = (error as Error).message.replace(/^[^:]+: /, '');
      return { problem, bytes: payload };
    }
  }

  #asked(id: number, needReply: boolean, name: VhostUserRequestName | undefined, ms: number) {
    const rule: VhostUserMessageRule | undefined = name && VHOST_USER_MESSAGES[name];
    if (!needReply && (rule === undefined || rule.replies === 'if-asked')) return;
    this.#pending.push({ id, ms });
    if (this.#pending.length > MOST_PENDING) this.#pending.shift();
  }

  /** How long ago the request was to which this is the reply. Replies come in order, so those before have none. */
  #answered(id: number, ms: number): number | undefined {
    const at = this.#pending.findIndex((pending) => pending.id === id);
    if (at < 0) return undefined;
    const [found] = this.#pending.splice(0, at + 1).slice(-1);
    return found && ms - found.ms;
  }
}
