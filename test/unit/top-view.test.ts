import { describe, expect, test } from 'vitest';
import type { Publication, PublishedPair } from '../../tools/cli/published/format.js';
import type { HolderSample } from '../../tools/cli/top/sample.js';
import { lineScreen } from '../../tools/cli/top/screens.js';
import { History, sparkline } from '../../tools/cli/top/sparkline.js';
import { table } from '../../tools/cli/top/table.js';
import { type View, Viewer } from '../../tools/cli/top/view.js';

const NOTHING = { rxBytes: 0, rxFrames: 0, rxDropped: 0, txBytes: 0, txFrames: 0, txDropped: 0 };

function holder(changes: Partial<HolderSample> = {}): HolderSample {
  return {
    pid: 10,
    program: 'node',
    devices: 1,
    taps: new Map([['vnet0', 1]]),
    workers: ['w'],
    devicesCounted: new Map([['vnet0', NOTHING]]),
    runTimes: new Map([['w', 0]]),
    publication: undefined,
    ...changes,
  };
}

function pair(changes: Partial<PublishedPair> = {}): PublishedPair {
  return {
    ...{ rxFrames: 0, rxBytes: 0, rxErrors: 0, rxKicks: 0, rxCalls: 0, rxWaiting: 0 },
    ...{ txFrames: 0, txBytes: 0, txKicks: 0, txCalls: 0, txWaiting: 0 },
    ...changes,
  };
}

function publication(time: number, pairs: PublishedPair[], startTime = 1): Publication {
  return { version: 1, pid: 10, startTime, time, ports: [{ tap: 'vnet0', queueSize: 256, pairs }] };
}

const sample = (time: number, ...holders: HolderSample[]) => ({ time, holders });

describe('a view', () => {
  test('has the interface’s counters per second, the other way round, and the workers’ CPU', () => {
    const viewer = new Viewer(sample(0, holder()));
    const now = holder({
      devicesCounted: new Map([
        [
          'vnet0',
          { rxBytes: 200, rxFrames: 2, rxDropped: 4, txBytes: 6000, txFrames: 60, txDropped: 8 },
        ],
      ]),
      runTimes: new Map([
        ['w', 500_000_000],
        ['began since', 100_000_000],
      ]),
    });
    const { seconds, ports } = viewer.next(sample(2000, now));
    expect(seconds).toBe(2);
    expect(ports).toHaveLength(1);
    expect(ports[0]).toMatchObject({ tap: 'vnet0', pid: 10, queues: 1, pairs: null });
    expect(ports[0]?.vhostCpu).toBe(30);
    expect(ports[0]?.rates).toEqual({
      ...{ rxFrames: 30, rxBits: 24_000, rxDropped: 4 },
      ...{ txFrames: 1, txBits: 800, txDropped: 2 },
    });
  });

  test('says null of what cannot be seen', () => {
    const hidden = holder({ devicesCounted: new Map(), runTimes: new Map() });
    const [port] = new Viewer(sample(0, hidden)).next(sample(1000, hidden)).ports;
    expect(port).toMatchObject({ rates: null, vhostCpu: null, pairs: null });
  });

  test('of a process that is new knows no rates yet', () => {
    const [port] = new Viewer(sample(0)).next(sample(1000, holder())).ports;
    expect(port).toMatchObject({ rates: null, vhostCpu: null });
  });

  test('has the published pairs per second of their own clock', () => {
    const before = pair({ rxFrames: 100, rxKicks: 10 });
    const now = pair({
      ...{ rxFrames: 300, rxBytes: 1000, rxKicks: 20, rxCalls: 40, rxWaiting: 128 },
      ...{ txFrames: 200, txKicks: 10, txWaiting: 300 },
    });
    const viewer = new Viewer(sample(0, holder({ publication: publication(5000, [before]) })));
    const { ports } = viewer.next(
      sample(100, holder({ publication: publication(7000, [now, pair()]) })),
    );
    const [first, second] = ports[0]?.pairs ?? [];
    expect(first).toEqual({
      ...{ pair: 0, rxFrames: 100, rxBits: 4000, txFrames: 100, txBits: 0 },
      ...{ kicksPerFrame: 0.05, callsPerFrame: 0.1, rxFill: 0.5, txFill: 1 },
    });
    expect(second).toMatchObject({ pair: 1, rxFrames: 0, kicksPerFrame: null });
    // Nothing new was published: the rates stay.
    const again = viewer.next(sample(200, holder({ publication: publication(7000, [now]) })));
    expect(again.ports[0]?.pairs?.[0]).toMatchObject({ rxFrames: 100 });
  });

  test('takes no rate across two processes of one number', () => {
    const old = publication(1000, [pair({ rxFrames: 1000 })]);
    const viewer = new Viewer(sample(0, holder({ publication: old })));
    const other = publication(2000, [pair({ rxFrames: 5000 })], 2);
    const { ports } = viewer.next(sample(1000, holder({ publication: other })));
    expect(ports[0]?.pairs?.[0]).toMatchObject({ rxFrames: 0, kicksPerFrame: null });
  });
});

