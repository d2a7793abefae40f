#!/usr/bin/env node
/**
 * `npm run demo:vmm`: on a host with vhost-net and a KVM that runs guests, in a private network namespace;
 * elsewhere inside the test VM, with nested KVM.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { probeKvm, VhostNet } from '../../../lib/index.js';
import { progressOn } from '../../test-vm/progress.js';
import { guestFiles } from '../guest/guest-files.js';

const SCENARIO = fileURLToPath(new URL('./scenario.js', import.meta.url));
const VM = fileURLToPath(new URL('../../test-vm/main.js', import.meta.url));

/** Why the demo cannot run on this host, or undefined. */
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

// Downloaded and unpacked here: a machine of its own has no network.
await guestFiles([], progressOn(process.stderr));
const why = await obstacle();
let command: string[];
if (why === undefined) {
  process.stdout.write('demo:vmm: on this host, in a network namespace of its own\n');
  command = ['unshare', '--net', process.execPath, SCENARIO];
} else {
  process.stdout.write(`demo:vmm: not on this host (${why}); nested in a virtual machine\n`);
  // One processor: QEMU's emulation of several loses the state of a guest's guests.
  command = [process.execPath, VM, '--cpus', '1', '--timeout', '600'];
  command.push('--', process.execPath, SCENARIO);
}
const [program = '', ...args] = command;
process.exitCode = spawnSync(program, args, { stdio: 'inherit' }).status ?? 1;
