import { expect, test } from 'vitest';
import { Tap } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { CLI, cli, program, Run } from '../support/cli.js';
import { FlowSocket, flowFrame } from '../support/flows.js';
import { tapName, until } from '../support/host.js';
import { hush } from '../support/ports.js';

holdNothingLeaks();

type Counters = Record<string, number>;
interface Pair {
  counters: Counters;
}

/** A TAP of several queues that outlives its users. */
function persistentTap(): string {
  const name = tapName();
  const [tap] = Tap.openQueues(name, 2).map((queue, i) => {
    if (i > 0) queue.close();
    return queue;
  }) as [Tap];
  hush(name);
  tap.setPersist(true);
  tap.interface.setUp();
  tap.close();
  cleanup(() => program('ip', ['link', 'del', name]));
  return name;
}

const sum = (pairs: readonly Pair[], key: string) =>
  pairs.reduce((total, { counters }) => total + (counters[key] ?? 0), 0);

test('--queues takes the frames of many flows by all pairs, and --stats tells of each', async () => {
  const name = tapName();
  const run = cli(['attach', name, '--queues', '4', '--stats', '--forward-mode', 'macswap']);
  expect(await run.line('attached')).toMatchObject({ queues: 4 });
  hush(name);
  const host = new FlowSocket(name);
  cleanup(() => host.close());
  for (let round = 0; round < 4; round++) {
    const frames = Array.from({ length: 64 }, (_, flow) => flowFrame(flow, round, true));
    for (let sent = 0; sent < 64; ) sent += host.send(frames.slice(sent));
  }
  await until(
    () =>
      run.lines.some((l) => l.event === 'stats' && ((l.counters as Counters).rxFrames ?? 0) >= 256),
    'the frames are counted',
  );
  run.child.kill('SIGINT');
  expect(await run.exitCode()).toBe(0);
  const { counters, pairs } = (await run.line('detached')) as unknown as {
    counters: Counters;
    pairs: Pair[];
  };
  expect(pairs).toHaveLength(4);
  for (const key of ['rxFrames', 'rxBytes', 'txFrames', 'txBytes', 'rxCalls']) {
    expect(sum(pairs, key)).toBe(counters[key]);
  }
  expect(pairs.filter((pair) => (pair.counters.rxFrames ?? 0) > 0).length).toBeGreaterThan(1);
  const stats = await run.line('stats');
  expect(stats).toMatchObject({ tap: name });
  expect(stats.pairs).toHaveLength(4);
  expect((stats.pairs as { perSecond: Counters }[])[3]?.perSecond).toHaveProperty('rxBits');
});

test('txonly with several queues sends of many flows, and so by every pair', async () => {
  const run = cli([
    ...['attach', persistentTap(), '--queues', '2', '--stats'],
    ...['--forward-mode', 'txonly', '--count', '1000'],
  ]);
  expect(await run.exitCode()).toBe(0);
  const { counters, pairs } = (await run.line('detached')) as unknown as {
    counters: Counters;
    pairs: Pair[];
  };
  expect(counters.txFrames).toBe(1000);
  expect(sum(pairs, 'txFrames')).toBe(1000);
  for (const pair of pairs) expect(pair.counters.txFrames).toBeGreaterThan(100);
});

test('--busy-poll tells every ring how long to look for more', async () => {
  const args = ['attach', tapName(), '--queues', '2', '--busy-poll', '70', '--duration', '0.1'];
  const run = cli(args, { env: { DEBUG: 'vhost-net:ioctl' } });
  expect(await run.exitCode()).toBe(0);
  const told = run.stderr.split('\n').filter((line) => line.includes('BUSYLOOP_TIMEOUT'));
  expect(told).toHaveLength(4);
  for (const line of told) expect(line).toMatch(/\b70\b/);
});

test('several queues of a TAP that has one are refused with a hint', async () => {
  const tap = Tap.open(tapName());
  const { name } = tap;
  tap.setPersist(true);
  tap.close();
  cleanup(() => program('ip', ['link', 'del', name]));
  const run = cli(['attach', name, '--queues', '2']);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toMatch(/^vhost-net: attach \w+: EINVAL: .*\nhint: .*queue/);
});

test('on a terminal --stats draws a table of the pairs, of which no line wraps', async () => {
  const args = `attach ${tapName()} --queues 2 --stats --forward-mode txonly --duration 2.5`;
  const command = `stty cols 60; ${process.execPath} ${CLI} ${args}`;
  const run = new Run('script', ['-qec', command, '/dev/null']);
  expect(await run.exitCode()).toBe(0);
  const tables = run.stdout.split('\r\x1b[2K\x1b[J');
  expect(tables.length).toBeGreaterThan(1);
  const [head = '', ...rows] = (tables[1] ?? '').replace('\x1b[3A', '').split('\r\n');
  expect(head).toMatch(/^pair +rx frame\/s +bit\/s/);
  expect(rows[0]).toMatch(/^\w+ 0 +/);
  expect(rows[1]).toMatch(/^\w+ 1 +/);
  expect(rows[2]).toMatch(/^\w+ all +/);
  for (const row of [head, ...rows.slice(0, 3)]) expect(row.length).toBeLessThan(60);
  expect(run.stdout).toMatch(/\n1 tx +\d{3,}/);
});
