/**
 * What QEMU starts: the unpacked kernel and an initramfs of busybox, modules and `guest.ts`'s
 * scripts. Both are cached under the kernel's release and a hash of everything they are made of.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { cacheDir, cached, exists } from './cache.js';
import { extractElf, readDecompressed } from './decompress.js';
import { VmError } from './errors.js';
import { INIT_SCRIPT, RUN_SCRIPT } from './guest.js';
import type { Kernel } from './kernel-cache.js';
import { BOOT_MODULES, loadOrder, moduleName, readIndex, TEST_MODULES } from './modules.js';
import { run } from './process.js';

export interface BootImage {
  kernel: string;
  initrd: string;
  /** Modules that were asked for and that the kernel does not have. */
  missing: string[];
}

export async function bootImage(kernel: Kernel, extraModules: string[]): Promise<BootImage> {
  const index = await readIndex(kernel.modulesDir);
  const boot = loadOrder(index, BOOT_MODULES);
  if (boot.missing.length > 0) {
    throw new VmError(
      `kernel ${kernel.release} cannot run the test machine without ${boot.missing.join(', ')}`,
    );
  }
  const all = loadOrder(index, [...BOOT_MODULES, ...TEST_MODULES, ...extraModules]);
  const rest = all.paths.filter((path) => !boot.paths.includes(path));
  const busybox = await findBusybox();
  const inputs = [kernel.image, busybox, ...all.paths.map((path) => join(kernel.modulesDir, path))];
  const hash = await fingerprint(
    inputs,
    JSON.stringify([INIT_SCRIPT, RUN_SCRIPT, boot.paths, rest]),
  );
  const folder = await cached(
    join(cacheDir(), 'boot', `${kernel.release}-${hash}`),
    async (scratch) => {
      const image = join(scratch, 'image');
      const root = join(scratch, 'root');
      await mkdir(image);
      await layOut(root, kernel, busybox, boot.paths, rest);
      await pack(root, join(image, 'initrd'));
      const elf = await extractElf(await readFile(kernel.image));
      if (elf !== undefined) await writeFile(join(image, 'vmlinux'), elf);
      return image;
    },
  );
  const elf = join(folder, 'vmlinux');
  return {
    kernel: (await exists(elf)) ? elf : kernel.image,
    initrd: join(folder, 'initrd'),
    missing: all.missing,
  };
}

/** The initramfs as a folder. `bin/busybox` and `run` go on into the guest's `/run/test-vm`. */
async function layOut(
  root: string,
  kernel: Kernel,
  busybox: string,
  boot: string[],
  rest: string[],
) {
  for (const folder of ['bin', 'proc', 'sys', 'dev', 'modules', 'host', 'upper', 'root']) {
    await mkdir(join(root, folder), { recursive: true });
  }
  for (const path of [...boot, ...rest]) {
    const module = await readDecompressed(join(kernel.modulesDir, path));
    await writeFile(join(root, 'modules', `${moduleName(path)}.ko`), module);
  }
  const list = (paths: string[]) => paths.map((path) => `${moduleName(path)}\n`).join('');
  await writeFile(join(root, 'modules/boot'), list(boot));
  await writeFile(join(root, 'modules/rest'), list(rest));
  await writeFile(join(root, 'bin/busybox'), await readFile(busybox));
  await writeFile(join(root, 'init'), INIT_SCRIPT);
  await writeFile(join(root, 'run'), RUN_SCRIPT);
  for (const program of ['bin/busybox', 'init', 'run']) await chmod(join(root, program), 0o755);
}

async function pack(root: string, archive: string): Promise<void> {
  const names = await readdir(root, { recursive: true });
  const args = ['-o', '-H', 'newc', '-R', '0:0', '--quiet', '-F', archive];
  await run('cpio', args, { cwd: root, input: names.sort().join('\n') });
}

/** The busybox that will be the guest's init; it must be a static one, for it comes alone. */
async function findBusybox(): Promise<string> {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  for (const folder of [...folders, '/bin', '/usr/bin']) {
    const path = join(folder, 'busybox');
    // A dynamic executable names its loader near its start.
    if ((await exists(path)) && !(await readFile(path)).subarray(0, 4096).includes('/ld-'))
      return path;
  }
  throw new VmError('a static busybox is needed: apt-get install busybox-static');
}

/** A hash of `text` and of the inputs by path, size and time: their content would take seconds. */
async function fingerprint(paths: string[], text: string): Promise<string> {
  const hash = createHash('sha256').update(text);
  for (const path of paths) {
    const { size, mtimeMs } = await stat(path);
    hash.update(`${path}\0${size}\0${mtimeMs}\0`);
  }
  return hash.digest('hex').slice(0, 16);
}
