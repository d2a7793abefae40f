/** What a queue pair of a back end needs of the device that it is of, and of whoever takes its frames. */
import type { Frame } from '../net/frame.js';
import type { BackendLog } from './backend-log.js';
import type { BackendRing } from './backend-ring.js';
import type { RingUse } from './ring-use.js';

/** Takes a burst. While a promise of it is pending its frames stay valid, and none comes of this pair. */
export type FramesListener = (frames: readonly Frame[], pair: number) => void | Promise<void>;

/** What a pair needs of the device that it is of. */
export interface PairHost {
  /** Whether the front-end lets rings that are enabled be served at all. */
  readonly serving: boolean;
  readonly use: RingUse;
  /** For what is written to used rings, each where it is wanted; and to buffers, where that is. */
  readonly log: BackendLog | undefined;
  readonly bufferLog: BackendLog | undefined;
  readonly listener: FramesListener | undefined;
  /** Signals that go over the socket. */
  inBand(ring: BackendRing, what: 'call' | 'err'): void;
  called(ring: BackendRing): void;
  broken(ring: BackendRing, error: Error): void;
  /** Ends the connection where shared files are not what they were. */
  checkFiles(): void;
  /** What ends the connection. */
  failed(error: Error): void;
}
