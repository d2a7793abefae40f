/** A Linux guest for a QEMU that a test starts: the host's own kernel, busybox, virtio-net. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { basename, join } from 'node:path';
import { cacheDir, exists } from '../../tools/test-vm/cache.js';
import { readModule } from '../../tools/test-vm/decompress.js';
import { loadOrder, moduleName, readIndex } from '../../tools/test-vm/modules.js';

const MODULES = ['virtio_pci', 'virtio_net'];

/** What the guest's process 1 does; `script` goes on when its interface is there. */
const init = (names: readonly string[], script: string) => `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec <>/dev/ttyS0 >&0 2>&0
for module in ${names.join(' ')}; do insmod /modules/$module.ko; done
until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
${script}
while :; do sleep 1000; done
`;

/** Arguments of QEMU that boot the guest from files in `folder`, which anybody may read. */
export async function smallGuest(folder: string, script: string): Promise<string[]> {
  const modulesDir = join('/lib/modules', release());
  const { paths, missing } = loadOrder(await readIndex(modulesDir), MODULES);
  if (missing.length > 0) throw new Error(`this kernel has no module ${missing.join(', ')}`);
  const root = join(folder, 'root');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'modules']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  for (const path of paths) {
    const module = await readModule(join(modulesDir, path));
    writeFileSync(join(root, 'modules', `${moduleName(path)}.ko`), module);
  }
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  writeFileSync(join(root, 'init'), init(paths.map(moduleName), script), { mode: 0o755 });
  const initrd = join(folder, 'initrd');
  const names = readdirSync(root, { recursive: true }) as string[];
  execFileSync('cpio', ['-o', '-H', 'newc', '-R', '0:0', '--quiet', '-F', initrd], {
    cwd: root,
    input: names.join('\n'),
  });
  const kernel = join(folder, 'kernel');
  copyFileSync(await kernelImage(), kernel);
  return [
    // QEMU's own processor: what `-cpu host` shows of an emulated one's XSAVE crashes a guest of 7.3.
    ...['-accel', 'kvm', '-m', '256', '-M', 'q35', '-nodefaults', '-no-reboot'],
    ...['-display', 'none', '-serial', 'stdio', '-kernel', kernel, '-initrd', initrd],
    ...['-append', 'console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off'],
  ];
}

/** The running kernel's image: unpacked, where the machine that tests run in was booted from it. */
async function kernelImage(): Promise<string> {
  const boot = join(cacheDir(), 'boot');
  const unpacked = (await exists(boot))
    ? readdirSync(boot).filter((name) => name.startsWith(release()) && /\.vmlinux$/.test(name))
    : [];
  const [newest] = unpacked.sort().reverse();
  return newest === undefined ? `/boot/vmlinuz-${release()}` : join(boot, basename(newest));
}
