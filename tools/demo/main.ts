#!/usr/bin/env node
/**
 * `npm run demo`: on a host with vhost-net and the rights to it, in a private network namespace; elsewhere inside
 * the test VM, on a real kernel all the same, and then once more on the host, which does without vhost-net.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Tap, VhostNet } from '../../lib/index.js';

const SCENARIO = fileURLToPath(new URL('./scenario.js', import.meta.url));
const VM = fileURLToPath(new URL('../test-vm/main.js', import.meta.url));
/** In a network namespace that ends with the command, however that ends. */
const IN_NAMESPACE = ['unshare', '--net'];

/** Why a device cannot be used on this host in a namespace, or undefined. */
function obstacle(device: () => unknown): string | undefined {
  try {
    device();
  } catch (error) {
    return (error as Error).message;
  }
  const { status, stderr, error } = spawnSync('unshare', ['--net', 'true'], { encoding: 'utf8' });
  return status === 0 ? undefined : `no network namespace: ${(error?.message ?? stderr).trim()}`;
}

/** Runs one act, and returns whether it went well. */
function act(...command: string[]): boolean {
  const [program = '', ...args] = command;
  return spawnSync(program, args, { stdio: 'inherit' }).status === 0;
}

const say = (text: string) => process.stdout.write(`demo: ${text}\n`);

const why = obstacle(() => VhostNet.open().close());
let good: boolean;
if (why === undefined) {
  say('on this host, in a network namespace of its own');
  good = act(...IN_NAMESPACE, process.execPath, SCENARIO);
} else {
  say(`not on this host (${why}); on a real kernel in a virtual machine`);
  good = act(process.execPath, VM, '--timeout', '180', '--', process.execPath, SCENARIO);
  const whyNoTap = obstacle(() => Tap.hostFeatures());
  if (whyNoTap === undefined) {
    say('once more on this host, without vhost-net, in a network namespace of its own');
    good = act(...IN_NAMESPACE, process.execPath, SCENARIO, 'in-process') && good;
  } else {
    say(`no second act on this host (${whyNoTap})`);
  }
}
process.exitCode = good ? 0 : 1;
