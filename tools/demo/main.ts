#!/usr/bin/env node
/**
 * `npm run demo`: on a host with vhost-net and the rights to it, in a private network namespace;
 * elsewhere inside the test VM, on a real kernel all the same.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { VhostNet } from '../../lib/index.js';

const SCENARIO = fileURLToPath(new URL('./scenario.js', import.meta.url));
const VM = fileURLToPath(new URL('../test-vm/main.js', import.meta.url));

/** Why the demo cannot run on this host, or undefined. */
function obstacle(): string | undefined {
  try {
    VhostNet.open().close();
  } catch (error) {
    return (error as Error).message;
  }
  const unshare = spawnSync('unshare', ['--net', 'true'], { encoding: 'utf8' });
  return unshare.status === 0 ? undefined : `no network namespace: ${unshare.stderr.trim()}`;
}

const why = obstacle();
let command: string[];
if (why === undefined) {
  process.stdout.write('demo: on this host, in a network namespace of its own\n');
  command = ['unshare', '--net', process.execPath, SCENARIO];
} else {
  process.stdout.write(`demo: not on this host (${why}); on a real kernel in a virtual machine\n`);
  command = [process.execPath, VM, '--timeout', '180', '--', process.execPath, SCENARIO];
}
const [program = '', ...args] = command;
process.exitCode = spawnSync(program, args, { stdio: 'inherit' }).status ?? 1;
