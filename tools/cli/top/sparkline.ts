/** The last values of something, drawn small. */

const LEVELS = '▁▂▃▄▅▆▇█';

/** A character for each value, against the highest of them; a blank for nothing at all. */
export function sparkline(values: readonly number[]): string {
  const most = Math.max(...values, 0);
  const level = (value: number) => Math.ceil((value / most) * LEVELS.length) - 1;
  return values.map((value) => (value > 0 ? LEVELS[level(value)] : ' ')).join('');
}

/** The last `length` values of each name that is still there. */
export class History {
  readonly #length: number;
  #values = new Map<string, number[]>();

  constructor(length: number) {
    this.#length = length;
  }

  add(now: ReadonlyMap<string, number>): void {
    this.#values = new Map(
      [...now].map(([name, value]) => [
        name,
        [...(this.#values.get(name) ?? []), value].slice(-this.#length),
      ]),
    );
  }

  of(name: string): readonly number[] {
    return this.#values.get(name) ?? [];
  }
}
