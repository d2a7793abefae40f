/** Messages to bytes and back, as the table of messages has them, in both directions. */
import { valueError } from '../errors.js';
import { VHOST_USER_NEED_REPLY } from '../uapi/vhost-user.js';
import type { VhostUserBody, VhostUserDescriptorRule } from './descriptor-rules.js';
import { protocolError } from './errors.js';
import {
  HEADER_SIZE,
  type Header,
  readHeader,
  replyFlags,
  requestFlags,
  type VhostUserDirection,
  writeHeader,
} from './header.js';
import type { VhostUserMessageRule, VhostUserRequester } from './message-rules.js';
import type {
  DecodedVhostUserMessage,
  VhostUserReplyPayload,
  VhostUserRequestName,
  VhostUserRequestPayload,
} from './message-types.js';
import { VHOST_USER_MESSAGES } from './messages.js';
import { type Payload, shapeOf } from './payload.js';
import { PAYLOADS } from './payloads.js';

/** What a header told of a message whose payload is still to come. */
export interface Heading {
  request: VhostUserRequestName;
  direction: VhostUserDirection;
  needReply: boolean;
  /** Bytes of the payload. */
  size: number;
}

const NAMES = new Map(
  Object.entries(VHOST_USER_MESSAGES).map(([name, { from, id }]) => [
    `${from} ${id}`,
    name as VhostUserRequestName,
  ]),
);

/** What the table says of a request. */
export function ruleOf(name: VhostUserRequestName): VhostUserMessageRule {
  // A name from outside may be one that every object has.
  if (!Object.hasOwn(VHOST_USER_MESSAGES, name))
    throw valueError(`no request is called '${String(name)}'`);
  return VHOST_USER_MESSAGES[name];
}

/** Which of `requester`'s requests has this id; undefined for an id that the table does not know. */
export function vhostUserRequestName(
  requester: VhostUserRequester,
  id: number,
): VhostUserRequestName | undefined {
  return NAMES.get(`${requester} ${id}`);
}

/**
 * The bytes of a request, that `descriptors` descriptors are to go with. Throws
 * `ERR_INVALID_ARG_VALUE` for a payload, or a number of descriptors, that the request cannot have.
 */
export function encodeVhostUserRequest<N extends VhostUserRequestName>(
  name: N,
  payload: VhostUserRequestPayload<N>,
  descriptors = 0,
  needReply = false,
): Uint8Array {
  return encode(name, 'requests', payload, descriptors, requestFlags(needReply));
}

/** The bytes of a reply, as {@link encodeVhostUserRequest}. */
export function encodeVhostUserReply<N extends VhostUserRequestName>(
  name: N,
  payload: VhostUserReplyPayload<N>,
  descriptors = 0,
): Uint8Array {
  return encode(name, 'replies', payload, descriptors, replyFlags());
}

/**
 * What the first 12 bytes of a message say, among the `direction` of who sends `requester`'s requests.
 * Throws `ERR_VHOST_USER_PROTOCOL` for an id that is unknown, a size that the message cannot have, and
 * flags that are not those of such messages.
 */
export function decodeHeader(
  bytes: Uint8Array,
  requester: VhostUserRequester,
  direction: VhostUserDirection,
): Heading {
  const view = viewOf(bytes);
  let header: Header;
  try {
    header = readHeader(view, direction);
  } catch (error) {
    const id = view.getUint32(0, true);
    throw protocolError(NAMES.get(`${requester} ${id}`) ?? `message ${id}`, reasonOf(error));
  }
  const { request, flags, size } = header;
  const name = NAMES.get(`${requester} ${request}`);
  if (name === undefined) {
    throw protocolError(`message ${request}`, `no request of the ${requester} has this id`);
  }
  const bodies = bodiesOf(name, direction);
  if (!bodies.some(({ payload }) => PAYLOADS[payload].fits(size))) {
    throw protocolError(name, `its payload has ${size} bytes, not ${sizesOf(bodies)}`);
  }
  return { request: name, direction, needReply: (flags & VHOST_USER_NEED_REPLY) !== 0, size };
}

