/** The programs that the cases share: started when first needed, each with a TAP of its own. */
import { BenchTap } from './bench-tap.js';
import { Contestant } from './contestant.js';
import type { Effort } from './options.js';

export interface Lane {
  contestant: Contestant;
  tap: BenchTap;
}

/** Bytes of a receive buffer, as a port has it by default; and of one that takes any frame. */
export const BUFFER_SIZE = 1600;
export const LARGEST_BUFFER_SIZE = 65_600;

/** Who takes part; ours is always the first. */
export type Role = 'ours' | 'inProcess' | 'c' | 'fs' | 'testpmd';

const STARTERS: Record<Role, () => Contestant> = {
  ours: () => Contestant.ours(),
  inProcess: () => Contestant.inProcess(),
  c: () => Contestant.c(),
  fs: () => Contestant.file('fs'),
  testpmd: () => Contestant.testpmd(),
};

export class Stage {
  readonly effort: Effort;
  readonly #contestants = new Map<Role, Contestant>();
  readonly #lanes = new Map<Role, Lane>();
  #opened = '';

  constructor(effort: Effort) {
    this.effort = effort;
  }

  contestant(role: Role): Contestant {
    const running = this.#contestants.get(role) ?? STARTERS[role]();
    this.#contestants.set(role, running);
    return running;
  }

  /** Programs, each open on a TAP with this many queue pairs and receive buffers of so many bytes. */
  async lanes(roles: readonly Role[], pairs: number, bufferSize = BUFFER_SIZE): Promise<Lane[]> {
    const wanted = `${pairs} ${bufferSize}`;
    if (wanted !== this.#opened) await this.clear();
    this.#opened = wanted;
    const lanes: Lane[] = [];
    for (const role of roles) {
      const lane = this.#lanes.get(role) ?? (await this.#open(role, pairs, bufferSize));
      this.#lanes.set(role, lane);
      lanes.push(lane);
    }
    return lanes;
  }

  /** Closes what {@link Stage.lanes} opened. */
  async clear(): Promise<void> {
    for (const { contestant, tap } of this.#lanes.values()) {
      await contestant.command('close');
      tap.remove();
    }
    this.#lanes.clear();
  }

  /** Ends every program. */
  end(): void {
    for (const contestant of this.#contestants.values()) contestant.end();
  }

  async #open(role: Role, pairs: number, bufferSize: number): Promise<Lane> {
    const contestant = this.contestant(role);
    const tap = new BenchTap(pairs);
    await contestant.command('open', tap.name, pairs, bufferSize);
    return { contestant, tap };
  }
}

/** Calls `turn` for every one, round by round; who begins changes, so that none is always the first. */
export async function interleave<T>(
  all: readonly T[],
  rounds: number,
  turn: (one: T, index: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < all.length; i++) {
      const index = (round + i) % all.length;
      await turn(all[index] as T, index);
    }
  }
}