test('a sparkline draws values against the highest, and a blank for nothing', () => {
  expect(sparkline([0, 1, 4, 8])).toBe(' ▁▄█');
  expect(sparkline([0, 0])).toBe('  ');
  expect(sparkline([])).toBe('');
});

test('a history keeps the last values, and forgets who is gone', () => {
  const history = new History(2);
  for (const value of [1, 2, 3]) history.add(new Map([['a', value]]));
  expect(history.of('a')).toEqual([2, 3]);
  history.add(new Map([['b', 1]]));
  expect(history.of('a')).toEqual([]);
});

describe('the table', () => {
  const view: View = {
    seconds: 1,
    ports: [
      {
        ...{ tap: 'vnet0', pid: 4711, program: 'node', queues: 1, devices: 1, workers: 1 },
        vhostCpu: 98.25,
        rates: {
          ...{ rxFrames: 1_200_000, rxBits: 614_000_000, rxDropped: 0 },
          ...{ txFrames: 12, txBits: 6144, txDropped: 3 },
        },
        pairs: [
          {
            ...{ pair: 0, rxFrames: 1_200_000, rxBits: 614_000_000, txFrames: 12, txBits: 6144 },
            ...{ kicksPerFrame: 0.0213, callsPerFrame: null, rxFill: 0.031, txFill: 1 },
          },
        ],
      },
      {
        ...{ tap: 'vm1', pid: 7, program: 'bad\x1b[2J', queues: 1, devices: 1, workers: 0 },
        ...{ vhostCpu: null, rates: null, pairs: null },
      },
    ],
  };

  test('has a row for each port and each pair, aligned, and - for what is not known', () => {
    const { head, rows } = table(view.ports);
    expect([head, ...rows.flat()].join('\n')).toMatchInlineSnapshot(`
      "TAP              PID  VHOST%  RX FRAME/s   BIT/s  DROP/s  TX FRAME/s   BIT/s  DROP/s  KICK/F  CALL/F  RX FILL  TX FILL
      vnet0 node      4711    98.3      1.20 M   614 M       0          12  6.14 k       3
       pair 0                           1.20 M   614 M                  12  6.14 k           0.021       -       3%     100%
      vm1 bad?[2J        7       -           -       -       -           -       -       -       -       -        -        -"
    `);
  });

  test('on a pipe is a line for each row with the time, the head only where it changes', () => {
    let text = '';
    const screen = lineScreen((more) => {
      text += more;
    });
    screen.show(view);
    screen.show(view);
    const lines = text.trimEnd().split('\n');
    expect(lines).toHaveLength(7);
    expect(lines[0]).toMatch(/^TIME {6}TAP +PID/);
    for (const line of lines.slice(1)) expect(line).toMatch(/^\d\d:\d\d:\d\d {2}/);
  });
});
