/** How `attach` tells what happens to people: lines that stay, and live ones below them. */
import type { PortCounters } from '../../../lib/index.js';
import { LiveBlock, type Terminal } from '../live-block.js';
import { moverText } from '../mover-text.js';
import { short } from '../numbers.js';
import { columns } from '../output.js';
import {
  type Attached,
  type Names,
  nameOf,
  type Reporter,
  type Sample,
  SampleRates,
} from './reporter.js';

/** `stats`: a live table of the queue pairs, and one at the end, rather than a line for each TAP. */
export function terminalReporter(terminal: Terminal, { stats }: { stats: boolean }): Reporter {
  const samples = new SampleRates();
  const live = new LiveBlock(terminal);
  const say = (lines: readonly string[]) => {
    live.clear();
    terminal.write(`${lines.join('\n')}\n`);
  };
  return {
    attached(what) {
      const { forwardMode, queues, queueSize, offloads, features, kernel } = what;
      const rows = [
        ...hostRows(what),
        ['queues', `${queues} ${queues === 1 ? 'pair' : 'pairs'} of ${queueSize} descriptors`],
        ['features', `${features.mask} ${features.names.join(' ')}`],
        ['offloads', offloads.length > 0 ? offloads.join(', ') : 'none'],
        ['mode', forwardMode],
      ];
      say([
        `${nameOf(what)}: attached to ${moverText(what.backend)} on Linux ${kernel}; Ctrl-C detaches`,
        ...columns(rows),
      ]);
    },
    progress(ports, seconds) {
      const rates = samples.next(ports, seconds);
      live.draw(stats ? rateTable(rates) : rates.map((rate) => rateLine(rate, ports.length > 1)));
    },
    link: (of, up) => say([`${nameOf(of)}: link ${up ? 'up' : 'down'}`]),
    detached({ reason, seconds, ports, answered, dropped = 0 }) {
      say([`detached after ${seconds.toFixed(1)} s: ${reason}`, ...summary(ports, stats)]);
      const kinds = Object.entries(answered).filter(([, count]) => count > 0);
      if (kinds.length > 0) {
        say([`answered ${kinds.map(([kind, count]) => `${count} ${kind}`).join(', ')}`]);
      }
      if (dropped > 0) say([`dropped ${dropped} frames for a TAP whose link was down`]);
    },
  };
}

/** Of the host's side; a socket has none that anybody knew of. */
function hostRows(what: Attached): string[][] {
  if (what.tap === undefined) return [];
  const { created, mac, mtu, addresses } = what;
  return [
    ['interface', `${created ? 'created' : 'joined'}, ${mac}, MTU ${mtu}`],
    ['addresses', addresses.length > 0 ? addresses.join(', ') : 'none given'],
  ];
}

function rateLine(sample: Sample, named: boolean): string {
  const { counters: c } = sample;
  const side = (frames: number, bytes: number) =>
    `${short(frames)}frame/s ${short(bytes * 8)}bit/s`;
  return [
    ...(named ? [nameOf(sample)] : []),
    `rx ${side(c.rxFrames, c.rxBytes)}`,
    `tx ${side(c.txFrames, c.txBytes)}`,
    `${short(c.rxKicks + c.txKicks)}kick/s`,
    `${short(c.rxCalls + c.txCalls)}call/s`,
  ].join('  ');
}

/** Per second, a row for each queue pair, and one for all where there are several. */
function rateTable(rates: readonly Sample[]): string[] {
  const head = ['pair', 'rx frame/s', 'bit/s', 'kick/s', 'call/s', 'error/s'];
  const rows = [[...head, ...['tx frame/s', 'bit/s', 'kick/s', 'call/s']]];
  for (const { counters, pairs, ...names } of rates) {
    const name = nameOf(names as Names);
    pairs.forEach((pair, n) => {
      rows.push([`${name} ${n}`, ...cells(pair)]);
    });
    if (pairs.length > 1) rows.push([`${name} all`, ...cells(counters)]);
  }
  return columns(rows, 'right');
}

function cells(c: PortCounters): string[] {
  const receive = [c.rxFrames, c.rxBytes * 8, c.rxKicks, c.rxCalls, c.rxErrors];
  const transmit = [c.txFrames, c.txBytes * 8, c.txKicks, c.txCalls];
  return [...receive, ...transmit].map((value) => short(value).trimEnd());
}

/** What was counted: a row for each direction of each TAP, with `stats` of each of its pairs. */
function summary(ports: readonly Sample[], stats: boolean): string[] {
  const rows = [['', 'frames', 'bytes', 'kicks', 'calls', 'errors']];
  const add = (name: string, c: PortCounters) => {
    rows.push([`${name}rx`, ...texts(c.rxFrames, c.rxBytes, c.rxKicks, c.rxCalls, c.rxErrors)]);
    rows.push([`${name}tx`, ...texts(c.txFrames, c.txBytes, c.txKicks, c.txCalls), '']);
  };
  for (const { counters, pairs, ...names } of ports) {
    const name = ports.length > 1 ? `${nameOf(names as Names)} ` : '';
    if (stats && pairs.length > 1) {
      pairs.forEach((pair, n) => {
        add(`${name}${n} `, pair);
      });
    }
    add(name, counters);
  }
  return columns(rows);
}

function texts(...values: number[]): string[] {
  return values.map(String);
}
