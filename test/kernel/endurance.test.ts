/** What happens a thousand times: nothing grows. Each in a process of its own, so that it may crash. */
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BUILT, runChild } from '../support/child.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { tapName } from '../support/host.js';

holdNothingLeaks();

/**
 * The library as one file beside its own, which finds the addon as they do: of a worker's short life
 * most is otherwise spent on a hundred small files, four minutes of this test.
 */
const ONE_FILE = new URL('one-file.mjs', BUILT);

beforeAll(async () => {
  const bundle = await rolldown({
    input: fileURLToPath(BUILT),
    platform: 'node',
    external: /^node:/,
  });
  await bundle.write({ file: fileURLToPath(ONE_FILE), format: 'esm' });
  await bundle.close();
});

afterAll(() => rmSync(ONE_FILE, { force: true }));

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

interface Grown {
  before: { rss: number };
  middle: { rss: number };
  after: { rss: number };
}

/** Runs a script that prints what it held before, after one half and after the other. */
async function expectNoGrowth(script: string): Promise<void> {
  const { code, stdout, stderr } = await runChild(HELD + script, {
    nodeArgs: ['--expose-gc'],
    args: [tapName().slice(0, 8), ONE_FILE.href],
    limit: LIMIT,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { before, middle, after } = JSON.parse(stdout) as Grown;
  expect(Math.min(middle.rss - before.rss, after.rss - middle.rss)).toBeLessThan(SLACK);
  expect({ ...after, rss: 0 }).toEqual({ ...before, rss: 0 });
}

test(
  'a port that is opened and closed 1,000 times leaves nothing and grows nothing',
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
    await cycles(100);
    const before = await settled(held());
    await cycles(452);
    const middle = await settled(before);
    await cycles(448);
    console.log(JSON.stringify({ before, middle, after: await settled(before) }));
  `),
  LIMIT,
);

test(
  'worker threads terminated 200 times at random moments, with ports open, leave nothing',
  () =>
    expectNoGrowth(`
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
    await ends(20);
    const before = await settled(held());
    await ends(92);
    const middle = await settled(before);
    await ends(88);
    console.log(JSON.stringify({ before, middle, after: await settled(before) }));
  `),
  LIMIT,
);
