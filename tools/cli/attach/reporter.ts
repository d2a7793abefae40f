/** What `attach` tells of what happens, however it is shown. */
import type { PortCounters } from '../../../lib/index.js';
import { round } from '../numbers.js';

/** What a port is on. */
export type Names = { tap: string; socket?: undefined } | { socket: string; tap?: undefined };

/** How people call it. */
export function nameOf({ tap, socket }: Names): string {
  return tap ?? socket;
}

/** The host's side of a TAP. */
interface HostInterface {
  tap: string;
  created: boolean;
  mac: string;
  mtu: number;
  addresses: readonly string[];
}

/** What was attached. */
export type Attached = PortDescription & (HostInterface | { socket: string; tap?: undefined });

interface PortDescription {
  forwardMode: string;
  queues: number;
  queueSize: number;
  offloads: readonly string[];
  /** Who moves the frames. */
  backend: string;
  features: { mask: string; names: readonly string[] };
  kernel: string;
}

/** What a port counted. */
export type Sample = Names & {
  counters: PortCounters;
  /** The same for each queue pair. */
  pairs: readonly PortCounters[];
};

/** How it ended. */
export interface Detached {
  reason: string;
  seconds: number;
  ports: readonly Sample[];
  /** What the forwarder did, by kind. */
  answered: Readonly<Record<string, number>>;
  /** Frames of a bridge for a TAP whose link was down. */
  dropped?: number;
}

export interface Reporter {
  attached(what: Attached): void;
  /** Once a second: what each port counted so far, and the seconds since the last time. */
  progress(ports: readonly Sample[], seconds: number): void;
  link(of: Names, up: boolean): void;
  detached(how: Detached): void;
}

/** Counters per second; `before` is what they were then, or nothing where they began at 0. */
export function rates(
  before: PortCounters | undefined,
  now: PortCounters,
  seconds: number,
): PortCounters {
  const result = { ...now };
  for (const key of Object.keys(now) as (keyof PortCounters)[]) {
    result[key] = round((now[key] - (before?.[key] ?? 0)) / seconds);
  }
  return result;
}

/** The rates of each sample against the one before it. */
export class SampleRates {
  #before: readonly Sample[] = [];

  /** In the order of `now`, which is the same every time. */
  next(now: readonly Sample[], seconds: number): readonly Sample[] {
    const before = this.#before;
    this.#before = now;
    return now.map(({ counters, pairs, ...names }, i) => ({
      ...(names as Names),
      counters: rates(before[i]?.counters, counters, seconds),
      pairs: pairs.map((pair, n) => rates(before[i]?.pairs[n], pair, seconds)),
    }));
  }
}
