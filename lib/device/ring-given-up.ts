/** The error of a ring that whoever served it gave up. */
import { StateError } from '../errors.js';

/** `ring`: 2·pair receives, 2·pair + 1 transmits. */
export function ringGivenUp(ring: number): StateError {
  const which = ring % 2 === 0 ? 'receive' : 'transmit';
  return new StateError(
    'ERR_RING_BROKEN',
    `the backend gave up the ${which} ring of queue pair ${ring >> 1}`,
    'the guest is at fault: it must reset the device',
  );
}
