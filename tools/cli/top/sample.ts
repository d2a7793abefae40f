/** All that `top` sees at one moment. */
import { readFileSync } from 'node:fs';
import type { Publication } from '../published/format.js';
import { readPublications } from '../published/read.js';
import { attempt, findHolders, type Holder } from './holders.js';
import { type DeviceCounters, devicesOf, runTimeOf } from './proc-texts.js';

export interface HolderSample extends Holder {
  /** Of the interfaces in its network namespace. */
  devicesCounted: Map<string, DeviceCounters>;
  /** Nanoseconds that each of its vhost workers ran. */
  runTimes: Map<string, number>;
  publication: Publication | undefined;
}

export interface Sample {
  /** ms, of a clock that never jumps. */
  time: number;
  holders: readonly HolderSample[];
}

export function takeSample(): Sample {
  const time = performance.now();
  const publications = readPublications();
  const holders = findHolders().map((holder): HolderSample => {
    const devices = attempt(() => readFileSync(`/proc/${holder.pid}/net/dev`, 'utf8'));
    const runTimes = new Map<string, number>();
    for (const worker of holder.workers) {
      const text = attempt(() => readFileSync(`${worker}/schedstat`, 'utf8'));
      if (text !== undefined) runTimes.set(worker, runTimeOf(text));
    }
    return {
      ...holder,
      devicesCounted: devicesOf(devices ?? ''),
      runTimes,
      publication: publications.get(holder.pid),
    };
  });
  return { time, holders };
}
