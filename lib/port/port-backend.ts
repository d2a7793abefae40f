/** Who moves a port's frames: the kernel where the host has vhost-net, else this process. */
import type { VhostError } from '../errors.js';
import type { Tap } from '../host/tap.js';
import { InProcessBackend } from '../in-process/in-process-backend.js';
import { logPort } from '../log.js';
import type { VhostBackend } from '../vhost/backend.js';
import { KernelBackend, type KernelBackendOptions } from '../vhost/kernel-backend.js';

/** `'kernel'`: `/dev/vhost-net`; `'in-process'`: {@link InProcessBackend}. */
export const PORT_BACKENDS = ['kernel', 'in-process'] as const;

export type PortBackend = (typeof PORT_BACKENDS)[number];

/** What `open` says on a host without the device, or the module behind its node. */
const NO_DEVICE: ReadonlySet<string> = new Set(['ENOENT', 'ENODEV', 'ENXIO']);

/**
 * Opens the backend that is asked for, or chooses. Throws as {@link KernelBackend.open}: a device that is there
 * and may not be opened is no reason to go without it.
 */
export function openPortBackend(
  taps: readonly Tap[],
  asked: PortBackend | undefined,
  kernel: KernelBackendOptions,
): VhostBackend {
  if (asked === 'in-process') return InProcessBackend.open(taps);
  try {
    return KernelBackend.open(taps, kernel);
  } catch (error) {
    if (asked !== undefined || !NO_DEVICE.has((error as VhostError).code)) throw error;
    logPort('no /dev/vhost-net here: this process serves the rings of %d queue pairs', taps.length);
    return InProcessBackend.open(taps);
  }
}
