/** How many descriptors come with a message. */
import { VHOST_MEMORY_BASELINE_NREGIONS } from '../uapi/vhost-user.js';
import type { PayloadKind, PayloadValue } from './payloads.js';

export interface DescriptorRule<T> {
  readonly least: number;
  readonly most: number;
  /** How many exactly, where the payload says it. */
  readonly exactly?: (payload: T) => number;
}

/** The most that come with any message; who receives need not take more. */
export const MOST_MESSAGE_DESCRIPTORS = VHOST_MEMORY_BASELINE_NREGIONS;

export const NONE: DescriptorRule<unknown> = { least: 0, most: 0 };
export const ONE: DescriptorRule<unknown> = { least: 1, most: 1 };
/** One that is of no use is tolerated, or one is missing where there was nothing to give. */
export const MAYBE_ONE: DescriptorRule<unknown> = { least: 0, most: 1 };

/** One, unless bit 8 of the payload says that there is none. */
export const UNLESS_BIT_8: DescriptorRule<{ noDescriptor: boolean }> = {
  ...MAYBE_ONE,
  exactly: ({ noDescriptor }) => (noDescriptor ? 0 : 1),
};

/** One for each region. */
export const ONE_EACH: DescriptorRule<PayloadValue<'memory'>> = {
  least: 1,
  most: VHOST_MEMORY_BASELINE_NREGIONS,
  exactly: (regions) => regions.length,
};

/** One, unless there is no area: a back-end that cannot have one says so with a size of 0. */
export const IF_MAPPED: DescriptorRule<PayloadValue<'inflight'>> = {
  ...MAYBE_ONE,
  exactly: ({ mmapSize }) => (mmapSize === 0n ? 0 : 1),
};

/** A payload and the descriptors that come with it. */
export interface Body<K extends PayloadKind = PayloadKind> {
  readonly payload: K;
  /** Of this very kind of payload; `body` sees to it. */
  readonly descriptors: DescriptorRule<never>;
}

export function body<K extends PayloadKind>(
  payload: K,
  descriptors: DescriptorRule<PayloadValue<K>> = NONE,
): Body<K> {
  return { payload, descriptors };
}