/**
 * The message of a header, its payload, and how many descriptors came with it. Throws
 * `ERR_VHOST_USER_PROTOCOL` for what the table does not allow.
 */
export function decodePayload(
  { request, direction, needReply, size }: Heading,
  bytes: Uint8Array,
  descriptors: number,
): DecodedVhostUserMessage {
  try {
    const bodies = bodiesOf(request, direction).filter(({ payload }) =>
      PAYLOADS[payload].fits(size),
    );
    const found = bodies[0];
    if (!found || bytes.length !== size) throw new Error(`its payload has ${bytes.length} bytes`);
    const codec = PAYLOADS[found.payload] as Payload<unknown>;
    const payload = codec.read(viewOf(bytes));
    codec.check?.(payload);
    checkDescriptors(found, payload, descriptors);
    return (
      direction === 'requests'
        ? { kind: 'request', request, payload, needReply }
        : { kind: 'reply', request, payload }
    ) as DecodedVhostUserMessage;
  } catch (error) {
    throw protocolError(request, reasonOf(error));
  }
}

/**
 * A whole message among the `direction` of who sends `requester`'s requests, with the number of
 * descriptors that came with it. Throws `ERR_VHOST_USER_PROTOCOL` for what is no such message.
 */
export function decodeVhostUserMessage(
  bytes: Uint8Array,
  requester: VhostUserRequester,
  direction: VhostUserDirection,
  descriptors = 0,
): DecodedVhostUserMessage {
  if (bytes.length < HEADER_SIZE) {
    throw protocolError('a message', `it has ${bytes.length} bytes, and a header ${HEADER_SIZE}`);
  }
  const heading = decodeHeader(bytes.subarray(0, HEADER_SIZE), requester, direction);
  return decodePayload(heading, bytes.subarray(HEADER_SIZE), descriptors);
}

function encode(
  name: VhostUserRequestName,
  direction: VhostUserDirection,
  payload: unknown,
  descriptors: number,
  flags: number,
): Uint8Array {
  const { id } = ruleOf(name);
  try {
    const found = bodiesOf(name, direction).find(
      (body) => PAYLOADS[body.payload].shape === shapeOf(payload),
    );
    if (!found) throw new Error('it cannot have such a payload');
    const codec = PAYLOADS[found.payload] as Payload<unknown>;
    codec.check?.(payload);
    const size = codec.sizeOf(payload);
    if (!codec.fits(size)) throw new Error(`its payload has ${size} bytes, not ${codec.sizes}`);
    checkDescriptors(found, payload, descriptors);
    const bytes = new Uint8Array(HEADER_SIZE + size);
    writeHeader(viewOf(bytes), { request: id, flags, size });
    codec.write(viewOf(bytes.subarray(HEADER_SIZE)), payload);
    return bytes;
  } catch (error) {
    throw valueError(`${name}: ${reasonOf(error)}`);
  }
}

function bodiesOf(
  name: VhostUserRequestName,
  direction: VhostUserDirection,
): readonly VhostUserBody[] {
  const rule: VhostUserMessageRule = VHOST_USER_MESSAGES[name];
  return direction === 'requests' ? rule.request : rule.reply;
}

function checkDescriptors(body: VhostUserBody, payload: unknown, count: number): void {
  const { least, most, exactly } = body.descriptors as VhostUserDescriptorRule<unknown>;
  const exact = exactly?.(payload);
  if (count < least || count > most || (exact !== undefined && count !== exact)) {
    const wanted = exact ?? (least === most ? least : `${least} to ${most}`);
    throw new Error(`${count} descriptors came with it, not ${wanted}`);
  }
}

function sizesOf(bodies: readonly VhostUserBody[]): string {
  return bodies.map(({ payload }) => PAYLOADS[payload].sizes).join(' or ');
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function reasonOf(error: unknown): string {
  return (error as Error).message;
}
