/** What a poller must not do to its process, each in a process of its own. */
import { expect, test } from 'vitest';
import { runModule } from '../support/node-child.js';
import { A_WHILE } from '../support/turns.js';

const IMPORT = `import { EventFd } from './lib/index.js';
import { native } from './lib/native.js';
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
${A_WHILE}`;

const run = (source: string, node: string[] = []) => runModule(IMPORT + source, { node });
const cleanly = (stdout: string) => ({ code: 0, signal: null, stdout, stderr: '' });

test('what a listener throws is an uncaughtException, and later calls still come', async () => {
  const ended = await run(`
    const event = EventFd.create();
    let calls = 0;
    process.on('uncaughtException', (error) => console.log('caught', error.message));
    event.onSignal((count) => {
      calls++;
      if (calls < 4) setTimeout(() => event.signal(), 1);
      else event.close();
      throw new Error('call ' + calls);
    });
    event.signal();
  `);
  expect(ended).toEqual(cleanly('caught call 1\ncaught call 2\ncaught call 3\ncaught call 4\n'));
});

test('a listener that throws ends a process that catches nothing, with the stack', async () => {
  const { code, stderr } = await run(`
    const event = EventFd.create(1);
    event.onSignal(function listener() {
      throw new Error('nobody catches this');
    });
  `);
  expect(code).toBe(1);
  expect(stderr).toMatch(/Error: nobody catches this\n\s+at EventFd\.listener|at listener/);
});

test('a listener that throws does not spin: the eventfd was drained', async () => {
  const ended = await run(`
    const event = EventFd.create(1);
    let calls = 0;
    process.on('uncaughtException', () => {});
    event.onSignal(() => {
      calls++;
      throw new Error('once');
    });
    await aWhile();
    console.log(calls);
    event.close();
  `);
  expect(ended).toEqual(cleanly('1\n'));
});

test('what is no eventfd throws once, and is not polled on', async () => {
  const ended = await run(`
    import { spawn } from 'node:child_process';
    const child = spawn('true', { stdio: ['ignore', 'pipe', 'ignore'] });
    const event = EventFd.fromFd(child.stdout._handle.fd);
    process.on('uncaughtException', ({ code, syscall }) => console.log(code, syscall));
    event.onSignal(() => console.log('called'));
  `);
  expect(ended).toEqual(cleanly('EINVAL read(eventfd)\n'));
});

test('an open subscription keeps the process alive', async () => {
  const ended = await run(`
    const event = EventFd.create();
    event.onSignal(() => {
      console.log('called');
      event.close();
    });
    setTimeout(() => event.signal(), 50).unref();
  `);
  expect(ended).toEqual(cleanly('called\n'));
});

test('unref() lets the process end, and ref() keeps it again', async () => {
  const ended = await run(`
    const quiet = EventFd.create();
    quiet.onSignal(() => console.log('never'));
    quiet.unref();
    const kept = EventFd.create();
    kept.onSignal(() => {
      console.log('called');
      kept.unref();
    });
    kept.unref().ref();
    setTimeout(() => kept.signal(), 30).unref();
    process.on('exit', () => console.log('exit'));
  `);
  expect(ended).toEqual(cleanly('called\nexit\n'));
});

test('an eventfd without a listener does not keep the process', async () => {
  expect(await run('EventFd.create(1);')).toEqual(cleanly(''));
});

test('process.exit() with an open subscription is a clean end', async () => {
  const ended = await run(`
    const event = EventFd.create(1);
    event.onSignal(() => process.exit(7));
  `);
  expect(ended).toMatchObject({ code: 7, signal: null, stderr: '' });
});

test('garbage collection does not drop an active subscription', async () => {
  const ended = await run(
    `
    function subscribe() {
      const event = EventFd.create();
      event.onSignal((count) => console.log('heard', count));
      event.unref();
      return native.dup(event.fd);
    }
    const signals = subscribe();
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      globalThis.gc();
    }
    native.eventfdWrite(signals, 9);
    await aWhile();
  `,
    ['--expose-gc'],
  );
  expect(ended).toEqual(cleanly('heard 9\n'));
});

test('garbage collection frees the descriptors of a subscription that ended', async () => {
  const ended = await run(
    `
    import { readdirSync } from 'node:fs';
    const open = () => readdirSync('/proc/self/fd').length;
    const settle = async () => {
      for (let i = 0; i < 5; i++) {
        globalThis.gc();
        await aWhile();
      }
    };
    await settle();
    const before = open();
    function subscribe() {
      const event = EventFd.create();
      event.onSignal(() => {});
      event.offSignal();
    }
    for (let i = 0; i < 50; i++) subscribe();
    await settle();
    console.log(open() - before);
  `,
    ['--expose-gc'],
  );
  expect(ended).toEqual(cleanly('0\n'));
});

const WORKER_ENDS = {
  'returns from its module': '',
  'calls process.exit()': 'process.exit(0);',
  'calls process.exit() in its listener': 'event.signal(); event.onSignal(() => process.exit(0));',
  throws: "throw new Error('on purpose');",
  'is terminated': "parentPort.postMessage('ready'); setInterval(() => {}, 1000);",
  'is terminated in its listener':
    "event.signal(); event.onSignal(() => { parentPort.postMessage('ready'); for (;;); });",
};

test.each(Object.entries(WORKER_ENDS))(
  'a worker that %s with subscriptions open does not abort the process, 15 times',
  async (_, end) => {
    const subscribes = !end.includes('onSignal');
    const ended = await runModule(
      `${IMPORT}
      if (isMainThread) {
        for (let i = 0; i < 15; i++) {
          const worker = new Worker(new URL(import.meta.url));
          worker.on('error', () => {});
          worker.on('message', () => worker.terminate());
          await new Promise((resolve) => worker.on('exit', resolve));
        }
        console.log('alive');
      } else {
        const others = Array.from({ length: 5 }, () => EventFd.create(1));
        for (const other of others) other.onSignal(() => other.signal());
        for (const other of others) other.unref();
        const event = EventFd.create();
        ${subscribes ? 'event.onSignal(() => {}); event.unref();' : ''}
        ${end}
      }`,
      { limit: 50_000 },
    );
    expect(ended).toEqual(cleanly('alive\n'));
  },
);

test('a subscription of a worker and one of the main thread do not disturb each other', async () => {
  const ended = await run(`
    if (isMainThread) {
      const event = EventFd.create();
      const counts = [];
      event.onSignal((count) => {
        counts.push(count);
        if (counts.length === 2) event.close();
        else worker.postMessage('go on');
      });
      const worker = new Worker(new URL(import.meta.url), { workerData: event.fd });
      await once(worker, 'exit');
      console.log(counts);
    } else {
      const theirs = EventFd.fromFd(workerData);
      const own = EventFd.create(4);
      own.onSignal((count) => {
        theirs.signal(count);
        own.close();
      });
      parentPort.once('message', () => theirs.signal(6));
    }
  `);
  expect(ended).toEqual(cleanly('[ 4, 6 ]\n'));
});
