/** What a run measured, as `--json` writes it. */
import { arch, cpus, release } from 'node:os';
import { median, spread } from './statistics.js';

export interface Result {
  /** What was done: `send 64 B batch 32`. */
  case: string;
  /** What was measured of it: `frames per second`. */
  metric: string;
  unit: string;
  /** Median of the rounds. */
  ours: number;
  baseline: {
    /** Who else did it: `C program`. */
    name: string;
    value: number;
    /** As that of ours. */
    spread: number;
  };
  /** Ours by the baseline's: the median of the rounds' ratios; null where the baseline's is 0 and ours is not. */
  ratio: number | null;
  /** Median distance of a round from the median, as a part of it. */
  spread: number;
  /** Whether a larger number is the better one. */
  better: 'more' | 'less';
}

export interface Report {
  /** The machine: processor architecture, number of processors, and what it is. */
  host: string;
  /** Release of the kernel whose vhost-net was measured. */
  kernel: string;
  node: string;
  results: Result[];
}

/** A report of this machine, on which `results` were measured. */
export function reportOf(results: Result[]): Report {
  const model = cpus()[0]?.model.trim() ?? 'unknown';
  return {
    host: `${arch()}, ${cpus().length} × ${model}`,
    kernel: release(),
    node: process.versions.node,
    results,
  };
}

/** What one program reached, round by round. */
export interface Series {
  name: string;
  values: number[];
}

export interface Measure {
  case: string;
  metric: string;
  unit: string;
  better: 'more' | 'less';
}

/** One result for each baseline. */
export function compare(measure: Measure, ours: Series, baselines: readonly Series[]): Result[] {
  const value = rounded(median(ours.values));
  return baselines.map(({ name, values }) => {
    const base = rounded(median(values));
    return {
      case: measure.case,
      metric: measure.metric,
      unit: measure.unit,
      ours: value,
      baseline: { name, value: base, spread: rounded(spread(values)) },
      ratio: ratio(ours.values, values),
      spread: rounded(spread(ours.values)),
      better: measure.better,
    };
  });
}

/**
 * Who took their turns one after the other met the same machine, where the next round may meet another: a host moves
 * its virtual processors about, and two that share no cache are half as fast together.
 */
function ratio(ours: readonly number[], base: readonly number[]): number | null {
  if (median(base) === 0) return median(ours) === 0 ? 1 : null;
  if (ours.length !== base.length) return rounded(median(ours) / median(base));
  return rounded(median(ours.map((value, round) => value / (base[round] as number))));
}

/** To four digits: what is beyond them is noise. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
