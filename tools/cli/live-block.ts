/** A few lines at the bottom of a terminal that are drawn over and over. */

export interface Terminal {
  write(text: string): void;
  /** Of the terminal as it is now, in characters. */
  size(): { columns: number; rows: number };
}

/** The terminal that stdout is; without a size of its own it has 80 by 24. */
export const stdoutTerminal: Terminal = {
  write: (text) => process.stdout.write(text),
  size: () => ({ columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 }),
};

/** Lines that fit: what wraps or scrolls cannot be drawn over. */
export function fitLines(lines: readonly string[], columns: number, rows: number): string[] {
  const most = Math.max(1, rows - 1);
  const shown =
    lines.length <= most
      ? lines
      : [...lines.slice(0, most - 1), `… ${lines.length - most + 1} more lines`];
  return shown.map((line) => line.slice(0, Math.max(0, columns - 1)));
}

export class LiveBlock {
  readonly #terminal: Terminal;
  /** Lines that stand there. */
  #height = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Draws these lines over those before. */
  draw(lines: readonly string[]): void {
    const { columns, rows } = this.#terminal.size();
    const shown = fitLines(lines, columns, rows);
    this.clear();
    this.#terminal.write(shown.join('\n'));
    this.#height = shown.length;
  }

  /** Takes the lines away: what is written next stands in their place. */
  clear(): void {
    if (this.#height > 1) this.#terminal.write(`\x1b[${this.#height - 1}A`);
    if (this.#height > 0) this.#terminal.write('\r\x1b[2K');
    if (this.#height > 1) this.#terminal.write('\x1b[J');
    this.#height = 0;
  }
}
