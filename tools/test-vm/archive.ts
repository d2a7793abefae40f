/** What every initramfs is made of: a static busybox, and an archive in the kernel's format. */
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { VmError } from './errors.js';
import { run } from './process.js';
import { findProgram, searchPath } from './search-path.js';

export async function writeProgram(path: string, content: string | Buffer): Promise<void> {
  await writeFile(path, content);
  await chmod(path, 0o755);
}

/** Makes the archive `to` of the folder `root`, with everything owned by the guest's root. */
export async function pack(root: string, to: string): Promise<string> {
  const names = await readdir(root, { recursive: true });
  const args = ['-o', '-H', 'newc', '-R', '0:0', '--quiet', '-F', to];
  await run('cpio', args, { cwd: root, input: names.sort().join('\n') });
  return to;
}

/** The busybox that will be the guest's init; it must be a static one, for it comes alone. */
export async function findBusybox(): Promise<string> {
  const path = await findProgram('busybox', [...searchPath(process.env), '/bin', '/usr/bin'], '/');
  // A dynamic executable names its loader near its start.
  if (path === undefined || (await readFile(path)).subarray(0, 4096).includes('/ld-')) {
    throw new VmError('a static busybox is needed; on Debian: apt-get install busybox-static');
  }
  return path;
}
