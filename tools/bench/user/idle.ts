/** What connections cost while nothing happens: the processor time of both ends of many of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Case } from '../cases/case.js';
import { Contestant } from '../contestant.js';
import { QUEUE_SIZE } from '../contestants/frames.js';
import { timeOf } from '../processes.js';
import { compare, type Result } from '../report.js';
import { TestpmdMover } from './mover.js';

/** Connections, and how long they are watched, in ms. */
const CONNECTIONS = 100;
const IDLE_TIME = 10_000;
/** What is waited for after connecting, in ms: a process settles. */
const SETTLING = 1000;

export function idleCase(): Case {
  return { name: `${CONNECTIONS} idle connections`, run: idleTime };
}

/** Front ends in one program and back ends in the other; beside one testpmd, which waits for frames as it does. */
async function idleTime(): Promise<Result[]> {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-bench-'));
  const path = join(folder, 'socket');
  const ends = (['back-end', 'front-end'] as const).map((end) => Contestant.socket(end));
  const [backEnd, frontEnd] = ends as [Contestant, Contestant];
  let testpmd: TestpmdMover | undefined;
  try {
    await backEnd.command('open', path, 'sleeping');
    for (let i = 0; i < CONNECTIONS; i++) await frontEnd.command('open', path, 'sleeping');
    const dpdk = { processor: 1, queueSize: QUEUE_SIZE, name: basename(folder) } as const;
    testpmd = await TestpmdMover.open('back end', join(folder, 'testpmd'), dpdk);
    await testpmd.begin({ direction: 'receive', length: 64, batch: 32 });
    await sleep(SETTLING);
    const pids = [frontEnd.pid, backEnd.pid, testpmd.pid];
    const before = pids.map(timeOf);
    await sleep(IDLE_TIME);
    const [front, back, base] = pids.map((pid, i) => percent(timeOf(pid) - (before[i] as number)));
    const result = (what: string, ours: number) =>
      compare(
        {
          case: `${CONNECTIONS} idle ${what}`,
          metric: 'CPU of all threads',
          unit: '%',
          better: 'less',
        },
        { name: 'vhost-net', values: [ours] },
        [{ name: 'testpmd, one port', values: [base as number] }],
      );
    return [...result('front ends', front as number), ...result('back ends', back as number)];
  } finally {
    testpmd?.end();
    for (const end of ends) end.end();
    rmSync(folder, { recursive: true });
  }
}

/** Of one processor, to a tenth. */
function percent(ns: number): number {
  return Number(((ns / (IDLE_TIME * 1e6)) * 100).toFixed(1));
}
