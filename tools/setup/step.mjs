// @ts-check
/** One line per thing that is done, other programs' output only when they fail. */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

/**
 * Ends the program.
 * @param {string} message @returns {never}
 */
export function fail(message) {
  process.stderr.write(`setup: ${message}\n`);
  process.exit(1);
}

/**
 * Does `action` behind a line that says how long it took.
 * @param {string} name @param {() => Promise<unknown>} action
 */
export async function step(name, action) {
  const start = performance.now();
  process.stderr.write(`setup: ${name} …`);
  try {
    await action();
  } catch (error) {
    process.stderr.write(' failed\n');
    if (!(error instanceof CommandError)) throw error;
    process.stderr.write(error.output);
    fail(error.message);
  }
  process.stderr.write(` ${Math.ceil((performance.now() - start) / 1000)} s\n`);
}

class CommandError extends Error {
  /** @param {string} message @param {string} output */
  constructor(message, output) {
    super(message);
    this.output = output;
  }
}

/**
 * Runs a program in the repository. With `show` its output is the user's and its failure is ours.
 * @param {string} command @param {string[]} args
 * @param {{ show?: boolean, env?: Record<string, string> }} [options]
 * @returns {Promise<void>}
 */
export function exec(command, args, { show = false, env = {} } = {}) {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: show ? 'inherit' : ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    const name = [command, ...args].join(' ');
    child.on('error', (error) => reject(new CommandError(`${name}: ${error.message}`, output)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve();
      else if (show) process.exit(code ?? 1);
      else reject(new CommandError(`${name} ended with ${code ?? signal}`, output));
    });
  });
}
