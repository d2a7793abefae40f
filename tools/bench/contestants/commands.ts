/**
 * What every program under measurement understands: a line with a command on its standard input, a line
 * of JSON with what it took on its standard output. `c/vhost.c` says what the commands mean.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** What a command took. */
export interface Took {
  frames: number;
  /** Nanoseconds on the clock. */
  ns: number;
  /** Nanoseconds that the main thread ran. */
  cpu: number;
  /** Bytes that the library allocated, where somebody looked. */
  garbage?: number;
}

/** The main thread's time on a processor, in ns: that of other threads, as a vhost worker's, is not in it. */
export function mainThreadTime(): number {
  const [time] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ');
  return Number(time);
}

/** Runs `work`, which handles `frames` frames. */
export async function clocked(frames: number, work: () => unknown): Promise<Took> {
  const cpu = mainThreadTime();
  const start = process.hrtime.bigint();
  await work();
  const ns = Number(process.hrtime.bigint() - start);
  return { frames, ns, cpu: mainThreadTime() - cpu };
}

export type Handler = (words: string[]) => Promise<object>;

/** Obeys the commands that come, one after another, until the input ends. */
export async function obey(handlers: Record<string, Handler>): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [name = '', ...words] = line.split(' ');
    const handler = handlers[name];
    if (!handler) throw new Error(`unknown command: ${line}`);
    process.stdout.write(`${JSON.stringify(await handler(words))}\n`);
  }
}
