/** The command line of `vm`. */
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_LINE, KERNEL_LINES } from './kernels.js';
import { STATUS_HELP } from './status.js';

export interface Options {
  kernels: string[];
  modulesDir: string | undefined;
  modules: string[];
  env: Record<string, string>;
  shares: string[];
  memory: number;
  cpus: number;
  timeout: number;
  accel: 'tcg' | 'kvm';
  console: string | undefined;
  quiet: boolean;
  list: boolean;
  fetch: boolean;
  command: string[];
}

const collect = (value: string, before: string[] = []) => [...before, value];

function wholeNumber(least: number) {
  return (text: string) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`It must be a whole number of at least ${least}.`);
    }
    return value;
  };
}

function assignment(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new InvalidArgumentError('It must be NAME=VALUE.');
  return { ...before, [name]: value };
}

const toAbsolute = (path: string) => resolve(path);
const collectAbsolute = (path: string, before?: string[]) => collect(toAbsolute(path), before);

/** What commander hands over: undefined for what was not given and has no default. */
interface Given {
  kernel?: string[];
  modulesDir?: string;
  modules?: string[];
  env?: Record<string, string>;
  share?: string[];
  memory: number;
  cpus: number;
  timeout: number;
  accel: 'tcg' | 'kvm';
  console?: string;
  quiet?: true;
  list?: true;
  fetch?: true;
}

/** Parses the arguments after `node main.js`; throws `CommanderError` for bad ones and `--help`. */
export function parseOptions(argv: readonly string[]): Options {
  const program = commandLine().parse(argv, { from: 'user' });
  const {
    kernel = [DEFAULT_LINE],
    modules = [],
    env = {},
    share = [],
    ...given
  } = program.opts<Given>();
  const { quiet = false, list = false, fetch = false } = given;
  const command = program.args;
  if (!list && !fetch) {
    if (command.length === 0) program.error('error: a COMMAND is missing; see --help');
    if (kernel.length > 1) program.error('error: several --kernel make sense only with --fetch');
  }
  return {
    ...{ kernels: kernel, modulesDir: given.modulesDir, modules, env, shares: share },
    ...{ memory: given.memory, cpus: given.cpus, timeout: given.timeout, accel: given.accel },
    ...{ console: given.console, quiet, list, fetch, command },
  };
}

function commandLine(): Command {
  return new Command('vm')
    .description(
      'Boots a real Linux kernel in QEMU and runs a command there, on this machine’s files.',
    )
    .usage('[options] -- COMMAND…')
    .argument('[command...]', 'what to run, in this folder')
    .option(
      '-k, --kernel <name>',
      `a line below or the path of an image (default: ${DEFAULT_LINE})`,
      collect,
    )
    .option(
      '--modules-dir <dir>',
      'modules of a kernel given by path (default: /lib/modules/RELEASE)',
      toAbsolute,
    )
    .option('--modules <name>', 'one more module to load; repeatable', collect)
    .option('--env <name=value>', 'one more environment variable; repeatable', assignment)
    .option('--share <dir>', 'a folder the command may write to; repeatable', collectAbsolute)
    .option('--memory <mib>', 'memory of the guest', wholeNumber(256), 4096)
    .option('--cpus <number>', 'processors of the guest', wholeNumber(1), 2)
    .option(
      '--timeout <seconds>',
      'the longest the boot and the command may take',
      wholeNumber(1),
      600,
    )
    .addOption(
      new Option('--accel <how>', 'how QEMU runs the guest').choices(['tcg', 'kvm']).default('tcg'),
    )
    .option('--console <file>', 'keep what the guest’s kernel prints', toAbsolute)
    .option('-q, --quiet', 'say nothing but errors')
    .option('--list', 'show the kernels known')
    .option('--fetch', 'only download the kernels')
    .addHelpText('after', helpText())
    .exitOverride();
}

function helpText(): string {
  const lines = KERNEL_LINES.map(
    ({ line, suite, why }) => `  ${line.padEnd(5)} Debian ${suite}: ${why}`,
  );
  return [
    '',
    'Kernels:',
    ...lines,
    '',
    'Exit status:',
    ...STATUS_HELP.map((line) => `  ${line}`),
    '',
    'The guest sees all of this machine’s files; what it writes outside --share is lost.',
    '',
    'Examples:',
    '  vm -- uname -r',
    '  vm --kernel 6.1 -- npx vitest run --project kernel',
    '  vm --kernel 7.3 --share results -- sh -c "dmesg > results/dmesg"',
    '  vm --kernel /boot/vmlinuz-$(uname -r) -- ls -l /dev/vhost-net',
    '  vm --fetch --kernel 6.1 --kernel 7.3',
  ].join('\n');
}
