/** Where the TypeScript driver's time goes, by function: a sampled run of the ring alone. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Contestant } from '../contestant.js';

/** What `--cpu-prof` writes, as far as it is used. */
export interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

export interface Share {
  /** `pop driver.js`. */
  place: string;
  /** Part of the time, from 0 to 1. */
  part: number;
}

/** Samples a run of sending 64 B frames in batches of 32. */
export async function profileRing(): Promise<Share[]> {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-bench-'));
  try {
    const node = ['--cpu-prof', '--cpu-prof-interval=200', `--cpu-prof-dir=${folder}`];
    const contestant = Contestant.ringOurs(['send', '64', '32'], node);
    for (let i = 0; i < 4; i++) await contestant.command(2_000_000);
    await contestant.finish();
    const [file = ''] = readdirSync(folder);
    return sharesOf(JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The functions in which time was spent, the most first; without waiting for input. */
export function sharesOf({ nodes, samples, timeDeltas }: CpuProfile): Share[] {
  const places = new Map(
    nodes.map(({ id, callFrame: { functionName, url } }) => [
      id,
      `${functionName || '(anonymous)'} ${basename(url)}`.trim(),
    ]),
  );
  const times = new Map<string, number>();
  let total = 0;
  samples.forEach((id, i) => {
    const place = places.get(id) ?? '';
    if (place === '(idle)') return;
    const time = timeDeltas[i] ?? 0;
    total += time;
    times.set(place, (times.get(place) ?? 0) + time);
  });
  return [...times]
    .map(([place, time]) => ({ place, part: time / total }))
    .sort((a, b) => b.part - a.part);
}
