/** What a back-end did with the frames of one queue pair. */

export interface BackendCounters {
  /** Frames and bytes that came from the guest. */
  received: number;
  receivedBytes: number;
  /** Frames and bytes that the guest was given. */
  sent: number;
  sentBytes: number;
  /** Frames that the guest had no room for, as its driver made it. */
  dropped: number;
  /** Chains of the guest's that were no frames, and were given back. */
  errors: number;
  /** Times that the guest was called, and that it kicked. */
  calls: number;
  kicks: number;
}

export function newCounters(): BackendCounters {
  return {
    received: 0,
    receivedBytes: 0,
    sent: 0,
    sentBytes: 0,
    dropped: 0,
    errors: 0,
    calls: 0,
    kicks: 0,
  };
}
