/** What a front end can be opened with, and what of it cannot be. */
import { checkInteger, checkUint64, typeError, valueError } from '../errors.js';
import { checkSocketPath } from '../host/unix-socket.js';
import { FRONTEND_PROTOCOL_FEATURES, MOST_QUEUE_PAIRS } from './handshake.js';

export interface VhostUserFrontendOptions {
  /** Path of the socket. */
  path: string;
  /**
   * `'client'`: the back end listens on the path. `'server'`: this end listens, and `open` waits for the back end
   * to connect. Default: `'client'`.
   */
  mode?: 'client' | 'server';
  /** Queue pairs that the back end must have, 1 to 128. Default: 1. */
  queuePairs?: number;
  /** The protocol features that may be used, as a mask. Default: all that this end has. */
  protocolFeatures?: bigint;
  /**
   * ms from the loss of the connection, or an attempt that failed, to the next attempt, 1 to 2^31 - 1; or never to
   * try again. Rings that run, and those that are started meanwhile, are served by the next back end. Default: 500.
   */
  reconnect?: number | 'never';
  /** ms that the back end may take to answer a request, 1 to 2^31 - 1. Default: 10 000. */
  timeout?: number;
  /** Ends the waiting of `open`, which rejects with its reason. */
  signal?: AbortSignal | undefined;
}

export interface CheckedFrontendOptions {
  path: string;
  mode: 'client' | 'server';
  queuePairs: number;
  protocolFeatures: bigint;
  reconnect: number | 'never';
  timeout: number;
  signal: AbortSignal | undefined;
}

/** What a timer takes. */
const LONGEST = 2 ** 31 - 1;

/** Throws a `TypeError` or `RangeError` that names the option. */
export function checkFrontendOptions(options: VhostUserFrontendOptions): CheckedFrontendOptions {
  if (typeof options !== 'object' || options === null) {
    throw typeError("options must be an object, as { path: '/run/vhost-user.sock' }");
  }
  const { mode = 'client', queuePairs = 1, reconnect = 500, timeout = 10_000 } = options;
  const { protocolFeatures = FRONTEND_PROTOCOL_FEATURES, signal } = options;
  if (mode !== 'client' && mode !== 'server') {
    throw valueError(`mode is 'client' or 'server', not '${String(mode)}'`);
  }
  return {
    path: checkSocketPath(options.path),
    mode,
    queuePairs: checkInteger('queuePairs', queuePairs, 1, MOST_QUEUE_PAIRS),
    protocolFeatures: checkUint64('protocolFeatures', protocolFeatures),
    reconnect: reconnect === 'never' ? reconnect : checkInteger('reconnect', reconnect, 1, LONGEST),
    timeout: checkInteger('timeout', timeout, 1, LONGEST),
    signal,
  };
}
