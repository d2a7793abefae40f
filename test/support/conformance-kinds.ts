/** The implementations of VhostBackend that a process can open by itself. */
import { InProcessBackend, KernelBackend } from '../../lib/index.js';
import type { BackendKind } from './conformance.js';

export const KERNEL: BackendKind = { name: 'the kernel', open: (taps) => KernelBackend.open(taps) };

export const IN_PROCESS: BackendKind = {
  name: 'the in-process back end',
  open: (taps) => InProcessBackend.open(taps),
};
