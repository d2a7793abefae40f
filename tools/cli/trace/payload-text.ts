/** What a message says, in a line for people, and a line more for each region of memory. */
import {
  formatMac,
  VHOST_USER_MESSAGES,
  type VhostUserIotlbMessage,
  type VhostUserMemoryRegion,
  type VhostUserMessageRule,
} from '../../../lib/index.js';
import { printable } from '../printable.js';
import type { SeenMessage } from './conversation.js';
import type { DescriptorKind } from './descriptor-kind.js';
import { accessWord, iotlbWord, maskWords } from './words.js';

/** Bytes that are shown of what has no other form. */
const SHOWN_BYTES = 64;
const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

/** The line's words, and further lines. */
export function payloadText(message: SeenMessage): { line: string; more: string[] } {
  const { payload, problem, bytes, needReply, descriptors } = message;
  const words: string[] = [];
  const more: string[] = [];
  if (needReply) words.push('need-reply');
  if (problem !== undefined) words.push(`(!) ${problem}`);
  if (bytes !== undefined && bytes.length > 0) words.push(`payload ${shownBytes(bytes)}`);
  if (Array.isArray(payload)) {
    const regions = payload as readonly VhostUserMemoryRegion[];
    words.push(regions.length === 1 ? '1 region' : `${regions.length} regions`);
    // The rule has one for each.
    regions.forEach((region, i) => {
      const descriptor = descriptors[i];
      more.push(join([fieldsText(region), ...(descriptor ? [descriptorText(descriptor)] : [])]));
    });
    return { line: join(words), more };
  }
  words.push(valueText(message), ...descriptors.map(descriptorText));
  return { line: join(words), more };
}

/** Bytes as hex digits. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

/** Numbers that are no masks, and not told in hex. */
const COUNTS = new Set([
  'VHOST_USER_GET_QUEUE_NUM',
  'VHOST_USER_GET_MAX_MEM_SLOTS',
  'VHOST_USER_NET_SET_MTU',
]);

function valueText(message: SeenMessage): string {
  const { request, kind, payload } = message;
  if (payload === undefined || request === undefined) return '';
  if (typeof payload !== 'bigint')
    return payload instanceof Uint8Array ? shownBytes(payload) : objectText(message);
  const words = maskWords(message);
  if (words) return join([hex(payload), words.join(' ') || 'none']);
  const { replies }: VhostUserMessageRule = VHOST_USER_MESSAGES[request];
  if (kind === 'reply' && replies === 'if-asked')
    return payload === 0n ? 'done' : `failed with ${payload}`;
  if (kind === 'request' && request === 'VHOST_USER_SEND_RARP') return macText(payload);
  return COUNTS.has(request) ? `${payload}` : hex(payload);
}

function objectText({ request, payload }: SeenMessage): string {
  if (request === 'VHOST_USER_IOTLB_MSG' || request === 'VHOST_USER_BACKEND_IOTLB_MSG') {
    const { type, permission, ...rest } = payload as VhostUserIotlbMessage;
    return join([iotlbWord(type), accessWord(permission), fieldsText(rest)]);
  }
  return fieldsText(payload as object);
}

/** Names and values; what is not so is left out, as is its name where it is. */
function fieldsText(fields: object): string {
  const texts = Object.entries(fields).map(([name, value]: [string, unknown]) => {
    if (value === false) return '';
    if (value === true) return name;
    if (typeof value === 'bigint') return `${name} ${hex(value)}`;
    if (value instanceof BigUint64Array) return `${name} ${[...value].filter(Boolean).map(hex)}`;
    return `${name} ${value instanceof Uint8Array ? shownBytes(value) : value}`;
  });
  return join(texts);
}

function descriptorText({ kind, name, size }: DescriptorKind): string {
  const named = name === undefined ? kind : `${kind} ${printable(name)}`;
  return `[${size === undefined ? named : `${named}, ${sizeText(size)}`}]`;
}

/** 268435456 as `256 MiB`; what is no whole number of a unit in the one below. */
function sizeText(size: number): string {
  let unit = 0;
  let scaled = size;
  while (scaled >= 1024 && scaled % 1024 === 0 && unit < UNITS.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${scaled} ${UNITS[unit]}`;
}

function shownBytes(bytes: Uint8Array): string {
  const text = hexOf(bytes.subarray(0, SHOWN_BYTES));
  return bytes.length > SHOWN_BYTES ? `${text}… (${bytes.length} bytes)` : text || 'none';
}

/** The lowest byte is the first that goes over the wire. */
function macText(address: bigint): string {
  return formatMac(
    Uint8Array.from({ length: 6 }, (_, i) => Number((address >> BigInt(8 * i)) & 0xffn)),
  );
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function join(words: readonly string[]): string {
  return words.filter(Boolean).join('  ');
}
