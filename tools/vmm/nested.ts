/** Runs a program that boots guests: here, where the host can, or in the test VM with nested KVM. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { probeKvm, VhostNet } from '../../lib/index.js';

const VM = fileURLToPath(new URL('../test-vm/main.js', import.meta.url));
/** Longest run in a virtual machine, in seconds. */
const LIMIT = 1500;

/** Why this host cannot, or undefined. */
async function obstacle(): Promise<string | undefined> {
  try {
    VhostNet.open().close();
    const { runs, outcome } = await probeKvm();
    if (!runs) return outcome;
  } catch (error) {
    return (error as Error).message;
  }
  const unshare = spawnSync('unshare', ['--net', 'true'], { encoding: 'utf8' });
  return unshare.status === 0 ? undefined : `no network namespace: ${unshare.stderr.trim()}`;
}

/** Returns the program's exit status. `name` begins the line that says where it runs. */
export async function runNested(name: string, script: URL, args: string[] = []): Promise<number> {
  const program = [process.execPath, fileURLToPath(script), ...args];
  const why = await obstacle();
  let command = ['unshare', '--net', ...program];
  if (why === undefined) {
    process.stdout.write(`${name}: on this host, in a network namespace of its own\n`);
  } else {
    process.stdout.write(`${name}: not on this host (${why}); nested in a virtual machine\n`);
    // One processor: QEMU's emulation of several loses the state of a guest's guests.
    command = [process.execPath, VM, '--cpus', '1', '--timeout', String(LIMIT), '--', ...program];
  }
  const [file = '', ...rest] = command;
  return spawnSync(file, rest, { stdio: 'inherit' }).status ?? 1;
}
