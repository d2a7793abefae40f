/** What QEMU starts: a kernel it can enter without unpacking, and an initramfs. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir, cached } from './cache.js';
import { extractElf } from './decompress.js';
import { VmError } from './errors.js';
import { initramfs } from './initramfs.js';
import type { Kernel } from './kernel-cache.js';
import { guestModules, readIndex } from './modules.js';

export interface BootImage {
  kernel: string;
  initrd: string;
}

/** Builds what is not in the cache yet; `extraModules` are loaded besides our own. */
export async function bootImage(kernel: Kernel, extraModules: string[]): Promise<BootImage> {
  const index = await readIndex(kernel.modulesDir);
  const { lists, missing } = guestModules(index, extraModules);
  if (missing.length > 0) {
    throw new VmError(`kernel ${kernel.release} has no module ${missing.join(', ')}`);
  }
  const [image, initrd] = await Promise.all([unpacked(kernel), initramfs(kernel, lists)]);
  return { kernel: image, initrd };
}

/**
 * The kernel as an ELF file: to unpack it takes the emulated guest 2 to 4 s and us 1 s, once.
 * An image of a kind that we cannot unpack is left to the guest.
 */
export async function unpacked({ image, release }: Kernel): Promise<string> {
  const { size, mtimeMs } = await stat(image);
  const name = `${release}-${size}-${Math.round(mtimeMs)}.vmlinux`;
  return cached(join(cacheDir(), 'boot', name), async (scratch) => {
    const packed = await readFile(image);
    const file = join(scratch, 'vmlinux');
    await writeFile(file, (await extractElf(packed)) ?? packed);
    return file;
  });
}
