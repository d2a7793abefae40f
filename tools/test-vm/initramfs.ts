/** The guest's first file system: busybox, the modules and the scripts of `guest.ts`. */
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir, cached } from './cache.js';
import { readModule } from './decompress.js';
import { VmError } from './errors.js';
import { INIT_SCRIPT, RUN_SCRIPT } from './guest.js';
import type { Kernel } from './kernel-cache.js';
import { type ModuleLists, moduleLine, moduleName } from './modules.js';
import { run } from './process.js';
import { findProgram, searchPath } from './search-path.js';

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

async function writeProgram(path: string, content: string | Buffer): Promise<void> {
  await writeFile(path, content);
  await chmod(path, 0o755);
}

/** Makes the archive `to` of the folder `root`, with everything owned by the guest's root. */
async function pack(root: string, to: string): Promise<string> {
  const names = await readdir(root, { recursive: true });
  const args = ['-o', '-H', 'newc', '-R', '0:0', '--quiet', '-F', to];
  await run('cpio', args, { cwd: root, input: names.sort().join('\n') });
  return to;
}

/** The busybox that will be the guest's init; it must be a static one, for it comes alone. */
async function findBusybox(): Promise<string> {
  const path = await findProgram('busybox', [...searchPath(process.env), '/bin', '/usr/bin'], '/');
  // A dynamic executable names its loader near its start.
  if (path === undefined || (await readFile(path)).subarray(0, 4096).includes('/ld-')) {
    throw new VmError('a static busybox is needed; on Debian: apt-get install busybox-static');
  }
  return path;
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
