/** Who may have queues of which TAPs. */
import { checkInteger, typeError, valueError } from '../errors.js';
import { checkInterfaceName } from '../host/net-interface.js';

/** One line of a broker's allow-list. */
export interface AllowEntry {
  /** The user who may connect, as a number. */
  uid: number;
  /** The name of a TAP, or a pattern, in which `*` stands for any characters: `'vm1-*'`. */
  taps: string;
}

/** The largest uid; the next one stands for none. */
const LARGEST_UID = 2 ** 32 - 2;

/** The checked list. Whoever is not on it may nothing. */
export class AllowList {
  readonly #patterns = new Map<number, RegExp[]>();

  /** Throws `ERR_INVALID_ARG_VALUE` for a list that lets nobody in, or a pattern that matches no TAP. */
  constructor(entries: readonly AllowEntry[]) {
    if (!Array.isArray(entries)) throw typeError('allow must be an array of { uid, taps }');
    if (entries.length === 0) {
      throw valueError(
        'a broker that allows nobody serves nobody',
        "say who may have which TAPs: allow: [{ uid: 1000, taps: 'vm1-*' }], or --allow 1000:vm1-*",
      );
    }
    for (const { uid, taps } of entries) {
      checkInteger('uid', uid, 0, LARGEST_UID);
      if (typeof taps !== 'string' || taps === '') {
        throw valueError(`'${taps}' cannot be a TAP, or a pattern for TAPs such as vm1-*`);
      }
      const literals = taps.replaceAll('*', '');
      if (literals !== '') checkInterfaceName(literals);
      this.#patterns.set(uid, [...(this.#patterns.get(uid) ?? []), patternOf(taps)]);
    }
  }

  /** Whether a user may have queues of any TAP. */
  knows(uid: number): boolean {
    return this.#patterns.has(uid);
  }

  /** Whether a user may have queues of this TAP. */
  allows(uid: number, tap: string): boolean {
    return this.#patterns.get(uid)?.some((pattern) => pattern.test(tap)) ?? false;
  }
}

function patternOf(taps: string): RegExp {
  const parts = taps.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}
