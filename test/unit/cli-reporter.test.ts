import { expect, test } from 'vitest';
import { noCounters } from '../../lib/port/counters.js';
import { rates, type Sample } from '../../tools/cli/attach/reporter.js';
import { terminalReporter } from '../../tools/cli/attach/terminal-reporter.js';
import { batches } from '../../tools/cli/attach/transmit.js';
import { fitLines, LiveBlock } from '../../tools/cli/live-block.js';

function terminal(columns: number, rows = 24) {
  const written: string[] = [];
  return {
    written,
    write: (text: string) => void written.push(text),
    size: () => ({ columns, rows }),
  };
}

const sample = (tap: string, pairs: number): Sample => ({
  tap,
  counters: noCounters(),
  pairs: Array.from({ length: pairs }, noCounters),
});

test('rates are changes per second, against 0 the first time', () => {
  const now = { ...noCounters(), rxFrames: 100, txBytes: 10 };
  expect(rates(undefined, now, 2)).toMatchObject({ rxFrames: 50, txBytes: 5 });
  expect(rates(now, { ...now, rxFrames: 101 }, 0.5)).toMatchObject({ rxFrames: 2, txBytes: 0 });
});

test('what is drawn over is never wider or higher than the terminal', () => {
  const lines = ['x'.repeat(100), 'b', 'c', 'd'];
  expect(fitLines(lines, 11, 24)).toEqual(['x'.repeat(10), 'b', 'c', 'd']);
  expect(fitLines(lines, 80, 4)).toEqual(['x'.repeat(79), 'b', '… 2 more lines']);
  expect(fitLines(lines, 1, 1)).toEqual(['']);
});

test('a block goes back to its first line before it is drawn again, and leaves nothing', () => {
  const { written, ...screen } = terminal(80);
  const block = new LiveBlock(screen);
  block.draw(['a', 'b', 'c']);
  block.draw(['d']);
  block.clear();
  expect(written.join('')).toBe('a\nb\nc\x1b[2A\r\x1b[2K\x1b[Jd\r\x1b[2K');
});

test('the line of a TAP, or the table of its pairs, fits into a narrow terminal', () => {
  for (const stats of [false, true]) {
    const { written, ...screen } = terminal(40);
    const reporter = terminalReporter(screen, { stats });
    reporter.progress([sample('vnet0', 4), sample('vnet1', 4)], 1);
    const lines = written.join('').split('\n');
    expect(lines).toHaveLength(stats ? 11 : 2);
    for (const line of lines) expect(line.length).toBeLessThan(40);
  }
});

test.each([
  [1, 32],
  [64, 32],
  [64, 1],
  [64, 48],
  [64, 128],
])('of %d flows bursts of %d send each as often as any other', (count, burst) => {
  const flows = Array.from({ length: count }, (_, i) => i);
  const all = batches(flows, burst);
  for (const batch of all) expect(batch).toHaveLength(burst);
  const times = flows.map((flow) => all.flat().filter((one) => one === flow).length);
  expect(new Set(times).size).toBe(1);
});
