/** The error of a ring whose device broke it. */
import { StateError } from '../errors.js';
import { logVring } from '../log.js';

export function ringBroken(what: string): StateError {
  logVring('broken: %s', what);
  return new StateError(
    'ERR_RING_BROKEN',
    `the device broke the ring: ${what}`,
    'the backend is at fault: close the port and report what served the ring',
  );
}
