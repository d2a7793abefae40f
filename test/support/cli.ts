/** The compiled command, run as its users run it. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cleanup } from './cleanup.js';
import { until } from './host.js';

export const CLI = fileURLToPath(new URL('../../dist/bin/vhost-net.js', import.meta.url));

/** A JSON line of a command. */
export interface Line {
  event: string;
  [field: string]: unknown;
}

/** A run of the command, its output gathered. It is killed when the test is over. */
export class Run {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  constructor(program: string, args: readonly string[], options: SpawnOptions = {}) {
    this.child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...options,
      env: { ...process.env, NO_COLOR: '1', ...options.env },
    });
    this.child.stdout?.on('data', (chunk) => {
      this.stdout += chunk;
    });
    this.child.stderr?.on('data', (chunk) => {
      this.stderr += chunk;
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.on('error', reject);
      this.child.on('close', (code, signal) => resolve({ code, signal }));
    });
    cleanup(async () => {
      // What it started would go on, and keep its output open.
      const own = this.children;
      this.child.kill('SIGKILL');
      for (const pid of own) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended by itself meanwhile.
        }
      }
      await this.ended;
    });
  }

  /** The processes that it started and that run; none once it ended. */
  get children(): number[] {
    const { pid } = this.child;
    try {
      const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
      return list.split(' ').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  }

  /** The JSON lines so far. */
  get lines(): Line[] {
    return this.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  }

  /** The first line of this event, behind as many others of it as `skip`. Fails where it does not come. */
  async line(event: Line['event'], skip = 0): Promise<Line> {
    const find = () => this.lines.filter((line) => line.event === event)[skip];
    await until(
      () => find() !== undefined || this.child.exitCode !== null,
      `a line '${event}' of: ${this.stdout}${this.stderr}`,
    );
    const found = find();
    if (!found) throw new Error(`no line '${event}' in: ${this.stdout}${this.stderr}`);
    return found;
  }

  /** The exit code, once it ended. */
  async exitCode(): Promise<number | null> {
    return (await this.ended).code;
  }
}

/** `vhost-net` with these arguments. */
export function cli(args: readonly string[], options: SpawnOptions = {}): Run {
  return new Run(process.execPath, [CLI, ...args], options);
}

/** Any other program, run to its end. */
export async function program(
  name: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const run = new Run(name, args);
  const { code } = await run.ended;
  return { code, stdout: run.stdout, stderr: run.stderr };
}
