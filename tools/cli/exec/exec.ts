/** `vhost-net exec TAP -- COMMAND`: runs a command with queues from a broker as its descriptors. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { requestQueues } from '../../../lib/index.js';

export interface ExecOptions {
  /** Path of the broker's socket. */
  broker: string;
  queues: number;
}

/** The command's descriptors begin behind its standard ones. */
const FIRST_FD = 3;
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs the command to its end, and returns its exit code as a shell would. */
export async function exec(
  tap: string,
  command: readonly string[],
  { broker, queues }: ExecOptions,
): Promise<number> {
  const pairs = await requestQueues(broker, tap, queues);
  const [file = '', ...args] = command.map((word) => fillIn(word, queues));
  const fds = [...pairs.map(({ tap }) => tap.fd), ...pairs.map(({ vhost }) => vhost.fd)];
  const child = spawn(file, args, { stdio: ['inherit', 'inherit', 'inherit', ...fds] });
  forwardSignals(child);
  const [[code, signal]] = await Promise.all([
    once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>,
    // The command has its own by now; a queue that it closes must be closed.
    ...pairs.flatMap(({ tap, vhost }) => [tap.closeAsync(), vhost.closeAsync()]),
  ]);
  return code ?? 128 + constants.signals[signal as NodeJS.Signals];
}

/** A word of the command with the numbers that its descriptors will have, as `3:4` for two queues. */
export function fillIn(word: string, queues: number): string {
  const from = (first: number) => Array.from({ length: queues }, (_, i) => first + i).join(':');
  return word
    .replaceAll('{tapfds}', from(FIRST_FD))
    .replaceAll('{vhostfds}', from(FIRST_FD + queues));
}

function forwardSignals(child: ChildProcess): void {
  for (const signal of FORWARDED) {
    process.on(signal, () => {
      // The terminal tells every process in its foreground of Ctrl-C, the command too.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
}
