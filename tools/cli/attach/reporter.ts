/** How `attach` tells what happens: a live line on a terminal, JSON lines otherwise. */
import type { PortCounters } from '../../../lib/index.js';
import { columns } from '../output.js';

/** What was attached. */
export interface Attached {
  tap: string;
  created: boolean;
  mac: string;
  mtu: number;
  addresses: readonly string[];
  forwardMode: string;
  queueSize: number;
  features: { mask: string; names: readonly string[] };
  kernel: string;
}

/** How it ended. */
export interface Detached {
  reason: string;
  seconds: number;
  counters: PortCounters;
  /** What the forwarder did, by kind. */
  answered: Readonly<Record<string, number>>;
}

export interface Reporter {
  attached(what: Attached): void;
  /** Once a second: the counters now, and the seconds since the last time. */
  progress(counters: PortCounters, seconds: number): void;
  link(up: boolean): void;
  detached(how: Detached): void;
}

/** To three decimals: what is beyond is noise. */
const round = (value: number) => Math.round(value * 1000) / 1000;

/** Counters per second. */
export function rates(before: PortCounters, now: PortCounters, seconds: number): PortCounters {
  const result = { ...now };
  for (const key of Object.keys(now) as (keyof PortCounters)[]) {
    result[key] = round((now[key] - before[key]) / seconds);
  }
  return result;
}

/** 1234567 as `1.23 M`; 12 as `12 `, ready for a unit. */
export function short(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T'];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  const digits = unit === 0 || scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${units[unit]}`;
}

export function jsonReporter(write: (text: string) => void): Reporter {
  let before: PortCounters | undefined;
  const line = (event: string, fields: object) =>
    write(`${JSON.stringify({ event, time: new Date().toISOString(), ...fields })}\n`);
  return {
    attached: (what) => line('attached', what),
    progress(counters, seconds) {
      const perSecond = rates(before ?? zero(counters), counters, seconds);
      before = counters;
      line('stats', { seconds: round(seconds), counters, perSecond: withBits(perSecond) });
    },
    link: (up) => line('link', { up }),
    detached: (how) => line('detached', { ...how, seconds: round(how.seconds) }),
  };
}

export function terminalReporter(write: (text: string) => void, width: () => number): Reporter {
  let before: PortCounters | undefined;
  let live = false;
  const clear = () => {
    if (live) write('\r\x1b[2K');
    live = false;
  };
  return {
    attached({ tap, created, mac, mtu, addresses, forwardMode, queueSize, features, kernel }) {
      const rows = [
        ['interface', `${created ? 'created' : 'joined'}, ${mac}, MTU ${mtu}`],
        ['addresses', addresses.length > 0 ? addresses.join(', ') : 'none given'],
        ['rings', `${queueSize} descriptors, ${features.mask} ${features.names.join(' ')}`],
        ['mode', forwardMode],
      ];
      write(`${tap}: attached to /dev/vhost-net on Linux ${kernel}; Ctrl-C detaches\n`);
      write(`${columns(rows).join('\n')}\n`);
    },
    progress(counters, seconds) {
      const r = rates(before ?? zero(counters), counters, seconds);
      before = counters;
      const side = (frames: number, bytes: number) =>
        `${short(frames)}frame/s ${short(bytes * 8)}bit/s`;
      const text = [
        `rx ${side(r.rxFrames, r.rxBytes)}`,
        `tx ${side(r.txFrames, r.txBytes)}`,
        `${short(r.rxKicks + r.txKicks)}kick/s`,
        `${short(r.rxCalls + r.txCalls)}call/s`,
      ].join('  ');
      clear();
      // A line that wraps cannot be drawn over.
      write(text.slice(0, width() - 1));
      live = true;
    },
    link(up) {
      clear();
      write(`link ${up ? 'up' : 'down'}\n`);
    },
    detached({ reason, seconds, counters: c, answered }) {
      clear();
      write(`detached after ${seconds.toFixed(1)} s: ${reason}\n`);
      const rows = [
        ['', 'frames', 'bytes', 'kicks', 'calls', 'errors'],
        ['rx', c.rxFrames, c.rxBytes, c.rxKicks, c.rxCalls, c.rxErrors],
        ['tx', c.txFrames, c.txBytes, c.txKicks, c.txCalls, ''],
      ];
      write(`${columns(rows.map((row) => row.map(String))).join('\n')}\n`);
      const kinds = Object.entries(answered).filter(([, count]) => count > 0);
      if (kinds.length > 0) {
        write(`answered ${kinds.map(([kind, count]) => `${count} ${kind}`).join(', ')}\n`);
      }
    },
  };
}

function zero(counters: PortCounters): PortCounters {
  return rates(counters, counters, 1);
}

function withBits(perSecond: PortCounters): PortCounters & { rxBits: number; txBits: number } {
  return {
    ...perSecond,
    rxBits: round(perSecond.rxBytes * 8),
    txBits: round(perSecond.txBytes * 8),
  };
}
