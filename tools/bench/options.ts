/** The command line of `npm run bench`. */
import { resolve } from 'node:path';
import { Command } from 'commander';

/** How much is measured. */
export interface Effort {
  /** Rounds of each program in each case. */
  rounds: number;
  /** Length of a round, in ms. */
  roundMs: number;
  /** How long a program does a new kind of thing before it is measured, in ms: until its code is compiled. */
  warmUpMs: number;
  /** Only the cases that the table of targets names. */
  quick: boolean;
}

export interface Options {
  kernel: string | undefined;
  quick: boolean;
  cases: RegExp | undefined;
  json: string | undefined;
  plot: string | undefined;
  /** Only the ring-only benchmark. */
  ring: boolean;
}

export const FULL: Effort = { rounds: 5, roundMs: 200, warmUpMs: 3000, quick: false };
export const QUICK: Effort = { rounds: 7, roundMs: 120, warmUpMs: 2000, quick: true };

interface Given {
  kernel?: string;
  quick?: true;
  case?: string;
  json?: string;
  plot?: string;
  ring?: true;
}

/** Parses the arguments after `node main.js`; ends the process for bad ones and `--help`. */
export function parseOptions(argv: readonly string[]): Options {
  const program = new Command('bench')
    .description('Measures the library beside a C program and fs on the same vhost-net.')
    .option('-k, --kernel <name>', 'measure in the virtual machine, under this kernel')
    .option('-q, --quick', 'two minutes: fewer cases, fewer rounds')
    .option('-c, --case <pattern>', 'only cases that match this regular expression')
    .option('--json <file>', 'write the results there')
    .option('--plot <file>', 'draw the ratios there, as SVG')
    .option('--ring', 'only the ring, without a kernel: on this machine itself')
    .parse(argv, { from: 'user' });
  const given = program.opts<Given>();
  const file = (path?: string) => (path === undefined ? undefined : resolve(path));
  return {
    kernel: given.kernel,
    quick: given.quick ?? false,
    cases: given.case === undefined ? undefined : new RegExp(given.case),
    json: file(given.json),
    plot: file(given.plot),
    ring: given.ring ?? false,
  };
}
