/** A guest to boot, made once: Debian's cloud kernel, unpacked, and a first file system for it. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { unpacked } from '../../test-vm/boot-image.js';
import { cacheDir, cached } from '../../test-vm/cache.js';
import { findKernel } from '../../test-vm/kernel-cache.js';
import { type Progress, silent } from '../../test-vm/progress.js';
import { GUEST_MODULES, guestInit, smallGuest } from './small-guest.js';

/** The kernel line of `tools/test-vm/kernels.ts` that it has. */
export const GUEST_KERNEL = '6.1-cloud';

/** What the tests of the VMM run in a guest besides busybox. */
export const GUEST_PROGRAMS = ['ethtool'];

/** Quiet, and without what costs an emulated machine most. */
export const GUEST_COMMAND_LINE = 'console=ttyS0 quiet mitigations=off random.trust_cpu=on';

export interface GuestFiles {
  /** `uname -r` in the guest. */
  release: string;
  /** The kernel as Debian ships it, and as an ELF file, which boots sooner. */
  bzImage: string;
  kernel: string;
  initrd: string;
}

/** `programs`: of this machine, for the guest, such as `ethtool`. */
export async function guestFiles(
  programs: readonly string[] = [],
  progress: Progress = silent,
): Promise<GuestFiles> {
  const found = await findKernel(GUEST_KERNEL, { progress });
  const kernel = await unpacked(found);
  const hash = createHash('sha256').update(
    JSON.stringify([programs, GUEST_MODULES, guestInit([])]),
  );
  const name = `${found.release}-${hash.digest('hex').slice(0, 16)}.initrd`;
  const initrd = await cached(join(cacheDir(), 'guest', name), async (scratch) => {
    const file = join(scratch, 'initrd');
    await smallGuest(found, file, programs);
    return file;
  });
  return { release: found.release, bzImage: found.image, kernel, initrd };
}
