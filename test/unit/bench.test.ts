import { describe, expect, test } from 'vitest';
import { allCases } from '../../tools/bench/cases/index.js';
import { makeBatches, makeFrame } from '../../tools/bench/contestants/frames.js';
import { renderPlot } from '../../tools/bench/plot.js';
import { compare, type Measure, type Report, reportOf } from '../../tools/bench/report.js';
import { ringCases } from '../../tools/bench/ring/cases.js';
import { sharesOf } from '../../tools/bench/ring/profile.js';
import { interleave } from '../../tools/bench/stage.js';
import { median, spread } from '../../tools/bench/statistics.js';
import { quantity, renderTable } from '../../tools/bench/table.js';
import { userCases } from '../../tools/bench/user/cases.js';
import { portStatsOf } from '../../tools/bench/user/mover.js';

const RATE: Measure = {
  case: 'send 64 B batch 32',
  metric: 'frames per second',
  unit: 'frames/s',
  better: 'more',
};

function report(ours: number[], base: number[], measure: Partial<Measure> = {}): Report {
  const results = compare({ ...RATE, ...measure }, { name: 'vhost-net', values: ours }, [
    { name: 'C program', values: base },
  ]);
  return { host: 'x64, 2 × <CPU> & more', kernel: '6.12.0', node: '20.20.2', results };
}

describe('statistics', () => {
  test('the median is the middle value, whatever the order', () => {
    expect(median([5, 1, 9])).toBe(5);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
  });

  test('there is no median of nothing', () => {
    expect(() => median([])).toThrow(RangeError);
  });

  test('one odd value moves neither the median nor the spread', () => {
    expect(spread([100, 100, 101, 99, 100_000])).toBe(0.01);
    expect(spread([90, 100, 110])).toBe(0.1);
    expect(spread([100, 100, 100])).toBe(0);
    expect(spread([0, 0, 5])).toBe(0);
  });

  test('every program has its turn in every round, and each begins once', async () => {
    const turns: string[] = [];
    await interleave(['a', 'b', 'c'], 3, async (name, index) => {
      turns.push(`${name}${index}`);
    });
    expect(turns.join(' ')).toBe('a0 b1 c2 b1 c2 a0 c2 a0 b1');
  });
});

describe('a result', () => {
  test('has the fields that --json promises, and ours by the baseline as its ratio', () => {
    expect(report([80, 90, 100], [99, 100, 101]).results).toEqual([
      {
        case: 'send 64 B batch 32',
        metric: 'frames per second',
        unit: 'frames/s',
        ours: 90,
        baseline: { name: 'C program', value: 100, spread: 0.01 },
        ratio: 0.9,
        spread: 0.1111,
        better: 'more',
      },
    ]);
  });

  test('is one for each baseline', () => {
    const ours = { name: 'vhost-net', values: [1] };
    const baselines = ['C program', 'fs.writeSync'].map((name) => ({ name, values: [2] }));
    expect(compare(RATE, ours, baselines).map(({ baseline }) => baseline.name)).toEqual([
      'C program',
      'fs.writeSync',
    ]);
  });

  test('compares the rounds, each with its like: the machine may be another in the next', () => {
    // By the medians of the second it were 1.
    expect(report([1, 5, 5], [2, 10, 10]).results[0]?.ratio).toBe(0.5);
    expect(report([5, 10, 10], [10, 20, 5]).results[0]?.ratio).toBe(0.5);
    expect(report([4], [2, 2, 8]).results[0]?.ratio).toBe(2);
  });

  test('has a ratio of 1 where both are 0, and none where only the baseline is', () => {
    expect(report([0], [0]).results[0]?.ratio).toBe(1);
    expect(report([3], [0]).results[0]?.ratio).toBeNull();
  });

  test('stands in a report with the machine it was measured on', () => {
    const { host, kernel, node, results } = reportOf([]);
    expect(host).toMatch(/^\w+, \d+ × \S/);
    expect(kernel).toMatch(/^\d+\.\d+/);
    expect(node).toBe(process.versions.node);
    expect(results).toEqual([]);
  });
});

