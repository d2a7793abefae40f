/**
 * What `vm` exits with: the command's own status, or one of ours.
 * The numbers are those of timeout(1), env(1) and the shell.
 */
import { constants } from 'node:os';

/** The command ran longer than `--timeout`. */
export const STATUS_TIMEOUT = 124;
/** The machine failed, not the command: bad usage, no kernel, no boot, a panic, a guest that stands still. */
export const STATUS_VM_FAILED = 125;

/** There is no such program. */
export const STATUS_NOT_FOUND = 127;

export type Signal = keyof typeof constants.signals;

/** The shell's status for a process that a signal ended: 128 + its number. */
export function signalStatus(signal: Signal): number {
  return 128 + constants.signals[signal];
}

/** One line for each status that needs explaining, for `--help`. */
export const STATUS_HELP = [
  'the command’s own, 128+N if signal N killed it',
  `${STATUS_TIMEOUT}  the command ran longer than --timeout`,
  `${STATUS_VM_FAILED}  the machine failed: bad usage, no kernel, no boot, a kernel panic, a guest that stands still`,
  '126  the command cannot be executed',
  `${STATUS_NOT_FOUND}  the command was not found`,
];
