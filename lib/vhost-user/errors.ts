/** What a vhost-user peer did that the protocol does not allow. */
import { StateError } from '../errors.js';

/** What came over a connection is no message, or not one that may come here. The connection is over. */
export function protocolError(message: string, reason: string): StateError {
  return new StateError(
    'ERR_VHOST_USER_PROTOCOL',
    `${message}: ${reason}`,
    'the other end is at fault, or speaks something else than vhost-user',
  );
}

/** The connection is over, and something was missing still. */
export function disconnected(when: string): StateError {
  return new StateError(
    'ERR_VHOST_USER_DISCONNECTED',
    `the vhost-user connection ended ${when}`,
    'connect again; its own log says why it went',
  );
}

/** What sending fails with where the other end has closed. What it said before is still to be read, and its end with it. */
const HUNG_UP = ['EPIPE', 'ECONNRESET'];
/** What a request fails with whose back end went away, and said nothing against it. */
const GONE = ['ERR_VHOST_USER_DISCONNECTED', 'ERR_CLOSED', ...HUNG_UP];

export function isHangUp(error: unknown): boolean {
  return HUNG_UP.includes((error as { code?: string }).code ?? '');
}

export function isDisconnect(error: unknown): boolean {
  return GONE.includes((error as { code?: string }).code ?? '');
}
