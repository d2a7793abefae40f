/** `vhost-net doctor`: what this host can do, one line each, and what to do about the rest. */
import { styleText } from 'node:util';
import { columns, EXIT_DONE, EXIT_HOST } from '../output.js';
import type { Check, Status } from './check.js';
import { runChecks } from './checks.js';

const MARKS: Readonly<Record<Status, string>> = { ok: 'ok', missing: '--', failed: 'NO' };
const COLOURS = { ok: 'green', missing: 'yellow', failed: 'red' } as const;

export async function doctor(options: { json?: boolean }): Promise<number> {
  const checks = await runChecks();
  const possible = checks.every(({ status }) => status !== 'failed');
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ possible, checks }, null, 2)}\n`);
  } else {
    process.stdout.write(`${report(checks).join('\n')}\n\n${verdict(possible)}\n`);
  }
  return possible ? EXIT_DONE : EXIT_HOST;
}

function report(checks: readonly Check[]): string[] {
  const lines = columns(checks.map(({ status, name, value }) => [MARKS[status], name, value]));
  return checks.flatMap(({ status, hint }, i) => {
    const line = lines[i] as string;
    const shown = [styleText(COLOURS[status], line.slice(0, 2)) + line.slice(2)];
    if (hint !== undefined) shown.push(`      hint: ${hint}`);
    return shown;
  });
}

function verdict(possible: boolean): string {
  return possible
    ? 'This host can attach vhost-net to a TAP: vhost-net attach NAME'
    : 'This host cannot attach vhost-net to a TAP: see the lines marked NO';
}
