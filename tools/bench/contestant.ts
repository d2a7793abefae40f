/** A program under measurement: its process, which obeys one command at a time. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Took } from './contestants/commands.js';
import { programPath } from './programs.js';

/** The longest that a command may take, in ms. */
const PATIENCE = 60_000;

export class Contestant {
  /** How the C programs stand in the results. */
  static readonly C = 'C program';
  /** As it stands in the results. */
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #done = new Set<string>();

  private constructor(name: string, command: readonly string[]) {
    this.name = name;
    const [program = '', ...args] = command;
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const output = this.#child.stdout as NonNullable<ChildProcess['stdout']>;
    this.#answers = createInterface({ input: output })[Symbol.asyncIterator]();
  }

  /** The library, as a Node program uses it. */
  static ours(...nodeArgs: string[]): Contestant {
    return new Contestant('vhost-net', [process.execPath, ...nodeArgs, script('port')]);
  }

  /** The library without vhost-net: this process serves the rings. */
  static inProcess(): Contestant {
    return new Contestant('vhost-net', [process.execPath, script('port'), 'in-process']);
  }

  /** The library at an end of a vhost-user connection, on a processor of its own, as DPDK's programs have. */
  static socket(end: 'front-end' | 'back-end'): Contestant {
    const command = ['taskset', '--cpu-list', '0', process.execPath, script(end)];
    return new Contestant('vhost-net', command);
  }

  /** The library, where nothing is left for the garbage collector. */
  static quiet(): Contestant {
    return new Contestant('vhost-net', [process.execPath, script('quiet')]);
  }

  static c(): Contestant {
    return new Contestant(Contestant.C, [programPath('vhost')]);
  }

  /** The TypeScript driver with a C device: `send|receive LENGTH BATCH`. */
  static ringOurs(words: readonly string[], nodeArgs: readonly string[] = []): Contestant {
    const main = fileURLToPath(new URL('./ring/driver-main.js', import.meta.url));
    return new Contestant('vhost-net', [process.execPath, ...nodeArgs, main, ...words]);
  }

  static ringC(words: readonly string[]): Contestant {
    return new Contestant(Contestant.C, [programPath('ring'), ...words]);
  }

  /** `fs.writeSync` and `fs.read` on the TAP. */
  static file(name: string): Contestant {
    return new Contestant(name, [process.execPath, script('file')]);
  }

  /** DPDK's testpmd with virtio-user. */
  static testpmd(): Contestant {
    return new Contestant('testpmd', [process.execPath, script('testpmd')]);
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Whether it is asked this for the first time and compiles as it goes. */
  mustWarmUp(what: string): boolean {
    if (this.name === Contestant.C || this.#done.has(what)) return false;
    this.#done.add(what);
    return true;
  }

  /** Sends a command and returns what it took. Throws where the program ended or takes too long. */
  async command(...words: readonly (string | number)[]): Promise<Took> {
    const line = words.join(' ');
    this.#child.stdin?.write(`${line}\n`);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.name}: ${line}: no answer`)), PATIENCE);
    });
    try {
      const { done, value } = await Promise.race([this.#answers.next(), late]);
      if (done) throw new Error(`${this.name} ended at: ${line}`);
      return JSON.parse(value) as Took;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Lets the process end by itself. */
  async finish(): Promise<void> {
    this.#child.stdin?.end();
    await once(this.#child, 'exit');
  }

  /** Ends the process, whatever it does. */
  end(): void {
    this.#child.kill('SIGKILL');
  }
}

type Script = 'port' | 'quiet' | 'file' | 'testpmd' | 'front-end' | 'back-end';

function script(name: Script): string {
  return fileURLToPath(new URL(`./contestants/${name}.js`, import.meta.url));
}
