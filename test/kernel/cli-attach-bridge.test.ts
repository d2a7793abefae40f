import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { NetInterface } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { cli, type Run } from '../support/cli.js';
import { FlowCheck, FlowSocket, flowFrame } from '../support/flows.js';
import { tapName, until } from '../support/host.js';
import { addAddress, bridge, namespace, runIn } from '../support/network.js';
import { hush } from '../support/ports.js';

holdNothingLeaks();

/** A bridge between two TAPs, and the host's end of each. */
async function open(
  options: string[] = [],
): Promise<{ run: Run; taps: string[]; ends: FlowSocket[] }> {
  const taps = [tapName(), tapName()] as [string, string];
  const run = cli(['attach', taps[0], '--bridge', taps[1], ...options]);
  await until(() => run.lines.filter(({ event }) => event === 'attached').length === 2, 'two TAPs');
  const ends = taps.map((tap) => {
    hush(tap);
    const end = new FlowSocket(tap);
    cleanup(() => end.close());
    return end;
  });
  return { run, taps, ends };
}

/**
 * Sends `count` frames of 8 flows to one end, and reads what comes out at the other. The flows are this
 * direction's own: the kernel moves one to the pair by which it is answered.
 */
async function through(
  from: FlowSocket,
  to: FlowSocket,
  count: number,
  first = 0,
): Promise<FlowCheck> {
  const check = new FlowCheck();
  for (let sent = 0; sent < count; ) {
    const batch = Array.from({ length: Math.min(32, count - sent) }, (_, i) =>
      flowFrame(first + ((sent + i) % 8), Math.floor((sent + i) / 8)),
    );
    sent += from.send(batch);
    await until(() => {
      for (const frame of to.read()) check.see(frame);
      return sent - check.count < 200;
    }, 'the frames come out at the other end');
  }
  await until(() => {
    for (const frame of to.read()) check.see(frame);
    return check.count >= count;
  }, 'the last frames come out');
  return check;
}

test.each([1, 2])(
  '--bridge forwards every frame both ways, each flow in order, by %d pairs',
  async (queues) => {
    const { run, taps, ends } = await open(['--queues', String(queues)]);
    const [one, other] = ends as [FlowSocket, FlowSocket];
    const both = await Promise.all([through(one, other, 2000), through(other, one, 2000, 8)]);
    expect(both.map(({ count }) => count)).toEqual([2000, 2000]);
    run.child.kill('SIGINT');
    expect(await run.exitCode()).toBe(0);
    expect(run.stderr).toBe('');
    const detached = run.lines.filter(({ event }) => event === 'detached');
    expect(detached.map(({ tap }) => tap)).toEqual(taps);
    for (const line of detached) {
      expect(line).toMatchObject({ dropped: 0 });
      // The host may have sent some of its own before it was hushed.
      const { rxFrames = 0, txFrames = 0 } = line.counters as Record<string, number>;
      expect(Math.min(rxFrames, txFrames)).toBeGreaterThanOrEqual(2000);
    }
    for (const tap of taps) expect(new NetInterface(tap).exists).toBe(false);
  },
);

test('frames for a TAP whose link is down are dropped and counted, and others go on', async () => {
  const { run, taps, ends } = await open();
  const [one] = ends as [FlowSocket];
  const received = () =>
    run.lines
      .filter(({ event, tap }) => event === 'stats' && tap === taps[0])
      .map(({ counters }) => (counters as { rxFrames: number }).rxFrames);
  await until(() => received().length > 1, 'the host is silent');
  const before = received().at(-1) as number;
  new NetInterface(taps[1] as string).setDown();
  await until(() => run.lines.some(({ event, up }) => event === 'link' && up === false), 'down');
  one.send([flowFrame(0, 0), flowFrame(0, 1), flowFrame(0, 2)]);
  await until(() => received().at(-1) === before + 3, 'the frames are counted');
  new NetInterface(taps[1] as string).setUp();
  await until(() => run.lines.some(({ event, up }) => event === 'link' && up === true), 'up');
  // The one before reports that its interface was down.
  const other = new FlowSocket(taps[1] as string);
  cleanup(() => other.close());
  expect((await through(one, other, 100)).count).toBe(100);
  run.child.kill('SIGINT');
  expect(await run.exitCode()).toBe(0);
  expect(await run.line('detached')).toMatchObject({ dropped: 3 });
});

const PORT = 7778;
const AMOUNT = 1 << 20;
/** Gives back what it gets. */
const ECHO = `import { createServer } from 'node:net';
createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(${PORT}, () => console.log('ready'));`;

test('with --offload all TCP crosses it in super-frames, there and back', async () => {
  const { run, taps } = await open(['--offload', 'all']);
  const [near, away] = taps as [string, string];
  const attached = await run.line('attached');
  expect(attached.offloads).toEqual(expect.arrayContaining(['csum', 'tso4']));
  const { namespace: far, name } = namespace('10.85.0.2/24');
  bridge(away, name);
  addAddress('10.85.0.1/24', near);
  await runIn(far, ECHO);
  const sent = randomBytes(AMOUNT);
  const socket = connect({ host: '10.85.0.2', port: PORT });
  cleanup(() => socket.destroy());
  socket.end(sent);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  run.child.kill('SIGINT');
  expect(await run.exitCode()).toBe(0);
  const { counters } = (await run.line('detached')) as unknown as {
    counters: Record<string, number>;
  };
  expect(counters.rxBytes).toBeGreaterThan(AMOUNT);
  // Cut to the MTU it would be more, and as many acknowledgements.
  expect(counters.rxFrames).toBeLessThan(AMOUNT / 1448);
});
