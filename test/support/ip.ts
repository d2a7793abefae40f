/** The host's side of an interface, as an operator handles and sees it. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Runs ip(8), one line each, and blocks the event loop meanwhile. */
export function ip(...lines: string[]): void {
  run([], lines);
}

/** As {@link ip}, in a network namespace of the name. */
export function ipIn(namespace: string, ...lines: string[]): void {
  run(['-n', namespace], lines);
}

function run(options: string[], lines: string[]): void {
  const input = lines.join('\n');
  const { status, stderr } = spawnSync('ip', [...options, '-batch', '-'], { input });
  if (status !== 0) throw new Error(`ip: ${stderr}`);
}

/** A counter of an interface, as `tx_dropped`: the TAP's `tx` is what the host sends to the port. */
export function statistic(name: string, counter: string): number {
  return Number(readFileSync(`/sys/class/net/${name}/statistics/${counter}`, 'utf8'));
}
