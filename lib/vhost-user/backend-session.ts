/** One connection of a front-end to a back end: requests in, replies out, in the words of the table of messages. */
import { logVhostUser } from '../log.js';
import * as uapi from '../uapi/vhost-user.js';
import { HANDLERS, type OwnReply } from './backend-handlers.js';
import type { BackendState } from './backend-state.js';
import { ruleOf } from './codec.js';
import type { VhostUserConnection } from './connection.js';
import { protocolError } from './errors.js';
import type {
  VhostUserMessage,
  VhostUserReplyPayload,
  VhostUserRequest,
  VhostUserRequestName,
} from './message-types.js';
import { hasOwnReply } from './requests.js';

/** What a hook did of a request. */
export type HookResult<N extends VhostUserRequestName = VhostUserRequestName> =
  /** Nothing: the back end goes on with it. */
  | undefined
  /** All there was to do, with success. */
  | 'handled'
  /** As well, and this is its reply, of a request that has one of its own. */
  | { reply: VhostUserReplyPayload<N> };

/** Runs around requests. What one throws is why the request is refused. */
export interface SessionHooks {
  /** Before the back end looks at a request, whose descriptors stay the back end's. */
  before?(request: VhostUserRequest): HookResult;
  /** When a request was handled, and before it is answered. */
  after?(request: VhostUserRequest): void;
}

/**
 * Answers a front-end's requests. One that is refused is answered so where the front-end asked for that; else,
 * as nobody would know, it ends the connection.
 */
export function serveRequests(
  connection: VhostUserConnection,
  state: BackendState,
  hooks: SessionHooks,
): void {
  connection.listen((message) => {
    try {
      if (message.kind === 'request') answer(connection, state, hooks, message);
    } finally {
      // What is to stay open was duplicated.
      for (const descriptor of message.descriptors) descriptor.close();
    }
  });
}

type AnyRequest = Extract<VhostUserMessage, { kind: 'request' }>;

function answer(
  connection: VhostUserConnection,
  state: BackendState,
  hooks: SessionHooks,
  request: AnyRequest,
): void {
  const { request: name, payload, needReply } = request;
  const own = hasOwnReply(name, payload as never);
  const acknowledged = needReply && state.has(uapi.VHOST_USER_PROTOCOL_F_REPLY_ACK) && !own;
  let reply: OwnReply | undefined;
  try {
    reply = handle(connection, state, hooks, request);
  } catch (error) {
    const refusal = protocolError(name, (error as Error).message);
    if (!acknowledged) throw refusal;
    logVhostUser('refused: %s', refusal.message);
    connection.sendReply(name, 1n as never);
    return;
  }
  try {
    // What it led to may have ended the connection.
    if (connection.closed) return;
    if (own && reply) {
      connection.sendReply(name, reply.payload, reply.descriptor ? [reply.descriptor] : []);
    } else if (acknowledged) connection.sendReply(name, 0n as never);
  } finally {
    reply?.descriptor?.close();
  }
}

function handle(
  connection: VhostUserConnection,
  state: BackendState,
  hooks: SessionHooks,
  request: AnyRequest,
) {
  const done = hooks.before?.(request as VhostUserRequest);
  // Nothing is left of a device that the hook closed, and nothing is to come.
  if (connection.closed) return undefined;
  const reply = done === undefined ? handleOwn(state, request) : replyOf(done, request);
  try {
    state.refresh();
    hooks.after?.(request as VhostUserRequest);
  } catch (error) {
    reply?.descriptor?.close();
    throw error;
  }
  return reply;
}

function replyOf(done: HookResult, { request, payload }: AnyRequest): OwnReply | undefined {
  if (typeof done === 'object') return { payload: done.reply as never };
  if (hasOwnReply(request, payload as never)) throw new Error('the hook gave it no reply');
  return undefined;
}

function handleOwn(state: BackendState, { request, payload, descriptors }: AnyRequest) {
  const { needs } = ruleOf(request);
  if (needs !== null && !state.has(needs)) {
    throw new Error(`it needs the protocol's feature ${needs}, which was not negotiated`);
  }
  const handler = HANDLERS[request] as
    | ((state: BackendState, payload: unknown, fds: readonly number[]) => OwnReply | undefined)
    | undefined;
  if (!handler) throw new Error('this back end does not serve it');
  return handler(
    state,
    payload,
    descriptors.map(({ fd }) => fd),
  );
}
