/** Numbers of the protocol as words, by the names that the library has for them. */
import * as vhost from '../../../lib/index.js';
import type { SeenMessage } from './conversation.js';

/** Names by number, of the library's constants that begin with `prefix`. */
function namesOf(prefix: string): Map<number, string> {
  const constants = Object.entries(vhost).filter(([name]) => name.startsWith(prefix));
  return new Map(constants.map(([name, number]) => [Number(number), name.slice(prefix.length)]));
}

/** What the kernel's vhost makes of bit 27 is none of vhost-user's; bit 30 is no device's. */
const FEATURES = new Map(
  Object.entries({
    ...vhost.VIRTIO_NET_FEATURES,
    VHOST_NET_F_VIRTIO_NET_HDR: -1,
    VIRTIO_F_ANY_LAYOUT: vhost.VIRTIO_F_ANY_LAYOUT,
    VHOST_USER_F_PROTOCOL_FEATURES: vhost.VHOST_USER_F_PROTOCOL_FEATURES,
  }).map(([name, at]) => [at, name.replace(/^V(?:IRTIO|HOST)_(?:[A-Z]+_)?F_/, '')]),
);
const PROTOCOL_FEATURES = namesOf('VHOST_USER_PROTOCOL_F_');
const STATUS = namesOf('VIRTIO_CONFIG_S_');

/** The bits of a mask as words, lowest first; a bit without a name is `bit N`. */
function wordsOf(mask: bigint, wordOf: (at: number) => string | undefined): string[] {
  const words: string[] = [];
  for (let at = 0; mask >> BigInt(at) !== 0n; at++) {
    if (vhost.hasBit(mask, at)) words.push(wordOf(at) ?? `bit ${at}`);
  }
  return words;
}

/** Features of the device, of which a network card is assumed. */
export function featureWords(mask: bigint): string[] {
  return wordsOf(mask, (at) => FEATURES.get(at));
}

export function protocolFeatureWords(mask: bigint): string[] {
  return wordsOf(mask, (at) => PROTOCOL_FEATURES.get(at));
}

/** Bits of the device's status. */
export function statusWords(mask: bigint): string[] {
  return wordsOf(mask, (at) => STATUS.get(2 ** at));
}

/** The messages whose payload is a mask, which of the two it is in, and what its bits mean. */
const MASKS: Readonly<Record<string, readonly ['request' | 'reply', (mask: bigint) => string[]]>> =
  {
    VHOST_USER_GET_FEATURES: ['reply', featureWords],
    VHOST_USER_SET_FEATURES: ['request', featureWords],
    VHOST_USER_GET_PROTOCOL_FEATURES: ['reply', protocolFeatureWords],
    VHOST_USER_SET_PROTOCOL_FEATURES: ['request', protocolFeatureWords],
    VHOST_USER_GET_STATUS: ['reply', statusWords],
    VHOST_USER_SET_STATUS: ['request', statusWords],
  };

/** The words of a message's mask; undefined for one that has none. */
export function maskWords({ request, kind, payload }: SeenMessage): string[] | undefined {
  const mask = request === undefined ? undefined : MASKS[request];
  if (mask === undefined || typeof payload !== 'bigint') return undefined;
  const [where, words] = mask;
  return where === kind ? words(payload) : undefined;
}

const IOTLB = namesOf('VHOST_IOTLB_');
const ACCESS = namesOf('VHOST_ACCESS_');

export function iotlbWord(type: number): string {
  return IOTLB.get(type) ?? `type ${type}`;
}

/** Of what an IOTLB message permits, or asks for. */
export function accessWord(permission: number): string {
  return ACCESS.get(permission) ?? `permission ${permission}`;
}
