/** `npm run bench:user`, a few of its cases: the library and DPDK, each at the end of a socket with DPDK at the other. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { Report } from '../../tools/bench/report.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { peerFolder } from '../support/peer-process.js';

holdNothingLeaks();

const RUN = fileURLToPath(new URL('../../dist/tools/bench/run.js', import.meta.url));
/** How long it may take, in ms: it would go on after the test. */
const LIMIT = 240_000;

test('the benchmark of vhost-user loses no frame, and tells what both ends reach beside DPDK', async () => {
  const file = join(peerFolder(), 'report.json');
  const pattern = '^(front end send|back end receive) 64 B batch 32$';
  const args = [RUN, 'user', file, 'quick', pattern];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { timeout: LIMIT });
  // A case that failed, or a frame that was lost, would stand there.
  expect(stderr).toBe('');
  expect(stdout).toBe('1/2 front end send 64 B batch 32\n2/2 back end receive 64 B batch 32\n');
  const { results } = JSON.parse(readFileSync(file, 'utf8')) as Report;
  expect(results.map(({ case: name, baseline }) => `${name} by ${baseline.name}`)).toEqual([
    'front end send 64 B batch 32 by testpmd',
    'back end receive 64 B batch 32 by testpmd',
  ]);
  for (const { ours, baseline } of results) {
    expect(ours).toBeGreaterThan(0);
    expect(baseline.value).toBeGreaterThan(0);
  }
});
