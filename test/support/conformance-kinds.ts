/** The implementations of VhostBackend. */
import { InProcessBackend, KernelBackend, VhostUserFrontend } from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import type { BackendKind } from './conformance.js';
import { socketPath } from './sockets.js';
import { serveTaps } from './tap-back-end.js';

export const KERNEL: BackendKind = { name: 'the kernel', open: (taps) => KernelBackend.open(taps) };

export const IN_PROCESS: BackendKind = {
  name: 'the in-process back end',
  open: (taps) => InProcessBackend.open(taps),
};

export const VHOST_USER: BackendKind = {
  name: 'the vhost-user front end',
  // A back end gives its guest the header that the features mean, whatever lies behind it has another.
  header: 'its own',
  // It lets go of the kick of a ring that it stops: a start brings the next one.
  looksAgain: 'when started',
  async open(taps) {
    const path = socketPath();
    const server = serveTaps(path, taps);
    cleanup(() => server.close());
    return VhostUserFrontend.open({ path, queuePairs: taps.length, reconnect: 'never' });
  },
};
