/** What `attach` does with frames, one for each of testpmd's forward modes. */
import type { Frame, Sendable } from '../../../lib/index.js';

export const FORWARD_MODES = ['icmpecho', 'io', 'macswap', 'rxonly', 'txonly'] as const;
export type ForwardMode = (typeof FORWARD_MODES)[number];

export interface Forwarder {
  /** The frames to send back for a batch received; the frames may be changed in place. */
  answer(frames: readonly Frame[]): readonly Sendable[];
  /** What it did so far, for the summary: `{ arp: 2, echo: 10 }`. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Receives and counts; the port's own counters say it all. */
export const receiveOnly: Forwarder = { answer: () => [], counts: {} };

/** Sends every frame back with its MAC addresses exchanged. */
export function macSwap(): Forwarder {
  return {
    counts: {},
    answer(frames) {
      for (const { bytes } of frames) {
        for (let i = 0; i < 6; i++) {
          const byte = bytes[i] as number;
          bytes[i] = bytes[6 + i] as number;
          bytes[6 + i] = byte;
        }
      }
      return frames;
    },
  };
}
