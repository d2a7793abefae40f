/** A foreign program as the other end of a test: its output bounded, its life too. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cleanup } from './cleanup.js';
import { until } from './host.js';

/** Characters of output that are kept, the last ones: QEMU in a bad mood writes thousands of lines a second. */
const KEPT = 64 * 1024;
/** How long a peer may run, in ms: some of these programs never rest. */
const LIFE = 240_000;
/** How long it may take to say what is waited for, in ms: started, each is busy for seconds, on a busy machine for longer. */
const PATIENCE = 90_000;
/** How long it may take to end when it is asked to, in ms. */
const FAREWELL = 60_000;

/** A folder of the test's own, gone when the test is over. */
export function peerFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-peer-'));
  cleanup(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A program that runs until the test is over, at the latest. */
export class PeerProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #name: string;
  /** Apart: what it writes to the one lies in the middle of a word of the other. */
  readonly #said = { stdout: '', stderr: '' };
  #ended: number | NodeJS.Signals | undefined;
  /** Resolves with its exit code or the signal that ended it. */
  readonly end: Promise<number | NodeJS.Signals>;

  constructor(program: string, args: readonly string[], env: Record<string, string> = {}) {
    this.#name = program;
    this.#child = spawn(program, args, { env: { ...process.env, ...env } });
    // What it was told when it was about to end is lost, and no error of the test's.
    this.#child.stdin.on('error', () => {});
    for (const name of ['stdout', 'stderr'] as const) {
      this.#child[name].setEncoding('utf8').on('data', (text: string) => {
        this.#said[name] = (this.#said[name] + text).slice(-KEPT);
      });
    }
    this.#child.on('error', (error) => {
      this.#said.stderr += String(error);
      this.#ended ??= -1;
    });
    this.end = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => {
        this.#ended = signal ?? code ?? -1;
        resolve(this.#ended);
      });
    });
    const limit = setTimeout(() => this.#child.kill('SIGKILL'), LIFE);
    cleanup(async () => {
      clearTimeout(limit);
      await this.kill();
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** The last of what it wrote: to its standard output, then to the other. */
  get output(): string {
    return this.#said.stdout + this.#said.stderr;
  }

  /** Its exit code or the signal that ended it, once it ended. */
  get ended(): number | NodeJS.Signals | undefined {
    return this.#ended;
  }

  /** Calls `listener` with what it writes to its standard output from now on. */
  onOutput(listener: (text: string) => void): void {
    this.#child.stdout.on('data', listener);
  }

  write(text: string | Uint8Array): void {
    this.#child.stdin.write(text);
  }

  /** Writes to its standard input, and waits until it says `answer` after that. */
  async tell(text: string, answer: RegExp): Promise<string> {
    this.#said.stdout = this.#said.stderr = '';
    if (text !== '') this.#child.stdin.write(text);
    return this.says(answer);
  }

  /** What it said, once `words` are among it. Fails where it ends before. */
  async says(words: RegExp): Promise<string> {
    const said = () => Object.values(this.#said).some((text) => words.test(text));
    const over = () => said() || this.#ended !== undefined;
    await until(over, `${this.#name} says ${words}`, PATIENCE).catch((error: Error) => {
      throw new Error(`${error.message}; it said: ${this.output}`);
    });
    if (said()) return this.output;
    throw new Error(
      `${this.#name} ended with ${this.#ended}, not having said ${words}: ${this.output}`,
    );
  }

  /** Asks it to end, and waits for it: SIGINT, or the lines that it takes for that. Returns how it ended. */
  async stop(farewell?: string): Promise<number | NodeJS.Signals> {
    if (this.#ended === undefined) {
      if (farewell === undefined) this.#child.kill('SIGINT');
      else this.#child.stdin.write(farewell);
    }
    return this.#end();
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (this.#ended === undefined) this.#child.kill('SIGKILL');
    await this.#end();
  }

  async #end(): Promise<number | NodeJS.Signals> {
    await until(() => this.#ended !== undefined, `${this.#name} ends`, FAREWELL);
    return this.#ended ?? -1;
  }
}
