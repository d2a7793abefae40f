/** One thing that the doctor looks at. */

/** `ok`; `missing`: the host lacks something that few need; `failed`: the main job is impossible. */
export type Status = 'ok' | 'missing' | 'failed';

export interface Check {
  /** What was looked at, in a word or two. */
  name: string;
  status: Status;
  /** What was seen. */
  value: string;
  /** What to do about it, unless all is well. */
  hint?: string;
  /** The same for programs: masks as hex strings, names as lists. */
  data?: Record<string, unknown>;
}

/** A check whose probe throws: what it threw, as its value. */
export function failedCheck(name: string, status: Status, error: unknown, hint?: string): Check {
  const { message, hint: own } = error as { message: string; hint?: string };
  const advice = own ?? hint;
  return { name, status, value: message, ...(advice === undefined ? {} : { hint: advice }) };
}

/** Runs a probe; where it throws the check says so. */
export function check(
  name: string,
  ifNot: 'missing' | 'failed',
  probe: () => Omit<Check, 'name' | 'status'> | string,
  hint?: string,
): Check {
  try {
    const seen = probe();
    return { name, status: 'ok', ...(typeof seen === 'string' ? { value: seen } : seen) };
  } catch (error) {
    return failedCheck(name, ifNot, error, hint);
  }
}

/** A 64-bit or longer mask, for people and programs. */
export function mask(value: bigint, names: readonly string[]): Omit<Check, 'name' | 'status'> {
  const hex = `0x${value.toString(16)}`;
  return { value: `${hex} ${names.join(' ')}`.trim(), data: { mask: hex, names } };
}
