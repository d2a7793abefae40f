/** The status handshake of a virtio device (virtio 1.3 §2.1, §3.1): which writes mean what. */
import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
} from '../uapi/virtio-net.js';

/** The bits that a driver sets, each behind the one before. */
const STEPS = [
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_DRIVER_OK,
] as const;
const DRIVERS_BITS = STEPS.reduce<number>((sum, step) => sum | step, VIRTIO_CONFIG_S_FAILED);

/** What a write asks for: the bits that are new, in the order of the handshake; or what is wrong with it. */
export function newBits(status: number, written: number): number[] | string {
  if (written & ~DRIVERS_BITS & ~status) return 'a bit that no driver sets';
  if (status & DRIVERS_BITS & ~written) return 'a bit cleared, which only a reset does';
  const added = written & ~status;
  if (added & VIRTIO_CONFIG_S_FAILED) return [VIRTIO_CONFIG_S_FAILED];
  if (added && status & VIRTIO_CONFIG_S_FAILED) return 'a step after the driver gave up';
  let reached = status;
  const bits: number[] = [];
  for (const [i, step] of STEPS.entries()) {
    if (!(added & step)) continue;
    const before = STEPS[i - 1] ?? 0;
    if ((reached & before) !== before) return 'a step before the one that it needs';
    reached |= step;
    bits.push(step);
  }
  return bits;
}
