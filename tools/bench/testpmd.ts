/**
 * DPDK's testpmd at its prompt, told to move frames and asked how many. It needs neither huge pages nor rights, and
 * keeps a processor busy only while it forwards.
 */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

const PROGRAM = 'dpdk-testpmd';
/** The longest that it may take for an answer, in ms; and between two looks at what it said. */
const PATIENCE = 30_000;
const PAUSE = 5;
/** Characters of its output that are kept, the last ones. */
const KEPT = 64 * 1024;

export interface TestpmdOptions {
  /** Its only port, as `--vdev` has it. */
  device: string;
  /** What tells its files from those of others. */
  name: string;
  /** The processor that forwards, 0 or 1; the other one waits at the prompt. Default: 1. */
  processor?: 0 | 1;
  /** Arguments of testpmd itself, as `--rxd=512`. */
  more?: readonly string[];
}

export class Testpmd {
  readonly #child: ChildProcessWithoutNullStreams;
  /** Apart: what it writes to the one lies in the middle of a word of the other. */
  readonly #said = { stdout: '', stderr: '' };

  private constructor({ device, name, processor = 1, more = [] }: TestpmdOptions) {
    // To a pipe it would write only when it ends.
    this.#child = spawn('stdbuf', [
      ...['-oL', PROGRAM, '-l', '0,1', '--main-lcore', String(1 - processor)],
      ...['--no-huge', '-m', '256', '--no-pci', '--no-telemetry'],
      ...[`--file-prefix=${name}`, '--vdev', device, '--', '-i', '--total-num-mbufs=4096', ...more],
    ]);
    for (const name of ['stdout', 'stderr'] as const) {
      this.#child[name].setEncoding('utf8').on('data', (text: string) => {
        this.#said[name] = (this.#said[name] + text).slice(-KEPT);
      });
    }
    // What ended is noticed by who asks it something.
    this.#child.stdin.on('error', () => {});
    this.#child.on('error', (error) => {
      this.#said.stderr += error.message;
    });
  }

  /** Whether there is one that can run: it wants two processors. */
  static isInstalled(): boolean {
    return cpus().length > 1 && spawnSync(PROGRAM, ['--version']).error === undefined;
  }

  /** Starts it, and waits for its prompt: a back end listens then, a front end is connected. */
  static async start(options: TestpmdOptions): Promise<Testpmd> {
    const testpmd = new Testpmd(options);
    try {
      await testpmd.tell('', /testpmd> /);
    } catch (error) {
      testpmd.end();
      throw error;
    }
    return testpmd;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Writes lines to its prompt, and waits until it says `answer`. Returns what it said. */
  async tell(lines: string, answer: RegExp): Promise<string> {
    const said = this.#said;
    said.stdout = said.stderr = '';
    this.#child.stdin.write(lines);
    for (let waited = 0; !answer.test(said.stdout) && !answer.test(said.stderr); waited += PAUSE) {
      if (waited > PATIENCE || this.#ended) {
        throw new Error(`${PROGRAM}: ${said.stdout}${said.stderr}`);
      }
      await sleep(PAUSE);
    }
    return said.stdout + said.stderr;
  }

  /** Lets it end by itself. */
  async quit(): Promise<void> {
    this.#child.stdin.write('quit\n');
    while (!this.#ended) await sleep(PAUSE);
  }

  /** Ends it, whatever it does. */
  end(): void {
    this.#child.kill('SIGKILL');
  }

  get #ended(): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    return pid === undefined || exitCode !== null || signalCode !== null;
  }
}
