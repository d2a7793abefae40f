/** GuestShell: commands for a guest of `small-guest.ts` over its serial port, and what they print. */
import { END_LINE, READY_LINE } from './small-guest.js';

export interface ShellResult {
  status: number;
  output: string;
}

export class GuestShell {
  /** All that the guest printed, its kernel's messages too. */
  text = '';
  readonly #type: (bytes: Uint8Array) => void;
  readonly #waiting = new Set<() => void>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(type: (bytes: Uint8Array) => void) {
    this.#type = type;
  }

  /** A byte that the guest printed. */
  receive(byte: number): void {
    // The terminal makes two of each end of a line.
    if (byte === 13) return;
    this.text += String.fromCharCode(byte);
    if (byte === 10) for (const look of this.#waiting) look();
  }

  /** Waits until the guest takes commands. */
  async ready(limit: number): Promise<void> {
    await this.waitFor(new RegExp(`^${READY_LINE}\n`, 'm'), limit);
  }

  /** Runs a command of one line; they take turns. `limit`: milliseconds. */
  run(command: string, limit = 120_000): Promise<ShellResult> {
    const result = this.#last.then(() => this.#run(command, limit));
    this.#last = result.catch(() => {});
    return result;
  }

  async #run(command: string, limit: number): Promise<ShellResult> {
    const start = this.text.length;
    this.#type(Buffer.from(`${command}\n`));
    const end = await this.waitFor(new RegExp(`^${END_LINE} (\\d+)\n`, 'm'), limit, start);
    return { status: Number(end[1]), output: this.text.slice(start, start + end.index) };
  }

  /** Waits for what the guest prints, from `start` on. Throws with the last of it where it does not. */
  async waitFor(pattern: RegExp, limit: number, start = 0): Promise<RegExpExecArray> {
    let timer: NodeJS.Timeout | undefined;
    let look: (() => void) | undefined;
    try {
      return await new Promise((resolve, reject) => {
        look = () => {
          const match = pattern.exec(this.text.slice(start));
          if (match) resolve(match);
        };
        this.#waiting.add(look);
        timer = setTimeout(() => {
          const last = this.text.slice(-2000);
          reject(
            new Error(`no ${pattern} from the guest within ${limit} ms; its last lines:\n${last}`),
          );
        }, limit);
        look();
      });
    } finally {
      clearTimeout(timer);
      if (look) this.#waiting.delete(look);
    }
  }
}
