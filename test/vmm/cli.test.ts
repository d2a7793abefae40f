/** `npm run vmm`, as a person and as the system's killer use it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import {
  GUEST_COMMAND_LINE,
  GUEST_PROGRAMS,
  guestFiles,
} from '../../tools/vmm/guest/guest-files.js';
import { GuestShell } from '../../tools/vmm/guest/shell.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { tapName, until } from '../support/host.js';
import { BOOT_LIMIT } from '../support/vmm-guest.js';

holdNothingLeaks();

const CLI = fileURLToPath(new URL('../../dist/bin/vmm.js', import.meta.url));

interface Running {
  child: ChildProcess;
  shell: GuestShell;
}

function run(args: readonly string[]): { child: ChildProcess; stderr: () => string } {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: 'pipe' });
  cleanup(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr?.on('data', (bytes) => {
    stderr += bytes;
  });
  return { child, stderr: () => stderr };
}

async function boot(tap: string): Promise<Running> {
  const { kernel, initrd } = await guestFiles(GUEST_PROGRAMS);
  const { child } = run([
    ...['--kernel', kernel, '--initrd', initrd, '--memory', '256M', '--tap', tap],
    ...['--cmdline', GUEST_COMMAND_LINE],
  ]);
  const shell = new GuestShell((bytes) => child.stdin?.write(bytes));
  child.stdout?.on('data', (bytes: Buffer) => {
    for (const byte of bytes) shell.receive(byte);
  });
  await shell.ready(BOOT_LIMIT);
  return { child, shell };
}

/** Threads of the kernel that work for a process, and what runs in its name. */
function workersOf(pid: number): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      try {
        return readFileSync(`/proc/${name}/comm`, 'utf8').trim();
      } catch {
        return '';
      }
    })
    .filter((comm) => comm === `vhost-${pid}`);
}

test('a machine that is killed leaves nothing, and its TAP is free for the next', async () => {
  const tap = tapName();
  const { child } = await boot(tap);
  expect(existsSync(`/sys/class/net/${tap}`)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'close');
  await until(() => !existsSync(`/sys/class/net/${tap}`), 'the TAP gone');
  await until(() => workersOf(child.pid as number).length === 0, 'the workers gone');
  const next = await boot(tap);
  expect((await next.shell.run('cat /proc/cmdline')).output).toContain('console=ttyS0');
  void next.shell.run('poweroff -f').catch(() => {});
  expect(await once(next.child, 'close')).toEqual([0, null]);
});

test.each([
  [['--kernel', '/nowhere'], 1, "ENOENT: no such file or directory, open '/nowhere'"],
  [['--kernel', CLI], 1, 'not a kernel: neither a bzImage nor an ELF file'],
  [
    ['--kernel', CLI, '--socket', '/nowhere'],
    1,
    "ENOENT: no such file or directory, connect(AF_UNIX) '/nowhere'",
  ],
  [['--cpus', '2'], 1, "required option '--kernel <file>' not specified"],
  [['--kernel', 'x', '--memory', '1M'], 1, 'It must be 64M to 64G'],
  [['--kernel', 'x', '--transport', 'isa'], 1, 'Allowed choices are pci, mmio'],
  [['--kernel', 'x', '--mac', '01:00:00:00:00:01'], 1, 'It must be a unicast address'],
])('%j is refused in one line', async (args, code, message) => {
  const { child, stderr } = run(args);
  expect(await once(child, 'close')).toEqual([code, null]);
  expect(stderr()).toContain(message);
  expect(stderr().trim().split('\n').length).toBeLessThanOrEqual(2);
});
