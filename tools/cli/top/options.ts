/** The options of `vhost-net top`. */
import { type Command, InvalidArgumentError } from 'commander';
import { checkInterfaceName } from '../../../lib/index.js';
import { integer, seconds } from '../number-options.js';

export interface TopOptions {
  /** Seconds. */
  interval: number;
  /** Intervals until it ends. Default: none. */
  count?: number;
  json: boolean;
}

export function addTopOptions(command: Command): Command {
  return command
    .argument('[taps...]', 'only these TAPs (default: all)', tapName)
    .option('--interval <SECONDS>', 'time between two looks, at least 0.1', interval, 1)
    .option('--count <N>', 'end after this many looks', integer(1, 2 ** 31))
    .option('--json', 'print a JSON line for each look', false);
}

function interval(text: string): number {
  const value = seconds(text);
  if (value < 0.1) throw new InvalidArgumentError('It must be 0.1 seconds or more.');
  return value;
}

function tapName(text: string, before: string[] = []): string[] {
  try {
    return [...before, checkInterfaceName(text)];
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
}
