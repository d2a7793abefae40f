/** The package as npm packs it, installed where there is nothing but Node and npm. */
import { execFile } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './sources.js';

/** Where the packed package stays after its tests. */
const FOLDER = join(ROOT, 'build/package');
/** All the programs there are in the world of {@link Desert}. */
const PROGRAMS = ['node', 'npm', 'npx', 'sh'];

export interface Outcome {
  code: number | string;
  stdout: string;
  stderr: string;
}

/** Packs the package, which builds its binaries where that is needed. Returns the tarball's path. */
export async function packed(): Promise<string> {
  // Elsewhere at first: building the addon anew empties the folder of builds.
  const scratch = mkdtempSync(join(tmpdir(), 'vhost-net-packed-'));
  try {
    const pack = ['pack', '--pack-destination', scratch];
    const { code, stderr } = await execute('npm', pack, { cwd: ROOT });
    if (code !== 0) throw new Error(`npm pack: ${code}\n${stderr}`);
    rmSync(FOLDER, { recursive: true, force: true });
    cpSync(scratch, FOLDER, { recursive: true });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const [tarball, ...others] = readdirSync(FOLDER);
  if (tarball === undefined || others.length > 0) throw new Error('npm pack made no one tarball');
  return join(FOLDER, tarball);
}

/** An empty project with no registry, compiler, headers or cache at hand. */
export class Desert {
  readonly #folder = mkdtempSync(join(tmpdir(), 'vhost-net-desert-'));
  readonly project = join(this.#folder, 'project');

  constructor() {
    const bin = join(this.#folder, 'bin');
    for (const folder of [bin, this.project]) mkdirSync(folder);
    for (const program of PROGRAMS) symlinkSync(pathOf(program), join(bin, program));
  }

  run(program: string, ...args: string[]): Promise<Outcome> {
    const bin = join(this.#folder, 'bin');
    return execute(join(bin, program), args, {
      cwd: this.project,
      env: {
        PATH: bin,
        HOME: this.#folder,
        npm_config_registry: 'http://127.0.0.1:9',
        npm_config_cache: join(this.#folder, 'cache'),
        npm_config_offline: 'true',
        npm_config_update_notifier: 'false',
      },
    });
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Runs a program to its end. Never rejects for what it does. */
export function execute(
  file: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const limits = { timeout: 300_000, killSignal: 'SIGKILL', maxBuffer: 1 << 24 } as const;
    execFile(file, args, { ...limits, ...options }, (error, stdout, stderr) => {
      resolve({ code: error ? (error.signal ?? error.code ?? -1) : 0, stdout, stderr });
    });
  });
}

function pathOf(program: string): string {
  if (program === 'node') return process.execPath;
  for (const folder of (process.env.PATH ?? '').split(':')) {
    try {
      const path = realpathSync(join(folder, program));
      // npm run puts links of its own first.
      if (!folder.includes('node_modules')) return path;
    } catch {
      // Not in this folder.
    }
  }
  throw new Error(`${program} is not installed`);
}
