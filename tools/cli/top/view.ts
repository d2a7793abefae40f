/** What became of each port between two samples: rates, shares, and what waits. */
import { round } from '../numbers.js';
import type { Publication, PublishedPair, PublishedPort } from '../published/format.js';
import type { HolderSample, Sample } from './sample.js';

/** Per second, seen from the port: what the host sends to the interface is received. */
export interface Rates {
  rxFrames: number;
  rxBits: number;
  txFrames: number;
  txBits: number;
}

/** A queue pair, of a process that publishes its rings. */
export interface PairView extends Rates {
  pair: number;
  /** For each frame of both directions; null where there was none. */
  kicksPerFrame: number | null;
  callsPerFrame: number | null;
  /** Of the ring, from 0 to 1: frames that wait for the program, and for the device. */
  rxFill: number;
  txFill: number;
}

/** A TAP that a process serves with vhost-net. */
export interface PortView {
  tap: string;
  pid: number;
  program: string;
  /** Queues of the TAP that the process has open. */
  queues: number;
  /** Vhost-net devices of the process, and their worker threads that can be seen. */
  devices: number;
  workers: number;
  /** CPU of all vhost workers of the process, in percent of one processor. */
  vhostCpu: number | null;
  /** What the interface counted; null where its namespace cannot be seen. */
  rates: (Rates & { rxDropped: number; txDropped: number }) | null;
  /** Null where the process does not publish them. */
  pairs: readonly PairView[] | null;
}

export interface View {
  /** Since the sample before. */
  seconds: number;
  ports: readonly PortView[];
}

/** Makes views of one sample after the other. */
export class Viewer {
  #before: Sample;
  /** The last two that differ, of each process: they are written once a second, whenever we look. */
  readonly #published = new Map<number, { older?: Publication; newer: Publication }>();

  constructor(first: Sample) {
    this.#before = first;
    this.#keep(first);
  }

  next(now: Sample): View {
    const before = this.#before;
    this.#before = now;
    this.#keep(now);
    const seconds = (now.time - before.time) / 1000;
    const ports = now.holders.flatMap((holder) => {
      const earlier = before.holders.find(({ pid }) => pid === holder.pid);
      return [...holder.taps].map(
        ([tap, queues]): PortView => ({
          tap,
          pid: holder.pid,
          program: holder.program,
          queues,
          devices: holder.devices,
          workers: holder.workers.length,
          vhostCpu: cpu(earlier, holder, seconds),
          rates: deviceRates(earlier, holder, tap, seconds),
          pairs: this.#pairs(holder.pid, tap),
        }),
      );
    });
    ports.sort((a, b) => (a.tap < b.tap ? -1 : a.tap > b.tap ? 1 : a.pid - b.pid));
    return { seconds, ports };
  }

  #keep({ holders }: Sample): void {
    for (const pid of this.#published.keys()) {
      if (!holders.some((h) => h.pid === pid && h.publication)) this.#published.delete(pid);
    }
    for (const { pid, publication } of holders) {
      if (!publication) continue;
      const newer = this.#published.get(pid)?.newer;
      if (newer?.time === publication.time) continue;
      const same = newer?.startTime === publication.startTime;
      this.#published.set(pid, { ...(newer && same && { older: newer }), newer: publication });
    }
  }

  #pairs(pid: number, tap: string): PairView[] | null {
    const { older, newer } = this.#published.get(pid) ?? {};
    const port = newer?.ports.find((one) => one.tap === tap);
    if (!newer || !port) return null;
    const earlier = older?.ports.find((one) => one.tap === tap);
    const seconds = older ? (newer.time - older.time) / 1000 : 0;
    return port.pairs.map((now, pair) => pairView(pair, earlier?.pairs[pair], now, port, seconds));
  }
}

function pairView(
  pair: number,
  before: PublishedPair | undefined,
  now: PublishedPair,
  { queueSize }: PublishedPort,
  seconds: number,
): PairView {
  const change = (key: keyof PublishedPair) => (before ? Math.max(0, now[key] - before[key]) : 0);
  const rate = (key: keyof PublishedPair) => (seconds > 0 ? change(key) / seconds : 0);
  const frames = change('rxFrames') + change('txFrames');
  const each = (signals: number) => (frames > 0 ? round(signals / frames) : null);
  const fill = (waiting: number) => round(Math.min(1, waiting / Math.max(1, queueSize)));
  return {
    pair,
    rxFrames: round(rate('rxFrames')),
    rxBits: round(rate('rxBytes') * 8),
    txFrames: round(rate('txFrames')),
    txBits: round(rate('txBytes') * 8),
    kicksPerFrame: each(change('rxKicks') + change('txKicks')),
    callsPerFrame: each(change('rxCalls') + change('txCalls')),
    rxFill: fill(now.rxWaiting),
    txFill: fill(now.txWaiting),
  };
}

/** A worker that was not there before began since. */
function cpu(before: HolderSample | undefined, now: HolderSample, seconds: number): number | null {
  if (!before || now.runTimes.size === 0) return null;
  let ran = 0;
  for (const [worker, time] of now.runTimes) ran += time - (before.runTimes.get(worker) ?? 0);
  return round((ran / 1e9 / seconds) * 100);
}

/** The host's sides are the port's, the other way round. */
function deviceRates(
  before: HolderSample | undefined,
  now: HolderSample,
  tap: string,
  seconds: number,
): PortView['rates'] {
  const a = before?.devicesCounted.get(tap);
  const b = now.devicesCounted.get(tap);
  if (!a || !b) return null;
  const rate = (from: number, to: number) => round(Math.max(0, to - from) / seconds);
  return {
    rxFrames: rate(a.txFrames, b.txFrames),
    rxBits: rate(a.txBytes * 8, b.txBytes * 8),
    rxDropped: rate(a.txDropped, b.txDropped),
    txFrames: rate(a.rxFrames, b.rxFrames),
    txBits: rate(a.rxBytes * 8, b.rxBytes * 8),
    txDropped: rate(a.rxDropped, b.rxDropped),
  };
}
