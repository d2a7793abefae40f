// @ts-check
/** Programs of the operating system, and the Debian packages that have them. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { exec, fail, step } from './step.mjs';

/**
 * @typedef {object} Program
 * @property {string} program what must be found, on the path or where it says
 * @property {string} package Debian's name for it
 * @property {(path: string) => boolean} [suits] whether the one found will do
 */

/** @type {Record<string, Program[]>} */
const PROGRAMS = {
  build: [
    { program: 'g++', package: 'g++' },
    { program: 'make', package: 'make' },
    { program: 'python3', package: 'python3' },
  ],
  vm: [
    { program: 'qemu-system-x86_64', package: 'qemu-system-x86' },
    { program: 'busybox', package: 'busybox-static', suits: isStatic },
    { program: 'cpio', package: 'cpio' },
    { program: 'depmod', package: 'kmod' },
    { program: 'xz', package: 'xz-utils' },
    { program: 'lz4', package: 'lz4' },
    { program: 'zstd', package: 'zstd' },
  ],
  net: [
    { program: 'ip', package: 'iproute2' },
    { program: 'ping', package: 'iputils-ping' },
  ],
  bench: [{ program: 'cc', package: 'gcc' }],
  package: [
    { program: 'aarch64-linux-gnu-g++', package: 'g++-aarch64-linux-gnu' },
    { program: 'qemu-aarch64', package: 'qemu-user' },
  ],
  // It depends on every driver of DPDK's, under names that change with each release.
  dpdk: [{ program: 'dpdk-testpmd', package: 'dpdk-dev' }],
  peers: [
    { program: 'qemu-system-x86_64', package: 'qemu-system-x86' },
    { program: 'qemu-storage-daemon', package: 'qemu-system-common' },
    // Beside the one without DPDK, of which it is an alternative.
    {
      program: '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk',
      package: 'openvswitch-switch-dpdk',
    },
  ],
  valgrind: [{ program: 'valgrind', package: 'valgrind' }],
  guest: [{ program: 'ethtool', package: 'ethtool' }],
  tests: [{ program: 'tcpdump', package: 'tcpdump' }],
};

/**
 * Makes sure of the programs in these groups: installs them if that needs nobody's leave.
 * @param {string[]} groups
 */
export async function requirePrograms(groups) {
  const missing = groups
    .flatMap((group) => PROGRAMS[group] ?? [])
    .filter(({ program, suits }) => !find(program, suits));
  if (missing.length === 0) return;
  const packages = missing.map((entry) => entry.package);
  if (!isDebian()) fail(`missing programs: ${missing.map(({ program }) => program).join(', ')}`);
  if (process.getuid?.() !== 0) {
    fail(`missing packages; install them with: sudo apt-get install ${packages.join(' ')}`);
  }
  await step(`Debian packages ${packages.join(' ')}`, () => install(packages));
}

/** @param {string[]} packages */
async function install(packages) {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const args = ['install', '-y', '--no-install-recommends', ...packages];
  // A fresh machine has no package lists, an old one has stale ones; most need no update.
  await exec('apt-get', args, { env }).catch(async () => {
    await exec('apt-get', ['update'], { env });
    await exec('apt-get', args, { env });
  });
}

/** @param {string} program @param {(path: string) => boolean} [suits] */
function find(program, suits = () => true) {
  // Users other than root seldom have the sbin folders on their path.
  const path = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].filter(Boolean);
  const folders = isAbsolute(program) ? ['/'] : path;
  return folders.some((folder) => {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return suits(path);
    } catch {
      return false;
    }
  });
}

/**
 * Whether a program comes without a loader, which a dynamic one names near its start.
 * @param {string} path
 */
function isStatic(path) {
  return !readFileSync(path).subarray(0, 4096).includes('/ld-');
}

function isDebian() {
  return existsSync('/etc/debian_version') && find('apt-get');
}
