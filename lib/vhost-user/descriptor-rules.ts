/** How many descriptors come with a message. */
import { VHOST_MEMORY_BASELINE_NREGIONS } from '../uapi/vhost-user.js';
import type { VhostUserPayloadKind, VhostUserPayloads } from './payloads.js';

export interface VhostUserDescriptorRule<T> {
  readonly least: number;
  readonly most: number;
  /** How many exactly, where the payload says it. */
  readonly exactly?: (payload: T) => number;
}

/** The most that come with any message; who receives need not take more. */
export const MOST_MESSAGE_DESCRIPTORS = VHOST_MEMORY_BASELINE_NREGIONS;

export const NONE: VhostUserDescriptorRule<unknown> = { least: 0, most: 0 };
export const ONE: VhostUserDescriptorRule<unknown> = { least: 1, most: 1 };
/** One that is of no use is tolerated, or one is missing where there was nothing to give. */
export const MAYBE_ONE: VhostUserDescriptorRule<unknown> = { least: 0, most: 1 };

/** One, unless bit 8 of the payload says that there is none. */
export const UNLESS_BIT_8: VhostUserDescriptorRule<{ noDescriptor: boolean }> = {
  ...MAYBE_ONE,
  exactly: ({ noDescriptor }) => (noDescriptor ? 0 : 1),
};

/** One for each region. */
export const ONE_EACH: VhostUserDescriptorRule<VhostUserPayloads['memory']> = {
  least: 1,
  most: VHOST_MEMORY_BASELINE_NREGIONS,
  exactly: (regions) => regions.length,
};

/** One, unless there is no area: a back-end that cannot have one says so with a size of 0. */
export const IF_MAPPED: VhostUserDescriptorRule<VhostUserPayloads['inflight']> = {
  ...MAYBE_ONE,
  exactly: ({ mmapSize }) => (mmapSize === 0n ? 0 : 1),
};

/** A payload and the descriptors that come with it. */
export interface VhostUserBody<K extends VhostUserPayloadKind = VhostUserPayloadKind> {
  readonly payload: K;
  /** Of this very kind of payload; `body` sees to it. */
  readonly descriptors: VhostUserDescriptorRule<never>;
}

export function body<K extends VhostUserPayloadKind>(
  payload: K,
  descriptors: VhostUserDescriptorRule<VhostUserPayloads[K]> = NONE,
): VhostUserBody<K> {
  return { payload, descriptors };
}
