/** What `trace` tells, however it is shown. */
import type { PeerCredentials } from '../../../lib/index.js';
import type { SeenMessage } from './conversation.js';
import type { SessionEnd } from './session.js';

/** A process at one end of a connection. */
export interface Process extends PeerCredentials {
  /** Its name, where that can be known. It chose it. */
  program?: string;
}

export interface TraceReporter {
  listening(what: { socket: string; to: string }): void;
  /** Nothing is there to connect to, yet. */
  waiting(what: { to: string }): void;
  /** `connection` counts from 1. `from` connected to us, we connected to `to`. */
  connected(connection: number, ends: { from: Process; to: Process }): void;
  /** Somebody connected, and `to` could not be connected to. */
  refused(connection: number, from: Process, error: Error): void;
  message(connection: number, message: SeenMessage): void;
  closed(connection: number, how: SessionEnd): void;
  stopped(reason: string): void;
}
