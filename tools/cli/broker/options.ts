/** The options of `vhost-net broker`. */
import { execFileSync } from 'node:child_process';
import { type Command, InvalidArgumentError } from 'commander';
import type { AllowEntry } from '../../../lib/index.js';
import { integer } from '../number-options.js';

export interface BrokerCommandOptions {
  socket: string;
  allow: AllowEntry[];
  maxQueues: number;
  up: boolean;
  mtu?: number;
  persist: boolean;
  json: boolean;
}

export function addBrokerOptions(command: Command): Command {
  return command
    .requiredOption('--socket <PATH>', 'where clients connect')
    .option(
      '--allow <USER:TAP>',
      'who may have queues of which TAPs: a name or uid, and a TAP or a pattern with * (repeatable)',
      allow,
      [],
    )
    .option('--max-queues <N>', 'queue pairs in one request', integer(1, 256), 16)
    .option('--mtu <BYTES>', 'MTU of the TAPs', integer(68, 65_521))
    .option('--no-up', 'leave the TAPs down')
    .option('--persist', 'leave the TAPs behind when their last queue is closed', false)
    .option('--json', 'print JSON lines also on a terminal', false);
}

function allow(text: string, before: AllowEntry[]): AllowEntry[] {
  const [, user, taps] = /^([^:]+):(.+)$/.exec(text) ?? [];
  if (user === undefined || taps === undefined) {
    throw new InvalidArgumentError('It must be of the form 1000:vnet0 or alice:vm1-*.');
  }
  return [...before, { uid: uidOf(user), taps }];
}

/** `id` knows users wherever the system keeps them; Node knows only those who run it. */
function uidOf(user: string): number {
  if (/^\d+$/.test(user)) return Number(user);
  try {
    return Number(execFileSync('id', ['-u', '--', user], { stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    throw new InvalidArgumentError(`There is no user '${user}'.`);
  }
}
