/** A first file system for a small guest: busybox, the modules of its cards, and commands from its serial port. */
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findBusybox, pack, writeProgram } from '../../test-vm/archive.js';
import { readModule } from '../../test-vm/decompress.js';
import type { Kernel } from '../../test-vm/kernel-cache.js';
import { loadOrder, moduleName, readIndex } from '../../test-vm/modules.js';
import { findProgram, searchPath } from '../../test-vm/search-path.js';

/** Those of its cards, which it loads, and the kernel's generator of frames for whoever wants it. */
export const GUEST_MODULES = {
  loaded: ['virtio_pci', 'virtio_mmio', 'virtio_net'],
  there: ['pktgen'],
};
const FOLDERS = ['bin', 'dev', 'lib64', 'modules', 'proc', 'sys', 'tmp'];

/** The lines that it begins and ends a command's output with: see `GuestShell`. */
export const READY_LINE = '#ready';
export const END_LINE = '#end';

export const guestInit = (modules: readonly string[]) => `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec <>/dev/ttyS0 >&0 2>&0
stty -echo
for module in ${modules.join(' ')}; do insmod /modules/$module.ko; done
ip link set lo up
echo '${READY_LINE}'
while IFS= read -r line; do
  eval "$line" </dev/null
  echo "${END_LINE} $?"
done
poweroff -f
`;

/** Makes the archive `to`. `programs` come with the libraries that they need. */
export async function smallGuest(
  { modulesDir }: Pick<Kernel, 'modulesDir'>,
  to: string,
  programs: readonly string[] = [],
): Promise<void> {
  const index = await readIndex(modulesDir);
  const { paths, missing } = loadOrder(index, GUEST_MODULES.loaded);
  if (missing.length > 0) throw new Error(`this kernel has no module ${missing.join(', ')}`);
  const root = `${to}.root`;
  for (const folder of FOLDERS) await mkdir(join(root, folder), { recursive: true });
  const more = loadOrder(index, GUEST_MODULES.there);
  for (const path of new Set([...paths, ...more.paths])) {
    const module = await readModule(join(modulesDir, path));
    await writeFile(join(root, 'modules', `${moduleName(path)}.ko`), module);
  }
  await writeProgram(join(root, 'bin/busybox'), await readFile(await findBusybox()));
  for (const name of programs) await addProgram(root, name);
  await writeProgram(join(root, 'init'), guestInit(paths.map(moduleName)));
  await pack(root, to);
}

/** A program of this machine, where it is here, and what its loader will look for. */
async function addProgram(root: string, name: string): Promise<void> {
  const path = await findProgram(name, [...searchPath(process.env), '/sbin', '/usr/sbin'], '/');
  if (path === undefined) throw new Error(`${name} is not installed`);
  const libraries = execFileSync('ldd', [path], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
  for (const file of [path, ...libraries]) {
    const place = join(root, file);
    await mkdir(dirname(place), { recursive: true });
    await copyFile(file, place);
  }
  await writeProgram(join(root, 'bin', name), await readFile(path));
}
