/** The C programs, compiled when their sources are newer. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The package's folder; this file runs from `dist/tools/bench/`. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SOURCES = join(ROOT, 'tools/bench/c');
const PROGRAMS = join(ROOT, 'build/bench');

const PARTS = {
  vhost: ['vhost.c', 'pair.c'],
  wire: ['wire.c'],
  ring: ['ring.c'],
} as const;

export type Program = keyof typeof PARTS;

/** The path of a program that {@link compilePrograms} made. */
export function programPath(name: Program): string {
  return join(PROGRAMS, name);
}

/** Throws what `cc` says. */
export function compilePrograms(): void {
  mkdirSync(PROGRAMS, { recursive: true });
  const changed = Math.max(...readdirSync(SOURCES).map((file) => modified(join(SOURCES, file))));
  for (const [name, parts] of Object.entries(PARTS)) {
    const program = join(PROGRAMS, name);
    if (modified(program) > changed) continue;
    const args = ['-O2', '-Wall', '-Wextra', '-D_GNU_SOURCE', '-o', program, ...parts];
    execFileSync('cc', args, { cwd: SOURCES, stdio: ['ignore', 'inherit', 'inherit'] });
  }
}

function modified(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -1;
}

/** Runs a program to its end; what it printed. */
export async function runFile(name: Program, args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(programPath(name), args)).stdout;
}
