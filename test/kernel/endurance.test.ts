/**
 * What happens a thousand times: nothing grows. Each in a process of its own, so that it may crash. Emulated, all of it
 * takes twelve minutes: that is for `VHOST_NET_ENDURANCE=whole`, after a change to what opens and closes. Else it is a part,
 * in which what grows by a descriptor, a thread or a mapping shows as well.
 */
import { expect, test } from 'vitest';
import { BUILT, runChild } from '../support/child.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { tapName } from '../support/host.js';

holdNothingLeaks();

const WHOLE = process.env.VHOST_NET_ENDURANCE === 'whole';

/** Longest run in a software-emulated machine, in ms. */
const LIMIT = 900_000;
/**
 * What a process may grow by in both halves of a run, in bytes. What an engine keeps for later, a
 * larger young generation or compiled code, it takes once; a leak grows in the one half as in the other.
 */
const SLACK = 4 << 20;

/** What a process holds: `held()` after a collection, its differences from `before`. */
const HELD = `
  import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
  import { setTimeout as delay } from 'node:timers/promises';
  const LOOKS = 10;
  /** Modules are no concern of ours: Node leaves them open where a thread ends while it reads them. */
  function isKernelObject(fd) {
    try {
      return !readlinkSync('/proc/self/fd/' + fd).endsWith('js');
    } catch {
      return false;
    }
  }
  function held() {
    globalThis.gc();
    const maps = readFileSync('/proc/self/maps', 'utf8').split('\\n');
    return {
      fds: readdirSync('/proc/self/fd').filter(isKernelObject).length,
      threads: readdirSync('/proc/self/task').length,
      mappings: maps.filter((line) => line.includes('memfd')).length,
      taps: readdirSync('/sys/class/net').filter((name) => name.startsWith(process.argv[1])).length,
      rss: process.memoryUsage.rss(),
    };
  }
  /** Waits for finalizers, the kernel's workers, and the threads that unmap what was collected. */
  async function settled(before) {
    let rss = Infinity;
    for (let round = 0; round < 200; round++) {
      const now = held();
      rss = Math.min(rss, now.rss);
      const ended = Object.keys(before).every((key) => key === 'rss' || now[key] <= before[key]);
      if (ended && round >= LOOKS) return { ...now, rss };
      await delay(50);
    }
    return held();
  }
`;

/** All of a count's parts. */
function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

interface Grown {
  before: { rss: number };
  middle: { rss: number };
  after: { rss: number };
}

/** Runs a script that prints what it held before, after one half and after the other; `slack` is the growth that is none. */
async function expectNoGrowth(script: string, slack = SLACK): Promise<void> {
  const { code, stdout, stderr } = await runChild(HELD + script, {
    nodeArgs: ['--expose-gc'],
    args: [tapName().slice(0, 8), BUILT],
    limit: LIMIT,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { before, middle, after } = JSON.parse(stdout) as Grown;
  expect(Math.min(middle.rss - before.rss, after.rss - middle.rss)).toBeLessThan(slack);
  expect({ ...after, rss: 0 }).toEqual({ ...before, rss: 0 });
}

const CYCLES = { before: 100, first: WHOLE ? 452 : 92, second: WHOLE ? 448 : 88 };

test(
  `a port that is opened and closed ${total(CYCLES)} times leaves nothing and grows nothing`,
  () =>
    expectNoGrowth(`
    async function cycle(i) {
      const port = await vhost.NetPort.open({ tap: process.argv[1] + i, queueSize: 64 });
      await port.send(new Uint8Array(60));
      await port.close();
    }
    async function cycles(count) {
      for (let done = 0; done < count; done += 4) await Promise.all([0, 1, 2, 3].map(cycle));
    }
    // The first ones fill the engine's caches and start libuv's threads.
    await cycles(${CYCLES.before});
    const before = await settled(held());
    await cycles(${CYCLES.first});
    const middle = await settled(before);
    await cycles(${CYCLES.second});
    console.log(JSON.stringify({ before, middle, after: await settled(before) }));
  `),
  LIMIT,
);

/** A dozen workers show no more than what a few of them that stayed would take: 5 MB of engine each, without a port. */
const WORKERS_SLACK = WHOLE ? SLACK : 16 << 20;
const ENDS = WHOLE ? { before: 20, first: 92, second: 88 } : { before: 8, first: 12, second: 12 };

test(
  `worker threads terminated ${total(ENDS)} times at random moments, with ports open, leave nothing`,
  () =>
    expectNoGrowth(
      `
    import { Worker } from 'node:worker_threads';
    const SOURCE = \`
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.library).then(async ({ NetPort }) => {
        const port = await NetPort.open({ tap: workerData.tap, queueSize: 64 });
        port.onFrames((frames) => port.trySend(frames));
        parentPort.postMessage('open');
        for (;;) await port.send(new Array(100).fill(new Uint8Array(60)));
      });
    \`;
    let seed = 1;
    const random = (limit) => (seed = (seed * 48271) % 2147483647) % limit;
    let longest = 100;
    /** Ends a worker some time between its start and soon after its port was open. */
    async function end(i) {
      const workerData = { library: process.argv[2], tap: process.argv[1] + i };
      // Not our own arguments: they would make a module of the source.
      const worker = new Worker(SOURCE, { eval: true, execArgv: [], workerData });
      const exited = new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
      const started = performance.now();
      const open = new Promise((resolve) => worker.on('message', resolve)).then(() => {
        longest = Math.max(longest, performance.now() - started);
        return delay(random(20));
      });
      await (random(2) === 0 ? open : Promise.race([open, delay(random(longest))]));
      await worker.terminate();
      await exited;
    }
    async function ends(count) {
      for (let done = 0; done < count; done += 4) await Promise.all([0, 1, 2, 3].map(end));
    }
    await ends(${ENDS.before});
    const before = await settled(held());
    await ends(${ENDS.first});
    const middle = await settled(before);
    await ends(${ENDS.second});
    console.log(JSON.stringify({ before, middle, after: await settled(before) }));
  `,
      WORKERS_SLACK,
    ),
  LIMIT,
);
