/**
 * Runs modules in Node processes of their own, against a copy of the library as it was built: what ends a process, or
 * needs one that began in a special way.
 */
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const BUILT = 'build/Release/vhost_net.node';
/** The addon as it was built for the tests. */
export const ADDON = join(ROOT, BUILT);

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface ChildOptions {
  /** Options of Node, as `--expose-gc`. */
  node?: string[];
  env?: Record<string, string>;
  /** Where the library is; default: one copy for all children of a test file. */
  library?: string;
  /** Descriptors that it may have open. */
  files?: number;
  /** Kills the child after this many ms. Default: 50 000. */
  limit?: number;
}

const folders: string[] = [];
let shared: string | undefined;
let modules = 0;

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  shared = undefined;
});

/**
 * A folder with the library as JavaScript in `lib/` or `dist/lib/`, and its dependencies. Gone after
 * the file's last test.
 */
export function libraryCopy(options: { under?: 'lib' | 'dist/lib'; addon: boolean }): string {
  const { under = 'lib', addon } = options;
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-test-'));
  folders.push(folder);
  cpSync(join(ROOT, 'dist/lib'), join(folder, under), {
    recursive: true,
    filter: (path) => !/\.(d\.ts|map)$/.test(path),
  });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  if (addon) {
    mkdirSync(join(folder, 'build/Release'), { recursive: true });
    copyFileSync(ADDON, join(folder, BUILT));
  }
  return folder;
}

/** Runs a module's source, in which the library is `./lib/index.js`, to its end. */
export function runModule(source: string, options: ChildOptions = {}): Promise<Ended> {
  const folder = options.library ?? sharedCopy();
  const file = join(folder, `child-${++modules}.mjs`);
  writeFileSync(file, source);
  const { DEBUG: _, NODE_OPTIONS: __, ...env } = process.env;
  return new Promise((done, failed) => {
    const command = [process.execPath, ...(options.node ?? []), file];
    if (options.files) command.unshift('sh', '-c', `ulimit -n ${options.files}; exec "$0" "$@"`);
    const child = spawn(command[0] as string, command.slice(1), {
      cwd: folder,
      env: { ...env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.limit ?? 50_000,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => {
      stdout += data;
    });
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    child.on('error', failed);
    child.on('close', (code, signal) => done({ code, signal, stdout, stderr }));
  });
}

function sharedCopy(): string {
  shared ??= libraryCopy({ addon: true });
  return shared;
}
