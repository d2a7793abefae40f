/** A job: what `attach` has at hand while it forwards frames. */
import type { NetPort } from '../../../lib/index.js';
import type { PcapWriter } from '../pcap.js';
import type { AttachOptions } from './options.js';

export interface Job {
  /** One, or the two that are bridged. */
  readonly ports: readonly NetPort[];
  readonly options: AttachOptions;
  readonly pcap: PcapWriter | undefined;
  /** Aborted when it is to end. */
  readonly signal: AbortSignal;
  /** Ends it for this reason, unless it ends already. */
  finish(reason: string): void;
}

/** Frames that the link, or the end, overtook are not worth an error. */
export function unlessGone(error: { code?: string }): void {
  if (error.code !== 'ENETDOWN' && error.code !== 'ERR_CLOSED') throw error;
}

/** Closes the ports when it is to end, which ends their iterations. */
export function closeAtEnd({ ports, signal }: Job): void {
  const close = () => {
    for (const port of ports) port.close();
  };
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });
}
