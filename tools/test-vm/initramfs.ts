/** The guest's first file system: busybox, the modules and the scripts of `guest.ts`. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findBusybox, pack, writeProgram } from './archive.js';
import { cacheDir, cached } from './cache.js';
import { readModule } from './decompress.js';
import { INIT_SCRIPT, RUN_SCRIPT } from './guest.js';
import type { Kernel } from './kernel-cache.js';
import { type ModuleLists, moduleLine, moduleName } from './modules.js';

/** The archive's path; it is cached under the kernel's release and a hash of all that is in it. */
export async function initramfs(kernel: Kernel, lists: ModuleLists): Promise<string> {
  const busybox = await findBusybox();
  const modules = new Set(Object.values(lists).flat());
  const paths = [...modules].map((path) => join(kernel.modulesDir, path));
  const hash = await fingerprint(
    [busybox, ...paths],
    JSON.stringify([INIT_SCRIPT, RUN_SCRIPT, lists]),
  );
  const path = join(cacheDir(), 'boot', `${kernel.release}-${hash}.initrd`);
  return cached(path, async (scratch) => {
    const root = join(scratch, 'root');
    for (const folder of ['bin', 'proc', 'sys', 'dev', 'modules', 'host', 'upper', 'root']) {
      await mkdir(join(root, folder), { recursive: true });
    }
    for (const module of paths) {
      await writeFile(join(root, 'modules', `${moduleName(module)}.ko`), await readModule(module));
    }
    for (const [name, list] of Object.entries(lists)) {
      const lines = list.map((module) => `${moduleLine(module)}\n`);
      await writeFile(join(root, 'modules', name), lines.join(''));
    }
    await writeProgram(join(root, 'bin/busybox'), await readFile(busybox));
    await writeProgram(join(root, 'init'), INIT_SCRIPT);
    await writeProgram(join(root, 'run'), RUN_SCRIPT);
    return pack(root, join(scratch, 'initrd'));
  });
}

/** A hash of `text` and of the files by path, size and time: their content would take seconds. */
async function fingerprint(paths: readonly string[], text: string): Promise<string> {
  const hash = createHash('sha256').update(text);
  for (const path of paths) {
    const { size, mtimeMs } = await stat(path);
    hash.update(`${path}\0${size}\0${mtimeMs}\0`);
  }
  return hash.digest('hex').slice(0, 16);
}
