/** The types of messages, made of the table: what a handler switches over. */
import type { ReceivedDescriptor } from '../host/unix-socket.js';
import type { VHOST_USER_MESSAGES } from './messages.js';
import type { VhostUserPayloads } from './payloads.js';

/** A request's name, as the specification writes it: `'VHOST_USER_SET_MEM_TABLE'`. */
export type VhostUserRequestName = keyof typeof VHOST_USER_MESSAGES;

/** The payload of a request. */
export type VhostUserRequestPayload<N extends VhostUserRequestName> =
  VhostUserPayloads[(typeof VHOST_USER_MESSAGES)[N]['request'][number]['payload']];

/** The payload of the reply to a request. */
export type VhostUserReplyPayload<N extends VhostUserRequestName> =
  VhostUserPayloads[(typeof VHOST_USER_MESSAGES)[N]['reply'][number]['payload']];

/** A request that arrived. */
export interface VhostUserRequest<N extends VhostUserRequestName = VhostUserRequestName> {
  kind: 'request';
  request: N;
  payload: VhostUserRequestPayload<N>;
  /** It asks what became of it: to be answered where `REPLY_ACK` was negotiated. */
  needReply: boolean;
  /** To be closed by who receives the message. */
  descriptors: readonly ReceivedDescriptor[];
}

/** A reply that arrived. */
export interface VhostUserReply<N extends VhostUserRequestName = VhostUserRequestName> {
  kind: 'reply';
  /** Which request it answers. */
  request: N;
  payload: VhostUserReplyPayload<N>;
  /** To be closed by who receives the message. */
  descriptors: readonly ReceivedDescriptor[];
}

/** Any message: `kind`, then `request`, tell which, and with it the type of the payload. */
export type VhostUserMessage = {
  [N in VhostUserRequestName]: VhostUserRequest<N> | VhostUserReply<N>;
}[VhostUserRequestName];

/** A message without the descriptors that came with it. */
export type DecodedVhostUserMessage = {
  [N in VhostUserRequestName]:
    | Omit<VhostUserRequest<N>, 'descriptors'>
    | Omit<VhostUserReply<N>, 'descriptors'>;
}[VhostUserRequestName];
