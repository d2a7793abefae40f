/** What the table of messages says of each, and the few words that it is written in. */
import { body, type VhostUserBody } from './descriptor-rules.js';

/** Who sends a request: each has ids of its own, and a socket of its own. */
export type VhostUserRequester = 'front-end' | 'back-end';

/**
 * When a request has a reply. `'always'`: with a body of its own. `'if-asked'`: a number, 0 for success,
 * where `REPLY_ACK` was negotiated and the request has the flag `NEED_REPLY`. `'if-log-comes'`: always where
 * the log's descriptor came with the request, else as `'if-asked'`.
 */
export type VhostUserReplyTime = 'always' | 'if-asked' | 'if-log-comes';

export interface VhostUserMessageRule<
  R extends VhostUserRequester = VhostUserRequester,
  Q extends readonly VhostUserBody[] = readonly VhostUserBody[],
  A extends readonly VhostUserBody[] = readonly VhostUserBody[],
> {
  readonly from: R;
  readonly id: number;
  /** Protocol feature (a bit's number) without which it is not to be sent; null for none. */
  readonly needs: number | null;
  /** What the request may be; the size of its payload tells which. */
  readonly request: Q;
  readonly replies: VhostUserReplyTime;
  /** What the reply may be. */
  readonly reply: A;
}

const ACK = [body('u64')] as const;

/** A request of the front-end that is acknowledged where that was asked for. */
export function command<const Q extends VhostUserBody>(
  id: number,
  request: Q,
  needs: number | null = null,
): VhostUserMessageRule<'front-end', readonly [Q], typeof ACK> {
  return { from: 'front-end', id, needs, request: [request], replies: 'if-asked', reply: ACK };
}

/** A request of the front-end that always has a reply. */
export function query<const Q extends VhostUserBody, const A extends readonly VhostUserBody[]>(
  id: number,
  request: Q,
  reply: A,
  needs: number | null = null,
): VhostUserMessageRule<'front-end', readonly [Q], A> {
  return { from: 'front-end', id, needs, request: [request], replies: 'always', reply };
}

/** A request of the back-end that is acknowledged where that was asked for. */
export function notice<const Q extends VhostUserBody>(
  id: number,
  request: Q,
  needs: number | null = null,
): VhostUserMessageRule<'back-end', readonly [Q], typeof ACK> {
  return { from: 'back-end', id, needs, request: [request], replies: 'if-asked', reply: ACK };
}