describe('the cases', () => {
  const names = allCases(false).map(({ name }) => name);

  test('are there once, each with its frame size, batch and queue pairs', () => {
    expect(new Set(names).size).toBe(names.length);
    for (const size of ['64 B', '256 B', '1514 B', '64 KB']) {
      for (const batch of [1, 32, 256]) {
        for (const pairs of ['', ', 2 queue pairs', ', 4 queue pairs']) {
          expect(names).toContain(`send ${size} batch ${batch}${pairs}`);
          expect(names).toContain(`receive ${size} batch ${batch}${pairs}`);
        }
      }
    }
    expect(names).toEqual(expect.arrayContaining(['1 queue pair', '256 queue pairs']));
  });

  test('of a quick run are among those of a full one', () => {
    const quick = allCases(true).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(quick));
    const rings = ringCases(false).map(({ name }) => name);
    expect(rings).toEqual(expect.arrayContaining(ringCases(true).map(({ name }) => name)));
    expect(rings).toContain('ring send 64 B batch 32');
  });

  test('that need no vhost-net have both ends of a socket, this process, and ports that rest', () => {
    const all = userCases(false).map(({ name }) => name);
    expect(new Set(all).size).toBe(all.length);
    for (const end of ['front end', 'back end', 'in-process']) {
      for (const direction of ['send', 'receive']) {
        for (const size of ['64 B', '1514 B']) {
          expect(all).toContain(`${end} ${direction} ${size} batch 32`);
        }
      }
    }
    expect(all).toContain('front end send 64 B batch 256');
    expect(all).toContain('100 idle connections');
    expect(all).toEqual(expect.arrayContaining(userCases(true).map(({ name }) => name)));
  });

  test('send frames of the right length, whole headers, and a flow each', () => {
    const frame = Buffer.from(makeFrame(64, 3));
    expect(frame).toHaveLength(64);
    expect(frame.readUInt16BE(16)).toBe(50);
    expect(frame.readUInt16BE(34)).toBe(1027);
    let sum = 0;
    for (let at = 14; at < 34; at += 2) sum += frame.readUInt16BE(at);
    expect((sum & 0xffff) + (sum >> 16)).toBe(0xffff);
    const batches = makeBatches(64, 32);
    expect(batches.map((batch) => batch.length)).toEqual(new Array(8).fill(32));
    const ports = batches.flat().map((one) => Buffer.from(one as Uint8Array).readUInt16BE(34));
    expect(new Set(ports).size).toBe(256);
  });
});

describe('the table', () => {
  test('has a line for each result, the case where it changes, numbers in columns', () => {
    const both = report([81_234], [90_000]);
    both.results.push(...report([1200], [600], { metric: 'CPU', unit: 'ns' }).results);
    expect(renderTable(both)).toBe(
      [
        'x64, 2 × <CPU> & more; Linux 6.12.0; Node 20.20.2',
        '',
        'case                metric                        ours         baseline             ratio  spread',
        'send 64 B batch 32  frames per second  81,230 frames/s  90,000 frames/s  C program   0.90  ±0 % ±0 %',
        '                    CPU                       1,200 ns           600 ns  C program   2.00  ±0 % ±0 %',
        '',
      ].join('\n'),
    );
  });

  test('writes numbers as people read them', () => {
    expect(quantity(1_234_567, 'frames/s')).toBe('1,234,567 frames/s');
    expect(quantity(0.1234, 'ms')).toBe('0.123 ms');
    expect(quantity(12.345, 'ms')).toBe('12.3 ms');
    expect(quantity(0, '%')).toBe('0 %');
    expect(quantity(3, '')).toBe('3');
  });
});

describe('the plot', () => {
  test('is one SVG document that needs nothing else, with its text escaped', () => {
    const svg = renderPlot(report([90], [100]));
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" /);
    expect(svg.trimEnd()).toMatch(/<\/svg>$/);
    expect(svg).not.toMatch(/href|<script|<image|@import/);
    expect(svg).toContain('2 × &lt;CPU&gt; &amp; more');
    expect(svg).toContain('>send 64 B batch 32</text>');
  });

  test('draws a bar from equality to the ratio, on a logarithmic axis that ends', () => {
    const widthOf = (ratio: number) => {
      const svg = renderPlot(report([ratio * 1000], [1000]));
      return Number(/<rect x="\d+" y="\d+" width="(\d+)"/.exec(svg)?.[1]);
    };
    expect(widthOf(1)).toBe(1);
    expect(Math.abs(widthOf(0.5) - widthOf(2))).toBeLessThanOrEqual(1);
    expect(widthOf(100)).toBe(widthOf(10));
  });
});

test('a profile is told by function, without the time in which nothing ran', () => {
  const node = (id: number, functionName: string, url: string) => ({
    id,
    callFrame: { functionName, url, lineNumber: 0 },
  });
  const profile = {
    nodes: [node(1, 'pop', 'file:///x/driver.js'), node(2, '', 'a.js'), node(3, '(idle)', '')],
    samples: [1, 3, 2, 1],
    timeDeltas: [50, 1000, 25, 25],
  };
  expect(sharesOf(profile)).toEqual([
    { place: 'pop driver.js', part: 0.75 },
    { place: '(anonymous) a.js', part: 0.25 },
  ]);
});

describe('what a testpmd counted', () => {
  const said = [
    'show port stats 0',
    '',
    '  ######################## NIC statistics for port 0  ########################',
    '  RX-packets: 1200       RX-missed: 0          RX-bytes:  76800',
    '  RX-errors: 0',
    '  RX-nombuf:  7',
    '  TX-packets: 3400       TX-errors: 0          TX-bytes:  217600',
    '',
    '  Throughput (since last show)',
    '  Rx-pps:       987654          Rx-bps:    505678848',
    '  Tx-pps:      1234567          Tx-bps:    632098304',
    '  ############################################################################',
    'testpmd> ',
  ].join('\n');

  test('is told by direction, in all and for a second', () => {
    expect(portStatsOf(said, 'Rx')).toEqual({ frames: 1200, rate: 987_654 });
    expect(portStatsOf(said, 'Tx')).toEqual({ frames: 3400, rate: 1_234_567 });
  });

  test('is not made up where it does not tell', () => {
    expect(() => portStatsOf('Bad arguments', 'Rx')).toThrow('tells no RX-packets: Bad arguments');
  });
});
