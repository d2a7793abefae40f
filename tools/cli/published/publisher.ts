/** Publishes what the ports of this process count, for `top`. It never throws: this is not the main job. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { NetPort } from '../../../lib/index.js';
import { statOf } from '../top/proc-texts.js';
import { namesIn, ownFolder, type Publication } from './format.js';

export class Publisher {
  readonly #folder: string | undefined;
  readonly #file: string;
  readonly #startTime: number;
  readonly #remove = () => remove(this.#file);

  /** `folder` is made where it does not exist; without one nothing is published. */
  constructor(folder: string | undefined = ownFolder()) {
    this.#folder = folder;
    this.#file = `${folder}/${process.pid}.json`;
    this.#startTime = statOf(readFileSync('/proc/self/stat', 'utf8')).startTime;
    if (folder === undefined) return;
    sweep(folder);
    // Also where the process ends without a word.
    process.on('exit', this.#remove);
  }

  write(ports: readonly NetPort[], queueSize: number): void {
    if (this.#folder === undefined) return;
    try {
      const publication: Publication = {
        version: 1,
        pid: process.pid,
        startTime: this.#startTime,
        time: Date.now(),
        // What is on a socket is no interface of the host's, whose rows `top` has.
        ports: ports
          .filter(({ taps }) => taps.length > 0)
          .map(({ tap, pairCounters, pairBacklogs }) => ({
            tap: tap.interface.name,
            queueSize,
            pairs: pairCounters.map((counters, i) => ({
              ...counters,
              rxWaiting: pairBacklogs[i]?.rxWaiting ?? 0,
              txWaiting: pairBacklogs[i]?.txWaiting ?? 0,
            })),
          })),
      };
      mkdirSync(this.#folder, { recursive: true, mode: 0o755 });
      // A reader must not see half of it.
      const part = `${this.#file}.part`;
      writeFileSync(part, JSON.stringify(publication), { mode: 0o644 });
      renameSync(part, this.#file);
    } catch {
      // No such folder, or no room in it: `top` shows what the kernel knows.
    }
  }

  close(): void {
    process.off('exit', this.#remove);
    if (this.#folder !== undefined) this.#remove();
  }
}

/** Removes what processes that were killed left behind. */
function sweep(folder: string): void {
  for (const name of namesIn(folder)) {
    const pid = Number(/^(\d+)\.json(\.part)?$/.exec(name)?.[1]);
    if (!Number.isInteger(pid) || isAlive(pid)) continue;
    remove(`${folder}/${name}`);
  }
}

function remove(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // Another user's, or in a folder that is none.
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}
