/** How `trace` tells programs: a JSON line for each event. */

import { round } from '../numbers.js';
import type { SeenMessage } from './conversation.js';
import { hexOf } from './payload-text.js';
import type { TraceReporter } from './reporter.js';
import { maskWords } from './words.js';

export function jsonReporter(write: (text: string) => void): TraceReporter {
  const line = (event: string, fields: object) => {
    const all = { event, time: new Date().toISOString(), ...fields };
    write(`${JSON.stringify(all, (_, value) => plain(value))}\n`);
  };
  return {
    listening: (what) => line('listening', what),
    waiting: (what) => line('waiting', what),
    connected: (connection, ends) => line('connected', { connection, ...ends }),
    refused: (connection, from, { message }) =>
      line('refused', { connection, from, error: message }),
    message: (connection, message) => line('message', { connection, ...fieldsOf(message) }),
    closed: (connection, { error, ms, ...how }) =>
      line('closed', { connection, ms: round(ms), ...how, error: error?.message }),
    stopped: (reason) => line('stopped', { reason }),
  };
}

function fieldsOf(message: SeenMessage): object {
  const { header, ms, replyMs, ...rest } = message;
  const { request: id, flags, size } = header;
  return {
    ms: round(ms),
    ...rest,
    ...{ id, flags, size },
    words: maskWords(message),
    replyMs: replyMs && round(replyMs),
  };
}

/** What JSON has no word for: addresses and masks in hex, bytes in hex without a prefix. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof BigUint64Array) return Array.from(value);
  return value instanceof Uint8Array ? hexOf(value) : value;
}
