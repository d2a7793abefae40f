/** What a port counts. */

/** Counters of a port since it was opened, as plain numbers (exact up to 2^53). */
export interface PortCounters {
  /** Frames received, and their bytes without header. */
  rxFrames: number;
  rxBytes: number;
  /** Frames that came damaged: shorter than their headers, longer than any, or of too many buffers. */
  rxErrors: number;
  /** Times that the device was told of new receive buffers, and told us of frames. */
  rxKicks: number;
  rxCalls: number;
  /** Frames given to the device, and their bytes without header. */
  txFrames: number;
  txBytes: number;
  /** Times that the device was told of frames, and told us of room. */
  txKicks: number;
  txCalls: number;
}

/** What waits in the rings of a queue pair now. */
export interface PairBacklog {
  /** Receive buffers that the device filled and the consumer was not given. */
  rxWaiting: number;
  /** Frames that the device was given and has not sent. */
  txWaiting: number;
}

/** All counters at 0. */
export function noCounters(): PortCounters {
  return {
    rxFrames: 0,
    rxBytes: 0,
    rxErrors: 0,
    rxKicks: 0,
    rxCalls: 0,
    txFrames: 0,
    txBytes: 0,
    txKicks: 0,
    txCalls: 0,
  };
}

/** Counters of several pairs as one. */
export function sumCounters(all: readonly PortCounters[]): PortCounters {
  const sum = noCounters();
  for (const counters of all) {
    for (const key of Object.keys(sum) as (keyof PortCounters)[]) sum[key] += counters[key];
  }
  return sum;
}
