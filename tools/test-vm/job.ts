/** The part of a run that the guest reads from files: what to mount, what to execute. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kernel } from './kernel-cache.js';

export interface Job {
  /** The first is an absolute path: busybox would take a bare name for one of its own. */
  command: readonly string[];
  cwd: string;
  env: Record<string, string>;
  /** Folders of the host that the guest may write to, absolute. */
  shares: readonly string[];
}

const PASSED = new Set(
  'PATH HOME USER LOGNAME SHELL LANG TERM TZ CI DEBUG NO_COLOR FORCE_COLOR COLUMNS LINES'.split(
    ' ',
  ),
);
const PASSED_PREFIX = /^(?:NODE_|XDG_|LC_|VHOST_NET_)/;

/** The part of the caller's environment that means something in the guest. */
export function passedEnv(env: NodeJS.ProcessEnv): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    // Sockets and folders in the host's /run do not exist in the guest.
    if (name === 'XDG_RUNTIME_DIR' || value === undefined) continue;
    if (PASSED.has(name) || PASSED_PREFIX.test(name)) passed[name] = value;
  }
  return passed;
}

/** `word` for a POSIX shell. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

export function commandScript({ command, cwd, env }: Job): string {
  const assignments = Object.entries(env).map(([name, value]) => quote(`${name}=${value}`));
  return [
    'ulimit -n 65536',
    `cd ${quote(cwd)} || exit 126`,
    // Its own session: what it sends to its process group must not reach process 1.
    `exec /run/test-vm/busybox setsid /run/test-vm/busybox env -i \\`,
    `  ${[...assignments, ...command.map(quote)].join(' ')}`,
    '',
  ].join('\n');
}

export function mountsScript({ shares }: Job, { modulesDir, release }: Kernel): string {
  const lines = shares.map((folder, number) => {
    const target = quote(`.${folder}`);
    // cache=mmap writes through, so that results are on the host when the command ends.
    return `mkdir -p ${target}; share ${shareTag(number)} ${target} cache=mmap`;
  });
  const modules = quote(`./lib/modules/${release}`);
  lines.push(`mkdir -p ${modules}; mount --bind ${quote(`/host${modulesDir}`)} ${modules}`);
  return `${lines.join('\n')}\n`;
}

/** The 9p tag of the share with this number. */
export function shareTag(number: number): string {
  return `share${number}`;
}

export async function writeJob(folder: string, job: Job, kernel: Kernel): Promise<void> {
  await writeFile(join(folder, 'mounts'), mountsScript(job, kernel));
  await writeFile(join(folder, 'command'), commandScript(job));
}
