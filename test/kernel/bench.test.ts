import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { Report } from '../../tools/bench/report.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';

holdNothingLeaks();

const BENCH = fileURLToPath(new URL('../../dist/tools/bench/main.js', import.meta.url));

test('the benchmark measures the library beside the C program and fs, and writes what it found', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-bench-'));
  cleanup(() => rmSync(folder, { recursive: true }));
  const [json, plot] = [join(folder, 'bench.json'), join(folder, 'bench.svg')];
  const pattern = '^(send 64 B batch 32|open to first frame)$';
  const args = ['--quick', '--case', pattern, '--json', json, '--plot', plot];
  const { stdout } = await promisify(execFile)(process.execPath, [BENCH, ...args]);
  const { host, kernel, node, results } = JSON.parse(readFileSync(json, 'utf8')) as Report;
  expect([host, kernel, node]).toEqual([
    expect.any(String),
    expect.any(String),
    process.versions.node,
  ]);
  const found = results.map(
    (result) => `${result.case}: ${result.metric} by ${result.baseline.name}`,
  );
  expect(found).toEqual([
    'send 64 B batch 32: frames per second by C program',
    'send 64 B batch 32: frames per second by fs.writeSync',
    'send 64 B batch 32: main-thread CPU per frame by C program',
    'send 64 B batch 32: main-thread CPU per frame by fs.writeSync',
    'open to first frame: time by C program',
  ]);
  for (const { ours, baseline, ratio } of results) {
    expect(ours).toBeGreaterThan(0);
    expect(baseline.value).toBeGreaterThan(0);
    // Of the rounds, not of the medians beside it: how it is got, test/unit/bench.test.ts shows.
    expect(ratio).toBeGreaterThan(0);
  }
  expect(stdout).toContain('send 64 B batch 32');
  expect(readFileSync(plot, 'utf8')).toContain('</svg>');
});
