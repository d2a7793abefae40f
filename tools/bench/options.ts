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

/** What every benchmark can be told. */
export interface CommonOptions {
  quick: boolean;
  cases: RegExp | undefined;
  json: string | undefined;
  plot: string | undefined;
}

export interface Options extends CommonOptions {
  kernel: string | undefined;
  /** Only the ring-only benchmark. */
  ring: boolean;
}

export const FULL: Effort = { rounds: 5, roundMs: 200, warmUpMs: 3000, quick: false };
export const QUICK: Effort = { rounds: 7, roundMs: 120, warmUpMs: 2000, quick: true };

interface CommonGiven {
  quick?: true;
  case?: string;
  json?: string;
  plot?: string;
}

interface Given extends CommonGiven {
  kernel?: string;
  ring?: true;
}

/** Parses the arguments after `node main.js`; ends the process for bad ones and `--help`. */
export function parseOptions(argv: readonly string[]): Options {
  const given = commonOptions('bench')
    .description('Measures the library beside a C program and fs on the same vhost-net.')
    .option('-k, --kernel <name>', 'measure in the virtual machine, under this kernel')
    .option('--ring', 'only the ring, without a kernel: on this machine itself')
    .parse(argv, { from: 'user' })
    .opts<Given>();
  return { ...commonOf(given), kernel: given.kernel, ring: given.ring ?? false };
}

/** As {@link parseOptions}, those of `npm run bench:user`. */
export function parseUserOptions(argv: readonly string[]): CommonOptions {
  const given = commonOptions('bench:user')
    .description('Measures vhost-user beside DPDK, and the in-process back end beside fs.')
    .parse(argv, { from: 'user' })
    .opts<CommonGiven>();
  return commonOf(given);
}

function commonOptions(name: string): Command {
  return new Command(name)
    .option('-q, --quick', 'two minutes: fewer cases, fewer rounds')
    .option('-c, --case <pattern>', 'only cases that match this regular expression')
    .option('--json <file>', 'write the results there')
    .option('--plot <file>', 'draw the ratios there, as SVG');
}

function commonOf(given: CommonGiven): CommonOptions {
  const file = (path?: string) => (path === undefined ? undefined : resolve(path));
  return {
    quick: given.quick ?? false,
    cases: given.case === undefined ? undefined : new RegExp(given.case),
    json: file(given.json),
    plot: file(given.plot),
  };
}
